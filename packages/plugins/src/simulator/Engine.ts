/**
 * The simulator's answers to single requests, what it bills, and the faults and limits that it holds.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Bill, Faults, Options } from "./Options.ts"
import * as Notes from "./Notes.ts"
import * as Packed from "./Packed.ts"
import * as PromptCache from "./PromptCache.ts"
import * as Script from "./Script.ts"
import * as Wire from "./Wire.ts"

const MINUTE = 60_000
/** How each API reads and writes. */
const formats: {
  readonly [path: string]: {
    readonly read: (body: Wire.Json) => Wire.Asked
    readonly write: (asked: Wire.Asked, answer: Wire.Answer) => unknown
    readonly events: ((asked: Wire.Asked, answer: Wire.Answer) => ReadonlyArray<string>) | undefined
  }
} = {
  "/v1/chat/completions": { read: Wire.fromChat, write: Wire.toChat, events: Wire.toChatChunks },
  "/v1/responses": { read: Wire.fromResponses, write: Wire.toResponses, events: undefined },
  "/v1/messages": { read: Wire.fromAnthropic, write: Wire.toAnthropic, events: Wire.toAnthropicEvents }
}

/** What a tool is called with. */
const argumentsOf = (
  { name, parameters }: NonNullable<Wire.Asked["tool"]>,
  key: string,
  note: Notes.Note | undefined
): unknown => {
  const noted = note?.tools.get(name)
  return noted === undefined ? Script.fromSchema(parameters, key) : (JSON.parse(noted) as unknown)
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export type Engine = ReturnType<typeof make>

export const make = (options: Options, count: (text: string) => number, notes: Notes.Notes) => {
  const seed = options.seed ?? "pipe"
  const latency = Duration.toMillis(Duration.fromInputUnsafe(options.latency ?? 0))
  const faults = options.faults ?? {}
  const bills = new Map<string, Mutable<Bill>>()
  const tries = new Map<string, number>()
  const promptCache = PromptCache.make(count)
  const window = { start: 0, requests: 0, tokens: 0 }
  let requests = 0

  const hasFaults = Object.values(faults).some((rate) => rate > 0)

  /** How often a body was sent, this time included. */
  const attemptOf = (text: string): number => {
    const attempt = (tries.get(text) ?? 0) + 1
    tries.set(text, attempt)
    return attempt
  }

  const faultOf = (text: string): keyof Faults | undefined => {
    if (!hasFaults) return undefined
    let at = Script.chance(seed, "fault", text, String(attemptOf(text)))
    for (const kind of ["rateLimit", "serverError", "brokenJson", "drop", "wrongSchema"] as const) {
      const rate = faults[kind] ?? 0
      if (at < rate) return kind
      at -= rate
    }
    return undefined
  }

  const book = (model: string, tokens: Wire.Tokens, serviceTier?: "batch"): void => {
    const key = `${model}\n${serviceTier ?? ""}`
    let bill = bills.get(key)
    if (bill === undefined) {
      bills.set(
        key,
        (bill = {
          model,
          answers: 0,
          input: 0,
          cacheRead: 0,
          cacheWrite: 0,
          output: 0,
          reasoning: 0,
          ...(serviceTier === undefined ? undefined : { serviceTier })
        })
      )
    }
    bill.answers++
    bill.input += tokens.input
    bill.cacheRead += tokens.cacheRead
    bill.cacheWrite += tokens.cacheWrite
    bill.output += tokens.output
    bill.reasoning += tokens.reasoning
    if (serviceTier === undefined) window.tokens += tokens.input + tokens.output
  }

  const answerTo = (asked: Wire.Asked, wrong: boolean, arrived: number, note: Notes.Note | undefined): Wire.Answer => {
    const key = note?.seed ?? `${seed}\n${asked.model}\n${asked.prompt}`
    const tool =
      asked.tool === undefined ? undefined : { name: asked.tool.name, arguments: argumentsOf(asked.tool, key, note) }
    const single = (prompt: string, schema: Wire.Json | undefined): string => {
      const key = `${seed}\n${asked.model}\n${prompt}`
      return (
        options.answer?.({ model: asked.model, prompt })
        ?? (prompt === asked.prompt ? note?.text : undefined)
        ?? (schema === undefined ? Script.text(key) : JSON.stringify(Script.fromSchema(schema, key)))
      )
    }
    let text = wrong
      ? // Another one for each prompt: a model that is told what was wrong seldom repeats itself to the letter.
        `{"this": "does not fit, ${Math.floor(Script.chance(seed, "wrong text", asked.prompt) * 1e6)}"`
      : (Packed.answer(asked, seed, options.packs ?? {}, single) ?? single(asked.prompt, asked.schema))
    let output = count(tool === undefined ? text : JSON.stringify(tool.arguments))
    const reasoning = asked.reasoning ? 64 * (1 + Math.floor(Script.chance(key, "reasoning") * 4)) : 0
    const truncated = asked.maxTokens !== undefined && output + reasoning > asked.maxTokens
    if (truncated) {
      output = Math.max(0, asked.maxTokens - reasoning)
      text = text.slice(0, Math.max(1, Math.floor((text.length * output) / Math.max(1, count(text)))))
    }
    const input = count(asked.prompt) + 8 + (asked.schema === undefined ? 0 : count(JSON.stringify(asked.schema)))
    return {
      id: Math.floor(Script.chance(key, "id") * 2 ** 48).toString(36),
      text,
      tool,
      truncated,
      confidence:
        options.confidence?.({ model: asked.model, prompt: asked.prompt, text })
        ?? 0.5 + Script.chance(key, "confidence") / 2,
      tokens: {
        input,
        ...promptCache.use(asked, input, arrived),
        output: Math.min(output + reasoning, asked.maxTokens ?? Number.POSITIVE_INFINITY),
        reasoning: Math.min(reasoning, asked.maxTokens ?? reasoning)
      }
    }
  }

  /** The whole answer of an API to a body, booked. */
  const answer = (path: string, body: Wire.Json, serviceTier?: "batch"): unknown => {
    if (path === "/v1/embeddings") {
      const made = Wire.toEmbeddings(body, seed, count)
      book(body["model"], { input: made.tokens, cacheRead: 0, cacheWrite: 0, output: 0, reasoning: 0 }, serviceTier)
      return made.body
    }
    const format = formats[path]!
    const asked = format.read(body)
    const text = JSON.stringify(body)
    const isWrong =
      asked.schema !== undefined
      && Script.chance(seed, "wrong", text, String(attemptOf(text))) < (faults.wrongSchema ?? 0)
    // Requests of a batch run beside each other: none finds what another has put into the prompt cache.
    const made = answerTo(asked, isWrong, Number.NEGATIVE_INFINITY, notes.take(body[Notes.FIELD]))
    book(asked.model, made.tokens, serviceTier)
    return format.write(asked, made)
  }

  /** Counts a request in its minute: how long to wait when it is one too many. */
  const overLimit = (): number | undefined => {
    const now = Date.now()
    if (now - window.start >= MINUTE) Object.assign(window, { start: now, requests: 0, tokens: 0 })
    window.requests++
    return (options.requestsPerMinute !== undefined && window.requests > options.requestsPerMinute)
      || (options.tokensPerMinute !== undefined && window.tokens > options.tokensPerMinute)
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

  const respond = (path: string, text: string, response: ServerResponse, arrived: number): void => {
    requests++
    const anthropic = path === "/v1/messages"
    const send = (status: number, body: string, headers: Record<string, string> = {}, type = "application/json") => {
      response.writeHead(status, { "content-type": type, ...limitHeaders(anthropic), ...headers })
      response.end(body)
    }
    const error = (status: number, type: string, message: string, headers?: Record<string, string>) =>
      send(
        status,
        JSON.stringify(
          anthropic
            ? { type: "error", error: { type, message } }
            : { error: { type, message, code: type, param: null } }
        ),
        headers
      )
    let body: Wire.Json
    try {
      body = JSON.parse(text)
    } catch {
      return error(400, "invalid_request_error", "the body is not JSON")
    }
    const note = notes.take(body[Notes.FIELD])
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
    if (path === "/v1/embeddings") return send(200, JSON.stringify(answer(path, body)))
    const format = formats[path]
    if (format === undefined) return error(404, "not_found_error", `the simulator has no ${path}`)
    const asked = format.read(body)
    const made = answerTo(asked, fault === "wrongSchema" && asked.schema !== undefined, arrived, note)
    book(asked.model, made.tokens)
    if (asked.stream && format.events !== undefined) {
      return send(200, format.events(asked, made).join(""), {}, "text/event-stream")
    }
    const json = JSON.stringify(format.write(asked, made))
    send(200, fault === "brokenJson" ? json.slice(0, json.length / 2) : json)
  }

  return {
    seed,
    answer,
    count,
    requests: () => requests,
    bill: (): ReadonlyArray<Bill> => [...bills.values()].map((bill) => ({ ...bill })),
    handle: (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const path = new URL(request.url ?? "/", "http://localhost").pathname
        const text = Buffer.concat(chunks).toString("utf8")
        const arrived = performance.now()
        if (latency > 0) setTimeout(() => respond(path, text, response, arrived), latency)
        else respond(path, text, response, arrived)
      })
    }
  }
}
