/**
 * What flows need from their host on Node.js: files, standard streams, prices and the store. The command line provides
 * it; programs that run flows provide it once.
 *
 * **Example** (running a flow from a program)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const out: Array<number> = []
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const doubled = Flow.map("doubled", { n: numbers }, ({ n }) => n * 2)
 * const flow = Flow.make("double", {
 *   outputs: [Sink.forEach("collect", doubled, (n) => Effect.sync(() => out.push(n)))]
 * })
 *
 * await Effect.runPromise(Runner.run(flow).pipe(Effect.provide(NodeHost.layerMemory)))
 * out // => [2, 4, 6]
 * ```
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeStdio from "@effect/platform-node/NodeStdio"
import type * as Flow from "@pipe/core/Flow"
import * as Pricing from "@pipe/core/Pricing"
import * as Store from "@pipe/core/Store"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Path from "effect/Path"

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeStdio.layer, NodeCrypto.layerDigest)

/** Tests whether the location of a store is a PostgreSQL database. */
export const isPostgres = (location: string): boolean => /^postgres(?:ql)?:\/\//i.test(location)

const postgres = (url: string): Layer.Layer<Store.Store, Store.StoreError> =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("./Postgres.ts")),
      (Postgres) => Store.layerDatabase.pipe(Layer.provide(Postgres.layer({ url })))
    )
  )

/**
 * Uses the store of a project: a SQLite file (default `.pipe/pipe.db` in the working directory), or `postgres://…`.
 */
export const layer = (options?: { readonly store?: string }): Layer.Layer<Flow.Host, Store.StoreError> =>
  withStore<Store.StoreError>(
    options?.store !== undefined && isPostgres(options.store)
      ? postgres(options.store)
      : Store.layer(options?.store ?? ".pipe/pipe.db")
  )

/** A store that must exist: it is not replaced by one in memory. */
export const existingStore = (location: string): Layer.Layer<Store.Store, Store.StoreError> =>
  isPostgres(location) ? postgres(location) : Store.layerExisting(location).pipe(Layer.provide(platform))

/** Uses a store in memory: nothing is kept after the run. */
export const layerMemory: Layer.Layer<Flow.Host> = Layer.suspend(() => withStore(Store.layerMemory))

/** Uses your own store. */
export const withStore = <E>(
  store: Layer.Layer<Store.Store, E, FileSystem.FileSystem | Path.Path>
): Layer.Layer<Flow.Host, E> =>
  Layer.mergeAll(Pricing.layer().pipe(Layer.orDie), Store.layerCache.pipe(Layer.provideMerge(store))).pipe(
    Layer.provideMerge(platform)
  )
