/**
 * Waits for a server that is away: it restarts, it cannot be reached, or it does not answer in time. A statement that
 * was cut is sent again over a new connection.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SqlError from "effect/sql/SqlError"
import * as ErrorCauses from "./ErrorCauses.ts"

export interface Options {
  /** How long the server is waited for. Default: 10 minutes. */
  readonly patience?: Duration.Input | undefined
  /** How long a statement may take. Default: 30 seconds. */
  readonly deadline?: Duration.Input | undefined
}

export interface ServerPatience {
  /** Runs a statement until the server answers. */
  readonly wait: <A>(statement: Effect.Effect<A, SqlError.SqlError>) => Effect.Effect<A, SqlError.SqlError>
  /** Runs a statement once, for as long as it may take. */
  readonly once: <A>(statement: Effect.Effect<A, SqlError.SqlError>) => Effect.Effect<A, SqlError.SqlError>
  /** Since when the server is away, in milliseconds since 1970. */
  readonly awaySince: () => number | undefined
}

/** The server stops, starts, takes no more connections, or is a standby (appendix A of the manual of PostgreSQL). */
const AWAY_STATES = /^(?:08...|57P0[1-5]|53300|25006)$/

/** The connection broke, or nothing listens. */
const AWAY_CODES: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN"
])

/** Another transaction was in the way: the same statement works when it is sent again. */
const CONFLICTS: ReadonlySet<string> = new Set(["40001", "40P01"])

const TOO_LATE = "no answer in time"

const codesOf = function* (error: unknown): Generator<string> {
  for (const cause of ErrorCauses.all(error)) {
    if ("_tag" in cause && cause._tag === "ConnectionError") yield "ECONNRESET"
    if ("code" in cause && typeof cause.code === "string") yield cause.code
  }
}

/** Tests whether the statement may work when it is sent again later. */
export const isAway = (error: unknown): boolean => {
  for (const code of codesOf(error)) {
    if (AWAY_CODES.has(code) || AWAY_STATES.test(code) || CONFLICTS.has(code)) return true
  }
  return false
}

/** How long between two tries, in milliseconds: it doubles up to the most. */
const PAUSE = { first: 50, most: 1_000 }

const spoken = (milliseconds: number): string =>
  Duration.format(Duration.millis(Math.round(milliseconds / 1_000) * 1_000))

export const make = (name: string, options: Options = {}): ServerPatience => {
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "10 minutes"))
  const deadline = Duration.fromInputUnsafe(options.deadline ?? "30 seconds")
  let awaySince: number | undefined

  const once: ServerPatience["once"] = (statement) =>
    Effect.timeoutOrElse(statement, {
      duration: deadline,
      orElse: () =>
        Effect.fail(
          new SqlError.SqlError({
            reason: new SqlError.ConnectionError({
              cause: new Error(TOO_LATE),
              message: TOO_LATE,
              operation: "execute"
            })
          })
        )
    })

  const back = Effect.suspend(() => {
    if (awaySince === undefined) return Effect.void
    const since = awaySince
    awaySince = undefined
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      now - since < 1_000 ? Effect.void : Effect.logWarning(`${name} is back after ${spoken(now - since)}`)
    )
  })

  const again = <A>(
    statement: Effect.Effect<A, SqlError.SqlError>,
    error: SqlError.SqlError,
    pause: number
  ): Effect.Effect<A, SqlError.SqlError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (!isAway(error)) return Effect.fail(error)
      const isFirst = awaySince === undefined
      awaySince ??= now
      const left = awaySince + patience - now
      if (left <= 0) return Effect.fail(error)
      const said =
        isFirst && patience > PAUSE.most
          ? Effect.logWarning(
              `${name} is away (${ErrorCauses.messageOf(error)}): waiting up to ${spoken(patience)} for it`
            )
          : Effect.void
      return Effect.andThen(Effect.andThen(said, Effect.sleep(Math.min(pause, left))), waitFrom(statement, pause * 2))
    })

  const waitFrom = <A>(
    statement: Effect.Effect<A, SqlError.SqlError>,
    pause: number
  ): Effect.Effect<A, SqlError.SqlError> =>
    Effect.matchEffect(once(statement), {
      onFailure: (error) => again(statement, error, Math.min(pause, PAUSE.most)),
      onSuccess: (value) => (awaySince === undefined ? Effect.succeed(value) : Effect.as(back, value))
    })

  return { once, wait: (statement) => waitFrom(statement, PAUSE.first), awaySince: () => awaySince }
}
