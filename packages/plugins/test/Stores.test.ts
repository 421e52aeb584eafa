/** The store on SQLite. */
import { assert, describe, it } from "@effect/vitest"
import { Store } from "@pipe/core"
import { Effect } from "effect"
import { Reactivity } from "effect/reactivity"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { contract } from "./StoreContract.ts"

const key = (n: number) => n.toString(16).padStart(32, "0")

const answer = (n: number) => ({ key: key(n), value: `v${n}`, model: "m", created_at: n, expires_at: null })

describe("groups", () => {
  it.live("are written one after the other, and a commit waits for the one that is in progress", () =>
    Effect.gen(function* () {
      const database = yield* Store.open(":memory:")
      let open = 0
      let most = 0
      // As on a server: a transaction takes its time, and a later one could overtake it.
      const waits = [60, 1, 1, 1]
      const store = yield* Store.make({
        ...database,
        transaction: (statements) =>
          Effect.suspend(() => {
            most = Math.max(most, ++open)
            return Effect.ensuring(
              Effect.andThen(Effect.sleep(waits.shift() ?? 1), database.transaction(statements)),
              Effect.sync(() => open--)
            )
          })
      })
      const count = Effect.map(database.query("SELECT count(*) AS n FROM cache"), (rows) => rows[0]!["n"])
      store.answers.append(answer(1))
      yield* Effect.sleep(20)
      store.answers.append(answer(2))
      yield* Effect.sleep(5)
      // Nothing is queued but what is in progress.
      yield* store.commit
      assert.strictEqual(yield* count, 2)
      store.answers.append(answer(3))
      yield* Effect.sleep(0)
      yield* store.commit
      assert.strictEqual(yield* count, 3)
      assert.strictEqual(most, 1)
      for (const n of [1, 2, 3]) assert.strictEqual((yield* store.answers.get(key(n)))?.value, `v${n}`)
    }).pipe(Effect.scoped, Effect.provide(Reactivity.layer))
  )
})

// The tests share a store, in their order.
describe("on SQLite", { concurrent: false }, () => {
  const file = join(mkdtempSync(join(tmpdir(), "pipe-store-")), "pipe.db")
  contract(() => file)
})
