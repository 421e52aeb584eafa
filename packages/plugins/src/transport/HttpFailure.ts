/**
 * Answers that are not what was asked for, as `AiError` reasons: one mapping for all providers.
 *
 * @internal
 */
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as RateLimitHeaders from "@pipe/core/RateLimitHeaders"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"

/** What a provider said when it refused. */
export interface HttpRefusal {
  readonly module: string
  readonly status: number
  readonly message: string
  readonly code: string | undefined
  readonly type: string | undefined
  readonly headers: RateLimitHeaders.Get
  /** The wait that the body asks for, in milliseconds. */
  readonly wait: number | undefined
  /** Milliseconds since 1970. */
  readonly now: number
  /** The endpoint that was called, for the message of a 404. */
  readonly url: string
  /** Where the key came from, for the message of a 401. */
  readonly keySource: string
  /** How this endpoint says that a request is too long for its window, where that is in words of its own. */
  readonly overflow?: RegExp | undefined
}

/** What OpenAI and those who follow it call settings and models that they do not take (platform.openai.com, error codes). */
const SET_UP: ReadonlySet<string> = new Set([
  "unsupported_parameter",
  "unsupported_value",
  "unknown_parameter",
  "invalid_model",
  "model_not_found"
])

/** The key in a reason's metadata that says that the address, or what it names, is not there. */
const NOT_FOUND = "isNotFound"

/** Whether the address itself, or what it names, is not there. */
export const isNotFound = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "InvalidRequestError" && reason.metadata[NOT_FOUND] === true

const overflow =
  /context[ _](?:length|window|limit)|maximum context|prompt is too long|too many (?:input )?tokens|exceeds? the (?:model'?s )?(?:context|token)|(?:does|do) not fit\b.*window/i

/** Characters of a refusal's words that are looked at: expressions must not run over what a stranger makes long. */
const MOST_WORDS = 2_000

export const toAiError = (refusal: HttpRefusal): AiError.AiError =>
  AiError.make({
    module: refusal.module,
    method: "send",
    reason: toReason({ ...refusal, message: SafeText.line(refusal.message, MOST_WORDS) })
  })

const toReason = (refusal: HttpRefusal): AiError.AiErrorReason => {
  const { code, status, type } = refusal
  const wait =
    RateLimitHeaders.retryAfterMillis(refusal.headers, refusal.now)
    ?? refusal.wait
    ?? (status === 429 ? RateLimitHeaders.refusalMillis(refusal.headers, refusal.now) : undefined)
  const shouldRetry = RateLimitHeaders.shouldRetry(refusal.headers)
  const description = `${status} ${refusal.message}${code === undefined ? "" : ` (${SafeText.line(code, 200)})`}`
  const said = shouldRetry === undefined ? undefined : { [ModelFailure.shouldRetryKey]: shouldRetry }
  const metadata = { ...(wait === undefined ? undefined : { [ModelFailure.retryAfterKey]: wait }), ...said }
  if (isQuota(refusal)) {
    return new AiError.QuotaExhaustedError({
      metadata: { description: `${description}: add credit to the account, then run again: what was answered is kept` }
    })
  }
  if (code === "content_filter" || code === "content_policy_violation") {
    // Some endpoints bill the prompt of a request that they filter.
    return new AiError.ContentPolicyError({ description, metadata: { [ModelFailure.billableKey]: true } })
  }
  if (
    status === 400
    && (code === "context_length_exceeded"
      || overflow.test(refusal.message)
      || refusal.overflow?.test(refusal.message) === true)
  ) {
    const metadata = limitOf(roomIn(refusal.message))
    return new AiError.InvalidRequestError({ constraint: ModelFailure.contextWindow, description, metadata })
  }
  switch (status) {
    case 401:
      return new AiError.AuthenticationError({
        kind: "InvalidKey",
        description: `${description}: the key from ${refusal.keySource} was not accepted`
      })
    case 403:
      return new AiError.AuthenticationError({
        kind: "InsufficientPermissions",
        description: `${description}: the key may not use this, or a firewall refused this text`
      })
    case 404:
      return new AiError.InvalidRequestError({
        constraint: ModelFailure.setUp,
        metadata: { [NOT_FOUND]: true },
        description: `${description}: look at the model's name and at the address, ${SafeText.line(refusal.url, 200)}${/\/v\d+\/?$/.test(refusal.url) || refusal.module === "Anthropic" ? "" : ", which usually ends in /v1"}`
      })
    case 408:
    case 499:
      // A gateway gave up waiting: the work behind it may be done, and billed.
      return new AiError.InternalProviderError({ description, metadata })
    case 409:
      return new AiError.InternalProviderError({
        description,
        metadata: { ...metadata, [ModelFailure.billableKey]: false }
      })
    case 429:
      return new AiError.RateLimitError({
        ...(wait === undefined ? undefined : { retryAfter: Duration.millis(wait) }),
        metadata: { description, ...said }
      })
    default:
      return status >= 500
        ? new AiError.InternalProviderError({ description, metadata })
        : new AiError.InvalidRequestError({
            ...(code !== undefined && SET_UP.has(code) ? { constraint: ModelFailure.setUp } : undefined),
            description: type === undefined ? description : `${description} [${SafeText.line(type, 100)}]`,
            metadata: { ...limitOf(largestIn(refusal.message)), ...said }
          })
  }
}

/** The largest output limit, in the words of OpenAI, Anthropic, Groq, vLLM and DeepSeek. */
const largestLimit = /(?:at most|less than or equal to|<=|>|\[\d+,)\s*`?(\d+)/

const largestIn = (message: string): number | undefined =>
  /max_(?:completion_|output_)?tokens/.test(message) ? toNumber(largestLimit.exec(message)?.[1]) : undefined

/** The window, and what of it the input takes, in the words of OpenAI and vLLM, Anthropic, and Together. */
const rooms: ReadonlyArray<(message: string) => readonly [window: string | undefined, input: string | undefined]> = [
  (message) => [
    /maximum context length is (\d+)/.exec(message)?.[1],
    /(\d{1,9}) (?:in the (?:messages|prompt)|(?:input|prompt) tokens)/.exec(message)?.[1]
  ],
  (message) => {
    const [, input, window] = /(\d{1,9}) \+ \d{1,9} > (\d{1,9})/.exec(message) ?? []
    return [window, input]
  },
  (message) => {
    const [, window, input] = /must be <= (\d+)\. Given: (\d+)/.exec(message) ?? []
    return [window, input]
  }
]

/** Tokens that a request leaves of a model's window. */
const roomIn = (message: string): number | undefined => {
  for (const read of rooms) {
    const [window, input] = read(message).map(toNumber)
    if (window !== undefined && input !== undefined && window > input) return window - input
  }
  return undefined
}

const toNumber = (digits: string | undefined): number | undefined => (digits === undefined ? undefined : Number(digits))

const limitOf = (tokens: number | undefined): { readonly [key: string]: number } =>
  tokens === undefined ? {} : { [ModelFailure.outputLimitKey]: tokens }

/** An account that is spent, in the words of OpenAI and Anthropic. */
const SPENT =
  /^(?:insufficient_quota|credit_balance_exhausted|(?:organization|project)_spend_limit_exceeded|organization_usage_limit_exceeded|enforced_spend_limit_reached|billing_hard_limit_reached|billing_error)$/

const isQuota = ({ code, message, status, type }: HttpRefusal): boolean =>
  SPENT.test(code ?? "")
  || SPENT.test(type ?? "")
  || status === 402
  || (status === 400 && /credit balance is too low/i.test(message))

/** A 200 that is no JSON: an endpoint that is something else, or an answer that was broken on its way. */
export const notJson = (options: {
  readonly module: string
  readonly url: string
  readonly contentType: string | undefined
  readonly text: string
}): AiError.AiError => {
  const start = SafeText.line(options.text, 80)
  return AiError.make({
    module: options.module,
    method: "send",
    reason:
      options.contentType !== undefined && !options.contentType.includes("json")
        ? new AiError.InvalidRequestError({
            constraint: ModelFailure.setUp,
            // Something answered with success: whoever it is may bill it.
            metadata: { [ModelFailure.billableKey]: true },
            description: `${options.url} answered ${options.contentType}, not JSON ("${start}"): is the base URL right? It usually ends in /v1`
          })
        : new AiError.InvalidResponseError({ description: `${options.url} answered broken JSON ("${start}")` })
  })
}

/** How services say that there is no file. */
const NO_FILE =
  /(?=.*\bfile\b)(?=.*(?:not? (?:find|found|exist|such)|cannot find|can't find|does(?: not|n't) exist|no such|not ready))/i

/** A file that a service does not know is one that it does not know yet, and is asked for again: it was just sent, or just written. */
export const notYet = (error: AiError.AiError): AiError.AiError => {
  const { method, module, reason } = error
  if (reason._tag !== "InvalidRequestError") return error
  const description = (reason.description ?? "the file was not found").replace(/: look at the model's name.*$/s, "")
  if (!isNotFound(error) && !NO_FILE.test(description)) return error
  const metadata = { [ModelFailure.billableKey]: false }
  return AiError.make({ module, method, reason: new AiError.InternalProviderError({ description, metadata }) })
}
