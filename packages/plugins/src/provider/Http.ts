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
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { openAsBlob } from "node:fs"
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
  readonly body?: RequestInit["body"]
}

const NOTHING: Effect.Effect<Sent> = Effect.succeed({ headers: {} })

const ofJson = (body: object | undefined): Effect.Effect<Sent> =>
  body === undefined
    ? NOTHING
    : Effect.sync(() => ({ headers: { "content-type": "application/json" }, body: Body.encode(body) }))

const ofFile = ({ file, form, type = "application/jsonl" }: Upload): Effect.Effect<Sent> =>
  Effect.promise(async () => {
    const blob = await openAsBlob(file, { type })
    if (form === undefined) return { headers: { "content-type": type }, body: blob.stream() }
    const fields = new FormData()
    for (const [name, value] of Object.entries(form.fields ?? {})) fields.set(name, value)
    fields.set(form.field, blob, form.name)
    const packed = new Response(fields)
    return { headers: { "content-type": packed.headers.get("content-type") ?? "" }, body: packed.body }
  })

/** The calls of an endpoint. Its connections are opened by the first one. */
export const make = (endpoint: Endpoint.Endpoint): Http => {
  const { baseUrl, module } = endpoint
  const fetch = StreamingFetch.make(baseUrl, LONGEST)
  const { origin, pathname, search } = new URL(baseUrl)
  const base = `${origin}${pathname.replace(/\/$/, "")}`

  const failed = (error: unknown) =>
    PoolTransport.toNetworkError({ module, url: baseUrl, error: error as Error, sent: true })

  const respond = (method: string, path: string, sent: Effect.Effect<Sent>, within: number) =>
    Authorized.send(endpoint, (key) =>
      Effect.flatMap(sent, ({ body, headers }) =>
        Effect.tryPromise({
          try: (signal) =>
            fetch(`${base}${withQuery(path, search)}`, {
              method,
              headers: { accept: "application/json", ...endpoint.headers, ...key, ...headers },
              signal,
              ...(body === undefined ? undefined : { body })
            }),
          catch: failed
        })
      )
    ).pipe(
      Effect.timeoutOrElse({
        duration: within,
        orElse: () => Effect.fail(failed(new PoolTransport.DeadlineError(within)))
      })
    )

  const textOf = (response: Response) => Effect.tryPromise({ try: () => response.text(), catch: failed })

  /** A response with a success status. */
  const ok = (method: string, path: string, sent: Effect.Effect<Sent>, within: number) =>
    Effect.gen(function* () {
      const response = yield* respond(method, path, sent, within)
      const header = (name: string) => response.headers.get(name)
      yield* ObservedLimits.observe(response.status, header)
      if (response.ok) return response
      const text = yield* textOf(response)
      const now = yield* Clock.currentTimeMillis
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
      Effect.flatMap(ok(method, path, ofJson(body), endpoint.timeout), (response) => decoded(schema, response)),
    upload: (schema, method, path, upload) =>
      Effect.flatMap(ok(method, path, ofFile(upload), LONGEST), (response) => decoded(schema, response)),
    lines: (path) => JsonLines.parse({ module, baseUrl }, ok("GET", path, NOTHING, LONGEST)),
    request: (method, path, body) => respond(method, path, ofJson(body), endpoint.timeout),
    call: (method, path, body) =>
      Effect.flatMap(ok(method, path, ofJson(body), endpoint.timeout), (response) => Effect.asVoid(textOf(response)))
  }
}

/** The query of the base URL belongs to every call: `?api-version=…`. */
const withQuery = (path: string, search: string): string =>
  search === "" ? path : `${path}${path.includes("?") ? `&${search.slice(1)}` : search}`
