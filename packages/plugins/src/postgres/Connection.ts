/**
 * A connection to a PostgreSQL server, named by its address without its password.
 *
 * @internal
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as Peer from "../Peer.ts"
import type * as Address from "./Address.ts"

/**
 * The statements are short and find rows by keys: compiling them costs more than it gains, and a plan made while a table
 * was empty would read all of it later.
 */
const SETTINGS = { jit: "off", enable_seqscan: "off" }

/** Connects, and checks that the server responds. */
export const make = (options: Address.Options): Effect.Effect<PgClient, SqlError.SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    const PgClient = yield* Effect.promise(() =>
      import("@effect/sql-pg/PgClient").catch(Peer.missing("@effect/sql-pg", "A store on Postgres"))
    )
    const client = yield* PgClient.make({
      url: Redacted.make(options.url),
      maxConnections: options.connections ?? 6,
      applicationName: "pipe",
      connectTimeout: "10 seconds",
      startupParameters: SETTINGS
    })
    yield* client.unsafe("SELECT 1")
    return client
  }).pipe(Effect.provide(Reactivity.layer))
