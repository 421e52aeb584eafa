/**
 * What came over HTTP, however it was sent: read into an answer in one place.
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
  /** What was called. */
  readonly url: string
  readonly header: RateLimitHeaders.Get
  /** The body as text, or what came of it as a stream. */
  readonly body: string | Events.EventsOutcome
}

/** Sends JSON; where an assembly is given, an answer that comes as a stream is put together by it. */
export type Transport = (
  path: string,
  body: string,
  assembly?: () => Events.Assembly
) => Effect.Effect<Reply, AiError.AiError>

/** How the answers of one API are read. */
export interface Format<A extends ModelResponse.ModelResponse> {
  /** The answer, or why it is none. What it has not, and must have, is a failure. */
  readonly read: (body: Fields.Fields) => A | AiError.AiError
  /** What an answer has counted, though it may be none. */
  readonly usage: (body: Fields.Fields) => Usage.Usage | undefined
  /** What it says of who answered, in which class of service, and at what cost. */
  readonly answered?: (body: Fields.Fields) => ModelFailure.FailedAnswer
  /** Puts an answer together that comes as a stream, where the API has them. */
  readonly assembly?: () => Events.Assembly
  /** Whether a body has what an answer of this API has. */
  readonly isAnswer: (body: Fields.Fields) => boolean
}

/** The status of the error in an answer that came with success, where it has one. */
const statusIn = (refusal: Refusal.Refusal): number | undefined =>
  refusal.status !== undefined && refusal.status >= 400 && refusal.status < 600 ? refusal.status : undefined

/** The failure of an answer that has begun: it may be billed, and where its status says so, would fail again. */
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

/** What a provider says of a failure, in whatever form. Once it has begun to answer, the call may be billed. */
export const refused = (
  endpoint: Endpoint.Endpoint,
  said: unknown,
  options: {
    /** The status that came with it, where that says anything. */
    readonly status?: number
    readonly header?: RateLimitHeaders.Get
    readonly hasBegun?: boolean
    readonly now: number
  }
): AiError.AiError => {
  const refusal = Refusal.decode(said)
  const headers = options.header ?? (() => undefined)
  const wait = RetryHint.waitIn(said, refusal.message, options.now)
  const status = options.status ?? (options.hasBegun === true ? undefined : statusIn(refusal))
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
        overflow: endpoint.overflow
      })
}

/** Without a count that the answer itself contradicts. */
const believable = <A extends ModelResponse.ModelResponse>(answer: A): A => {
  const { usage, ...rest } = answer
  const shows = answer._tag === "CompletionResponse" && ModelResponse.hasContent(answer)
  return usage === undefined || Usage.ofAnswer(usage, shows) !== undefined ? answer : (rest as A)
}

/** A failure with what was counted, and by whom. */
const withCount = <A extends ModelResponse.ModelResponse>(
  error: AiError.AiError,
  format: Format<A>,
  body: Fields.Fields
): AiError.AiError => ModelFailure.withUsage(error, Usage.ofAnswer(format.usage(body), false), format.answered?.(body))

/** What a body says that is no answer. */
export const said = (text: string): unknown => Fields.parse(text) ?? SafeText.line(text, 200)

/** Reads a body that came with success. */
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
  if (Refusal.isSaid(body["error"]) || (!isAnswer && Refusal.hasWords(body))) {
    return withBody(refused(endpoint, body, { header, now, hasBegun: isAnswer }))
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

/** Reads what came as a stream. */
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
      : refused(endpoint, outcome.error, { hasBegun: !outcome.isFirst, header, now })
  return ModelFailure.withAnswer(withCount(failure, format, outcome.body), outcome.body)
}

/** Reads a text that came with success: JSON, or a stream under another name. */
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
    HttpFailure.notJson({ module: endpoint.module, url: reply.url, contentType, text }),
    text
  )
}

/** The answer in a reply; what its headers say of limits is passed on. */
export const answer = <A extends ModelResponse.ModelResponse>(
  endpoint: Endpoint.Endpoint,
  format: Format<A>,
  reply: Effect.Effect<Reply, AiError.AiError>
): Effect.Effect<A, AiError.AiError> =>
  Effect.flatMap(reply, (reply) =>
    Effect.andThen(
      ObservedLimits.observe(reply.status, reply.header),
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const made = read(endpoint, format, reply, now)
        return AiError.isAiError(made) ? Effect.fail(made) : Effect.succeed(made)
      })
    )
  )
