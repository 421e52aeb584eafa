/**
 * The CPU of a row: a label as a decision, as an object and as a text, each in a process of its own, in turns, over a server that
 * answers at once in another.
 *
 *     node decisions.ts [--rows 20000] [--rounds 3]
 */
import { Flow, Ledger, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { spawn } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { parseArgs } from "node:util"
import { median } from "./measure.ts"

const kinds = ["decision", "object", "text"] as const
type Kind = (typeof kinds)[number]

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "20000" },
    rounds: { type: "string", default: "3" },
    kind: { type: "string" },
    serve: { type: "boolean", default: false },
    url: { type: "string", default: "" }
  }
})
const count = Number(values.rows)
const labels = Array.from({ length: 20 }, (_, at) => `label_${at}`)
const instructions = "Which of these intents does the question have?"

const serve = (): void => {
  const usage = { input_tokens: 200, output_tokens: 2, total_tokens: 202, input_tokens_details: { cached_tokens: 0 } }
  const decision = JSON.stringify({
    model: "gpt-6-luna",
    answers: [
      {
        type: "choice",
        name: "decision",
        choice: "label_3",
        confidence: 0.9,
        probabilities: labels.map((value) => ({ value, probability: value === "label_3" ? 0.9 : 0.1 / 19 }))
      }
    ],
    usage
  })
  const chat = (content: string) =>
    JSON.stringify({
      id: "c",
      object: "chat.completion",
      model: "gpt-6-luna",
      choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
      usage: { prompt_tokens: 200, completion_tokens: 9, total_tokens: 209 }
    })
  const [object, text] = [chat('{"label":"label_3"}'), chat("label_3")]
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => {
      response.writeHead(200, { "content-type": "application/json" })
      response.end(
        request.url?.endsWith("/decisions") === true ? decision : body.includes("response_format") ? object : text
      )
    })
  })
  server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port))
}

const question = (n: number) =>
  Source.fromIterable(
    "question",
    Array.from({ length: n }, (_, at) => `Where is my card, number ${at}? I have waited for it.`)
  )

const stepOf = (kind: Kind, n: number) => {
  const source = question(n)
  const prompt = (text: string) => `${instructions}\n${labels.join("\n")}\n\n${text}`
  switch (kind) {
    case "decision":
      return Flow.decide("label", { question: source }, { instructions, options: labels as [string, string] })
    case "object":
      return Flow.step("label", { question: source }, ({ question }) =>
        Effect.map(
          LanguageModel.generateObject({
            schema: Schema.Struct({ label: Schema.Literals(labels) }),
            prompt: prompt(question)
          }),
          ({ value }) => value.label
        )
      )
    case "text":
      return Flow.step("label", { question: source }, ({ question }) =>
        Effect.map(LanguageModel.generateText({ prompt: prompt(question) }), ({ text }) => text)
      )
  }
}

const run = (kind: Kind, url: string, n: number) =>
  Effect.runPromise(
    Runner.run(
      Flow.make("labels", {
        outputs: [
          Sink.forEach("out", stepOf(kind, n) as ReturnType<typeof stepOf> & { readonly it?: never }, () => Effect.void)
        ],
        concurrency: 64,
        stack: Stack.make(
          Ledger.layer,
          Retry.layer(),
          OpenAi.layer({ apiKey: "none", baseUrl: url, model: "gpt-6-luna", decisions: true })
        )
      }),
      { errorsFile: false }
    ).pipe(Effect.provide(NodeHost.layerMemory))
  )

if (values.serve) serve()
else if (values.kind !== undefined) {
  const kind = values.kind as Kind
  await run(kind, values.url, 2_000)
  const before = process.cpuUsage()
  await run(kind, values.url, count)
  const { system, user } = process.cpuUsage(before)
  console.log((user + system) / count)
} else {
  const server = spawn(process.execPath, [import.meta.filename, "--serve"], { stdio: ["ignore", "pipe", "inherit"] })
  const port = await new Promise<string>((resolve) =>
    server.stdout.once("data", (text) => resolve(String(text).trim()))
  )
  const measured = new Map<Kind, Array<number>>(kinds.map((kind) => [kind, []]))
  for (let round = 0; round < Number(values.rounds); round++)
    for (const kind of kinds) {
      const child = spawn(
        process.execPath,
        [import.meta.filename, "--kind", kind, "--rows", values.rows, "--url", `http://127.0.0.1:${port}/v1`],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
      let out = ""
      child.stdout.on("data", (text) => (out += text))
      await new Promise((resolve) => child.on("close", resolve))
      measured.get(kind)!.push(Number(out))
    }
  server.kill()
  for (const [kind, all] of measured)
    console.log(`${kind}: ${median(all).toFixed(0)} µs of CPU a row (${all.map((one) => one.toFixed(0)).join(", ")})`)
}
