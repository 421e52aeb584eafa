/**
 * Stores runs, results, ledger and cached answers in a PostgreSQL database, shared by the machines of a team.
 *
 * **Example** (a run with its store on a server)
 *
 * ```ts
 * import { Store } from "@pipe/core"
 * import { NodeHost, Postgres } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const host = NodeHost.withStore(
 *   Store.layerDatabase.pipe(Layer.provide(Postgres.layer({ url: "postgres://localhost/pipe" })))
 * )
 * ```
 *
 * On the command line: `--store postgres://…`, or `PIPE_STORE`.
 *
 * @since 0.1.0
 */
import * as Database from "@pipe/core/Database"
import * as Store from "@pipe/core/Store"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Address from "./postgres/Address.ts"
import * as Connection from "./postgres/Connection.ts"

/** The options of `Postgres.layer`. */
export interface Options extends Address.Options {}

/** Provides a database for `Store.layerDatabase`. */
export const layer = (options: Options): Layer.Layer<Database.Database, Store.StoreError> =>
  Layer.effect(
    Database.Database,
    Effect.suspend(() => {
      const name = Address.nameOf(options.url)
      return Effect.flatMap(
        Effect.mapError(Connection.make(options), (error) => Store.unusable(name, error)),
        (client) => Database.fromPg(client, name, options)
      )
    })
  )
