/**
 * A loopback server that speaks as much of OpenAI's API as the peers need: `POST /v1/chat/completions` is answered with
 * one fixed completion, after `LATENCY` ms (or the first argument; none by default).
 *
 * Prints `{"port"}` when it listens. When its standard input ends, prints `{"requests", "cpuSeconds"}`, counted since
 * then, and ends too: so it never outlives the process that started it.
 */
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { model, usage } from "./peer.ts"

const latency = Number(process.argv[2] ?? process.env["LATENCY"] ?? 0)
if (!Number.isFinite(latency) || latency < 0) throw new Error("The latency must be a number of milliseconds")

const body = JSON.stringify({
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 1_750_000_000,
  model,
  choices: [
    {
      index: 0,
      message: {
        role: "assistant",
        content: "The cat is sleeping on the chair by the window.",
        refusal: null,
        annotations: []
      },
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
const headers = ["content-type", "application/json", "content-length", String(Buffer.byteLength(body))]

let requests = 0

const listener: RequestListener = (request, response) => {
  response.sendDate = false
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    response.writeHead(404).end()
    return
  }
  requests++
  const answer = () => response.writeHead(200, headers).end(body)
  request.resume()
  request.on("end", latency === 0 ? answer : () => setTimeout(answer, latency))
}

// No timeouts: neither a timer a connection nor a `keep-alive` header in each answer.
const server = createServer({ keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 }, listener)

server.listen(0, "127.0.0.1", () => {
  const start = process.cpuUsage()
  process.stdin.resume().once("end", () => {
    const { user, system } = process.cpuUsage(start)
    process.stdout.write(`${JSON.stringify({ requests, cpuSeconds: (user + system) / 1e6 })}\n`, () => process.exit())
  })
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`)
})
