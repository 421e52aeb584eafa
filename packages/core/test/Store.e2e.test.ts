/** The store beside another process. */
import { assert, describe, it } from "@effect/vitest"
import { Store } from "@pipe/core"
import { Effect } from "effect"
import { DatabaseSync } from "node:sqlite"
import { entry, file, key, use } from "./StoreFile.ts"

describe("the store", () => {
  it.live("continues in memory when another process holds it locked", () =>
    Effect.gen(function* () {
      const path = file()
      yield* use(path, (store) => store.set(entry(key(1), "x")))
      const db = new DatabaseSync(path)
      db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
      const { value, warnings } = yield* Effect.provideService(
        use(path, (store) => Effect.andThen(store.set(entry(key(2), "memory")), store.get(key(2), 0))),
        Store.OpeningWait,
        "1 second"
      )
      db.close()
      assert.strictEqual(value, "memory")
      assert.include(warnings[0], "is locked by another process: waiting")
      assert.include(warnings[1], "this run is in memory only")
    })
  )

  it.live("waits for the lock of another process, and continues when it is given back", () =>
    Effect.gen(function* () {
      const path = file()
      yield* use(path, (store) => store.set(entry(key(1), "x")))
      const db = new DatabaseSync(path)
      db.exec("BEGIN IMMEDIATE")
      const { value, warnings } = yield* use(path, (store) =>
        Effect.gen(function* () {
          setTimeout(() => db.exec("COMMIT"), 1_200)
          yield* store.set(entry(key(2), "y"))
          return yield* store.get(key(2), 0)
        })
      )
      db.close()
      assert.strictEqual(value, "y")
      assert.deepStrictEqual(warnings, [`${path} is locked by another process: waiting`])
      assert.strictEqual((yield* use(path, (store) => store.get(key(2), 0))).value, "y")
    })
  )
})
