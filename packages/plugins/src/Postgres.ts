/**
 * The store in a Postgres database: runs, results, books and cached answers, shared by the machines of a team.
 *
 * **Example** (a run whose store is a server's)
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
import * as Secret from "@pipe/core/Secret"
import * as Store from "@pipe/core/Store"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"

export interface Options {
  /** `postgres://user:password@host/database`. */
  readonly url: string
  /** Default: 4. */
  readonly connections?: number
}

/** The address without its password, as it is shown. */
const nameOf = (url: string): string => {
  if (!URL.canParse(url)) return "the Postgres store"
  const { host, password, pathname, protocol } = new URL(url)
  if (password !== "") Secret.register(decodeURIComponent(password))
  return `${protocol}//${host}${pathname}`
}

/** A database for `Store.layerDatabase`. */
export const layer = (options: Options): Layer.Layer<Database.Database, Store.StoreError> =>
  Layer.effect(
    Database.Database,
    Effect.gen(function*() {
      const PgClient = yield* Effect.promise(() => import("@effect/sql-pg/PgClient"))
      const name = nameOf(options.url)
      return yield* PgClient.make({ url: Redacted.make(options.url), maxConnections: options.connections ?? 4 }).pipe(
        Effect.tap((client) => client.unsafe("SELECT 1")),
        Effect.map((client) => Database.fromPg(client, name)),
        Effect.mapError((error) => Store.unusable(name, error))
      )
    })
  ).pipe(Layer.provide(Reactivity.layer))
