/**
 * Recorded answers of a provider's API, served over HTTP: tests run without a key and without a network, on what the
 * provider really sent.
 *
 * **Details** A request is answered by the recording of the same method, path and body; several recordings of one request
 * are served in their order, the last one again and again. With `PIPE_RECORD=1` in the environment, requests go to the
 * provider with your key, and its answers replace those in the file. Headers of requests are not recorded, and of
 * responses only the content type and those about limits; keys are masked wherever they occur.
 *
 * Batches are not recorded: their names and files differ each time.
 *
 * **Example** (a test of a provider)
 *
 * ```ts
 * import { Recording } from "@pipe/plugins/testing"
 *
 * export const server = Recording.serve({
 *   file: new URL("answers.recorded.json", import.meta.url),
 *   upstream: "https://api.nimbus.example",
 *   apiKey: "NIMBUS_API_KEY"
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Secret from "@pipe/core/internal/Secret"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { readFileSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"

/** A request and its answer. A body is JSON, or text. */
export const Exchange = Schema.Struct({
  request: Schema.Struct({
    method: Schema.String,
    /** With its query, without keys in it. */
    path: Schema.String,
    body: Schema.optionalKey(Schema.Json)
  }),
  response: Schema.Struct({
    status: Schema.Int,
    headers: Schema.Record(Schema.String, Schema.String),
    body: Schema.Json
  })
})

export interface Exchange extends Schema.Schema.Type<typeof Exchange> {}

const File = Schema.Struct({ exchanges: Schema.Array(Exchange) })

/** The options of `serve`. */
export interface Options {
  /** The file of the recordings. A missing one has none. */
  readonly file: string | URL
  /** The provider's own address, to which requests go while they are recorded. */
  readonly upstream: string
  /** The environment variable of the key, which is needed to record. */
  readonly apiKey: string
  /** Records again. Default: whether `PIPE_RECORD` is set. */
  readonly record?: boolean
}

/** Where a provider sends to. */
export interface Served {
  readonly baseUrl: string
  /** The key while it records; otherwise `none`. */
  readonly apiKey: string
}

/**
 * The recordings cannot be read, or nothing can be recorded.
 *
 * **Remedy** Correct or delete the file that the message names, or set the key and record again with `PIPE_RECORD=1`.
 */
export class RecordingError extends Schema.TaggedError<RecordingError>()("RecordingError", {
  message: Schema.String
}) {}

/** Serves the recordings of a file. The server ends with the scope. */
export const serve = (options: Options): Effect.Effect<Served, RecordingError, Scope.Scope> =>
  Effect.gen(function* () {
    const file = typeof options.file === "string" ? options.file : fileURLToPath(options.file)
    const isRecording = options.record ?? (process.env["PIPE_RECORD"] ?? "") !== ""
    const key = process.env[options.apiKey] ?? ""
    if (isRecording && key === "") {
      return yield* new RecordingError({ message: `${options.apiKey} is not set: recording needs a key` })
    }
    Secret.register(key)
    const exchanges = yield* read(file)
    const tape = isRecording ? recorder(options.upstream, file) : player(file, exchanges)
    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const made = createServer((request, response) => void answer(tape, request, response))
        made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
      }),
      (made) =>
        Effect.callback<void>((resume) => {
          made.close(() => resume(Effect.void))
          made.closeAllConnections()
        })
    )
    const { port } = server.address() as AddressInfo
    return { baseUrl: `http://127.0.0.1:${port}`, apiKey: isRecording ? key : "none" }
  })

/** A request as it is compared and kept. */
type Asked = Exchange["request"]

type Response = Exchange["response"]

/** Answers a request. */
type Tape = (asked: Asked, headers: IncomingMessage["headers"], path: string, text: string) => Promise<Response>

const decodeFile = Schema.decodeUnknownEffect(Schema.fromJsonString(File))

const read = (file: string): Effect.Effect<ReadonlyArray<Exchange>, RecordingError> =>
  Effect.suspend(() => {
    let text: string
    try {
      text = readFileSync(file, "utf8")
    } catch {
      return Effect.succeed([])
    }
    return Effect.mapBoth(decodeFile(text), {
      onFailure: (error) =>
        new RecordingError({ message: `${file}: is not a recording: ${String(error).replace(/\s*\n\s*/g, " ")}` }),
      onSuccess: ({ exchanges }) => exchanges
    })
  })

const idOf = ({ body, method, path }: Asked): string => JSON.stringify([method, path, canonical(body ?? null)])

/** The same text for equal values. */
const canonical = (value: Schema.Json): Schema.Json =>
  Array.isArray(value)
    ? value.map(canonical)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([name, field]) => [name, canonical(field as Schema.Json)])
        )
      : value

/** Plays what was recorded. */
const player = (file: string, exchanges: ReadonlyArray<Exchange>): Tape => {
  const recorded = new Map<string, Array<Response>>()
  for (const { request, response } of exchanges) {
    recorded.set(idOf(request), [...(recorded.get(idOf(request)) ?? []), response])
  }
  return (asked) => {
    const left = recorded.get(idOf(asked))
    const response = left !== undefined && left.length > 1 ? left.shift() : left?.[0]
    const message = `no recording of ${asked.method} ${asked.path} with this body in ${file}: record it with PIPE_RECORD=1 and a key`
    return Promise.resolve(response ?? { status: 400, headers: {}, body: { error: { message } } })
  }
}

/** Headers of responses that are kept. */
const KEPT = /^(?:content-type|retry-after(?:-ms)?|x-should-retry|.*ratelimit.*)$/

/** Headers of requests that belong to the connection. */
const OWN = new Set(["host", "connection", "content-length", "transfer-encoding", "accept-encoding"])

/** Sends requests to the provider, and keeps the answers in the file. */
const recorder = (upstream: string, file: string): Tape => {
  /** Requests whose recordings are of this time. */
  const fresh = new Set<string>()
  const keep = (exchange: Exchange): void => {
    const id = idOf(exchange.request)
    const before = Effect.runSync(Effect.orElseSucceed(read(file), () => []))
    const others = fresh.has(id) ? before : before.filter(({ request }) => idOf(request) !== id)
    fresh.add(id)
    writeFileSync(file, `${JSON.stringify({ exchanges: [...others, exchange] }, undefined, 2)}\n`)
  }
  return async (asked, headers, path, text) => {
    const sent = Object.entries(headers).flatMap(([name, value]): ReadonlyArray<[string, string]> =>
      OWN.has(name) || value === undefined ? [] : [[name, String(value)]]
    )
    const base = new URL(upstream)
    const query = base.search === "" ? "" : path.includes("?") ? `&${base.search.slice(1)}` : base.search
    const answered = await fetch(`${base.origin}${base.pathname.replace(/\/$/, "")}${path}${query}`, {
      method: asked.method,
      headers: sent,
      // A key does not follow to another host.
      redirect: "manual",
      ...(text === "" ? undefined : { body: text })
    })
    const response: Response = {
      status: answered.status,
      headers: Object.fromEntries(
        [...answered.headers].flatMap(([name, value]) => (KEPT.test(name) ? [[name, Secret.mask(value)]] : []))
      ),
      body: jsonOf(Secret.mask(await answered.text()))
    }
    try {
      keep({ request: asked, response })
    } catch (error) {
      process.emitWarning(`${file}: cannot be written: ${error instanceof Error ? error.message : String(error)}`)
    }
    return response
  }
}

/** JSON; text that is not an object, a list or a number stays as it was sent. */
const jsonOf = (text: string): Schema.Json => {
  // Larger integers than JavaScript has are kept as text.
  if (/\d{16}/.test(text)) return text
  try {
    const value = JSON.parse(text) as Schema.Json
    return typeof value === "string" ? text : value
  } catch {
    return text
  }
}

/** Names of query parameters that hold keys. */
const SECRET = /key|token|secret|sig|auth|code/i

/** A path without the keys in its query. */
const withoutKeys = (path: string): string => {
  const [place = "", query] = path.split("?", 2)
  if (query === undefined) return place
  const kept = query.split("&").filter((part) => !SECRET.test(part.split("=")[0]!))
  return kept.length === 0 ? place : `${place}?${kept.join("&")}`
}

const answer = async (tape: Tape, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const chunks: Array<Buffer> = []
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString("utf8")
    const { headers, method = "GET", url: path = "/" } = request
    const asked: Asked = {
      method,
      path: Secret.mask(withoutKeys(path)),
      ...(text === "" ? undefined : { body: jsonOf(Secret.mask(text)) })
    }
    const { body, headers: answered, status } = await tape(asked, headers, path, text)
    response.writeHead(status, { "content-type": "application/json", ...answered })
    response.end(typeof body === "string" ? body : JSON.stringify(body))
  } catch (error) {
    response.writeHead(502, { "content-type": "application/json" })
    const message = `the provider cannot be reached: ${error instanceof Error ? error.message : String(error)}`
    response.end(JSON.stringify({ error: { message } }))
  }
}
