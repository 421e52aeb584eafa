/** `pipe retry --failed` asks for the failed rows alone (B6). */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { KEY, lines, words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

/** A flow whose second step fails for rows of even numbers, or for every fourth, or for none. */
const text = (fails: string, prompt = "Say something of ") =>
  flow({
    source: words(60),
    output: `Sink.jsonl("out.jsonl", { row: rows, checked })`,
    stack: `Stack.make(Ledger.layer, OpenAi.layer({ model: "gpt-4o-mini" }))`
  })
    .replace("Say something of ", prompt)
    .replace(
      "export default",
      `const checked = Flow.step("checked", { row: rows, answer }, ({ row, answer }) =>
  ${fails} ? Effect.fail(new Error("no: " + row)) : LanguageModel.generateText({ prompt: "Check: " + answer + row }).pipe(Effect.map((r) => r.text)))
export default`
    )

const EVEN = `Number(row.slice(5)) % 2 === 0`
const FOURTH = `Number(row.slice(5)) % 4 === 0`

describe("pipe retry --failed", { concurrent: false }, () => {
  it("asks for the failed rows alone after the step was mended, also twice, and writes all rows", async () => {
    const server = await serve(() => ({ status: 200, body: completion("fine") }))
    const cwd = folder({ "flow.ts": text(EVEN) })
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    const calls = async (...args: ReadonlyArray<string>) => {
      const before = server.seen.length
      const outcome = await pipe(args, { cwd, env })
      return { ...outcome, calls: server.seen.length - before }
    }
    const first = await calls("run", "flow.ts", "-q")
    assert.deepInclude(first, { code: 1, calls: 90 })
    // A module is loaded once in a process: each version is a file of its own.
    writeFileSync(join(cwd, "second.ts"), text(FOURTH))
    const second = await calls("retry", "--failed", "--flow", "second.ts")
    assert.deepInclude(second, { code: 1, calls: 15 }, second.stderr)
    assert.include(
      second.stderr,
      "step checked has other code since the run: rows that did not fail keep their results"
    )
    writeFileSync(join(cwd, "third.ts"), text("false", "Say a lot of "))
    const third = await calls("retry", "--failed", "-q", "--flow", "third.ts")
    // An earlier step was edited too: the failed rows go through it.
    assert.deepInclude(third, { code: 0, calls: 30 }, third.stderr)
    assert.lengthOf(lines(readFileSync(join(cwd, "out.jsonl"), "utf8")), 60)
    // A run of the edited flow asks all rows again.
    const run = await calls("run", "third.ts", "-q")
    // But for the 15 that went through both steps as they are now.
    assert.deepInclude(run, { code: 0, calls: 90 })
    server.close()
  })

  /** A real server that counts, and a folder with versions of a flow. */
  const at = async (files: { readonly [name: string]: string }) => {
    const server = await serve((body) => ({ status: 200, body: completion(/trash/.test(body) ? "trash" : "fine") }))
    const cwd = folder(files)
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    const calls = async (...args: ReadonlyArray<string>) => {
      const before = server.seen.length
      const outcome = await pipe(args, { cwd, env })
      return { ...outcome, calls: server.seen.length - before }
    }
    return { cwd, calls, close: server.close }
  }

  it("has the failed rows go through an earlier step that was mended, and no other row", async () => {
    const chain = (prompt: string) =>
      flow({
        source: words(12),
        output: `Sink.jsonl("out.jsonl", { row: rows, last })`,
        stack: `Stack.make(OpenAi.layer({ model: "gpt-4o-mini" }))`
      })
        .replace(`"Say something of " + JSON.stringify(row)`, prompt)
        .replace(
          "export default",
          `const middle = Flow.step("middle", { answer, row: rows }, ({ answer, row }) => answer === "trash" ? Effect.fail(new Error("trash")) : Effect.succeed(answer + row))
const last = Flow.step("last", { middle }, ({ middle }) => LanguageModel.generateText({ prompt: "Last: " + middle }).pipe(Effect.map((r) => r.text)))
export default`
        )
    const { calls, close, cwd } = await at({
      "flow.ts": chain(`(["word 3", "word 7"].includes(row) ? "trash of " : "Of ") + row`),
      "second.ts": chain(`"All of " + row`)
    })
    assert.deepInclude(await calls("run", "flow.ts", "-q"), { code: 1, calls: 22 })
    const retried = await calls("retry", "--failed", "--flow", "second.ts", "-q")
    assert.deepInclude(retried, { code: 0, calls: 4 }, retried.stderr)
    assert.lengthOf(lines(readFileSync(join(cwd, "out.jsonl"), "utf8")), 12)
    close()
  })

  it("of expanded rows asks for the failed ones alone", async () => {
    const text = (fails: string) =>
      flow({
        output: `Sink.jsonl("out.jsonl", { word, up })`,
        stack: `Stack.make(OpenAi.layer({ model: "gpt-4o-mini" }))`
      })
        .replace(/const answer = [^]*?\n\n/, "")
        .replace(
          "export default",
          `const word = Flow.expand("word", { row: rows }, ({ row }) => [row, row + "s"])
const up = Flow.step("up", { word }, ({ word }) => ${fails} ? Effect.fail(new Error("no")) : LanguageModel.generateText({ prompt: "Up: " + word }).pipe(Effect.map((r) => r.text)))
export default`
        )
    const { calls, close, cwd } = await at({ "flow.ts": text(`word === "hives"`), "second.ts": text("false") })
    const first = await calls("run", "flow.ts", "-q")
    assert.strictEqual(first.code, 1, first.stderr)
    const retried = await calls("retry", "--failed", "--flow", "second.ts", "-q")
    assert.deepInclude(retried, { code: 0, calls: 1 }, retried.stderr)
    assert.lengthOf(lines(readFileSync(join(cwd, "out.jsonl"), "utf8")), 6)
    close()
  })

  it("loses no row where others were put before it, and no line where it is stopped", async () => {
    const text = (fails: string) =>
      flow({
        source: `Source.lines("rows", { path: "rows.txt" })`,
        options: "concurrency: 1,",
        stack: `Stack.make(OpenAi.layer({ model: "gpt-4o-mini" }))`
      }).replace(
        "LanguageModel.generateText(",
        `${fails} ? Effect.fail(new Error("no " + row)) : LanguageModel.generateText(`
      )
    const rows = Array.from({ length: 20 }, (_, n) => `r${n}`)
    const { calls, close, cwd } = await at({
      "flow.ts": text(`/[27]$/.test(row)`),
      "second.ts": text("false"),
      "rows.txt": `${rows.join("\n")}\n`
    })
    assert.deepInclude(await calls("run", "flow.ts", "-q"), { code: 1, calls: 16 })
    const stopped = await calls("retry", "--failed", "-q", "--flow", "flow.ts", "--budget", "1tokens")
    assert.isAtMost(stopped.calls, 0)
    assert.lengthOf(lines(readFileSync(join(cwd, "test.errors.jsonl"), "utf8")), 4)
    writeFileSync(join(cwd, "rows.txt"), `r-new\n${rows.join("\n")}\n`)
    const retried = await calls("retry", "--failed", "-q", "--flow", "second.ts")
    assert.strictEqual(retried.code, 0, retried.stderr)
    const out = lines(readFileSync(join(cwd, "out.jsonl"), "utf8")).map(
      (line) => (JSON.parse(line) as { row: string }).row
    )
    assert.deepStrictEqual(out, ["r-new", ...rows])
    close()
  })

  it("forgets nothing where the input is not there again, nor does a resume", async () => {
    const cwd = folder({
      "flow.ts": `
import { Flow, Sink, Source } from "@pipe/core"
import { Effect, Schema } from "effect"
const rows = Source.lines("rows", { path: "-" })
const done = Flow.step("done", { row: rows }, ({ row }) => (row === "b" ? Effect.fail(new Error("no b")) : Effect.succeed(row)))
export default Flow.make("test", { outputs: [Sink.lines("out.txt", done)] })`
    })
    const read = (name: string) => readFileSync(join(cwd, name), "utf8")
    const first = await pipe(["run", "flow.ts", "-q"], { cwd, stdin: "a\nb\nc\n" })
    assert.strictEqual(first.code, 1)
    const errors = read("test.errors.jsonl")
    for (const command of [
      ["retry", "--failed"],
      ["retry", "--failed"]
    ]) {
      const { code, stderr } = await pipe([...command, "-q"], { cwd, stdin: "" })
      assert.strictEqual(code, 2, stderr)
      assert.match(stderr, /the sources gave 0 rows, but 3 in the previous attempt: give run \S+ the same input again/)
      assert.strictEqual(read("out.txt"), "a\nc\n")
      assert.strictEqual(read("test.errors.jsonl"), errors)
      assert.include((await pipe(["show", "--failed"], { cwd })).stdout, "no b")
    }
    const again = await pipe(["retry", "--failed", "-q"], { cwd, stdin: "a\nb\nc\n" })
    assert.strictEqual(again.code, 1)
    assert.include(again.stderr, "1 of 3 rows failed")
    assert.include((await pipe(["show", "--failed"], { cwd })).stdout, "1 failed")
  })

  it("is started again by the line that an interrupted one prints", async () => {
    const server = await serve(() => ({ status: 200, body: completion("fine") }))
    const cwd = folder({ "flow.ts": text(EVEN) })
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    assert.strictEqual((await pipe(["run", "flow.ts", "-q"], { cwd, env })).code, 1)
    writeFileSync(join(cwd, "second.ts"), text("false"))
    const cut = await pipe(["retry", "--failed", "-q", "--flow", "second.ts", "--budget", "100tokens"], { cwd, env })
    assert.strictEqual(cut.code, 3, cut.stderr)
    const [, command] = /resume with: pipe (retry \S+ --failed) --budget 200tokens/.exec(cut.stderr) ?? []
    assert.isDefined(command, cut.stderr)
    const before = server.seen.length
    const again = await pipe([...command!.split(" "), "--flow", "second.ts", "-q", "--budget", "1usd"], { cwd, env })
    assert.strictEqual(again.code, 0, again.stderr)
    assert.isAtMost(server.seen.length - before, 30)
    server.close()
  })
})
