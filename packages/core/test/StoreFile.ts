/** Stores in files of their own. */
import { CacheStore, Store } from "@pipe/core"
import { Effect, Layer, Logger } from "effect"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"

export const file = () => join(mkdtempSync(join(tmpdir(), "pipe-store-")), "folder", "pipe.db")

export const entry = (key: string, value: string, expiresAt?: number): CacheStore.CacheEntry => ({
  key,
  value,
  model: "m",
  createdAt: 0,
  expiresAt
})

/** Uses the cache of a file, from opening to closing; what was warned of. */
export const use = <A, E>(path: string, f: (store: CacheStore.CacheStore["Service"]) => Effect.Effect<A, E>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    return CacheStore.CacheStore.use(f).pipe(
      Effect.provide(Store.layerCache.pipe(Layer.provide(Store.layer(path)), Layer.provide(Host.layerMemory))),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.map((value) => ({ value, warnings }))
    )
  })

export const key = (n: number) => n.toString(16).padStart(32, "0").repeat(2)
