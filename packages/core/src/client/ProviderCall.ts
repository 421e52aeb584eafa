/**
 * A physical attempt at a provider: admitted by the hooks, sent, and ended for each of them however it ends.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type { ModelRequest } from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Attempt from "./Attempt.ts"
import * as ModelSettings from "./ModelSettings.ts"
import type { Send } from "./Send.ts"

/** Tests whether the caller accepts an empty answer. */
const keepsEmpty = (): boolean => Fiber.getCurrent()?.getRef(ModelSettings.ModelSettings).truncated === "keep"

interface Environment {
  readonly step: string
  readonly expected: ExpectedUsage.ExpectedUsage
  readonly clock: Clock.Clock
  readonly hooks: ReadonlyArray<Attempt.AttemptHook>
}

type Answer<R extends ModelRequest> = Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError>

/** Wraps a function that calls the provider so that each call is an attempt. */
export const make =
  (send: Send) =>
  <R extends ModelRequest>(call: Attempt.AttemptCall<R>, environment: Environment): Answer<R> => {
    const admission = Attempt.admit(environment.hooks, call)
    const admitted = Attempt.immediate(admission)
    return admitted !== undefined && !admitted.limited
      ? sent(send, call, environment, admitted)
      : reserved(send, call, environment, admission)
  }

/** Calls the provider, and ends the attempt for its hooks. */
const attempt = <R extends ModelRequest>(
  send: Send,
  call: Attempt.AttemptCall<R>,
  { clock, expected, step }: Environment,
  admitted: Attempt.Admitted<R>
): Answer<R> => {
  const end = (outcome: Attempt.AttemptEnd) =>
    admitted.end({ milliseconds: clock.currentTimeMillisUnsafe() - call.startedAt, ...outcome })
  return Effect.onExitPrimitive(Effect.map(send(call.request), ModelResponse.sound), (exit) => {
    if (Exit.isSuccess(exit)) {
      const response: ModelResponse.ModelResponse = exit.value
      end({ response, billed: "yes" })
      if (response._tag === "CompletionResponse" && response.usage !== undefined)
        expected.learn(step, call.request.model ?? "", Usage.outputTokens(response.usage))
      // An answer truncated by a hook's limit is requested again.
      if (admitted.limited && ModelResponse.isTruncated(exit.value)) return undefined
      const refused = ModelFailure.refusal(exit.value, keepsEmpty)
      return refused === undefined ? undefined : Effect.fail(refused)
    }
    const failed = exit.cause.reasons.find(Cause.isFailReason)
    if (failed === undefined) end({ billed: "unknown" })
    else if (ModelFailure.isUnsent(failed.error)) admitted.end({ error: failed.error, billed: "no" })
    else end({ error: failed.error, billed: ModelFailure.mayBeBilled(failed.error) ? "unknown" : "no" })
    return undefined
  })
}

/** An attempt that every hook admits at once, without a limit of its own. */
const sent = <R extends ModelRequest>(
  send: Send,
  call: Attempt.AttemptCall<R>,
  environment: Environment,
  admitted: Attempt.Admitted<R>
): Answer<R> => {
  const admittedCall = admitted.request === call.request ? call : { ...call, request: admitted.request }
  const start = admitted.start(admittedCall)
  const answer = attempt(send, admittedCall, environment, admitted)
  return start === undefined ? answer : Effect.andThen(start, answer)
}

/** From its admission to its end, an attempt is never left without an owner. */
const reserved = <R extends ModelRequest>(
  send: Send,
  call: Attempt.AttemptCall<R>,
  environment: Environment,
  admission: Effect.Effect<Attempt.Admitted<R>, AiError.AiError>
): Answer<R> =>
  Effect.flatMap(
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(admission, (admitted) => {
        const startedAt = environment.clock.currentTimeMillisUnsafe()
        const admittedCall = { ...call, request: admitted.request, startedAt }
        const start = admitted.start(admittedCall)
        const answer = Effect.map(
          Effect.result(restore(attempt(send, admittedCall, environment, admitted))),
          (result) => ({
            result,
            admitted
          })
        )
        if (start === undefined) return answer
        const started = Effect.onExit(restore(start), (exit) =>
          Exit.isSuccess(exit) ? Effect.void : Effect.sync(() => admitted.end({ billed: "no" }))
        )
        return Effect.andThen(started, answer)
      })
    ),
    ({ admitted, result }) => {
      const { limited, request } = admitted
      if (!limited) return Effect.fromResult(result)
      const again = (changes: Pick<Attempt.AttemptCall, "room"> = {}) =>
        Effect.suspend(() => {
          const next = { ...call, ...changes, startedAt: environment.clock.currentTimeMillisUnsafe() }
          return reserved(send, next, environment, Attempt.admit(environment.hooks, next))
        })
      if (Result.isSuccess(result)) {
        // Truncated by a limit that the caller did not set: paid for, and sent again with a larger one, or refused.
        return ModelResponse.isTruncated(result.success) ? again() : Effect.succeed(result.success)
      }
      // The model does not accept such a large limit, or has no room for it: sent again with the largest one it
      // accepts.
      const largest = ModelFailure.outputLimit(result.failure)
      const limit = request._tag === "Completion" ? (request.settings.maxTokens ?? 0) : 0
      return largest !== undefined && largest < limit ? again({ room: largest }) : Effect.fail(result.failure)
    }
  )
