/**
 * A physical attempt at a provider: admitted by the guard, noted before it is sent, and recorded however it ends.
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
import type { Admission, AttemptCall, AttemptEnd, Guard, Meter } from "./Attempt.ts"
import * as ModelSettings from "./ModelSettings.ts"
import type { Send } from "./Send.ts"

/** Tests whether the caller accepts an empty answer. */
const keepsEmpty = (): boolean => Fiber.getCurrent()?.getRef(ModelSettings.ModelSettings).truncated === "keep"

interface Hooks {
  readonly step: string
  readonly expected: ExpectedUsage.ExpectedUsage
  readonly clock: Clock.Clock
  readonly meter: Meter
  readonly guard: Guard | undefined
}

type Of<R extends ModelRequest> = AttemptCall & { readonly request: R }

type Answer<R extends ModelRequest> = Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError>

/** Wraps a function that calls the provider so that each call is an attempt. */
export const make = (send: Send) => {
  const attempt = <R extends ModelRequest>(
    call: Of<R>,
    { clock, expected, meter, step }: Hooks,
    admission?: Admission
  ): Answer<R> => {
    const end = (outcome: AttemptEnd) => {
      const ended = { call, milliseconds: clock.currentTimeMillisUnsafe() - call.startedAt, ...outcome }
      // Both are called, whatever either of them does.
      try {
        admission?.end(ended)
      } finally {
        meter.end(ended)
      }
    }
    return Effect.onExitPrimitive(Effect.map(send(call.request), ModelResponse.sound), (exit) => {
      if (Exit.isSuccess(exit)) {
        const response: ModelResponse.ModelResponse = exit.value
        end({ response, billed: "yes" })
        if (response._tag === "CompletionResponse" && response.usage !== undefined)
          expected.learn(step, call.request.model ?? "", Usage.outputTokens(response.usage))
        // An answer truncated by a guard's limit is requested again.
        if (admission?.limited === true && ModelResponse.isTruncated(exit.value)) return undefined
        const refused = ModelFailure.refusal(exit.value, keepsEmpty)
        return refused === undefined ? undefined : Effect.fail(refused)
      }
      const failed = exit.cause.reasons.find(Cause.isFailReason)
      end(
        failed === undefined
          ? { billed: "unknown" }
          : { error: failed.error, billed: ModelFailure.mayBeBilled(failed.error) ? "unknown" : "no" }
      )
      return undefined
    })
  }

  const begin = <R extends ModelRequest>(call: Of<R>, hooks: Hooks): Answer<R> => {
    const before = hooks.meter.begin(call)
    const sent = attempt(call, hooks)
    return before === undefined ? sent : Effect.andThen(before, sent)
  }

  /** From its reservation to its end, an admitted call is never left without an owner. */
  const guarded = <R extends ModelRequest>(call: Of<R>, guard: Guard, hooks: Hooks): Answer<R> =>
    Effect.flatMap(
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(guard(call), (admission) => {
          const admitted = { ...call, request: admission.request, startedAt: hooks.clock.currentTimeMillisUnsafe() }
          const before = hooks.meter.begin(admitted)
          const sent = Effect.map(Effect.result(restore(attempt(admitted, hooks, admission))), (result) => ({
            result,
            admission
          }))
          return before === undefined
            ? sent
            : Effect.andThen(
                Effect.onExit(restore(before), (exit) =>
                  Exit.isSuccess(exit) ? Effect.void : Effect.sync(() => admission.end({ billed: "no" }))
                ),
                sent
              )
        })
      ),
      ({ admission, result }) => {
        const { limited, request } = admission
        if (!limited) return Effect.fromResult(result)
        const again = (changes: Pick<AttemptCall, "room"> = {}) =>
          Effect.suspend(() =>
            guarded({ ...call, ...changes, startedAt: hooks.clock.currentTimeMillisUnsafe() }, guard, hooks)
          )
        if (Result.isSuccess(result)) {
          // Truncated by a limit that the caller did not set: paid for, and sent again with a larger one, or refused.
          return ModelResponse.isTruncated(result.success) ? again() : Effect.succeed(result.success)
        }
        // The model does not accept such a large limit, or has no room for it: sent again with the largest one it
        // accepts.
        const largest = ModelFailure.outputLimit(result.failure)
        const sent = request._tag === "Completion" ? (request.settings.maxTokens ?? 0) : 0
        return largest !== undefined && largest < sent ? again({ room: largest }) : Effect.fail(result.failure)
      }
    )

  return <R extends ModelRequest>(call: Of<R>, hooks: Hooks): Answer<R> =>
    hooks.guard === undefined ? begin(call, hooks) : guarded(call, hooks.guard, hooks)
}
