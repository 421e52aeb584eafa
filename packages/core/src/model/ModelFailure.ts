/**
 * Classifies a failed call by the tagged reason of its `AiError`, never by the text of a message: what can be retried,
 * what stops a whole run, and what another model might answer.
 *
 * **Example**
 *
 * ```ts
 * import { ModelFailure } from "@pipe/core"
 * import { AiError } from "effect/ai"
 *
 * const error = AiError.make({ module: "acme", method: "send", reason: new AiError.RateLimitError({}) })
 * ModelFailure.kind(error) // => "rate"
 * ModelFailure.isRetryable(error) // => true
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as Nesting from "../encoding/Nesting.ts"
import * as ModelResponse from "./ModelResponse.ts"
import type * as Usage from "./Usage.ts"

/**
 * - `rate`: too many requests or tokens for now
 * - `transient`: a temporary failure of the provider or the network
 * - `quota`: the account is out of credit; no call will succeed
 * - `budget`: the caller's own budget is spent
 * - `auth`: the key is missing, invalid or not permitted; no call will succeed
 * - `overflow`: the request does not fit the model's context window
 * - `refused`: the model or a content policy refuses to answer
 * - `output`: the answer does not fit the request
 * - `final`: any other failure; a retry would fail again
 */
export type Kind = "rate" | "transient" | "quota" | "budget" | "auth" | "overflow" | "refused" | "output" | "final"

/**
 * The metadata key of a `QuotaExhaustedError` that marks the caller's own budget, as opposed to the provider's quota.
 */
export const budgetKey = "budget"

/** The metadata key that says whether the budget is spent: a larger budget would admit the call. */
export const reachedKey = "reached"

/** Tests whether a call failed because a budget has no room for it. */
export const isBudgetReached = (error: AiError.AiError): boolean =>
  error.reason._tag === "QuotaExhaustedError" && (error.reason.metadata as Record<string, unknown>)[reachedKey] === true

/** The `constraint` of a request that does not fit the context window. */
export const contextWindow = "context window"

/** The `constraint` of a request that fails for every row: an unknown model, address or setting. */
export const setUp = "set-up"

/** Tests whether a failure is independent of the row: every row would meet it. */
export const isForAll = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "InvalidRequestError"
    ? reason.constraint === setUp
    : reason._tag === "NetworkError" || reason._tag === "UnsupportedSchemaError"

/** Classifies a failure: whether it can be retried, needs another model, or stops the run. */
export const kind = (error: AiError.AiError): Kind => {
  const reason = error.reason
  switch (reason._tag) {
    case "RateLimitError":
      return "rate"
    case "QuotaExhaustedError":
      return (reason.metadata as Record<string, unknown>)[budgetKey] === true ? "budget" : "quota"
    case "AuthenticationError":
      return "auth"
    case "ContentPolicyError":
      return "refused"
    case "InvalidRequestError":
      return reason.constraint === contextWindow ? "overflow" : "final"
    case "InternalProviderError":
      return "transient"
    case "NetworkError":
      return reason.isRetryable ? "transient" : "final"
    case "InvalidResponseError":
      return "transient"
    case "InvalidOutputError":
    case "StructuredOutputError":
      return "output"
    default:
      return "final"
  }
}

/**
 * Tests whether the same request to the same model may succeed later. If the provider says so (`x-should-retry`), that
 * decides.
 */
export const isRetryable = (error: AiError.AiError): boolean => {
  const said = metadataOf(error)?.[shouldRetryKey]
  if (typeof said === "boolean") return said
  const k = kind(error)
  return k === "rate" || k === "transient"
}

/** Tests whether the request was forbidden: the key may not use the model, or a firewall rejects the text. */
export const isDenied = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "AuthenticationError" && reason.kind === "InsufficientPermissions"

/**
 * Tests whether every other call to this provider would fail in the same way, so the run should stop: no credit, no
 * valid key, the server unreachable even after retries, or a rate limit that resets later than the longest wait
 * allowed.
 */
export const isHopeless = (error: AiError.AiError): boolean => {
  const k = kind(error)
  return (
    k === "quota"
    || (k === "auth" && !isDenied(error))
    || (error.reason._tag === "NetworkError" && causeOf(error.reason)?.isUnreachable === true)
    || metadataOf(error)?.[stopsKey] === true
  )
}

/**
 * The cause of a `NetworkError`: how far a request got that has no answer. Providers set it. Without it the request may have been sent, and
 * billed.
 *
 * **Remedy** Check the network and the provider's address with `pipe doctor`, then run the same command again.
 */
export class NoAnswer extends Schema.TaggedError<NoAnswer>()("NoAnswer", {
  /** The endpoint accepts no connection. */
  isUnreachable: Schema.Boolean,
  /** The request was sent completely, so the provider may have done the work. */
  isSent: Schema.Boolean
}) {}

/** Recognises one made by another copy of this package, or decoded from a store. */
const isNoAnswer = Schema.is(
  Schema.Struct({ _tag: Schema.tag("NoAnswer"), isUnreachable: Schema.Boolean, isSent: Schema.Boolean })
)

const causeOf = ({ cause }: AiError.NetworkError): Pick<NoAnswer, "isUnreachable" | "isSent"> | undefined =>
  isNoAnswer(cause) ? cause : undefined

/** What an unusable answer says about its price: the model, the service tier, and the reported cost in USD. */
export type FailedAnswer = Partial<Pick<ModelResponse.CompletionResponse, "model" | "serviceTier" | "reportedCost">>

const counts = new WeakMap<AiError.AiError, { readonly usage: Usage.Usage; readonly answered: FailedAnswer }>()

/** Attaches the usage that a provider reported for a failed call: that is what the call costs. */
export const withUsage = (
  error: AiError.AiError,
  usage: Usage.Usage | undefined,
  answered: FailedAnswer = {}
): AiError.AiError => {
  if (usage !== undefined) counts.set(error, { usage, answered })
  return error
}

/** The usage that a provider reported for a failed call; `undefined` when it reported none. */
export const usageOf = (error: AiError.AiError): Usage.Usage | undefined => counts.get(error)?.usage

/** The model that answered a failed call, when it reported usage. */
export const answeredBy = (error: AiError.AiError): FailedAnswer => counts.get(error)?.answered ?? {}

/** The most characters kept of an answer that could not be read. */
const MOST_ANSWER = 10_000

const answers = new WeakMap<AiError.AiError, string>()

/** Attaches the text received in place of an answer, for display. */
export const withAnswer = (error: AiError.AiError, answer: unknown): AiError.AiError => {
  const text = typeof answer === "string" || answer === undefined ? answer : Nesting.shown(answer)
  if (text !== undefined) answers.set(error, text.slice(0, MOST_ANSWER).toWellFormed())
  return error
}

/** The text received in place of an answer, or the answer that does not fit. */
export const answerOf = (error: AiError.AiError): string | undefined => {
  const { reason } = error
  return "responseText" in reason && typeof reason.responseText === "string" ? reason.responseText : answers.get(error)
}

/** Copies a failure with everything attached to it. */
export const copyOf = (error: AiError.AiError): AiError.AiError => {
  const { method, module, reason } = error
  const copy = withUsage(AiError.make({ module, method, reason }), usageOf(error), answeredBy(error))
  const answer = answers.get(error)
  return answer === undefined ? copy : withAnswer(copy, answer)
}

/** The metadata key that says whether the provider may bill a failed call, when its kind does not decide that. */
export const billableKey = "mayBeBilled"

/** Kinds of failure that happen before any work. */
const unbilled: ReadonlySet<string> = new Set([
  "RateLimitError",
  "QuotaExhaustedError",
  "AuthenticationError",
  "ContentPolicyError",
  "InvalidRequestError",
  "UnsupportedSchemaError"
])

/** Tests whether the provider may have done the work, and may bill it, although no answer arrived. */
export const mayBeBilled = ({ reason }: AiError.AiError): boolean => {
  const said = "metadata" in reason ? (reason.metadata as Record<string, unknown>)[billableKey] : undefined
  if (typeof said === "boolean") return said
  return reason._tag === "NetworkError"
    ? (causeOf(reason)?.isSent ?? reason.reason === "TransportError")
    : !unbilled.has(reason._tag)
}

/** The metadata key by which a provider says that a request was not sent, because its API cannot express it. */
export const unsentKey = "isUnsent"

/** Tests whether a request was not sent: there was no call. */
export const isUnsent = (error: AiError.AiError): boolean => metadataOf(error)?.[unsentKey] === true

/** The metadata key for the largest output limit (tokens) that is accepted, when a larger one was refused. */
export const outputLimitKey = "outputLimit"

/**
 * The largest output limit that a model accepts, according to a failure. For a context window that is too small, the
 * room that the request leaves.
 */
export const outputLimit = ({ reason }: AiError.AiError): number | undefined => {
  const limit = reason._tag === "InvalidRequestError" ? reason.metadata[outputLimitKey] : undefined
  return typeof limit === "number" ? limit : undefined
}

const metadataOf = ({ reason }: AiError.AiError): { readonly [key: string]: unknown } | undefined =>
  "metadata" in reason ? (reason.metadata as { readonly [key: string]: unknown }) : undefined

/** The metadata key by which a provider says whether a call can be retried. */
export const shouldRetryKey = "shouldRetry"

/** The metadata key that says that no other call to the provider would succeed for now. */
const stopsKey = "stopsRun"

/** The failure of a call that would wait longer than allowed: the run stops and can be resumed later. */
export const waitTooLong = (description: string, milliseconds: number): AiError.RateLimitError =>
  new AiError.RateLimitError({
    retryAfter: Duration.millis(milliseconds),
    metadata: { description, [stopsKey]: true }
  })

/** A failure that every other call would meet, and that no attempt mends: the run stops. */
export const stopping = (module: string, description: string): AiError.AiError =>
  AiError.make({
    module,
    method: "send",
    reason: new AiError.InvalidRequestError({ description, constraint: setUp, metadata: { [stopsKey]: true } as never })
  })

/** Formats a wait. */
export const durationText = (wait: Duration.Duration): string =>
  Duration.isGreaterThan(wait, Duration.days(366)) ? "more than a year" : Duration.format(wait)

/** How long the provider asks to wait, from a 429 or any other response that says so. */
export const retryAfter = (error: AiError.AiError): Duration.Duration | undefined => {
  if (error.retryAfter !== undefined) return error.retryAfter
  const millis = metadataOf(error)?.[retryAfterKey]
  return typeof millis === "number" ? Duration.millis(millis) : undefined
}

/** The metadata key for the wait (milliseconds) that the provider asked for. */
export const retryAfterKey = "retryAfterMillis"

/**
 * The failure for a completion that is not an answer: refused, filtered, broken off by the provider, or empty.
 * `undefined` for any other. An empty text is an answer when the model ended by itself.
 */
export const refusal = (
  response: ModelResponse.ModelResponse,
  /** Tests whether an empty answer is accepted. */
  keepsEmpty: () => boolean = () => false
): AiError.AiError | undefined => {
  const reason = response._tag === "CompletionResponse" ? reasonOf(response, keepsEmpty) : undefined
  if (reason === undefined) return undefined
  const error = AiError.make({ module: response.provider, method: "send", reason })
  const answer = response._tag === "CompletionResponse" ? ModelResponse.shown(response) : ""
  return answer === "" ? error : withAnswer(error, answer)
}

const reasonOf = (
  response: ModelResponse.CompletionResponse,
  keepsEmpty: () => boolean
): AiError.AiErrorReason | undefined => {
  const { finishReason, parts } = response
  if (response.refusal !== undefined) {
    return new AiError.ContentPolicyError({ description: `the model refused: ${response.refusal}` })
  }
  switch (finishReason) {
    case "content-filter":
      return new AiError.ContentPolicyError({ description: "the provider's content filter stopped the answer" })
    case "error":
      return new AiError.InternalProviderError({ description: "the provider interrupted the answer with an error" })
    case "pause":
      return new AiError.InvalidRequestError({
        description: "the provider paused the answer for its own tools, which are not supported"
      })
  }
  if (ModelResponse.hasContent(response)) return undefined
  if (finishReason === "length") {
    return new AiError.InvalidRequestError({
      description:
        "the answer is empty: its output limit was used up before it started, for example by thinking. Set a larger maxTokens, or a lower reasoningEffort"
    })
  }
  return finishReason === "stop" && (parts.some(({ type }) => type === "text") || keepsEmpty())
    ? undefined
    : new AiError.InvalidResponseError({
        description: `the answer is empty: it has no text and no tool call${finishReason === "stop" ? '. To accept empty answers: truncated: "keep"' : ""}`
      })
}

/** The message for display: without the module prefix and general advice. */
export const message = (error: AiError.AiError): string => {
  const own = description(error)
  const wait = own === undefined ? undefined : retryAfter(error)
  return wait === undefined ? (own ?? error.reason.message) : `${own}; the limit resets in ${durationText(wait)}`
}

/** The provider's own words, if any. */
export const description = ({ reason }: AiError.AiError): string | undefined => {
  const own =
    "description" in reason ? reason.description : "metadata" in reason ? reason.metadata["description"] : undefined
  return typeof own === "string" && own !== "" ? own : undefined
}
