/**
 * The simulator's answers to single requests, with their faults.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Answering from "./Answering.ts"
import * as Decisions from "./Decisions.ts"
import * as Meter from "./Meter.ts"
import * as RequestNotes from "./RequestNotes.ts"
import type { Bill, Faults, Options } from "./Options.ts"
import * as PromptCache from "./PromptCache.ts"
import * as Script from "./Script.ts"
import * as Wire from "./Wire.ts"

/** How each API is read and written. */
const formats: {
  readonly [path: string]: {
    readonly read: (body: Wire.WireJson) => Wire.WireRequest
    readonly write: (asked: Wire.WireRequest, answer: Wire.WireAnswer) => unknown
    readonly events: ((asked: Wire.WireRequest, answer: Wire.WireAnswer) => ReadonlyArray<string>) | undefined
  }
} = {
  "/v1/chat/completions": { read: Wire.fromChat, write: Wire.toChat, events: Wire.toChatChunks },
  "/v1/responses": { read: Wire.fromResponses, write: Wire.toResponses, events: undefined },
  "/v1/messages": { read: Wire.fromAnthropic, write: Wire.toAnthropic, events: Wire.toAnthropicEvents }
}

export interface Engine {
  readonly seed: string
  readonly count: (text: string) => number
  /** The complete answer of an API to a body, recorded in the bill. */
  readonly answer: (path: string, body: Wire.WireJson, serviceTier?: "batch") => unknown
  readonly requests: () => number
  readonly bill: () => ReadonlyArray<Bill>
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
}

/** What the requests share. */
interface State extends Answering.Answering {
  readonly meter: Meter.SimulatorMeter
  readonly notes: RequestNotes.RequestNotes
  readonly faults: Faults
  /** How often each body was sent. */
  readonly tries: Map<string, number>
}

export const make = (options: Options, count: (text: string) => number, notes: RequestNotes.RequestNotes): Engine => {
  const seed = options.seed ?? "pipe"
  const latency = Duration.toMillis(Duration.fromInputUnsafe(options.latency ?? 0))
  const state: State = {
    options,
    seed,
    count,
    notes,
    promptCache: PromptCache.make(count),
    meter: Meter.make(options),
    faults: options.faults ?? {},
    tries: new Map()
  }
  let requests = 0
  return {
    seed,
    count,
    answer: (path, body, serviceTier) => answer(state, path, body, serviceTier),
    requests: () => requests,
    bill: state.meter.bill,
    handle: (request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const path = new URL(request.url ?? "/", "http://localhost").pathname
        const text = Buffer.concat(chunks).toString("utf8")
        const arrived = performance.now()
        const reply = () => {
          requests++
          respond(state, { path, text, response, arrived })
        }
        if (latency > 0) setTimeout(reply, latency)
        else reply()
      })
    }
  }
}

/** How often a body was sent, including this time. */
const attemptOf = ({ tries }: State, text: string): number => {
  const attempt = (tries.get(text) ?? 0) + 1
  tries.set(text, attempt)
  return attempt
}

const faultOf = (state: State, text: string, isFlex: boolean): keyof Faults | undefined => {
  const { faults, seed } = state
  if (!Object.values(faults).some((rate) => rate > 0)) return undefined
  const attempt = String(attemptOf(state, text))
  if (isFlex && Script.chance(seed, "flex", text, attempt) < (faults.flexUnavailable ?? 0)) return "flexUnavailable"
  let at = Script.chance(seed, "fault", text, attempt)
  for (const kind of ["rateLimit", "serverError", "brokenJson", "drop", "wrongSchema"] as const) {
    const rate = faults[kind] ?? 0
    if (at < rate) return kind
    at -= rate
  }
  return undefined
}

const answer = (state: State, path: string, body: Wire.WireJson, serviceTier?: "batch"): unknown => {
  const { count, faults, meter, notes, seed } = state
  if (path === "/v1/embeddings") {
    const made = Wire.toEmbeddings(body, seed, count)
    meter.record(
      body["model"],
      { input: made.tokens, cacheRead: 0, cacheWrite: 0, output: 0, reasoning: 0 },
      serviceTier
    )
    return made.body
  }
  if (path === "/v1/decisions") {
    const made = Decisions.answer(body, seed, count, notes.take(body[RequestNotes.FIELD]))
    meter.record(body["model"], made.tokens, serviceTier ?? "decision")
    return made.body
  }
  const format = formats[path]!
  // A batch is in no other service tier.
  const asked = { ...format.read(body), ...(serviceTier === undefined ? undefined : { tier: undefined }) }
  const text = JSON.stringify(body)
  const isWrong =
    asked.schema !== undefined
    && Script.chance(seed, "wrong", text, String(attemptOf(state, text))) < (faults.wrongSchema ?? 0)
  // Requests of a batch run in parallel: none finds what another has added to the prompt cache.
  const made = Answering.answer(state, asked, isWrong, Number.NEGATIVE_INFINITY, notes.take(body[RequestNotes.FIELD]))
  meter.record(asked.model, made.tokens, serviceTier ?? asked.tier)
  return format.write(asked, made)
}

interface Exchange {
  readonly path: string
  readonly text: string
  readonly response: ServerResponse
  readonly arrived: number
}

const respond = (state: State, { arrived, path, response, text }: Exchange): void => {
  const { meter, notes } = state
  const isAnthropic = path === "/v1/messages"
  const send = (status: number, body: string, headers: Record<string, string> = {}, type = "application/json") => {
    response.writeHead(status, { "content-type": type, ...meter.headers(isAnthropic), ...headers })
    response.end(body)
  }
  const error = (status: number, type: string, message: string, headers?: Record<string, string>) =>
    send(
      status,
      JSON.stringify(
        isAnthropic
          ? { type: "error", error: { type, message } }
          : { error: { type, message, code: type, param: null } }
      ),
      headers
    )
  let body: Wire.WireJson
  try {
    body = JSON.parse(text)
  } catch {
    return error(400, "invalid_request_error", "the body is not JSON")
  }
  const isDecision = path === "/v1/decisions"
  const note = isDecision ? undefined : notes.take(body[RequestNotes.FIELD])
  if (typeof body["model"] !== "string") return error(400, "invalid_request_error", "model is missing")
  const wait = meter.overLimit()
  if (wait !== undefined) {
    return error(429, "rate_limit_error", "simulated rate limit", { "retry-after": String(Math.ceil(wait / 1000)) })
  }
  const fault = faultOf(state, text, Wire.tierOf(body) === "flex")
  switch (fault) {
    case "flexUnavailable":
      return error(429, "resource_unavailable", "Resource unavailable: no room in the flex tier now")
    case "rateLimit":
      return error(429, "rate_limit_error", "simulated rate limit", { "retry-after-ms": "20" })
    case "serverError":
      return error(500, "server_error", "simulated server error")
    case "drop":
      return void response.destroy()
  }
  if (path === "/v1/embeddings") return send(200, JSON.stringify(answer(state, path, body)))
  if (isDecision) {
    if (!Array.isArray(body["questions"]) || body["questions"].length === 0)
      return error(400, "invalid_request_error", "questions are missing")
    const whole = JSON.stringify(answer(state, path, body))
    return send(200, fault === "brokenJson" ? whole.slice(0, whole.length / 2) : whole)
  }
  const format = formats[path]
  if (format === undefined) return error(404, "not_found_error", `the simulator has no ${path}`)
  const asked = format.read(body)
  const made = Answering.answer(state, asked, fault === "wrongSchema" && asked.schema !== undefined, arrived, note)
  meter.record(asked.model, made.tokens, asked.tier)
  if (asked.stream && format.events !== undefined) {
    return send(200, format.events(asked, made).join(""), {}, "text/event-stream")
  }
  const whole = JSON.stringify(format.write(asked, made))
  send(200, fault === "brokenJson" ? whole.slice(0, whole.length / 2) : whole)
}
