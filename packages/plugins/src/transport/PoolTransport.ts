/**
 * JSON over HTTP on an `undici` pool: what a call costs less than through an SDK's fetch.
 *
 * Calls go straight to the pool's dispatcher. Interrupting the effect aborts the request, and a deadline covers headers
 * and body alike.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as SafeText from "@pipe/core/SafeText"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dispatcher, Pool } from "undici"
import * as AnswerSize from "./AnswerSize.ts"

export interface Answer {
  readonly status: number
  readonly headers: { readonly [name: string]: string | Array<string> | undefined }
  readonly text: string
}

export interface Options {
  readonly baseUrl: URL
  readonly headers: { readonly [name: string]: string }
  /** Whole time for a call, in milliseconds. */
  readonly timeout: number
  readonly connections: number
  /** Named in errors. */
  readonly module: string
}

export type Post = (path: string, body: string) => Effect.Effect<Answer, AiError.AiError>

/** A pool for one endpoint; it is closed with the scope. */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Post, never, Scope.Scope> {
  const undici = yield* Effect.promise(() => import("undici"))
  const pool = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new undici.Pool(options.baseUrl.origin, {
          connections: options.connections,
          pipelining: 1,
          keepAliveTimeout: 30_000,
          headersTimeout: options.timeout,
          bodyTimeout: options.timeout,
          allowH2: false
        })
    ),
    (pool) => Effect.promise(() => pool.destroy())
  )
  const prefix = options.baseUrl.pathname.replace(/\/$/, "")
  const headers = Object.entries({
    "content-type": "application/json",
    accept: "application/json",
    ...options.headers
  }).flat()
  return (path, body) => post(pool, options, { path: `${prefix}${path}`, method: "POST", headers, body })
})

const post = (
  pool: Pool,
  options: Options,
  request: Dispatcher.DispatchOptions
): Effect.Effect<Answer, AiError.AiError> =>
  Effect.callback((resume) => {
    const exchange = new Exchange(
      (answer) => resume(Effect.succeed(answer)),
      (error, sent) => resume(Effect.fail(networkError(options, request.path, error, sent))),
      options.timeout,
      AnswerSize.limitOf(request.path)
    )
    pool.dispatch(request, exchange)
    return Effect.sync(() => exchange.cancel(new Error("interrupted")))
  })

/** One request on its way; a dispatch handler of undici. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly succeed: (answer: Answer) => void
  private readonly fail: (error: Error, sent: boolean) => void
  private readonly timer: NodeJS.Timeout
  private readonly limit: number
  private received = 0
  private controller: Dispatcher.DispatchController | undefined
  private cancelled: Error | undefined
  private status = 0
  private headers: Answer["headers"] = {}
  private first: Buffer | undefined
  private chunks: Array<Buffer> | undefined

  constructor(
    succeed: (answer: Answer) => void,
    fail: (error: Error, sent: boolean) => void,
    timeout: number,
    limit: number
  ) {
    this.succeed = succeed
    this.fail = fail
    this.limit = limit
    this.timer = setTimeout(() => this.cancel(new DeadlineError(timeout)), timeout)
  }

  cancel(reason: Error): void {
    this.cancelled = reason
    // Until the request is on a connection there is nothing to abort yet.
    if (this.controller === undefined) this.onResponseError(undefined, reason)
    else this.controller.abort(reason)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.cancelled !== undefined) controller.abort(this.cancelled)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Answer["headers"]): void {
    this.status = status
    this.headers = headers
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.received += chunk.length
    if (this.received > this.limit) this.cancel(new AnswerSize.TooLarge(this.limit))
    else if (this.first === undefined) this.first = chunk
    else (this.chunks ??= [this.first]).push(chunk)
  }

  onResponseEnd(): void {
    clearTimeout(this.timer)
    const body = this.chunks === undefined ? this.first : Buffer.concat(this.chunks)
    this.succeed({ status: this.status, headers: this.headers, text: body === undefined ? "" : body.toString("utf8") })
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    clearTimeout(this.timer)
    this.fail(error, this.controller !== undefined)
  }
}

class DeadlineError extends Error {
  constructor(timeout: number) {
    super(`no whole answer within ${timeout} ms`)
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

/** Codes of a certificate that is not trusted, and of a server that does not speak TLS. */
const isCertificate = (code: string): boolean =>
  /^(?:CERT_|ERR_TLS_CERT|ERR_SSL_|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT|GET_CRL)|HOSTNAME_MISMATCH|INVALID_CA|EPROTO$)/.test(
    code
  )

const networkError = (options: Options, path: string, error: Error, sent: boolean): AiError.AiError =>
  toNetworkError({ module: options.module, url: `${options.baseUrl.origin}${path}`, error, sent })

/** A failure of the network: whether the request had been sent decides whether it may be billed. */
export const toNetworkError = (options: {
  readonly module: string
  readonly url: string
  readonly error: Error
  readonly sent: boolean
}): AiError.AiError => {
  const { error, module, sent, url } = options
  const code = codeOf(error)
  const origin = new URL(url).origin
  const isUntrusted = code !== undefined && isCertificate(code)
  const large = tooLarge(error)
  if (large !== undefined) {
    const description = `${origin}: ${large.message}`
    return AiError.make({ module, method: "send", reason: new AiError.InvalidResponseError({ description }) })
  }
  const description = isUntrusted
    ? `${ModelFailure.unreachable} to ${origin} (${code}): ${
        /SSL|EPROTO/.test(code)
          ? "the server does not speak TLS as it should: is it http?"
          : "its certificate is not trusted: name the authority that signed it by NODE_EXTRA_CA_CERTS=ca.pem"
      }`
    : code !== undefined && connectErrors.has(code)
      ? `${ModelFailure.unreachable} to ${origin} (${code}): is the address right, and is the server up?`
      : code === "EMFILE" || code === "ENFILE"
        ? `the request to ${origin} was not sent: too many files are open (${code}): raise \`ulimit -n\`, or give the provider fewer \`connections\``
        : sent
          ? `${ModelFailure.cut} from ${origin}: ${SafeText.line(error.message, 500)}`
          : `the request to ${origin} was not sent: ${SafeText.line(error.message, 500)}`
  return AiError.make({
    module,
    method: "send",
    // Of a certificate the next attempt says the same.
    reason: new AiError.NetworkError({
      reason: isUntrusted ? "InvalidUrlError" : "TransportError",
      method: "POST",
      url,
      description
    })
  })
}

/** What an SDK may have wrapped. */
const tooLarge = (error: unknown): AnswerSize.TooLarge | undefined =>
  error instanceof AnswerSize.TooLarge
    ? error
    : error instanceof Error && error.cause !== undefined
      ? tooLarge(error.cause)
      : undefined

/** The code of an error or of what caused it; an aggregate has those of its parts. */
const codeOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  if ("code" in error && typeof error.code === "string") return error.code
  if ("errors" in error && Array.isArray(error.errors)) return codeOf(error.errors[0])
  return "cause" in error ? codeOf(error.cause) : undefined
}
