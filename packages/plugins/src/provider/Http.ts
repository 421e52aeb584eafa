/**
 * The calls of an API beside those for answers: files, jobs, lists. Failures are `AiError`s, as those of answers are.
 *
 * **Example** (the job of a batch API)
 *
 * ```ts
 * import type { Http } from "@pipe/plugins/provider"
 * import { Schema } from "effect"
 *
 * const Job = Schema.Struct({ id: Schema.String, status: Schema.String })
 *
 * export const created = (http: Http.Http, file: string) => http.json(Job, "POST", "/v1/jobs", { file })
 * ```
 *
 * @since 0.1.0
 */
import * as Failure from "@pipe/core/Failure"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { constants, createReadStream } from "node:fs"
import { access } from "node:fs/promises"
import { Readable } from "node:stream"
import * as AnswerLimit from "./AnswerLimit.ts"
import * as Authorized from "./Authorized.ts"
import * as Body from "./Body.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as Fields from "./Fields.ts"
import * as JsonLines from "./JsonLines.ts"
import * as ObservedLimits from "./ObservedLimits.ts"
import * as PoolTransport from "./PoolTransport.ts"
import * as Reply from "./Reply.ts"
import * as StreamingFetch from "./StreamingFetch.ts"

/** A file as a body, or as a part of a form. It is read as it is sent, never as a whole. */
export interface Upload {
  /** The path of the file. */
  readonly file: string
  /** Default: `application/jsonl`. */
  readonly type?: string
  /** Sends a form: the name of the file's field, the file's name, and other fields. */
  readonly form?: { readonly field: string; readonly name: string; readonly fields?: Endpoint.Headers }
}

/** The calls of an endpoint. */
export interface Http {
  /** Calls an address and decodes its JSON. */
  readonly json: <A>(
    schema: Schema.ConstraintDecoder<A>,
    method: string,
    path: string,
    body?: object
  ) => Effect.Effect<A, AiError.AiError>
  /** Sends a file, and decodes the JSON of the answer. */
  readonly upload: <A>(
    schema: Schema.ConstraintDecoder<A>,
    method: string,
    path: string,
    upload: Upload
  ) => Effect.Effect<A, AiError.AiError>
  /** Reads JSON Lines as they arrive. */
  readonly lines: (path: string) => Stream.Stream<JsonLines.JsonLine, AiError.AiError>
  /** Calls an address, and returns its response whatever the status. Its body must be read or cancelled. */
  readonly request: (method: string, path: string, body?: object) => Effect.Effect<Response, AiError.AiError>
  /** Calls an address, and reads nothing. */
  readonly call: (method: string, path: string, body?: object) => Effect.Effect<void, AiError.AiError>
}

/** Milliseconds for a whole file, up or down. */
const LONGEST = 30 * 60_000

interface Sent {
  readonly headers: Endpoint.Headers
  readonly body?: string | Readable
}

type Sending = Effect.Effect<Sent, AiError.AiError>

const NOTHING: Sending = Effect.succeed({ headers: {} })

const ofJson = (module: string, body: object | undefined): Sending =>
  body === undefined
    ? NOTHING
    : Body.make(module, () => ({ headers: { "content-type": "application/json" }, body: Body.encode(body) }))

/** A file as it is sent. Made again for each attempt: a stream can be read once. */
const ofFile = (module: string, { file, form, type = "application/jsonl" }: Upload): Sending =>
  Effect.map(
    Effect.tryPromise({
      try: () => access(file, constants.R_OK),
      catch: (error) => Failure.invalid(`${file} cannot be read: ${messageOf(error)}`, { module, isForAll: true })
    }),
    () => {
      if (form === undefined) return { headers: { "content-type": type }, body: createReadStream(file) }
      const boundary = `pipe-${randomUUID()}`
      return {
        headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
        body: Readable.from(partsOf(file, form, type, boundary))
      }
    }
  )

/** The parts of a form (RFC 7578), with the file as it is read. */
async function* partsOf(
  file: string,
  { field, fields = {}, name }: NonNullable<Upload["form"]>,
  type: string,
  boundary: string
): AsyncGenerator<Uint8Array | string> {
  const quoted = (text: string) => text.replace(/["\r\n]/g, (character) => encodeURIComponent(character))
  for (const [name, value] of Object.entries(fields)) {
    yield `--${boundary}\r\ncontent-disposition: form-data; name="${quoted(name)}"\r\n\r\n${value}\r\n`
  }
  yield `--${boundary}\r\ncontent-disposition: form-data; name="${quoted(field)}"; filename="${quoted(name)}"\r\ncontent-type: ${type}\r\n\r\n`
  yield* createReadStream(file) as AsyncIterable<Uint8Array>
  yield `\r\n--${boundary}--\r\n`
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The calls of an endpoint. Its connections are opened by the first one. */
export const make = (endpoint: Endpoint.Endpoint): Http => {
  const { baseUrl, module, timeout } = endpoint
  const fetch = StreamingFetch.make(baseUrl, timeout)
  const fetchLong = StreamingFetch.make(baseUrl, LONGEST)
  const { origin, pathname, search } = new URL(baseUrl)
  const base = `${origin}${pathname.replace(/\/$/, "")}`

  const failed = (error: unknown) =>
    PoolTransport.toNetworkError({ module, url: baseUrl, error: error as Error, sent: true })

  /** One deadline for a call and what is read of it. */
  const within = <A>(call: Effect.Effect<A, AiError.AiError>, duration: number): Effect.Effect<A, AiError.AiError> =>
    Effect.timeoutOrElse(call, {
      duration,
      orElse: () => Effect.fail(failed(new PoolTransport.DeadlineError(duration)))
    })

  const respond = (method: string, path: string, sending: Sending, isLong = false) =>
    Authorized.send(endpoint, (key) =>
      Effect.flatMap(sending, ({ body, headers }) =>
        Effect.tryPromise({
          try: (signal) =>
            (isLong ? fetchLong : fetch)(`${base}${withQuery(path, search)}`, {
              method,
              headers: { accept: "application/json", ...headers, ...key, ...endpoint.headers },
              signal,
              ...(body === undefined ? undefined : { body })
            }),
          catch: failed
        })
      )
    )

  const textOf = (response: Response) =>
    Effect.tryPromise({ try: () => AnswerLimit.within(`${base}/`, response).text(), catch: failed })

  /** A response with a success status. */
  const ok = (method: string, path: string, sending: Sending, isLong = false) =>
    Effect.gen(function* () {
      const response = yield* respond(method, path, sending, isLong)
      const header = (name: string) => response.headers.get(name)
      const now = yield* Clock.currentTimeMillis
      yield* Effect.withFiberSucceed((fiber) => ObservedLimits.observe(fiber, { status: response.status, header }, now))
      if (response.ok) return response
      const text = yield* textOf(response)
      return yield* Effect.fail(Reply.refused(endpoint, Reply.said(text), { status: response.status, header, now }))
    })

  const decoded = <A>(schema: Schema.ConstraintDecoder<A>, response: Response) => {
    const decode = Schema.decodeUnknownEffect(schema)
    return Effect.flatMap(textOf(response), (text) =>
      Effect.mapError(decode(Fields.parse(text)), (error) =>
        AiError.make({ module, method: "send", reason: AiError.InvalidResponseError.fromSchemaError(error) })
      )
    )
  }

  return {
    json: (schema, method, path, body) =>
      within(
        Effect.flatMap(ok(method, path, ofJson(module, body)), (response) => decoded(schema, response)),
        timeout
      ),
    upload: (schema, method, path, upload) =>
      within(
        Effect.flatMap(ok(method, path, ofFile(module, upload), true), (response) => decoded(schema, response)),
        LONGEST
      ),
    // The time limit is for each piece of the file.
    lines: (path) => JsonLines.parse({ module, baseUrl }, within(ok("GET", path, NOTHING), timeout)),
    request: (method, path, body) => within(respond(method, path, ofJson(module, body)), timeout),
    call: (method, path, body) =>
      within(
        Effect.flatMap(ok(method, path, ofJson(module, body)), (response) => Effect.asVoid(textOf(response))),
        timeout
      )
  }
}

/** The query of the base URL belongs to every call: `?api-version=…`. */
const withQuery = (path: string, search: string): string =>
  search === "" ? path : `${path}${path.includes("?") ? `&${search.slice(1)}` : search}`
