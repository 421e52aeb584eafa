/**
 * Retries calls that may succeed: one budget of attempts for failures, and one of re-asks for invalid answers.
 *
 * **Details** Retried, up to `attempts` in total: 408, 409, 429, 5xx, timeouts and dropped connections, with jittered
 * exponential back-off, or after exactly the time that the provider asks for (`Retry-After` in all its forms). Not
 * retried: other 4xx, refusals, exhausted quota, and a wait longer than `maxWait`. An answer that does not fit the
 * caller's schema, or cannot be read, is requested again up to `reasks` times, with everything that was wrong with it.
 * The same wrong answer twice ends the re-asks, and an answer that was truncated at its limit is not requested again,
 * because nothing would change. The retries of the SDKs are off, so attempts do not multiply.
 *
 * `Retry` repeats a failed call to the *same* model. See `Fallback` for another model, `Balance` for another endpoint,
 * and `Hedge` for calls that are late.
 *
 * **Example** (three attempts in total)
 *
 * ```ts
 * import { Retry } from "@pipe/core"
 *
 * export const retry = Retry.layer({ attempts: 3, maxWait: "30 seconds" })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as CallContext from "../client/CallContext.ts"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"

/** The options of `Retry.layer`. */
export interface Options {
  /** Attempts that may fail, including the first. Default: 6. */
  readonly attempts?: number
  /** How often an invalid answer is requested again. Default: 2, and 0 with one attempt. */
  readonly reasks?: number
  /** The first back-off, doubled each time. Default: 500 ms. */
  readonly base?: Duration.Input
  /** The longest back-off. Default: 30 seconds. */
  readonly maxPause?: Duration.Input
  /**
   * The longest wait that a provider may ask for. Beyond it the call fails and says when the limit resets. Default: 10
   * minutes.
   */
  readonly maxWait?: Duration.Input
  /** No attempt starts later than this after the first failure. Default: 10 minutes. */
  readonly within?: Duration.Input
}

/** Failures that a `Retry` has exhausted: another one above does not start again. */
const exhausted = new WeakSet<AiError.AiError>()

/** What is left of the budgets of a request, and its last failure. */
interface Trying {
  attempts: number
  reasks: number
  last: AiError.AiError | undefined
  /** Whether the last two wrong answers are the same. */
  isSame: boolean
}

/** Retries as the options say. Of several in a stack, the lowest counts: they share one budget of attempts. */
export const layer = (options: Options = {}): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> => {
  OptionNames.check("Retry.layer", options, ["attempts", "reasks", "base", "maxPause", "maxWait", "within"])
  OptionNames.checkNumbers("Retry.layer", options, {
    attempts: OptionNames.COUNT,
    reasks: { ...OptionNames.FROM_0, isWhole: true }
  })
  OptionNames.checkDurations("Retry.layer", options, ["base", "maxPause", "maxWait", "within"])
  const attempts = options.attempts ?? 6
  const reasks = options.reasks ?? Math.min(2, attempts - 1)
  const maxWait = Duration.fromInputUnsafe(options.maxWait ?? "10 minutes")
  const policy: Policy = { attempts, reasks, maxWait, schedule: makeSchedule(options, maxWait) }
  return ModelClient.middleware(
    (send) => (request) =>
      attempts <= 1 && reasks <= 0
        ? send(request)
        : Effect.catch(attempt(send, request), (first) =>
            // A `Retry` below has used its attempts.
            exhausted.has(first) ? Effect.fail(first) : again(send, request, first, policy)
          ),
    {
      name: "Retry",
      answers: false,
      annotations: Context.make(LayerAnnotations.Retries, true).pipe(
        Context.add(LayerAnnotations.Order, {
          once: "each would repeat the attempts of the other. Keep one, and set its `attempts`"
        })
      )
    }
  )
}

/** The resolved options of a layer. */
interface Policy {
  readonly attempts: number
  readonly reasks: number
  readonly maxWait: Duration.Duration
  readonly schedule: ReturnType<typeof makeSchedule>
}

/** Sends a request, and fails when the caller rejects the answer. */
const attempt = <R extends ModelRequest.ModelRequest>(send: ModelClient.Send, request: R) =>
  Effect.withFiber<ModelResponse.ResponseTo<R>, AiError.AiError>((fiber) => {
    const accept = fiber.getRef(CallContext.CallContext).accept
    return Effect.flatMap(send(request), (response) => {
      const problem = accept(response)
      return problem === undefined || ModelResponse.isTruncated(response)
        ? Effect.succeed(response)
        : Effect.fail(unfit(problem, response))
    })
  })

/** Retries after a first failure, until an attempt succeeds or another one is pointless. */
const again = <R extends ModelRequest.ModelRequest>(
  send: ModelClient.Send,
  request: R,
  first: AiError.AiError,
  { attempts, maxWait, reasks, schedule }: Policy
): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
  const trying: Trying = { attempts: attempts - 1, reasks, last: undefined, isSame: false }
  note(trying, first)
  let waiting = true
  const once = Effect.suspend(() => {
    // The schedule must see the first failure before anything is sent again.
    if (waiting) {
      waiting = false
      return Effect.fail(first)
    }
    const next = reask(request, trying.last ?? first)
    const sent = next === request ? attempt(send, next) : CallContext.provide({ isReask: true })(attempt(send, next))
    return Effect.tapError(sent, (error) => Effect.sync(() => note(trying, error)))
  })
  return Effect.mapError(Effect.retry(once, schedule(request.model ?? "", trying)), (error) => {
    // A provider may fail with the same error object each time, so a copy is marked.
    const marked = lastOf(error, maxWait)
    exhausted.add(marked)
    return marked
  })
}

/** Tests whether an answer arrived that is wrong or cannot be read: it is paid for, and another may be better. */
const isWrong = (error: AiError.AiError): boolean =>
  ModelFailure.kind(error) === "output" || error.reason._tag === "InvalidResponseError"

/**
 * An answer that is wrong in the same way as before will not improve. A network failure in between changes nothing.
 */
const note = (trying: Trying, error: AiError.AiError): void => {
  if (ModelFailure.kind(error) !== "output") return
  const before = trying.last
  trying.isSame = before !== undefined && ModelFailure.answerOf(before) === ModelFailure.answerOf(error)
  trying.last = error
}

const makeSchedule = (options: Options, maxWait: Duration.Duration) => {
  const maxPause = Duration.fromInputUnsafe(options.maxPause ?? "30 seconds")
  const backoff = Schedule.exponential(options.base ?? "500 millis").pipe(
    Schedule.setInputType<AiError.AiError>(),
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, maxPause))),
    Schedule.jittered,
    Schedule.upTo({ duration: options.within ?? "10 minutes" })
  )
  return (model: string, trying: Trying) =>
    Schedule.modifyDelay(
      Schedule.while(backoff, ({ input }) => Effect.sync(() => mayRetry(input, trying, maxWait))),
      ({ duration, input }) => {
        if (ModelFailure.kind(input) === "output") return Effect.succeed(Duration.zero)
        const given = ModelFailure.retryAfter(input)
        // A wait of zero would retry in a tight loop.
        const wait = given === undefined || Duration.isZero(given) ? duration : given
        return Effect.withFiberSucceed((fiber) => {
          const milliseconds = Duration.toMillis(wait)
          const until = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + milliseconds
          const failure = ModelFailure.description(input) ?? input.reason._tag
          fiber
            .getRef(RunHooks.RunHooks)
            .onEvent({ _tag: "Wait", reason: "retry", failure, model, milliseconds, until })
          return wait
        })
      }
    )
}

/** Decides whether to make another attempt, and takes it from its budget. */
const mayRetry = (error: AiError.AiError, trying: Trying, maxWait: Duration.Duration): boolean => {
  if (isWrong(error)) return !trying.isSame && trying.reasks-- > 0
  return ModelFailure.isRetryable(error) && !isTooLong(error, maxWait) && trying.attempts-- > 0
}

/** Tests whether the provider asks for a longer wait than allowed. */
const isTooLong = (error: AiError.AiError, maxWait: Duration.Duration): boolean => {
  const wait = ModelFailure.retryAfter(error)
  return wait !== undefined && Duration.isGreaterThan(wait, maxWait)
}

/** The failure of the last attempt. When a limit resets too late, it is marked as the failure of every other call. */
const lastOf = (error: AiError.AiError, maxWait: Duration.Duration): AiError.AiError => {
  if (ModelFailure.kind(error) !== "rate" || !isTooLong(error, maxWait)) return ModelFailure.copyOf(error)
  const description = ModelFailure.description(error) ?? error.reason.message
  return AiError.make({
    module: error.module,
    method: error.method,
    reason: ModelFailure.waitTooLong(
      `${description}: it is longer than the ${Duration.format(maxWait)} of Retry.layer({ maxWait })`,
      Duration.toMillis(ModelFailure.retryAfter(error)!)
    )
  })
}

const unfit = (problem: string, response: ModelResponse.ModelResponse): AiError.AiError =>
  AiError.make({
    module: response.provider,
    method: "send",
    reason: new AiError.StructuredOutputError({
      description: problem,
      responseText: response._tag === "CompletionResponse" ? ModelResponse.shown(response) : ""
    })
  })

/** The longest part of a wrong answer and of its problem that is sent back: a re-ask must not grow without bound. */
const MAX_NOTE = 1_000

/** The request for a re-ask: the original request, the wrong answer, and what was wrong with it. */
const reask = <R extends ModelRequest.ModelRequest>(request: R, error: AiError.AiError): R => {
  if (request._tag !== "Completion" || error.reason._tag !== "StructuredOutputError") return request
  const { description, responseText } = error.reason
  return {
    ...request,
    messages: [
      ...request.messages,
      ...(responseText.trim() === "" ? [] : [{ role: "assistant" as const, content: clip(responseText) }]),
      {
        role: "user" as const,
        content: `That answer does not fit what was asked for: ${clip(description)}\nAnswer again${
          request.responseFormat.type === "text" ? "." : ", with the corrected JSON only."
        }`
      }
    ]
  }
}

const clip = (text: string): string => (text.length <= MAX_NOTE ? text : `${text.slice(0, MAX_NOTE).toWellFormed()}…`)
