/**
 * What kind of trouble a failed call is in, by the tagged reason of its `AiError` and never by the text of a message:
 * what may be tried again, what stops a whole run, what another model might answer.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as ModelResponse from "./ModelResponse.ts"
import type * as Usage from "./Usage.ts"

/**
 * - `rate`: too many requests or tokens for now
 * - `transient`: the provider or the network failed in a way that may pass
 * - `quota`: the account is out of credit: no call will succeed
 * - `budget`: the caller's own budget has nothing left for it
 * - `auth`: the key is missing, wrong or not allowed: no call will succeed
 * - `overflow`: the request does not fit the model's context window
 * - `refused`: the model or a content policy will not answer this
 * - `output`: an answer came but does not fit what was asked for
 * - `final`: anything else; trying again gives the same
 */
export type Kind = "rate" | "transient" | "quota" | "budget" | "auth" | "overflow" | "refused" | "output" | "final"

/** The key in the metadata of a `QuotaExhaustedError` by which a budget of the caller's own is told from the provider's. */
export const budgetKey = "budget"

/** The key beside it that says whether the budget is spent: a larger one would let the call through. */
export const reachedKey = "reached"

export const isBudgetReached = (error: AiError.AiError): boolean =>
  error.reason._tag === "QuotaExhaustedError" && (error.reason.metadata as Record<string, unknown>)[reachedKey] === true

/** The `constraint` by which a provider marks a request that does not fit the context window. */
export const contextWindow = "context window"

/** The `constraint` of a request that fails whatever its row is: a model, an address or a setting that is not there. */
export const setUp = "set-up"

/** Whether a failure says nothing of the row that met it: any row would meet it. */
export const isForAll = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "InvalidRequestError"
    ? reason.constraint === setUp
    : reason._tag === "NetworkError" || reason._tag === "UnsupportedSchemaError"

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

/** Whether the same request to the same model may succeed later; a provider that says so (`x-should-retry`) knows best. */
export const isRetryable = (error: AiError.AiError): boolean => {
  const said = metadataOf(error)?.[shouldRetryKey]
  if (typeof said === "boolean") return said
  const k = kind(error)
  return k === "rate" || k === "transient"
}

/** Whether the request was not permitted: the key may not use the model, or a firewall does not like the text. */
export const isDenied = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "AuthenticationError" && reason.kind === "InsufficientPermissions"

/**
 * Whether every other call to this provider will fail the same way, so that a run had better stop: no credit, no key, nobody there,
 * also after retries, or a limit that is there again after longer than anybody waits.
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
 * The cause of a `NetworkError`: how far a request came that has no answer. A provider gives it; without it a request may have been
 * sent, and so billed.
 */
export class NoAnswer extends Schema.TaggedError<NoAnswer>()("NoAnswer", {
  /** The endpoint takes no connection. */
  isUnreachable: Schema.Boolean,
  /** The request had been sent whole: the provider may have done the work. */
  isSent: Schema.Boolean
}) {}

/** Also one that another copy of this package has made, or that was stored. */
const isNoAnswer = Schema.is(
  Schema.Struct({ _tag: Schema.tag("NoAnswer"), isUnreachable: Schema.Boolean, isSent: Schema.Boolean })
)

const causeOf = ({ cause }: AiError.NetworkError): Pick<NoAnswer, "isUnreachable" | "isSent"> | undefined =>
  isNoAnswer(cause) ? cause : undefined

/** What an answer that cannot be used says of its price: who gave it, in which class of service, and its own cost in USD. */
export type FailedAnswer = Partial<Pick<ModelResponse.CompletionResponse, "model" | "serviceTier" | "reportedCost">>

const counts = new WeakMap<AiError.AiError, { readonly usage: Usage.Usage; readonly answered: FailedAnswer }>()

/** The failure of a call that the provider has counted all the same: that is what it costs. */
export const withUsage = (
  error: AiError.AiError,
  usage: Usage.Usage | undefined,
  answered: FailedAnswer = {}
): AiError.AiError => {
  if (usage !== undefined) counts.set(error, { usage, answered })
  return error
}

/** What a provider has counted of a call that failed; `undefined`: nothing. */
export const usageOf = (error: AiError.AiError): Usage.Usage | undefined => counts.get(error)?.usage

/** Who gave the answer of a call that failed, where it was counted. */
export const answeredBy = (error: AiError.AiError): FailedAnswer => counts.get(error)?.answered ?? {}

/** Characters that are kept of an answer that could not be read. */
const MOST_ANSWER = 10_000

const answers = new WeakMap<AiError.AiError, string>()

/** The failure with what came in place of an answer: a person may want to look at it. */
export const withAnswer = (error: AiError.AiError, answer: unknown): AiError.AiError => {
  const text = typeof answer === "string" ? answer : JSON.stringify(answer)
  if (text !== undefined) answers.set(error, text.slice(0, MOST_ANSWER).toWellFormed())
  return error
}

/** What came in place of an answer, or was one that does not fit. */
export const answerOf = (error: AiError.AiError): string | undefined => {
  const { reason } = error
  return "responseText" in reason && typeof reason.responseText === "string" ? reason.responseText : answers.get(error)
}

/** The same failure as another object, with what is known of it. */
export const copyOf = (error: AiError.AiError): AiError.AiError => {
  const { method, module, reason } = error
  const copy = withUsage(AiError.make({ module, method, reason }), usageOf(error), answeredBy(error))
  const answer = answers.get(error)
  return answer === undefined ? copy : withAnswer(copy, answer)
}

/** The key in a reason's metadata that says whether the provider may bill a call that failed, where its kind does not. */
export const billableKey = "mayBeBilled"

/** Kinds of failure that come before any work. */
const unbilled: ReadonlySet<string> = new Set([
  "RateLimitError",
  "QuotaExhaustedError",
  "AuthenticationError",
  "ContentPolicyError",
  "InvalidRequestError",
  "UnsupportedSchemaError"
])

/** Whether the provider may have done the work, and so bill it, though no answer arrived. */
export const mayBeBilled = ({ reason }: AiError.AiError): boolean => {
  const said = "metadata" in reason ? (reason.metadata as Record<string, unknown>)[billableKey] : undefined
  if (typeof said === "boolean") return said
  return reason._tag === "NetworkError"
    ? (causeOf(reason)?.isSent ?? reason.reason === "TransportError")
    : !unbilled.has(reason._tag)
}

/** The key in a reason's metadata for the largest output limit (tokens) that would have been taken, where a larger one was refused. */
export const outputLimitKey = "outputLimit"

/**
 * The largest output limit that a model takes, from a failure that says so; from one of a context window that is too small, what
 * the request leaves of it.
 */
export const outputLimit = ({ reason }: AiError.AiError): number | undefined => {
  const limit = reason._tag === "InvalidRequestError" ? reason.metadata[outputLimitKey] : undefined
  return typeof limit === "number" ? limit : undefined
}

const metadataOf = ({ reason }: AiError.AiError): { readonly [key: string]: unknown } | undefined =>
  "metadata" in reason ? (reason.metadata as { readonly [key: string]: unknown }) : undefined

/** The key in a reason's metadata by which a provider says whether a call may be tried again. */
export const shouldRetryKey = "shouldRetry"

/** The key in a reason's metadata that says that no other call to the provider would do better for now. */
const stopsKey = "stopsRun"

/** The failure of a call that would have to wait for longer than it may: the run stops, and is resumed later. */
export const waitTooLong = (description: string, milliseconds: number): AiError.RateLimitError =>
  new AiError.RateLimitError({
    retryAfter: Duration.millis(milliseconds),
    metadata: { description, [stopsKey]: true }
  })

/** A wait in words. */
export const durationText = (wait: Duration.Duration): string =>
  Duration.isGreaterThan(wait, Duration.days(366)) ? "more than a year" : Duration.format(wait)

/** How long the provider asks to wait, from a 429 or any other answer that says so. */
export const retryAfter = (error: AiError.AiError): Duration.Duration | undefined => {
  if (error.retryAfter !== undefined) return error.retryAfter
  const millis = metadataOf(error)?.[retryAfterKey]
  return typeof millis === "number" ? Duration.millis(millis) : undefined
}

/** The key in a reason's metadata for the wait (milliseconds) that the provider asked for. */
export const retryAfterKey = "retryAfterMillis"

/**
 * An answer that is none, as a failure: a refusal, a filtered answer, one that the provider broke off, or one without
 * anything in it; `undefined` for any other. An empty text of a model that ended by itself is an answer.
 */
export const refusal = (
  response: ModelResponse.ModelResponse,
  /** Whether an answer without anything in it is one. */
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
      return new AiError.InternalProviderError({ description: "the provider broke the answer off with an error" })
    case "pause":
      return new AiError.InvalidRequestError({
        description: "the provider paused the answer, as it does for tools of its own; these are not supported"
      })
  }
  if (ModelResponse.hasContent(response)) return undefined
  if (finishReason === "length") {
    return new AiError.InvalidRequestError({
      description:
        "the answer is empty: its output limit was used up before it began, by thinking for instance. Set a larger maxTokens, or a lower reasoningEffort"
    })
  }
  return finishReason === "stop" && (parts.some(({ type }) => type === "text") || keepsEmpty())
    ? undefined
    : new AiError.InvalidResponseError({
        description: `the answer is empty: it has no text and no tool call${finishReason === "stop" ? '. Where an empty answer is one: truncated: "keep"' : ""}`
      })
}

/** The message for a person: without module prefix and generic advice. */
export const message = (error: AiError.AiError): string => {
  const own = description(error)
  const wait = own === undefined ? undefined : retryAfter(error)
  return wait === undefined ? (own ?? error.reason.message) : `${own}; the limit resets in ${durationText(wait)}`
}

/** The provider's own words, where it has some. */
export const description = ({ reason }: AiError.AiError): string | undefined => {
  const own =
    "description" in reason ? reason.description : "metadata" in reason ? reason.metadata["description"] : undefined
  return typeof own === "string" && own !== "" ? own : undefined
}
