/**
 * A provider to try flows on without a key and without cost: a real HTTP server on loopback that speaks OpenAI's chat,
 * responses and embeddings APIs and Anthropic's messages API.
 *
 * **Details** Answers are deterministic for a seed and fit the schema that is asked for; they say that they are simulated.
 * Usage is counted by a real tokenizer. Latency, rate limits with their headers, 429, 5xx, broken JSON and dropped
 * connections come on demand, deterministic too. It keeps count of what it would have billed: the second opinion in tests.
 *
 * **Example** (a simulator for a test)
 *
 * ```ts
 * import { Simulator } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const simulator = yield* Simulator.start({ seed: "a", faults: { serverError: 0.1 } })
 *   return simulator.openAiUrl // the base URL for an OpenAI client
 * })
 *
 * await Effect.runPromise(Effect.scoped(program)) // => "http://127.0.0.1:…/v1"
 * ```
 *
 * @since 0.1.0
 */
import * as Endpoint from "@pipe/core/Endpoint"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as Script from "./simulator/Script.ts"
import * as Wire from "./simulator/Wire.ts"
import * as Tiktoken from "./Tiktoken.ts"

/** Shares (0 to 1) of the requests that fail in some way; a request that is sent again may succeed. */
export interface Faults {
  /** 429 with `retry-after-ms`. */
  readonly rateLimit?: number
  /** 500. */
  readonly serverError?: number
  /** 200 whose JSON is cut. */
  readonly brokenJson?: number
  /** The connection ends without an answer. */
  readonly drop?: number
  /** An answer that does not fit the schema that was asked for. It is billed. */
  readonly wrongSchema?: number
}

export interface Options {
  /** Answers and faults depend on it alone. Default: `"pipe"`. */
  readonly seed?: string
  /** Time before an answer. Default: 0. */
  readonly latency?: Duration.Input
  readonly faults?: Faults
  /** Limits that are held and reported in the headers. Default: none. */
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
  /** Answers of one's own; where it returns `undefined` the simulator makes one. */
  readonly answer?: (asked: { readonly model: string; readonly prompt: string }) => string | undefined
  /** Default: any free port. */
  readonly port?: number
}

/** What was asked of one model and would have been billed. */
export interface Bill {
  readonly model: string
  readonly answers: number
  /** Input tokens, those read from the prompt cache included. */
  readonly input: number
  readonly cacheRead: number
  /** Output tokens, reasoning included. */
  readonly output: number
  readonly reasoning: number
}

export interface Simulator {
  readonly url: string
  /** Base URL for OpenAI clients. */
  readonly openAiUrl: string
  /** Base URL for Anthropic clients. */
  readonly anthropicUrl: string
  /** Requests that came, faults included. */
  readonly requests: () => number
  /** By model. */
  readonly bill: () => ReadonlyArray<Bill>
}

/** Starts a simulator; it stops with the scope. */
export const start = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Simulator, never, Scope.Scope> {
  const { count } = yield* Tiktoken.make
  const engine = makeEngine(options, count)
  const server = createServer((request, response) => engine.handle(request, response))
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(options.port ?? 0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    openAiUrl: `${url}/v1`,
    anthropicUrl: url,
    requests: engine.requests,
    bill: engine.bill
  }
})

/** Points every provider plugin at a simulator, whatever the flow's own addresses and keys are. */
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.effect(
    Endpoint.Overrides,
    Effect.map(start(options), ({ anthropicUrl, openAiUrl }) => ({
      openai: { baseUrl: openAiUrl, apiKey: "no-key-needed" },
      anthropic: { baseUrl: anthropicUrl, apiKey: "no-key-needed" }
    }))
  ) as Layer.Layer<never>

const MINUTE = 60_000
/** OpenAI caches prompts of 1,024 tokens and more, in steps of 128. */
const CACHE_MIN = 1_024
const CACHE_STEP = 128
/** A prompt's beginning, in characters, by which a cached one is known again. */
const PREFIX = 4_096

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const makeEngine = (options: Options, count: (text: string) => number) => {
  const seed = options.seed ?? "pipe"
  const latency = Duration.toMillis(Duration.fromInputUnsafe(options.latency ?? 0))
  const faults = options.faults ?? {}
  const bills = new Map<string, Mutable<Bill>>()
  const tries = new Map<string, number>()
  const prefixes = new Set<string>()
  const window = { start: 0, requests: 0, tokens: 0 }
  let requests = 0

  const hasFaults = Object.values(faults).some((rate) => rate > 0)

  const faultOf = (text: string): keyof Faults | undefined => {
    if (!hasFaults) return undefined
    const attempt = (tries.get(text) ?? 0) + 1
    tries.set(text, attempt)
    let at = Script.chance(seed, "fault", text, String(attempt))
    for (const kind of ["rateLimit", "serverError", "brokenJson", "drop", "wrongSchema"] as const) {
      const rate = faults[kind] ?? 0
      if (at < rate) return kind
      at -= rate
    }
    return undefined
  }

  const book = (model: string, tokens: Wire.Tokens): void => {
    let bill = bills.get(model)
    if (bill === undefined) {
      bills.set(model, bill = { model, answers: 0, input: 0, cacheRead: 0, output: 0, reasoning: 0 })
    }
    bill.answers++
    bill.input += tokens.input
    bill.cacheRead += tokens.cacheRead
    bill.output += tokens.output
    bill.reasoning += tokens.reasoning
    window.tokens += tokens.input + tokens.output
  }

  const answerTo = (asked: Wire.Asked, wrong: boolean): Wire.Answer => {
    const key = `${seed}\n${asked.model}\n${asked.prompt}`
    const tool = asked.tool === undefined
      ? undefined
      : { name: asked.tool.name, arguments: Script.fromSchema(asked.tool.parameters, asked.prompt, key) }
    const own = options.answer?.({ model: asked.model, prompt: asked.prompt })
    let text = wrong
      ? "{\"this\": \"does not fit\""
      : own ?? (asked.schema === undefined
        ? Script.text(key)
        : JSON.stringify(Script.fromSchema(asked.schema, asked.prompt, key)))
    let output = count(tool === undefined ? text : JSON.stringify(tool.arguments))
    const reasoning = asked.reasoning ? 64 * (1 + Math.floor(Script.chance(key, "reasoning") * 4)) : 0
    const truncated = asked.maxTokens !== undefined && output + reasoning > asked.maxTokens
    if (truncated) {
      output = Math.max(0, asked.maxTokens - reasoning)
      text = text.slice(0, Math.max(1, Math.floor((text.length * output) / Math.max(1, count(text)))))
    }
    const input = count(asked.prompt) + 8 + (asked.schema === undefined ? 0 : count(JSON.stringify(asked.schema)))
    const prefix = `${asked.model}\n${asked.prompt.slice(0, PREFIX)}`
    const cacheRead = input >= CACHE_MIN && prefixes.has(prefix)
      ? Math.floor(Math.min(CACHE_MIN, input) / CACHE_STEP) * CACHE_STEP
      : 0
    if (input >= CACHE_MIN) prefixes.add(prefix)
    return {
      id: Math.floor(Script.chance(key, "id") * 2 ** 48).toString(36),
      text,
      tool,
      truncated,
      tokens: { input, cacheRead, output: Math.min(output + reasoning, asked.maxTokens ?? Number.POSITIVE_INFINITY), reasoning: Math.min(reasoning, asked.maxTokens ?? reasoning) }
    }
  }

  /** Counts a request in its minute: how long to wait when it is one too many. */
  const overLimit = (): number | undefined => {
    const now = Date.now()
    if (now - window.start >= MINUTE) Object.assign(window, { start: now, requests: 0, tokens: 0 })
    window.requests++
    return (options.requestsPerMinute !== undefined && window.requests > options.requestsPerMinute) ||
        (options.tokensPerMinute !== undefined && window.tokens > options.tokensPerMinute)
      ? window.start + MINUTE - now
      : undefined
  }

  const limitHeaders = (anthropic: boolean): Record<string, string> => {
    const reset = Math.max(0, window.start + MINUTE - Date.now())
    const headers: Record<string, string> = {}
    const add = (what: "requests" | "tokens", limit: number | undefined, used: number) => {
      if (limit === undefined) return
      const remaining = String(Math.max(0, limit - used))
      if (anthropic) {
        headers[`anthropic-ratelimit-${what}-limit`] = String(limit)
        headers[`anthropic-ratelimit-${what}-remaining`] = remaining
        headers[`anthropic-ratelimit-${what}-reset`] = new Date(Date.now() + reset).toISOString()
      } else {
        headers[`x-ratelimit-limit-${what}`] = String(limit)
        headers[`x-ratelimit-remaining-${what}`] = remaining
        headers[`x-ratelimit-reset-${what}`] = `${Math.ceil(reset / 1000)}s`
      }
    }
    add("requests", options.requestsPerMinute, window.requests)
    add("tokens", options.tokensPerMinute, window.tokens)
    return headers
  }

  const respond = (path: string, text: string, response: ServerResponse): void => {
    requests++
    const anthropic = path === "/v1/messages"
    const send = (status: number, body: string, headers: Record<string, string> = {}, type = "application/json") => {
      response.writeHead(status, { "content-type": type, ...limitHeaders(anthropic), ...headers })
      response.end(body)
    }
    const error = (status: number, type: string, message: string, headers?: Record<string, string>) =>
      send(
        status,
        JSON.stringify(anthropic
          ? { type: "error", error: { type, message } }
          : { error: { type, message, code: type, param: null } }),
        headers
      )
    let body: Wire.Json
    try {
      body = JSON.parse(text)
    } catch {
      return error(400, "invalid_request_error", "the body is not JSON")
    }
    if (typeof body["model"] !== "string") return error(400, "invalid_request_error", "model is missing")
    const wait = overLimit()
    if (wait !== undefined) {
      return error(429, "rate_limit_error", "simulated rate limit", { "retry-after": String(Math.ceil(wait / 1000)) })
    }
    const fault = faultOf(text)
    switch (fault) {
      case "rateLimit":
        return error(429, "rate_limit_error", "simulated rate limit", { "retry-after-ms": "20" })
      case "serverError":
        return error(500, "server_error", "simulated server error")
      case "drop":
        return void response.destroy()
    }
    if (path === "/v1/embeddings") {
      const made = Wire.toEmbeddings(body, seed, count)
      book(body["model"], { input: made.tokens, cacheRead: 0, output: 0, reasoning: 0 })
      return send(200, JSON.stringify(made.body))
    }
    const format = path === "/v1/chat/completions"
      ? { read: Wire.fromChat, write: Wire.toChat, events: Wire.toChatChunks }
      : path === "/v1/responses"
      ? { read: Wire.fromResponses, write: Wire.toResponses, events: undefined }
      : anthropic
      ? { read: Wire.fromAnthropic, write: Wire.toAnthropic, events: Wire.toAnthropicEvents }
      : undefined
    if (format === undefined) return error(404, "not_found_error", `the simulator has no ${path}`)
    const asked = format.read(body)
    const answer = answerTo(asked, fault === "wrongSchema" && asked.schema !== undefined)
    book(asked.model, answer.tokens)
    if (asked.stream && format.events !== undefined) {
      return send(200, format.events(asked, answer).join(""), {}, "text/event-stream")
    }
    const json = JSON.stringify(format.write(asked, answer))
    send(200, fault === "brokenJson" ? json.slice(0, json.length / 2) : json)
  }

  return {
    requests: () => requests,
    bill: (): ReadonlyArray<Bill> => [...bills.values()].map((bill) => ({ ...bill })),
    handle: (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const path = new URL(request.url ?? "/", "http://localhost").pathname
        const text = Buffer.concat(chunks).toString("utf8")
        if (latency > 0) setTimeout(() => respond(path, text, response), latency)
        else respond(path, text, response)
      })
    }
  }
}
