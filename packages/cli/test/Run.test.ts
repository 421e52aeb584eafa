/** `pipe run` in this process. */
import { assert, describe, it } from "@effect/vitest"
import { RunEvent } from "@pipe/core"
import { Schema } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { flow, folder, pipe } from "./Pipe.ts"

const read = (cwd: string, file: string) => readFileSync(join(cwd, file), "utf8")

const lines = (text: string) => text.trim().split("\n")

describe("pipe run", { concurrent: false }, () => {
  it("runs a flow with no key by the simulator; the second run costs nothing", async () => {
    const cwd = folder({ "flow.ts": flow() })
    const first = await pipe(["run", "flow.ts", "--simulate"], { cwd })
    assert.strictEqual(first.code, 0, first.stderr)
    assert.include(first.stderr, "answers are simulated")
    assert.strictEqual(lines(read(cwd, "out.simulated.jsonl")).length, 3)
    const before = read(cwd, "out.simulated.jsonl")
    const second = await pipe(["run", "flow.ts", "--simulate"], { cwd })
    assert.match(second.stderr, /total cost\s+\$0\.00\b/)
    assert.strictEqual(read(cwd, "out.simulated.jsonl"), before)
  })

  it("never answers a real run from simulated answers", async () => {
    const server = await serve(() => ({ status: 200, body: completion("real") }))
    const cwd = folder({ "flow.ts": flow() })
    await pipe(["run", "flow.ts", "--simulate"], { cwd })
    const real = await pipe(["run", "flow.ts"], {
      cwd,
      env: { OPENAI_API_KEY: "sk-test-0123456789abcdef", OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(real.code, 0, real.stderr)
    assert.include(read(cwd, "out.jsonl"), "real")
    assert.strictEqual(server.seen.length, 2)
  })

  it("writes one event a line with --json, the summary last, and no control codes anywhere (forcedotcom/cli#274)", async () => {
    const cwd = folder({ "flow.ts": flow() })
    const { code, stderr, stdout } = await pipe(["run", "flow.ts", "--simulate", "--json"], { cwd })
    assert.strictEqual(code, 0, stderr)
    const events = lines(stdout).map((line) => Schema.decodeUnknownSync(RunEvent.RunEvent)(JSON.parse(line)))
    assert.strictEqual(events[0]!._tag, "RunStarted")
    const last = events.at(-1)!
    assert.strictEqual(last._tag, "RunFinished")
    if (last._tag !== "RunFinished") return
    assert.strictEqual(last.status, "done")
    // The third row is equal to the first: it is computed once.
    assert.strictEqual(last.calls.answers.provider + last.calls.answers.cache + last.calls.answers.shared, 2)
    assert.strictEqual(
      last.baseline,
      last.cost + last.savings.cache + last.savings.router + last.savings.promptCache + last.savings.serviceTier
    )
    assert.strictEqual(events.filter((event) => event._tag === "RowDone").length, 3)
    // oxlint-disable-next-line no-control-regex -- the test looks for control codes
    assert.notMatch(stdout + stderr, /[\r\u001b]/)
  })

  it("tells failed rows, a run that cannot start, and bad usage apart by exit code (promptfoo#335)", async () => {
    const server = await serve((body) =>
      body.includes("hive")
        ? { status: 400, body: JSON.stringify({ error: { message: "no hives" } }) }
        : { status: 200, body: completion("ok") }
    )
    const env = { OPENAI_API_KEY: "sk-test-0123456789abcdef", OPENAI_BASE_URL: server.url }
    const cwd = folder({
      "flow.ts": flow(),
      "allow.ts": flow({ options: "allowFailedRows: 1," }),
      "absent.ts": flow({ source: `Source.lines("rows", { path: "absent.txt" })` })
    })
    const some = await pipe(["run", "flow.ts"], { cwd, env })
    assert.strictEqual(some.code, 1)
    assert.include(some.stderr, "1 failed")
    assert.strictEqual(lines(read(cwd, "out.jsonl")).length, 2)
    const [failed] = lines(read(cwd, "test.errors.jsonl")).map((line) => JSON.parse(line))
    assert.deepInclude(failed, { node: "answer", row: 1, position: "rows[1]", input: { row: "hive" } })
    assert.include(failed.message, "no hives")
    assert.strictEqual((await pipe(["run", "allow.ts"], { cwd, env })).code, 0)
    const absent = await pipe(["run", "absent.ts"], { cwd, env })
    assert.strictEqual(absent.code, 2)
    assert.include(absent.stderr, "absent.txt: there is no such file")
    server.close()
  })

  it("loads .env under what is set, and a named file before it (promptfoo#3501)", async () => {
    const cwd = folder({
      "flow.ts": `
import { Flow, Sink, Source } from "@pipe/core"
// Read where the module is loaded: the files must be there by then.
const values = [process.env["A_KEY"], process.env["B_KEY"], process.env["C_KEY"]]
const value = Source.fromIterable("value", values)
export default Flow.make("env", { outputs: [Sink.jsonl("out.jsonl", value)] })`,
      ".env": "A_KEY=dot\nB_KEY=dot\n",
      named: "B_KEY=named\nC_KEY=named\n"
    })
    const { code, stderr } = await pipe(["run", "flow.ts", "--env-file", "named"], { cwd, env: { A_KEY: "shell" } })
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      lines(read(cwd, "out.jsonl")).map((line) => JSON.parse(line)),
      ["shell", "named", "named"]
    )
    const missing = await pipe(["run", "flow.ts", "--env-file", "other"], { cwd })
    assert.strictEqual(missing.code, 2)
    assert.include(missing.stderr, "other: there is no such file")
  })

  it("checks parameters, and shows them in --help", async () => {
    const cwd = folder({
      "flow.ts": `
import { Flow, Parameter, Sink, Source } from "@pipe/core"
import { Effect, Schema } from "effect"
const times = Parameter.make("times", Schema.Int, { default: 2, description: "how often" })
const file = Parameter.make("file", Schema.String, { description: "the rows" })
const rows = Source.lines("rows", { path: file })
const out = Flow.step("out", { row: rows }, ({ row }) => Effect.map(times, (n) => row.repeat(n)))
export default Flow.make("params", { parameters: [times, file], outputs: [Sink.lines("-", out)] })`,
      "rows.txt": "a\nb\n"
    })
    const help = await pipe(["run", "flow.ts", "--help"], { cwd })
    assert.include(help.stdout, "--times")
    assert.include(help.stdout, "how often (default 2)")
    const run = await pipe(["run", "flow.ts", "--file", "rows.txt", "--times", "3"], { cwd })
    assert.strictEqual(run.stdout, "aaa\nbbb\n", run.stderr)
    const wrong = await pipe(["run", "flow.ts", "--file", "rows.txt", "--times", "x"], { cwd })
    assert.strictEqual(wrong.code, 2)
    assert.include(wrong.stderr, "--times: ")
    const none = await pipe(["run", "flow.ts"], { cwd })
    assert.strictEqual(none.code, 2)
    assert.include(none.stderr, "needs a value for its parameter file")
  })

  it("reads standard input and writes standard output", async () => {
    const cwd = folder({
      "flow.ts": `
import { Flow, Sink, Source } from "@pipe/core"
const rows = Source.lines("rows", { path: "-" })
const out = Flow.map("out", { row: rows }, ({ row }) => row.toUpperCase())
export default Flow.make("upper", { outputs: [Sink.lines("-", out)] })`
    })
    const { stderr, stdout } = await pipe(["run", "flow.ts", "--quiet"], { cwd, stdin: "a\nb\nc" })
    assert.strictEqual(stdout, "A\nB\nC\n", stderr)
    const clash = await pipe(["run", "flow.ts", "--json"], { cwd, stdin: "a" })
    assert.strictEqual(clash.code, 2)
  })

  it("leaves the key nowhere, even when the provider repeats it (litellm#8075)", async () => {
    const key = "tk-TEST-0123456789abcdef+/="
    const server = await serve(() => ({
      status: 400,
      body: JSON.stringify({ error: { message: `bad key ${key} in ?key=${encodeURIComponent(key)}` } })
    }))
    const cwd = folder({ "flow.ts": flow() })
    const { stderr, stdout } = await pipe(["run", "flow.ts", "--json"], {
      cwd,
      env: { OPENAI_API_KEY: key, OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(server.seen[0]?.authorization, `Bearer ${key}`)
    const everything = [
      stdout,
      stderr,
      ...readdirSync(cwd, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))
    ].join("\n")
    assert.include(everything, "bad key [secret]")
    assert.notInclude(everything, key)
    assert.notInclude(everything, encodeURIComponent(key))
  })

  it("stops at once, with the way out, when the account has no credit (langchainjs#1929)", async () => {
    const server = await serve(() => ({
      status: 429,
      body: JSON.stringify({
        error: { message: "You exceeded your current quota", type: "insufficient_quota", code: "insufficient_quota" }
      })
    }))
    const cwd = folder({
      "flow.ts": flow({
        source: `Source.fromIterable("rows", Array.from({ length: 50 }, (_, i) => i))`,
        options: "concurrency: 4,"
      })
    })
    const { code, stderr } = await pipe(["run", "flow.ts"], {
      cwd,
      env: { OPENAI_API_KEY: "sk-test-0123456789abcdef", OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(code, 1)
    assert.isAtMost(server.seen.length, 4)
    assert.include(stderr, "quota")
    assert.include(stderr, "add credit")
  })
})
