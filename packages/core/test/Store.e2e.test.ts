/** The store beside another process. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { DatabaseSync } from "node:sqlite"
import { entry, file, key, use } from "./StoreFile.ts"

describe("the store", () => {
  it.live("goes on in memory when another process holds it locked", () =>
    Effect.gen(function* () {
      const path = file()
      yield* use(path, (store) => store.set(entry(key(1), "x")))
      const db = new DatabaseSync(path)
      db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
      const { value, warnings } = yield* use(path, (store) =>
        Effect.andThen(store.set(entry(key(2), "memory")), store.get(key(2), 0))
      )
      db.close()
      assert.strictEqual(value, "memory")
      assert.include(warnings[0], "another process holds it locked")
    })
  )
})
