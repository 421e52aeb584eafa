/**
 * A loopback server that speaks as much of OpenAI's API as the peers need: `POST /v1/chat/completions` is answered with
 * one fixed completion, after the latency of the task named by the first argument. Beyond the task's limit it refuses with
 * 429 and `Retry-After: 1`. With a second argument it answers after those milliseconds, and refuses nothing.
 *
 * Prints `{"port"}` when it listens. When its standard input ends, prints `{"requests", "refused", "cpuSeconds"}`, counted
 * since then, and ends too: so it never outlives the process that started it.
 */
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { model, usage } from "./peer.ts"
import { type Latency, named, object } from "./tasks.ts"

/** What the server says of itself at its end. */
export interface Served {
  /** Requests that were answered. */
  readonly requests: number
  readonly refused: number
  readonly cpuSeconds: number
}

const [task = "text-0", milliseconds] = process.argv.slice(2)
const { kind, ...of } = named(task)
const isOwn = milliseconds === undefined
const latency: Latency = isOwn ? of.latency : { mean: Number(milliseconds) }
const limit = (isOwn ? of.limit : undefined) ?? Number.POSITIVE_INFINITY
if (!(latency.mean >= 0)) throw new Error("The latency must be a number of milliseconds")

const answerOf = (content: string): string =>
  JSON.stringify({
    id: "chatcmpl-bench",
    object: "chat.completion",
    created: 1_750_000_000,
    model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content, refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: "stop"
      }
    ],
    usage: {
      ...usage,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: 0,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0
      }
    },
    service_tier: "default",
    system_fingerprint: "fp_bench"
  })

const body = answerOf(kind === "object" ? JSON.stringify(object) : "The cat is sleeping on the chair by the window.")
const headersOf = (text: string) => [
  "content-type",
  "application/json",
  "content-length",
  String(Buffer.byteLength(text))
]
const headers = headersOf(body)
const refusal = JSON.stringify({
  error: { message: "Rate limit reached", type: "requests", code: "rate_limit_exceeded" }
})
const refusalHeaders = [...headersOf(refusal), "retry-after", "1"]

/** Uniform numbers that are the same in each process (mulberry32). */
let state = 42
const uniform = (): number => {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), state | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

/** A wait in milliseconds. A lognormal one has its mean at `mean` (Box and Muller 1958). */
const waitOf = ({ mean, sigma }: Latency): number => {
  if (sigma === undefined) return mean
  const normal = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  return Math.exp(Math.log(mean) - sigma ** 2 / 2 + sigma * normal)
}

let requests = 0
let refused = 0
let second = 0
let inSecond = 0

const isRefused = (): boolean => {
  const now = Math.floor(Date.now() / 1_000)
  if (now !== second) inSecond = 0
  second = now
  return ++inSecond > limit
}

const listener: RequestListener = (request, response) => {
  response.sendDate = false
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    response.writeHead(404).end()
    return
  }
  request.resume()
  if (limit !== Number.POSITIVE_INFINITY && isRefused()) {
    refused++
    request.on("end", () => response.writeHead(429, refusalHeaders).end(refusal))
    return
  }
  requests++
  const answer = () => response.writeHead(200, headers).end(body)
  const wait = waitOf(latency)
  request.on("end", wait === 0 ? answer : () => setTimeout(answer, wait))
}

// No timeouts: neither a timer a connection nor a `keep-alive` header in each answer.
const server = createServer({ keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 }, listener)

server.listen(0, "127.0.0.1", () => {
  const start = process.cpuUsage()
  process.stdin.resume().once("end", () => {
    const { user, system } = process.cpuUsage(start)
    const served: Served = { requests, refused, cpuSeconds: (user + system) / 1e6 }
    process.stdout.write(`${JSON.stringify(served)}\n`, () => process.exit())
  })
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`)
})
