/**
 * A physical attempt at a provider, and the hooks around it. A hook sees every attempt, retries and those of batches
 * included. It may change the request, refuse it, and receives its end. The ledger and budgets are hooks.
 *
 * **Example** (a log of attempts)
 *
 * ```ts
 * import { ModelClient } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * const log: Array<string> = []
 *
 * export const attempts = ModelClient.onAttempt(
 *   ({ provider, request }) =>
 *     Effect.succeed({ onEnd: ({ billed }) => void log.push(`${provider} ${request.model}: billed ${billed}`) }),
 *   { name: "AttemptLog", answers: false }
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse } from "../model/ModelResponse.ts"
import type { Money } from "../price/Money.ts"

/** An attempt that is about to start. */
export interface AttemptCall<out R extends ModelRequest = ModelRequest> {
  readonly request: R
  readonly provider: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** The requested service tier, when it is not the standard one. */
  readonly serviceTier?: string
  /** The request goes in a batch: its answer arrives later, perhaps in another process. */
  readonly isBatched?: boolean
  /** The request is a re-ask: it is sent again with what was wrong with the previous answer. */
  readonly isReask?: boolean
  /** The output limit was set by another hook and not by the caller, so it may be lowered. */
  readonly limited?: boolean
  /** A simulator answers in place of the provider. */
  readonly isSimulated?: boolean
  /** The most output tokens that the model has room for in this request, when the provider has said so. */
  readonly room?: number
}

/** The result of an attempt. */
export interface AttemptEnd {
  /** The answer, even when it was rejected as unusable afterwards. */
  readonly response?: ModelResponse
  /** The failure. The provider may have reported usage with it (`ModelFailure.usageOf`). */
  readonly error?: AiError.AiError
  /**
   * `yes`: the provider answered and bills. `no`: it refused before any work, or the request was not sent. `unknown`:
   * the call was cut in flight and may be billed.
   */
  readonly billed: "yes" | "no" | "unknown"
  /** From the start of the attempt to its end; absent for requests of batches and those that were not sent. */
  readonly milliseconds?: number
}

/** An amount that is reserved until an attempt ends. */
export interface Held {
  /** Picodollars. */
  readonly money: Money
  readonly tokens: number
}

/** What a hook wants of an attempt. */
export interface Admission<out R extends ModelRequest = ModelRequest> {
  /** The request to send instead. */
  readonly request?: R
  /** Whether the hook has set the output limit. An answer truncated by it is not returned to the caller. */
  readonly limited?: boolean
  /** The amount that the hook reserves until the end. Batches store it. */
  readonly held?: Held
  /** Runs when all hooks have admitted the attempt, before it is sent. Not called for requests of batches. */
  readonly onStart?: (call: AttemptCall) => Effect.Effect<void> | undefined
  /** Called once when the attempt has ended, however it ended; also when another hook refused it. */
  readonly onEnd?: (ended: AttemptEnd) => void
}

/** Admits an attempt, delays it, or refuses it. */
export type AttemptHook = <R extends ModelRequest>(call: AttemptCall<R>) => Effect.Effect<Admission<R>, AiError.AiError>

/** What a custom hook wants of an attempt: `onEnd` may return an effect. */
export interface Watched<out R extends ModelRequest = ModelRequest, out E = never, out S = never> extends Omit<
  Admission<R>,
  "onEnd"
> {
  /**
   * Called once when the attempt has ended, however it ended; also when another hook refused it. An effect that it
   * returns runs soon after, one at a time. A failure of it is a warning.
   */
  readonly onEnd?: (ended: AttemptEnd) => void | Effect.Effect<unknown, E, S>
}

/** A custom hook. See `ModelClient.onAttempt`. */
export type Watch<E = never, S = never> = <R extends ModelRequest>(
  call: AttemptCall<R>
) => Effect.Effect<Watched<R, E, S>, AiError.AiError>

/**
 * An attempt that all hooks have admitted.
 *
 * @internal
 */
export interface Admitted<out R extends ModelRequest = ModelRequest> {
  readonly request: R
  readonly limited: boolean
  readonly held: Held | undefined
  readonly start: (call: AttemptCall) => Effect.Effect<void> | undefined
  readonly end: (ended: AttemptEnd) => void
}

const larger = (one: Held | undefined, other: Held | undefined): Held | undefined =>
  one === undefined || other === undefined
    ? (one ?? other)
    : { money: one.money > other.money ? one.money : other.money, tokens: Math.max(one.tokens, other.tokens) }

/**
 * Calls every `onEnd`, whatever any of them does. It does not keep the request in memory: a batch has many, for long.
 */
const endAll = (admissions: ReadonlyArray<Admission>): Admitted["end"] => {
  const ends: Array<NonNullable<Admission["onEnd"]>> = []
  for (const { onEnd } of admissions) if (onEnd !== undefined) ends.push(onEnd)
  if (ends.length === 1) return ends[0]!
  const from = (at: number, ended: AttemptEnd): void => {
    if (at >= ends.length) return
    try {
      ends[at]!(ended)
    } finally {
      from(at + 1, ended)
    }
  }
  return (ended) => from(0, ended)
}

const startAll =
  (admissions: ReadonlyArray<Admission>) =>
  (call: AttemptCall): Effect.Effect<void> | undefined => {
    let all: Effect.Effect<void> | undefined
    for (const { onStart } of admissions) {
      const one = onStart?.(call)
      if (one !== undefined) all = all === undefined ? one : Effect.andThen(all, one)
    }
    return all
  }

/**
 * The value of an effect that has nothing to do; `undefined` when it has.
 *
 * @internal
 */
export const immediate = <A, E>(effect: Effect.Effect<A, E>): A | undefined =>
  Exit.isExit(effect) && Exit.isSuccess(effect) ? (effect.value as A) : undefined

/**
 * Calls the hooks one after the other. Each sees the request as the hooks before have left it. When one refuses, the
 * hooks before receive an end with nothing billed.
 *
 * @internal
 */
export const admit = <R extends ModelRequest>(
  hooks: ReadonlyArray<AttemptHook>,
  call: AttemptCall<R>
): Effect.Effect<Admitted<R>, AiError.AiError> => {
  const admissions: Array<Admission<R>> = []
  let { request } = call
  let limited = call.limited === true
  let held: Held | undefined
  const take = (admission: Admission<R>): void => {
    admissions.push(admission)
    if (admission.request !== undefined) request = admission.request
    if (admission.limited === true) limited = true
    held = larger(held, admission.held)
  }
  const done = (): Admitted<R> => ({
    request,
    limited: limited && call.limited !== true,
    held,
    start: startAll(admissions),
    end: endAll(admissions)
  })
  const from = (at: number): Effect.Effect<Admitted<R>, AiError.AiError> => {
    for (let index = at; index < hooks.length; index++) {
      const isSame = request === call.request && limited === (call.limited === true)
      const admission = hooks[index]!(isSame ? call : limited ? { ...call, request, limited } : { ...call, request })
      const known = immediate(admission)
      if (known !== undefined) take(known)
      else {
        return Effect.flatMap(
          Effect.onError(admission, () => Effect.sync(() => endAll(admissions)({ billed: "no" }))),
          (admitted) => {
            take(admitted)
            return from(index + 1)
          }
        )
      }
    }
    return Effect.succeed(done())
  }
  return from(0)
}
