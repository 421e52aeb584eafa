/**
 * Sends calls through a provider's official SDK: it signs and sends, and the answer is read like any other.
 *
 * @since 0.1.0
 */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as CallTimeout from "@pipe/core/internal/CallTimeout"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Authorized from "./Authorized.ts"
import type * as Connection from "./Connection.ts"
import * as StreamingFetch from "./StreamingFetch.ts"
import * as AnswerLimit from "./AnswerLimit.ts"
import * as Connections from "./Connections.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as Events from "./Events.ts"
import * as PoolTransport from "./PoolTransport.ts"
import * as Reply from "./Reply.ts"

/** The part of an SDK's client that is used. */
export interface Client {
  readonly post: (
    path: string,
    options: {
      readonly body: string
      readonly headers: { readonly [name: string]: string }
      readonly stream?: boolean
      readonly signal: AbortSignal
      /** Milliseconds. */
      readonly timeout: number
    }
  ) => { readonly asResponse: () => Promise<Response> }
}

/** A response without success: SDKs would only keep the parts they expect. */
export class Refused extends Error {
  readonly status: number
  readonly headers: Headers
  readonly body: string
  constructor(status: number, headers: Headers, body: string) {
    super(`status ${status}`)
    this.status = status
    this.headers = headers
    this.body = body
  }
}

type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** A `fetch` for SDKs that throws responses without success, to be read like those of other transports. */
export const refusing =
  (fetch: Fetch): Fetch =>
  async (input, init) => {
    const response = await fetch(input, init)
    if (response.status < 400) return response
    throw new Refused(response.status, response.headers, await response.text())
  }

/** How an SDK sends. */
export interface Options {
  /** Sends files as they are read, for batches. Default: `false`. */
  readonly streamsFiles?: boolean
}

/** Milliseconds for a whole file, up or down. */
export const UPLOAD = 30 * 60_000

/** A `fetch` that sends the endpoint's current token, where it has tokens. */
const authorized =
  (endpoint: Endpoint.Endpoint, fetch: Fetch): Fetch =>
  (input, init) =>
    endpoint.tokens === undefined
      ? fetch(input, init)
      : Effect.runPromise(
          Authorized.send(endpoint, (key) =>
            Effect.promise(() => {
              const headers = new Headers(init?.headers)
              for (const [name, value] of Object.entries(key)) headers.set(name, value)
              return fetch(input, { ...init, headers })
            })
          )
        )

/** The options of an SDK's client, with its retries off. */
export const clientOptions = (endpoint: Connection.Connection, { streamsFiles = false }: Options = {}) => {
  // The deadline of a call is ours: the SDK's own would end some calls with another message.
  const options = { ...endpoint, timeout: 2 * endpoint.timeout }
  const url = new URL(options.baseUrl)
  const query = Object.fromEntries(url.searchParams)
  url.search = ""
  return {
    apiKey: options.apiKey,
    baseURL: url.href.replace(/\/+$/, ""),
    defaultQuery: query,
    maxRetries: 0,
    timeout: options.timeout,
    defaultHeaders: { ...options.headers },
    fetch: refusing(
      authorized(
        endpoint,
        streamsFiles
          ? StreamingFetch.make(options.baseUrl, UPLOAD)
          : Connections.fetchFor({ baseUrl: options.baseUrl, timeout: options.timeout })
      )
    )
  }
}

/** Sends calls through an SDK. */
export const transport = (
  connection: Connection.Connection,
  client: (connection: Connection.Connection) => Promise<Client>
): Effect.Effect<Reply.Transport> =>
  Effect.map(
    Effect.promise(() => client(connection)),
    (client) => make(connection, client)
  )

const refusedIn = (error: unknown): Refused | undefined =>
  error instanceof Refused
    ? error
    : error instanceof Error && error.cause !== undefined
      ? refusedIn(error.cause)
      : undefined

/** A failure of ours that an SDK wrapped: of a token, for example. */
const ownIn = (error: unknown): AiError.AiError | undefined =>
  AiError.isAiError(error)
    ? error
    : error instanceof Error && error.cause !== undefined
      ? ownIn(error.cause)
      : undefined

/** The failure for what an SDK threw. */
export const failure = (endpoint: Endpoint.Endpoint, error: unknown): Effect.Effect<never, AiError.AiError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const refused = refusedIn(error)
    if (refused !== undefined) {
      const { body, headers, status } = refused
      return Effect.fail(
        Reply.refused(endpoint, Reply.said(body), { status, header: (name) => headers.get(name), now })
      )
    }
    const own = ownIn(error)
    if (own !== undefined) return Effect.fail(own)
    const { baseUrl, module } = endpoint
    return Effect.fail(PoolTransport.toNetworkError({ module, url: baseUrl, error: error as Error, sent: true }))
  })

/** Reads a streamed body. When the connection breaks, the received part counts. */
const readStream = async (response: Response, assembly: Events.Assembly): Promise<Events.EventsOutcome> => {
  const reader = new Events.EventReader(assembly)
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      // Some endpoints leave the connection open after their last event.
      if (reader.write(chunk)) break
    }
  } catch (error) {
    const outcome = error instanceof AnswerLimit.TooLarge ? undefined : reader.end(SafeText.line(String(error), 500))
    if (outcome === undefined || !Events.hasBody(outcome)) throw error
    return outcome
  }
  return reader.end()
}

const make =
  (endpoint: Endpoint.Endpoint, client: Client): Reply.Transport =>
  (path, body, assembly) => {
    const url = `${endpoint.baseUrl}${path}`
    const ask = async (signal: AbortSignal, timeout: number): Promise<Reply.Reply> => {
      const headers = { "content-type": "application/json" }
      const response = await client
        .post(path, {
          body,
          headers,
          signal,
          timeout: 2 * timeout,
          ...(assembly === undefined ? undefined : { stream: true })
        })
        .asResponse()
      const header = (name: string) => response.headers.get(name) ?? undefined
      return {
        status: response.status,
        url,
        header,
        body:
          assembly !== undefined && Events.isStream(header("content-type"))
            ? await readStream(response, assembly())
            : await response.text()
      }
    }
    const within = (timeout: number) =>
      Effect.timeoutOrElse(Effect.tryPromise({ try: (signal) => ask(signal, timeout), catch: (error) => error }), {
        duration: timeout,
        orElse: () => Effect.fail<unknown>(new PoolTransport.DeadlineError(timeout))
      })
    return Effect.flatMap(CallTimeout.CallTimeout, (least) => within(Math.max(endpoint.timeout, least))).pipe(
      Effect.catch((error) => {
        const refused = refusedIn(error)
        if (refused === undefined) return failure(endpoint, error)
        const { body, headers, status } = refused
        return Effect.succeed<Reply.Reply>({ status, url, header: (name) => headers.get(name) ?? undefined, body })
      })
    )
  }
