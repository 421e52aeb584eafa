/** The store beside another process. */
import { assert, describe, it } from "@effect/vitest"
import { CacheStore, Store } from "@pipe/core"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer, Logger } from "effect"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

const file = () => join(mkdtempSync(join(tmpdir(), "pipe-store-")), "folder", "pipe.db")

const entry = (key: string, value: string, expiresAt?: number): CacheStore.Entry => ({
  key,
  value,
  model: "m",
  createdAt: 0,
  expiresAt
})

/** Uses the cache of a file, from opening to closing; what was warned of. */
const use = <A, E>(path: string, f: (store: CacheStore.CacheStore["Service"]) => Effect.Effect<A, E>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    return CacheStore.CacheStore.use(f).pipe(
      Effect.provide(Store.layerCache.pipe(Layer.provide(Store.layer(path)), Layer.provide(NodeHost.layerMemory))),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.map((value) => ({ value, warnings }))
    )
  })

const key = (n: number) => n.toString(16).padStart(32, "0").repeat(2)

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
