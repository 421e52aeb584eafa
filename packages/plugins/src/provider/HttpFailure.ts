/**
 * Maps HTTP failures to `AiError` reasons, for all providers alike.
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
  /** The wait requested in the body, in milliseconds. */
  readonly wait: number | undefined
  /** Milliseconds since 1970. */
  readonly now: number
  /** The endpoint that was called, for the message of a 404. */
  readonly url: string
  /** The source of the key, for the message of a 401. */
  readonly keySource: string
  /** Matches the endpoint's own message for a request that exceeds its context window. */
  readonly overflow?: RegExp | undefined
  /** How addresses of this API usually end, such as `/v1`. */
  readonly addressEnd?: string | undefined
  /** `false` when a call that failed with a status of 5xx costs nothing. */
  readonly billsFailures?: boolean | undefined
}

/**
 * OpenAI's codes, and those of its followers, for settings and models that are not accepted (platform.openai.com, error
 * codes).
 */
const SET_UP: ReadonlySet<string> = new Set([
  "unsupported_parameter",
  "unsupported_value",
  "unknown_parameter",
  "invalid_model",
  "model_not_found"
])

/** The metadata key that marks a missing address or resource. */
const NOT_FOUND = "isNotFound"

/** Tests whether the address, or what it names, does not exist. */
export const isNotFound = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "InvalidRequestError" && reason.metadata[NOT_FOUND] === true

const overflow =
  /context[ _](?:length|window|limit)|maximum context|prompt is too long|too many (?:input )?tokens|exceeds? the (?:model'?s )?(?:context|token)|(?:does|do) not fit\b.*window/i

/** The most characters of a refusal that are examined: patterns must not run over a text that a stranger made long. */
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
      metadata: { description: `${description}: add credit to the account, then run again: answers are kept` }
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
        description: `${description}: check the model's name and the address, ${SafeText.line(refusal.url, 200)}${/\/v\d+\/?$/.test(refusal.url) ? "" : hintOf(refusal.addressEnd, ", which usually ends in ")}`
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
    // Groq's flex tier has no room (console.groq.com/docs/flex-processing).
    case 498:
    case 429:
      return new AiError.RateLimitError({
        ...(wait === undefined ? undefined : { retryAfter: Duration.millis(wait) }),
        metadata: { description, ...said }
      })
    default:
      return status >= 500
        ? new AiError.InternalProviderError({
            description,
            metadata: refusal.billsFailures === false ? { ...metadata, [ModelFailure.billableKey]: false } : metadata
          })
        : new AiError.InvalidRequestError({
            ...(code !== undefined && SET_UP.has(code) ? { constraint: ModelFailure.setUp } : undefined),
            description: type === undefined ? description : `${description} [${SafeText.line(type, 100)}]`,
            metadata: { ...limitOf(largestIn(refusal.message)), ...said }
          })
  }
}

/** The largest output limit, in messages of OpenAI, Anthropic, Groq, vLLM and DeepSeek. */
const largestLimit = /(?:at most|less than or equal to|<=|>|\[\d+,)\s*`?(\d+)/

const largestIn = (message: string): number | undefined =>
  /max_(?:completion_|output_)?tokens/.test(message) ? toNumber(largestLimit.exec(message)?.[1]) : undefined

/** The context window, and the part that the input takes, in messages of OpenAI and vLLM, Anthropic, and Together. */
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

/** The tokens that a request leaves of a model's context window. */
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

/** An account without credit, in messages of OpenAI and Anthropic. */
const SPENT =
  /^(?:insufficient_quota|credit_balance_exhausted|(?:organization|project)_spend_limit_exceeded|organization_usage_limit_exceeded|enforced_spend_limit_reached|billing_hard_limit_reached|billing_error)$/

const isQuota = ({ code, message, status, type }: HttpRefusal): boolean =>
  SPENT.test(code ?? "")
  || SPENT.test(type ?? "")
  || status === 402
  || (status === 400 && /credit balance is too low/i.test(message))

const hintOf = (end: string | undefined, words: string): string => (end === undefined ? "" : `${words}${end}`)

/** A 200 that is not JSON: another kind of endpoint, or an answer that was damaged in transit. */
export const notJson = (options: {
  readonly module: string
  readonly url: string
  readonly contentType: string | undefined
  readonly text: string
  readonly addressEnd?: string | undefined
}): AiError.AiError => {
  const start = SafeText.line(options.text, 80)
  return AiError.make({
    module: options.module,
    method: "send",
    reason:
      options.contentType !== undefined && !options.contentType.includes("json")
        ? new AiError.InvalidRequestError({
            constraint: ModelFailure.setUp,
            // A success was returned, so the call may be billed.
            metadata: { [ModelFailure.billableKey]: true },
            description: `${options.url} answered ${options.contentType}, not JSON ("${start}"): is the base URL right?${hintOf(options.addressEnd, " It usually ends in ")}`
          })
        : new AiError.InvalidResponseError({ description: `${options.url} answered broken JSON ("${start}")` })
  })
}

/** How services report a missing file. */
const NO_FILE =
  /(?=.*\bfile\b)(?=.*(?:not? (?:find|found|exist|such)|cannot find|can't find|does(?: not|n't) exist|no such|not ready))/i

/**
 * A file that a service does not know may not be known yet, because it was just uploaded or written: it is requested
 * again.
 */
export const notYet = (error: AiError.AiError): AiError.AiError => {
  const { method, module, reason } = error
  if (reason._tag !== "InvalidRequestError") return error
  const description = (reason.description ?? "the file was not found").replace(/: check the model's name.*$/s, "")
  if (!isNotFound(error) && !NO_FILE.test(description)) return error
  const metadata = { [ModelFailure.billableKey]: false }
  return AiError.make({ module, method, reason: new AiError.InternalProviderError({ description, metadata }) })
}
