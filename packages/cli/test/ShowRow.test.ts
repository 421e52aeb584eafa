/** What was sent for a row and what came back can be looked at: prompts, schemas, tools, every attempt with its answer and its price. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { completion, serve } from "./Endpoint.ts"
import { KEY, lines, words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

const labelled = (parts: Parameters<typeof flow>[0] = {}) =>
  flow({ source: words(6), ...parts }).replace(
    /LanguageModel\.generateText.*$/m,
    `LanguageModel.generateObject({ schema: Schema.Struct({ label: Schema.Literals(["red", "blue"]) }), prompt: [{ role: "system", content: "You label." }, { role: "user", content: "Label\\n" + row }] }).pipe(Effect.map(({ value }) => value.label)), { settings: { temperature: 0 } })`
  )

describe("pipe show --row", { concurrent: false }, () => {
  it("shows each attempt with its prompt, schema, settings, raw answer, tokens and price", async () => {
    let asked = 0
    const server = await serve((body) =>
      body.includes("word 2")
        ? ++asked === 1
          ? { status: 500, body: JSON.stringify({ error: { message: "out of order" } }) }
          : { status: 200, body: completion(asked === 2 ? "purple, I think" : '{"label": "red"}') }
        : { status: 200, body: completion('{"label": "blue"}') }
    )
    const cwd = folder({
      "flow.ts": labelled({
        stack: `Stack.make(Retry.layer({ attempts: 4, base: "1 millis" }), OpenAi.layer({ model: "gpt-4o-mini" }))`
      })
    })
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    const run = await pipe(["run", "flow.ts", "-q"], { cwd, env })
    assert.strictEqual(run.code, 0, run.stderr)
    const { stdout } = await pipe(["show", "--row", "rows[2]"], { cwd })
    assert.match(stdout, /^rows\[2\]: step answer\n  1\. gpt-4o-mini \(openai\), \d{4}-\d\d-\d\d \S+ UTC: \d+ ms/)
    for (const part of [
      "     system: You label.\n     user: Label\n     word 2\n",
      `     schema generateObject: {"type":"object","properties":{"label":`,
      `     settings: {"temperature":0}`,
      "     failed: 500 out of order",
      "  2. gpt-4o-mini",
      "     (the same request)",
      "10 input + 5 output tokens, $0.0000045",
      "       purple, I think",
      "     assistant: purple, I think\n     user: That answer does not fit",
      '       {"label": "red"}'
    ]) {
      assert.include(stdout, part)
    }
    const json = await pipe(["show", "--row", "rows[2]", "--json"], { cwd })
    const attempts = lines(json.stdout).map((line) => JSON.parse(line))
    assert.lengthOf(attempts, 3)
    assert.deepInclude(attempts[2], { step: "answer", row: 2, origin: "attempt", cost: "0.0000045" })

    // A run that reuses the row says so, and shows the run that it is from.
    const again = await pipe(["run", "flow.ts", "-q"], { cwd, env })
    assert.strictEqual(again.code, 0)
    const reused = await pipe(["show", "--row", "rows[1]"], { cwd })
    assert.match(
      reused.stdout,
      /^nothing was sent for rows\[1\] in run \S+; this is from run \S+:\nrows\[1\]: step answer/
    )
    const unknown = await pipe(["show", "--row", "rows[99]"], { cwd })
    assert.include(unknown.stdout, "has no stored calls of row rows[99]")
    server.close()
  })

  it("shows what was found in the cache, what was shared, tools, samples and failures", async () => {
    const cwd = folder({
      "flow.ts": flow({ source: `Source.fromIterable("rows", ["bee", "hive", "bee"])` })
        .replace(
          "export default",
          `const all = Flow.step("all", { row: rows }, ({ row }) => row === "hive" ? Effect.fail(new Error("no hives")) : LanguageModel.generateText({ prompt: "All of " + row, toolkit: tools }).pipe(Effect.map((r) => r.text), Effect.provide(handlers)), { samples: 2 })
export default`
        )
        .replace(
          "const rows =",
          `const Find = Tool.make("find", { description: "Finds", parameters: Schema.Struct({ query: Schema.String }), success: Schema.String })
const tools = Toolkit.make(Find)
const handlers = tools.toLayer({ find: () => Effect.succeed("found") })
const rows =`
        )
        .replace("{ LanguageModel }", "{ LanguageModel, Tool, Toolkit }")
        .replace("{ row: rows, answer }", "{ row: rows, answer, all }")
    })
    const run = await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd, env: {} })
    assert.strictEqual(run.code, 1, run.stderr)
    const { stdout } = await pipe(["show", "--row", "rows[0]"], { cwd })
    assert.include(stdout, "step all\n")
    assert.include(stdout, "step all, sample 2")
    assert.include(stdout, 'tool find: {"type":"object"')
    assert.match(stdout, /call find\(\{"query":/)
    const failed = await pipe(["show", "--row", "rows[1]"], { cwd })
    assert.include(failed.stdout, "failed: rows[1]: all: Error: no hives")
    assert.include((await pipe(["show", "--step", "answer", "--sample", "2"], { cwd })).stdout, "step answer")
    assert.notInclude((await pipe(["show", "--step", "answer", "--sample", "9"], { cwd })).stdout, "step all")
    for (const args of [
      ["--failed", "--row", "x"],
      ["--row", "x", "--sample", "2"]
    ]) {
      assert.strictEqual((await pipe(["show", ...args], { cwd })).code, 2)
    }
  })

  it("is in the page of the report, by the last two calls of each step, and says that a run was simulated", async () => {
    const cwd = folder({ "flow.ts": labelled() })
    assert.strictEqual((await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd, env: {} })).code, 0)
    assert.strictEqual((await pipe(["report"], { cwd })).code, 0)
    const page = readFileSync(join(cwd, "test.simulated.report.html"), "utf8")
    assert.lengthOf(page.match(/<details>/g) ?? [], 2)
    assert.match(page, /<pre>system: You label\.\nuser: Label\nword \d<\/pre>/)
    assert.include(page, "simulated: no provider was called, nothing was paid")
  })

  it("holds no key and no control character, and is deleted with the answers", async () => {
    const evil = "\u001b]52;c;ZXZpbA==\u0007"
    const server = await serve(() => ({ status: 200, body: completion(`the key is ${KEY} ${evil}`) }))
    const cwd = folder({
      "flow.ts": flow({ source: `Source.fromIterable("rows", [${JSON.stringify(`a ${KEY} ${evil}`)}])` })
    })
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    assert.strictEqual((await pipe(["run", "flow.ts", "-q"], { cwd, env })).code, 0)
    server.close()
    const kept = () => {
      const db = new DatabaseSync(join(cwd, ".pipe/pipe.db"))
      const rows = db.prepare("SELECT * FROM exchanges").all()
      db.close()
      return rows
    }
    assert.lengthOf(kept(), 1)
    assert.notInclude(JSON.stringify(kept()), KEY)
    for (const args of [
      ["show", "--row", "rows[0]"],
      ["show", "--row", "rows[0]", "--json"],
      ["report", "--json"]
    ]) {
      const { stdout } = await pipe(args, { cwd })
      assert.notInclude(stdout, KEY)
      assert.notInclude(stdout, "\u001b")
      assert.include(stdout, "[secret]")
    }
    assert.strictEqual((await pipe(["cache", "clear", "--yes"], { cwd })).code, 0)
    assert.lengthOf(kept(), 0)
  })
})
