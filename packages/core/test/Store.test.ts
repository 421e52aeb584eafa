/** The store on real files: what happens to it, and what a run does then. */
import { assert, describe, it } from "@effect/vitest"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { type CacheStore, Store } from "@pipe/core"
import { Effect, Layer } from "effect"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { entry, file, key, use } from "./StoreFile.ts"

describe("the store", () => {
  it.live("keeps entries from run to run, however many come together, and forgets them in time", () =>
    Effect.gen(function* () {
      const path = file()
      yield* use(path, (store) =>
        Effect.forEach(
          Array.from({ length: 1_234 }),
          (_, n) => store.set(entry(key(n), `v${n}`, n === 7 ? 100 : undefined)),
          { discard: true }
        )
      )
      const { value, warnings } = yield* use(path, (store) =>
        Effect.all([
          store.get(key(0), 0),
          store.get(key(1_233), 0),
          store.get(key(7), 99),
          store.get(key(7), 100),
          store.get(key(9_999), 0)
        ])
      )
      assert.deepStrictEqual(value, ["v0", "v1233", "v7", undefined, undefined])
      assert.deepStrictEqual(warnings, [])
      yield* use(path, (store) => store.set(entry(key(0), "new")))
      assert.strictEqual((yield* use(path, (store) => store.get(key(0), 0))).value, "new")
    })
  )

  it.live("reads the newest of equal keys, however far it reads ahead", () =>
    Effect.gen(function* () {
      const path = file()
      const keys = Array.from({ length: 3_000 }, (_, n) => key(n))
      const written = new Map<string, string>()
      const write = (store: CacheStore.CacheStore["Service"], key: string, value: string) => {
        written.set(key, value)
        return store.set(entry(key, value))
      }
      const expectAll = (store: CacheStore.CacheStore["Service"]) =>
        Effect.forEach(
          keys,
          (key) => Effect.map(store.get(key, 0), (found) => assert.strictEqual(found, written.get(key))),
          { discard: true }
        )
      yield* use(path, (store) => Effect.forEach(keys, (key) => write(store, key, "first"), { discard: true }))
      // No key is in the log twice.
      yield* use(path, expectAll)
      // Some are, and some become so after others were read.
      for (const every of [7, 700, 11]) {
        yield* use(path, (store) =>
          Effect.gen(function* () {
            yield* expectAll(store)
            for (let n = 0; n < keys.length; n += every) yield* write(store, keys[n]!, `again, of each ${every}`)
            yield* expectAll(store)
          })
        )
        yield* use(path, expectAll)
      }
    })
  )

  it.live("puts a damaged file aside, says so, and begins a new one", () =>
    Effect.gen(function* () {
      for (const damage of ["SQLite format 3\0, and then no database at all, but text", undefined]) {
        const path = file()
        yield* use(path, (store) =>
          Effect.forEach(Array.from({ length: 500 }), (_, n) => store.set(entry(key(n), "x".repeat(500))), {
            discard: true
          })
        )
        const content = readFileSync(path)
        // Cut in the middle, or overwritten.
        writeFileSync(path, damage ?? content.subarray(0, Math.floor(content.length / 2)))
        const { value, warnings } = yield* use(path, (store) =>
          Effect.andThen(store.set(entry(key(1), "again")), store.get(key(1), 0))
        )
        assert.strictEqual(value, "again")
        assert.strictEqual(warnings.length, 1, warnings.join())
        assert.include(warnings[0], "is damaged")
        assert.isTrue(readdirSync(dirname(path)).some((name) => name.includes(".damaged-")))
      }
    })
  )

  it.live("leaves a file that is none of SQLite's as it is, and so does whoever only reads", () =>
    Effect.gen(function* () {
      const path = file()
      mkdirSync(dirname(path), { recursive: true })
      for (const text of ['{"n":1}\n', "x"]) {
        writeFileSync(path, text)
        for (const layer of [Store.layer(path), Store.layerExisting(path)]) {
          const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer.pipe(Layer.provide(NodeServices.layer)))))
          assert.include(JSON.stringify(exit), "it holds something else, and is left unchanged")
          assert.strictEqual(readFileSync(path, "utf8"), text)
        }
      }
      // A damaged one is not started again by those who only read it.
      writeFileSync(path, "SQLite format 3\0, and then no database at all, but text")
      yield* Effect.exit(Effect.scoped(Layer.build(Store.layerExisting(path).pipe(Layer.provide(NodeServices.layer)))))
      assert.include(readFileSync(path, "utf8"), "no database at all")
    })
  )

  it.live("leaves a file of a newer version alone, and keeps the cache in memory", () =>
    Effect.gen(function* () {
      const path = file()
      yield* use(path, (store) => store.set(entry(key(1), "old")))
      const db = new DatabaseSync(path)
      db.exec("INSERT INTO effect_sql_migrations (migration_id, name) VALUES (999, 'future')")
      db.close()
      const { value, warnings } = yield* use(path, (store) =>
        Effect.andThen(store.set(entry(key(2), "memory")), Effect.all([store.get(key(1), 0), store.get(key(2), 0)]))
      )
      assert.deepStrictEqual(value, [undefined, "memory"])
      assert.include(warnings[0], "newer version")
      assert.include(warnings[0], "update pipe")
    })
  )

  it.live("continues in memory where its folder cannot be made", () =>
    Effect.gen(function* () {
      const path = file()
      const blocker = dirname(path)
      writeFileSync(blocker, "a file where the folder should be")
      const { value, warnings } = yield* use(path, (store) =>
        Effect.andThen(store.set(entry(key(2), "memory")), store.get(key(2), 0))
      )
      assert.strictEqual(value, "memory")
      assert.include(warnings[0], "cannot be")
      assert.isFalse(existsSync(path))
    })
  )
})
