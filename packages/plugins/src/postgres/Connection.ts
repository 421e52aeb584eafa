/**
 * A connection to a Postgres server, known by its address without its password.
 *
 * @internal
 */
import * as Secret from "@pipe/core/Secret"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"

export interface Options {
  /** `postgres://user:password@host/database`. */
  readonly url: string
  /** Default: 4. */
  readonly connections?: number
}

/** The address without its password, as it is shown. */
export const nameOf = (url: string): string => {
  if (!URL.canParse(url)) return "the Postgres store"
  Secret.registerUrl(url)
  const { host, pathname, protocol } = new URL(url)
  return `${protocol}//${host}${pathname}`
}

/** Connects, and sees that the server answers. */
export const make = (options: Options): Effect.Effect<PgClient, SqlError.SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    const PgClient = yield* Effect.promise(() => import("@effect/sql-pg/PgClient"))
    const client = yield* PgClient.make({ url: Redacted.make(options.url), maxConnections: options.connections ?? 4 })
    yield* client.unsafe("SELECT 1")
    return client
  }).pipe(Effect.provide(Reactivity.layer))
