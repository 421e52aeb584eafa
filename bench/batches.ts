/**
 * Measures batches: rows that are gathered, split, sent, and taken in, by the `pipe` command in a process of its own, beside
 * a script on the openai SDK that writes the same files, sends them one by one and reads the results. The server is the
 * simulator in a process of its own; what it needs is in the times of both.
 *
 *     node batches.ts [--rows 120000] [--characters 900]
 */
import { OpenAI } from "openai"
import { spawn } from "node:child_process"
import { once } from "node:events"
import {
  createReadStream,
  createWriteStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { apiKey, model } from "./peer.ts"

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "120000" },
    characters: { type: "string", default: "900" },
    /** Set in the process of the peer. */
    peer: { type: "string" },
    simulator: { type: "boolean", default: false }
  }
})
const rows = Number(values.rows)
const here = fileURLToPath(import.meta.url)

const report = (): void => {
  process.stdout.write(
    `${JSON.stringify({ mb: Math.round(process.resourceUsage().maxRSS / 1024), cpu: (process.cpuUsage().user + process.cpuUsage().system) / 1e6 })}\n`
  )
}

/** The SDK by hand: files of up to 50,000 lines and 195 MB, each sent when it is full. */
const peer = async (baseURL: string): Promise<void> => {
  const client = new OpenAI({ apiKey, baseURL, maxRetries: 0 })
  const folder = mkdtempSync(join(tmpdir(), "bench-sdk-"))
  const batches: Array<Promise<string>> = []
  let number = 0
  const send = async (file: string): Promise<string> => {
    const { id } = await client.files.create({ file: createReadStream(file), purpose: "batch" })
    return (
      await client.batches.create({ input_file_id: id, endpoint: "/v1/chat/completions", completion_window: "24h" })
    ).id
  }
  let lines = 0
  let bytes = 0
  let out = createWriteStream(join(folder, "0.jsonl"))
  const seal = async (): Promise<void> => {
    out.end()
    await once(out, "finish")
    batches.push(send(join(folder, `${number}.jsonl`)))
  }
  for await (const line of createInterface({ input: createReadStream("rows.jsonl") })) {
    const { id, text } = JSON.parse(line) as { readonly id: number; readonly text: string }
    const request = `${JSON.stringify({ custom_id: String(id), method: "POST", url: "/v1/chat/completions", body: { model, messages: [{ role: "user", content: text }] } })}\n`
    const size = Buffer.byteLength(request)
    if (lines === 50_000 || bytes + size > 195e6) {
      await seal()
      out = createWriteStream(join(folder, `${++number}.jsonl`))
      lines = bytes = 0
    }
    lines++
    bytes += size
    if (!out.write(request)) await once(out, "drain")
  }
  await seal()
  const result = createWriteStream("out-sdk.jsonl")
  for (const id of await Promise.all(batches)) {
    let batch = await client.batches.retrieve(id)
    while (batch.status !== "completed") {
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      batch = await client.batches.retrieve(id)
    }
    const text = await (await client.files.content(batch.output_file_id!)).text()
    for (const line of text.split("\n")) {
      if (line === "") continue
      const { custom_id, response } = JSON.parse(line) as {
        readonly custom_id: string
        readonly response: {
          readonly body: { readonly choices: ReadonlyArray<{ readonly message: { readonly content: string } }> }
        }
      }
      if (
        !result.write(
          `${JSON.stringify({ id: Number(custom_id), answer: response.body.choices[0]!.message.content })}\n`
        )
      )
        await once(result, "drain")
    }
  }
  result.end()
  await once(result, "finish")
  rmSync(folder, { recursive: true })
}

if (values.simulator) {
  const { Simulator } = await import("@pipe/plugins")
  const { Effect } = await import("effect")
  await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({
          batches: { latency: "1 second" },
          answer: () => "The cat sleeps on the chair."
        })
        process.stdout.write(`${simulator.openAiUrl}\n`)
        yield* Effect.never
      })
    )
  )
} else if (values.peer !== undefined) {
  await peer(values.peer)
  report()
} else {
  const folder = mkdtempSync(join(tmpdir(), "bench-batches-"))
  writeFileSync(join(folder, "package.json"), '{"type": "module"}')
  symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), join(folder, "node_modules"))
  writeFileSync(
    join(folder, "flow.ts"),
    `
import { Cache, Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
const rows = Source.jsonl("rows", { path: "rows.jsonl", schema: Schema.Struct({ id: Schema.Int, text: Schema.String }) })
const answer = Flow.step("answer", { row: rows }, ({ row }) => LanguageModel.generateText({ prompt: row.text }).pipe(Effect.map((r) => r.text)))
process.on("exit", () => process.stdout.write(JSON.stringify({ mb: Math.round(process.resourceUsage().maxRSS / 1024), cpu: (process.cpuUsage().user + process.cpuUsage().system) / 1e6 }) + "\\n"))
export default Flow.make("batches", {
  outputs: [Sink.jsonl("out.jsonl", { id: Flow.map("id", { rows }, ({ rows }) => rows.id), answer })],
  stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), OpenAi.layer({ model: "${model}" }))
})`
  )
  const file = createWriteStream(join(folder, "rows.jsonl"))
  const filler = " é".repeat(Number(values.characters))
  for (let id = 0; id < rows; id++) {
    if (!file.write(`${JSON.stringify({ id, text: `row ${id}${filler}` })}\n`)) await once(file, "drain")
  }
  file.end()
  await once(file, "finish")
  const commands = {
    pipe: (_: string) => [
      fileURLToPath(new URL("../packages/cli/src/bin.ts", import.meta.url)),
      "run",
      "flow.ts",
      "--batch",
      "--quiet"
    ],
    "openai-sdk": (url: string) => [here, "--peer", url]
  }
  console.log(
    `Node ${process.version}, ${rows} rows of ${Number(values.characters) * 3} bytes\n\n| peer | seconds | CPU s | peak MB | rows out |\n| --- | ---: | ---: | ---: | ---: |`
  )
  for (const [name, args] of Object.entries(commands)) {
    const server = spawn(process.execPath, ["--max-old-space-size=6000", here, "--simulator"], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env["PATH"] }
    })
    const [line] = (await once(server.stdout, "data")) as [Buffer]
    const url = line.toString().trim()
    const start = performance.now()
    const child = spawn(process.execPath, args(url), {
      cwd: folder,
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env["PATH"], OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: url }
    })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    const [code] = (await once(child, "exit")) as [number]
    const seconds = (performance.now() - start) / 1_000
    server.kill()
    if (code !== 0) throw new Error(`${name} ended with ${code}`)
    const { cpu, mb } = JSON.parse(output.trim().split("\n").at(-1)!) as { readonly mb: number; readonly cpu: number }
    const out = readFileSync(join(folder, name === "pipe" ? "out.jsonl" : "out-sdk.jsonl"), "utf8")
      .trim()
      .split("\n").length
    console.log(`| ${name} | ${seconds.toFixed(1)} | ${cpu.toFixed(1)} | ${mb} | ${out} |`)
  }
  rmSync(folder, { recursive: true })
}
