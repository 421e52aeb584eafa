/**
 * Tokens that expire, such as those of a cloud's identity service: fetched at the first call, shared by all calls, and
 * renewed once for all who wait.
 *
 * **Example** (a token of an identity service)
 *
 * ```ts
 * import type { Tokens } from "@pipe/plugins/provider"
 * import { Clock, Effect } from "effect"
 * import type { AiError } from "effect/ai"
 *
 * // A call of the identity service goes here.
 * const signIn = Effect.succeed({ access_token: "a-token", expires_in: 3_600 })
 *
 * export const token: Effect.Effect<Tokens.Token, AiError.AiError> = Effect.gen(function* () {
 *   const { access_token, expires_in } = yield* signIn
 *   return { value: access_token, expiresAt: (yield* Clock.currentTimeMillis) + expires_in * 1_000 }
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Secret from "@pipe/core/internal/Secret"
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"

/** A token, and when it ends. */
export interface Token {
  readonly value: string | Redacted.Redacted
  /** Milliseconds since 1970. Default: it does not expire by itself. */
  readonly expiresAt?: number
}

/** The tokens of an endpoint. */
export interface Tokens {
  /** The current token. Fetched when there is none; all who wait share the fetch. */
  readonly current: Effect.Effect<string, AiError.AiError>
  /** Forgets a token that the endpoint refused. Others that have been fetched since are kept. */
  readonly forget: (value: string) => Effect.Effect<void>
}

/** A token is renewed this many milliseconds before it ends, or a tenth of its life if that is shorter. */
const MARGIN = 60_000

/** Keeps the tokens of an effect, in the scope of the layer. */
export const make = (get: Effect.Effect<Token, AiError.AiError>): Effect.Effect<Tokens, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    let held: { readonly value: string; readonly until: number } | undefined
    let pending: Deferred.Deferred<string, AiError.AiError> | undefined
    const fetched = Effect.gen(function* () {
      const before = yield* Clock.currentTimeMillis
      const { expiresAt: ends = Number.POSITIVE_INFINITY, value: given } = yield* get
      const value = (typeof given === "string" ? given : Redacted.value(given)).trim()
      // A time that is not one says nothing: the token is used until it is refused.
      const expiresAt = Number.isNaN(ends) ? Number.POSITIVE_INFINITY : ends
      Secret.register(value)
      held = { value, until: expiresAt - Math.min(MARGIN, Math.max(0, expiresAt - before) / 10) }
      return value
    })
    return {
      current: Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (held !== undefined && now < held.until) return Effect.succeed(held.value)
        if (pending !== undefined) return Deferred.await(pending)
        const fetch = (pending = Deferred.makeUnsafe<string, AiError.AiError>())
        // In the scope of the layer: a caller that is interrupted leaves the fetch to the others.
        const shared = Effect.onExit(fetched, (exit) =>
          Effect.suspend(() => {
            pending = undefined
            return Deferred.done(fetch, exit)
          })
        )
        return Effect.andThen(Effect.forkIn(shared, scope), Deferred.await(fetch))
      }),
      forget: (value) =>
        Effect.sync(() => {
          if (held?.value === value) held = undefined
        })
    }
  })
