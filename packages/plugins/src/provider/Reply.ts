/**
 * Reads HTTP replies of any transport into answers, in one place.
 *
 * @internal
 */
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as ModelResponse from "@pipe/core/ModelResponse"
import * as RateLimitHeaders from "@pipe/core/RateLimitHeaders"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Usage from "@pipe/core/Usage"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fields from "./Fields.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as Events from "./Events.ts"
import * as HttpFailure from "./HttpFailure.ts"
import * as ObservedLimits from "./ObservedLimits.ts"
import * as Refusal from "./Refusal.ts"
import * as RetryHint from "./RetryHint.ts"

export interface Reply {
  readonly status: number
  /** The address that was called. */
  readonly url: string
  readonly header: RateLimitHeaders.Get
  /** The body as text, or the result of a stream. */
  readonly body: string | Events.EventsOutcome
}

/** Sends JSON. With an assembly, a streamed answer is assembled by it. */
export type Transport = (
  path: string,
  body: string,
  assembly?: () => Events.Assembly
) => Effect.Effect<Reply, AiError.AiError>

/** How the answers of an API are read. */
export interface Format<A extends ModelResponse.ModelResponse> {
  /** The answer, or why it is invalid. A missing required part is a failure. */
  readonly read: (body: Fields.Fields) => A | AiError.AiError
  /** The usage of an answer, even of an invalid one. */
  readonly usage: (body: Fields.Fields) => Usage.Usage | undefined
  /** The model, service tier and cost that an answer reports. */
  readonly answered?: (body: Fields.Fields) => ModelFailure.FailedAnswer
  /** Assembles a streamed answer, when the API supports streams. */
  readonly assembly?: () => Events.Assembly
  /** Tests whether a body has what an answer of this API has. */
  readonly isAnswer: (body: Fields.Fields) => boolean
}

/** The status of an error that arrived with a success status, if it has one. */
const statusIn = (refusal: Refusal.Refusal): number | undefined =>
  refusal.status !== undefined && refusal.status >= 400 && refusal.status < 600 ? refusal.status : undefined

/** The failure of an answer that has started: it may be billed, and depending on its status would fail again. */
export const broken = (module: string, refusal: Refusal.Refusal, wait?: number): AiError.AiError => {
  const { message, status = 500 } = refusal
  const description = SafeText.line(message, 2_000)
  const isFinal = status >= 400 && status < 500 && ![408, 409, 425, 429, 499].includes(status)
  return AiError.make({
    module,
    method: "send",
    reason: isFinal
      ? new AiError.InvalidRequestError({ description, metadata: { [ModelFailure.billableKey]: true } })
      : new AiError.InternalProviderError({
          description,
          ...(wait === undefined ? undefined : { metadata: { [ModelFailure.retryAfterKey]: wait } })
        })
  })
}

/** What an author reads of a refusal. When it throws, the refusal is read as usual. */
const ownOf = ({ failure }: Endpoint.Endpoint, refused: Endpoint.RefusedCall): AiError.AiError | undefined => {
  try {
    return failure?.(refused)
  } catch {
    return undefined
  }
}

/** A failure reported by a provider, in any form. Once it has started to answer, the call may be billed. */
export const refused = (
  endpoint: Endpoint.Endpoint,
  bodyOf: unknown,
  options: {
    /** The HTTP status, when it is meaningful. */
    readonly status?: number
    readonly header?: RateLimitHeaders.Get
    readonly hasStarted?: boolean
    readonly now: number
  }
): AiError.AiError => {
  const refusal = Refusal.decode(bodyOf)
  const headers = options.header ?? (() => undefined)
  const wait = RetryHint.waitIn(bodyOf, refusal.message, options.now)
  const status = options.status ?? (options.hasStarted === true ? undefined : statusIn(refusal))
  const own =
    status === undefined
      ? undefined
      : ownOf(endpoint, { status, body: bodyOf, message: refusal.message, header: headers })
  if (own !== undefined) return AiError.make({ module: endpoint.module, method: "send", reason: own.reason })
  return status === undefined
    ? broken(endpoint.module, refusal, RateLimitHeaders.retryAfterMillis(headers, options.now) ?? wait)
    : HttpFailure.toAiError({
        ...refusal,
        module: endpoint.module,
        status,
        headers,
        wait,
        now: options.now,
        url: endpoint.baseUrl,
        keySource: endpoint.keySource,
        overflow: endpoint.overflow,
        addressEnd: endpoint.addressEnd,
        billsFailures: endpoint.billsFailures
      })
}

/** Marks a usage that the answer itself contradicts, or drops it. */
const believable = <A extends ModelResponse.ModelResponse>(answer: A): A => {
  const { usage, ...rest } = answer
  const shows = answer._tag === "CompletionResponse" && ModelResponse.hasContent(answer)
  const believed = Usage.ofAnswer(usage, shows)
  if (believed === usage) return answer
  return (believed === undefined ? rest : { ...rest, usage: believed }) as A
}

/** Attaches usage, and the model that reported it, to a failure. */
const withCount = <A extends ModelResponse.ModelResponse>(
  error: AiError.AiError,
  format: Format<A>,
  body: Fields.Fields
): AiError.AiError => ModelFailure.withUsage(error, Usage.ofAnswer(format.usage(body), false), format.answered?.(body))

/** The content of a body that is not an answer. */
export const said = (text: string): unknown => Fields.parse(text) ?? SafeText.line(text, 200)

/** Reads a body with a success status. */
export const fromBody = <A extends ModelResponse.ModelResponse>(
  endpoint: Endpoint.Endpoint,
  format: Format<A>,
  value: unknown,
  now: number,
  header: RateLimitHeaders.Get = () => undefined
): A | AiError.AiError => {
  const body = Fields.fields(value)
  const withBody = (error: AiError.AiError) => ModelFailure.withAnswer(withCount(error, format, body), value)
  const isAnswer = format.isAnswer(body)
  if (Refusal.isPresent(body["error"]) || (!isAnswer && Refusal.hasWords(body))) {
    return withBody(refused(endpoint, body, { header, now, hasStarted: isAnswer }))
  }
  try {
    const read = format.read(body)
    return AiError.isAiError(read) ? withBody(read) : believable(read)
  } catch (error) {
    return withBody(
      Fields.malformed(endpoint.module, `form: ${error instanceof Error ? error.message : String(error)}`)
    )
  }
}

const cut = (module: string, description: string): AiError.AiError =>
  AiError.make({ module, method: "send", reason: new AiError.InvalidResponseError({ description }) })

/** Reads a reply. */
const read = <A extends ModelResponse.ModelResponse>(
  endpoint: Endpoint.Endpoint,
  format: Format<A>,
  reply: Reply,
  now: number
): A | AiError.AiError => {
  const { body, header, status } = reply
  if (typeof body !== "string") return fromStream(endpoint, format, body, reply, now)
  return status < 200 || status >= 300
    ? refused(endpoint, said(body), { status, header, now })
    : fromText(endpoint, format, body, reply, now)
}

/** Reads a streamed reply. */
const fromStream = <A extends ModelResponse.ModelResponse>(
  endpoint: Endpoint.Endpoint,
  format: Format<A>,
  outcome: Events.EventsOutcome,
  reply: Reply,
  now: number
): A | AiError.AiError => {
  const { header } = reply
  if (outcome._tag === "Whole") return fromBody(endpoint, format, outcome.body, now, header)
  if (outcome._tag === "Plain") return fromText(endpoint, format, outcome.text, reply, now)
  const failure =
    outcome._tag === "Cut"
      ? cut(endpoint.module, outcome.why)
      : refused(endpoint, outcome.error, { hasStarted: !outcome.isFirst, header, now })
  return ModelFailure.withAnswer(withCount(failure, format, outcome.body), outcome.body)
}

/** Reads a text with a success status: JSON, or a stream with the wrong content type. */
const fromText = <A extends ModelResponse.ModelResponse>(
  endpoint: Endpoint.Endpoint,
  format: Format<A>,
  text: string,
  reply: Reply,
  now: number
): A | AiError.AiError => {
  const value = Fields.parse(text)
  if (value !== undefined) return fromBody(endpoint, format, value, now, reply.header)
  if (format.assembly !== undefined && Events.looksLike(text)) {
    return fromStream(endpoint, format, Events.readText(text, format.assembly()), reply, now)
  }
  const contentType = reply.header("content-type") ?? undefined
  return ModelFailure.withAnswer(
    HttpFailure.notJson({
      module: endpoint.module,
      url: reply.url,
      contentType,
      text,
      addressEnd: endpoint.addressEnd
    }),
    text
  )
}

/** The answer in a reply. The limits in its headers are reported. */
export const answer = <A extends ModelResponse.ModelResponse>(
  endpoint: Endpoint.Endpoint,
  format: Format<A>,
  reply: Effect.Effect<Reply, AiError.AiError>
): Effect.Effect<A, AiError.AiError> =>
  Effect.withFiber((fiber) =>
    Effect.flatMap(reply, (reply) => {
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      ObservedLimits.observe(fiber, reply, now)
      const made = read(endpoint, format, reply, now)
      return AiError.isAiError(made) ? Effect.fail(made) : Effect.succeed(made)
    })
  )
