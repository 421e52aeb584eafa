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
import * as Database from "@pipe/core/Database"
import type * as Flow from "@pipe/core/Flow"
import * as PriceTable from "@pipe/core/PriceTable"
import * as Pricing from "@pipe/core/Pricing"
import * as Store from "@pipe/core/Store"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Path from "effect/Path"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeStdio.layer, NodeCrypto.layerDigest)

/** Tests whether the location of a store is a PostgreSQL database. */
export const isPostgres = (location: string): boolean => /^postgres(?:ql)?:\/\//i.test(location)

/** Options of a store on a server. */
interface ServerOptions {
  /** How long a server that is away is waited for. Default: 10 minutes. */
  readonly patience?: Duration.Input | undefined
}

const server = (url: string, options: ServerOptions = {}): Layer.Layer<Database.Database, Store.StoreError> =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("./Postgres.ts")),
      (Postgres) =>
        Postgres.layer({ url, ...(options.patience === undefined ? undefined : { patience: options.patience }) })
    )
  )

const postgres = (url: string, options?: ServerOptions): Layer.Layer<Store.Store, Store.StoreError> =>
  Store.layerDatabase.pipe(Layer.provide(server(url, options)))

/** Updates the tables of a store on a server. Those of a file are updated whenever it is opened. */
export const migrate = (location: string): Effect.Effect<void, Store.StoreError> =>
  isPostgres(location)
    ? Effect.scoped(
        Effect.provide(
          Effect.flatMap(Database.Database, (database) => Store.migrate(database)),
          server(location)
        )
      )
    : Effect.scoped(Effect.asVoid(Layer.build(existingStore(location))))

/** Where public prices come from. */
export interface PriceOptions {
  /**
   * The file that `pipe prices update` has written; without it, the prices of the package count. Default:
   * `pipe-prices.json` in the working directory.
   */
  readonly prices?: string
}

/** The prices of a project: those of its file, over those of the package. */
const pricing = ({
  prices = PriceTable.FILE
}: PriceOptions): Layer.Layer<Pricing.Pricing, PriceTable.PriceTableError> =>
  Layer.effect(
    Pricing.Pricing,
    Effect.flatMap(PriceTable.read(prices), (table) => Effect.orDie(Pricing.make({}, { table })))
  ).pipe(Layer.provide(platform))

/**
 * Uses the store of a project: a SQLite file (default `.pipe/pipe.db` in the working directory), or `postgres://…`, and its
 * table of prices.
 */
export const layer = (
  options: { readonly store?: string } & ServerOptions & PriceOptions = {}
): Layer.Layer<Flow.Host, Store.StoreError | PriceTable.PriceTableError> =>
  hosted<Store.StoreError, PriceTable.PriceTableError>(
    options.store !== undefined && isPostgres(options.store)
      ? postgres(options.store, options)
      : Store.layer(options.store ?? ".pipe/pipe.db"),
    pricing(options)
  )

/** A store that must exist: it is not replaced by one in memory. */
export const existingStore = (location: string): Layer.Layer<Store.Store, Store.StoreError> =>
  isPostgres(location) ? postgres(location) : Store.layerExisting(location).pipe(Layer.provide(platform))

/** The database of a store, with its tables: a file is made, and a server's database must be empty or up to date. */
export const newDatabase = (location: string): Effect.Effect<Database.Service, Store.StoreError, Scope.Scope> =>
  isPostgres(location)
    ? Effect.gen(function* () {
        const database = Context.get(yield* Layer.build(server(location)), Database.Database)
        yield* Store.migrate(database, "empty")
        return database
      })
    : Effect.provide(Store.open(location), Reactivity.layer)

/** Uses a store in memory: nothing is kept after the run. */
export const layerMemory: Layer.Layer<Flow.Host> = Layer.suspend(() => withStore(Store.layerMemory))

/** Uses your own store, and the prices of the package. */
export const withStore = <E>(
  store: Layer.Layer<Store.Store, E, FileSystem.FileSystem | Path.Path>
): Layer.Layer<Flow.Host, E> => hosted(store, Pricing.layer().pipe(Layer.orDie))

const hosted = <E, PE = never>(
  store: Layer.Layer<Store.Store, E, FileSystem.FileSystem | Path.Path>,
  prices: Layer.Layer<Pricing.Pricing, PE>
): Layer.Layer<Flow.Host, E | PE> =>
  Layer.mergeAll(prices, Store.layerCache.pipe(Layer.provideMerge(store))).pipe(Layer.provideMerge(platform))
