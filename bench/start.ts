/**
 * How long the installed command takes: to its first request, and to the help of a command. Medians of rounds in turns; the
 * packages are built and unpacked as a user installs them.
 *
 *     node start.ts [--rounds 9]
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Packages from "../scripts/packages.ts"
import { median } from "./measure.ts"
import { apiKey, model, usage } from "./peer.ts"

const { values } = parseArgs({ options: { rounds: { type: "string", default: "9" } } })

const { app, bin } = await Packages.make()
const folder = mkdtempSync(join(tmpdir(), "pipe-start-"))
symlinkSync(join(app, "node_modules"), join(folder, "node_modules"))
writeFileSync(join(folder, "package.json"), '{ "type": "module" }')
writeFileSync(
  join(folder, "flow.ts"),
  `
import { Cache, Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
const row = Source.fromIterable("row", Array.from({ length: 10 }, () => \`row \${Math.random()}\`))
const answer = Flow.step("answer", { row }, ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row }), (r) => r.text))
export default Flow.make("start", {
  outputs: [Sink.jsonl("out.jsonl", { row, answer })],
  stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), OpenAi.layer({ model: "${model}" }))
})`
)

let firstAt = 0
const server = createServer((request, response) => {
  firstAt ||= performance.now()
  request.resume()
  request.on("end", () =>
    response.writeHead(200, { "content-type": "application/json" }).end(
      JSON.stringify({
        model,
        choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop" }],
        usage
      })
    )
  )
})
server.listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`

/** Runs the command; milliseconds to its first request, or to its end. */
const time = async (...args: ReadonlyArray<string>): Promise<number> => {
  firstAt = 0
  const started = performance.now()
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: folder,
    stdio: "ignore",
    env: { PATH: process.env["PATH"], HOME: folder, OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: url }
  })
  const [code] = (await once(child, "exit")) as [number]
  if (code !== 0) throw new Error(`pipe ${args.join(" ")} ended with ${code}`)
  return (firstAt === 0 ? performance.now() : firstAt) - started
}

const commands = {
  "`pipe run flow.ts`, to the first request": ["run", "flow.ts", "--quiet", "--overwrite"],
  "`pipe run --help`": ["run", "--help"],
  "`pipe --help`": ["--help"]
}
const times = new Map<string, Array<number>>()
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [name, args] of Object.entries(commands)) {
    const taken = await time(...args)
    // The first round fills the compile cache.
    if (round > 0) times.set(name, [...(times.get(name) ?? []), taken])
  }
}
console.log("| installed | ms |\n| --- | ---: |")
for (const [name, all] of times) console.log(`| ${name} | ${median(all).toFixed(0)} |`)
server.close()
rmSync(folder, { recursive: true })
