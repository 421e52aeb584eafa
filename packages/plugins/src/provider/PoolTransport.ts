/**
 * JSON over HTTP on an `undici` pool, at less cost per call than an SDK's fetch.
 *
 * Calls use the pool's dispatcher directly. Interrupting the effect aborts the request, and one deadline covers headers
 * and body.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as CallTimeout from "@pipe/core/internal/CallTimeout"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dispatcher } from "undici"
import * as Peer from "../Peer.ts"
import * as Authorized from "./Authorized.ts"
import * as AnswerLimit from "./AnswerLimit.ts"
import * as Compression from "./Compression.ts"
import * as Connections from "./Connections.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as Events from "./Events.ts"
import type * as Reply from "./Reply.ts"

/** A pool for one endpoint, closed with the scope. */
export const make = Effect.fnUntraced(function* (
  endpoint: Endpoint.Endpoint,
  connections: number
): Effect.fn.Return<Reply.Transport, never, Scope.Scope> {
  const { baseUrl, timeout } = endpoint
  const { origin, pathname, search } = new URL(baseUrl)
  const pool = yield* Effect.acquireRelease(
    Effect.promise(() => Connections.pool({ baseUrl, timeout, connections })),
    (pool) => Effect.promise(() => pool.destroy())
  )
  const prefix = pathname.replace(/\/$/, "")
  const named = { "content-type": "application/json", accept: "application/json" }
  const fixed = Object.entries({ ...named, ...endpoint.headers }).flat()
  const call = (
    path: string,
    body: string,
    assembly: (() => Events.Assembly) | undefined,
    headers: ReadonlyArray<string>
  ) =>
    post(
      pool,
      endpoint,
      // The query of the base URL is appended to the path of every call: `?api-version=…`.
      {
        origin,
        path: `${prefix}${path}${path.includes("?") ? search.replace("?", "&") : search}`,
        method: "POST",
        headers: headers as Array<string>,
        body
      },
      `${origin}${prefix}${path}`,
      assembly
    )
  return endpoint.tokens === undefined
    ? (path, body, assembly) => call(path, body, assembly, fixed)
    : (path, body, assembly) =>
        Authorized.send(endpoint, (key) =>
          // Headers of the options come first, as they do with a key.
          call(path, body, assembly, Object.entries({ ...named, ...key, ...endpoint.headers }).flat())
        )
})

const post = (
  pool: Dispatcher,
  { module, timeout: own }: Endpoint.Endpoint,
  request: Dispatcher.DispatchOptions,
  url: string,
  assembly: (() => Events.Assembly) | undefined
): Effect.Effect<Reply.Reply, AiError.AiError> =>
  Effect.withFiber((fiber) => {
    const timeout = Math.max(own, fiber.getRef(CallTimeout.CallTimeout))
    return Effect.callback((resume) => {
      const exchange = new Exchange(
        url,
        (reply) => resume(Effect.succeed(reply)),
        (error, sent) => resume(Effect.fail(toNetworkError({ module, url, error, sent }))),
        timeout,
        assembly
      )
      pool.dispatch(timeout === own ? request : { ...request, headersTimeout: timeout, bodyTimeout: timeout }, exchange)
      return Effect.sync(() => exchange.cancel(new Error("interrupted")))
    })
  })

/** How long a connection may stay open after the end of its answer, in milliseconds: some endpoints leave it open. */
const LINGER = 1_000

/** A request in flight; a dispatch handler of undici. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly url: string
  private readonly succeed: (reply: Reply.Reply) => void
  private readonly fail: (error: Error, sent: boolean) => void
  private readonly assembly: (() => Events.Assembly) | undefined
  private readonly limit: number
  private timer: NodeJS.Timeout
  private received = 0
  private controller: Dispatcher.DispatchController | undefined
  private cancelled: Error | undefined
  private isOver = false
  private status = 0
  private header: (name: string) => string | undefined = () => undefined
  private reader: Events.EventReader | undefined
  private first: Buffer | undefined
  private chunks: Array<Buffer> | undefined

  constructor(
    url: string,
    succeed: (reply: Reply.Reply) => void,
    fail: (error: Error, sent: boolean) => void,
    timeout: number,
    assembly: (() => Events.Assembly) | undefined
  ) {
    this.url = url
    this.succeed = succeed
    this.fail = fail
    this.assembly = assembly
    this.limit = AnswerLimit.limitOf(url)
    this.timer = setTimeout(() => this.cancel(new DeadlineError(timeout)), timeout)
  }

  cancel(reason: Error): void {
    this.cancelled = reason
    // Until the request has a connection there is nothing to abort.
    if (this.controller === undefined) this.onResponseError(undefined, reason)
    else this.controller.abort(reason)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.cancelled !== undefined) controller.abort(this.cancelled)
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: { readonly [name: string]: string | Array<string> | undefined }
  ): void {
    this.status = status
    this.header = getter(headers)
    const isRead = this.assembly !== undefined && status >= 200 && status < 300
    if (isRead && this.header("content-encoding") === undefined && Events.isStream(this.header("content-type"))) {
      this.reader = new Events.EventReader(this.assembly())
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isOver) return
    this.received += chunk.length
    if (this.received > this.limit) this.cancel(new AnswerLimit.TooLarge(this.limit))
    else if (this.reader !== undefined) {
      if (this.reader.write(chunk)) {
        this.finish(this.reader.end())
        this.timer = setTimeout(() => this.cancel(new Error("the connection was left open")), LINGER)
        this.timer.unref()
      }
    } else if (this.first === undefined) this.first = chunk
    else (this.chunks ??= [this.first]).push(chunk)
  }

  onResponseEnd(): void {
    clearTimeout(this.timer)
    if (this.isOver) return
    if (this.reader !== undefined) {
      this.finish(this.reader.end())
      return
    }
    const bytes = this.chunks === undefined ? this.first : Buffer.concat(this.chunks)
    const encoding = this.header("content-encoding")
    if (bytes === undefined || encoding === undefined) {
      this.finish(bytes === undefined ? "" : bytes.toString("utf8"))
      return
    }
    Compression.unpack(bytes, encoding, this.limit).then(
      (unpacked) => this.finish(this.textOf(unpacked)),
      (error: Error) => this.fail(error, true)
    )
  }

  /** A stream that was compressed as a whole is read at its end. */
  private textOf(bytes: Buffer): string | Events.EventsOutcome {
    if (this.assembly === undefined || !Events.isStream(this.header("content-type"))) return bytes.toString("utf8")
    const reader = new Events.EventReader(this.assembly())
    reader.write(bytes)
    return reader.end()
  }

  private finish(body: string | Events.EventsOutcome): void {
    this.isOver = true
    clearTimeout(this.timer)
    this.succeed({ status: this.status, url: this.url, header: this.header, body })
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    clearTimeout(this.timer)
    if (this.isOver) return
    // The part of a stream that arrived may be complete, and have usage.
    const outcome =
      error instanceof AnswerLimit.TooLarge ? undefined : this.reader?.end(SafeText.line(error.message, 500))
    if (outcome !== undefined && Events.hasBody(outcome)) this.finish(outcome)
    else this.fail(error, this.controller !== undefined)
  }
}

/** Dozens of names are looked up in the headers of an answer, most of them in vain: a map is quicker than the object. */
const getter = (headers: { readonly [name: string]: string | Array<string> | undefined }) => {
  const values = new Map(Object.entries(headers))
  return (name: string): string | undefined => {
    const value = values.get(name)
    return Array.isArray(value) ? value[0] : value
  }
}

/** The time limit of the call is over. */
export class DeadlineError extends Error {
  constructor(timeout: number) {
    super(`no complete answer within ${timeout} ms`)
  }
}

const connectErrors = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT"
])

/** Codes of requests that could not be sent. */
const unsentErrors = new Set([
  "UND_ERR_INVALID_ARG",
  "ERR_INVALID_ARG_TYPE",
  "ERR_INVALID_URL",
  "ERR_INVALID_CHAR",
  "ERR_HTTP_INVALID_HEADER_VALUE"
])

/** Codes of untrusted certificates, and of servers without TLS. */
const isCertificate = (code: string): boolean =>
  /^(?:CERT_|ERR_TLS_CERT|ERR_SSL_|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT|GET_CRL)|HOSTNAME_MISMATCH|INVALID_CA|EPROTO$)/.test(
    code
  )

/** A network failure. Whether the request had been sent decides whether it may be billed. */
export const toNetworkError = (options: {
  readonly module: string
  readonly url: string
  readonly error: Error
  readonly sent: boolean
}): AiError.AiError => {
  const { error, module, sent, url } = options
  // Installing the package is the way out, not another attempt.
  if (error instanceof Peer.MissingPeer) return ModelFailure.stopping(module, error.message)
  const code = codeOf(error)
  const { origin } = new URL(url)
  const proxy = Connections.proxyFor(url)
  const place = proxy === undefined ? origin : `${origin} through the proxy of ${proxy.from}`
  const isUntrusted = code !== undefined && isCertificate(code)
  const large = tooLarge(error)
  if (large !== undefined) {
    const description = `${origin}: ${large.message}`
    return AiError.make({ module, method: "send", reason: new AiError.InvalidResponseError({ description }) })
  }
  const isUnreachable = isUntrusted || (code !== undefined && connectErrors.has(code))
  const isSent = !isUnreachable && sent && !isLocal(code)
  return AiError.make({
    module,
    method: "send",
    // Another attempt would meet the same certificate.
    reason: new AiError.NetworkError({
      reason: isUntrusted ? "InvalidUrlError" : "TransportError",
      method: "POST",
      url,
      description: isUnreachable
        ? `cannot connect to ${place} (${code}): ${isUntrusted ? distrust(code) : "is the address right, and is the server up?"}`
        : TOO_MANY_FILES.has(code ?? "")
          ? `the request to ${origin} was not sent: too many files are open (${code}): raise \`ulimit -n\`, or set fewer \`connections\` for the provider`
          : isSent
            ? `no answer arrived from ${origin}: ${SafeText.line(error.message, 500)}`
            : `the request to ${place} was not sent: ${SafeText.line(error.message, 500)}`,
      cause: new ModelFailure.NoAnswer({ isUnreachable, isSent })
    })
  })
}

const TOO_MANY_FILES: ReadonlySet<string> = new Set(["EMFILE", "ENFILE"])

/** Tests whether a failure is local, so nothing was sent. */
const isLocal = (code = ""): boolean => unsentErrors.has(code) || TOO_MANY_FILES.has(code)

const distrust = (code: string): string =>
  /SSL|EPROTO/.test(code)
    ? "the server does not speak TLS as it should: is it http?"
    : "its certificate is not trusted: set its authority with NODE_EXTRA_CA_CERTS=ca.pem"

/** Unwraps what an SDK may have wrapped. */
const tooLarge = (error: unknown): AnswerLimit.TooLarge | undefined =>
  error instanceof AnswerLimit.TooLarge
    ? error
    : error instanceof Error && error.cause !== undefined
      ? tooLarge(error.cause)
      : undefined

/** The code of an error or its cause; of an aggregate, that of its parts. */
const codeOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  if ("code" in error && typeof error.code === "string") return error.code
  if ("errors" in error && Array.isArray(error.errors)) return codeOf(error.errors[0])
  return "cause" in error ? codeOf(error.cause) : undefined
}
