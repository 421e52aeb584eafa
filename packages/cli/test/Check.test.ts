/** `pipe run --check`: what would go wrong is found before a call, and nothing is written. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { KEY } from "./Flows.ts"
import { folder, pipe } from "./Pipe.ts"

const ROWS = ['{"id":"1","text":"good"}', '{"id":"2","text":5}', "{bad", '{"id":"4","text":"bad"}'].join("\n")

const FLOW = `import { Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const Review = Schema.Struct({ id: Schema.String, text: Schema.String })
const review = Source.jsonl("reviews", { path: "reviews.jsonl", schema: Review })
const upper = Flow.map("upper", { review }, ({ review }) => {
  if (review.id === "4") throw new Error("no four")
  return review.text.toUpperCase()
})
const label = Flow.step("label", { upper }, ({ upper }) =>
  Effect.map(LanguageModel.generateText({ prompt: "Label " + upper }), ({ text }) => text))
const why = Flow.step("why", { label }, ({ label }) =>
  Effect.flatMap(LanguageModel.generateText({ prompt: "Why " + label + "?" }), ({ text }) =>
    text.startsWith("Because") ? Effect.succeed(text) : Effect.fail(new Error("no reason"))))

export default Flow.make("checked", {
  outputs: [Sink.jsonl("out.jsonl", { label, why })],
  stack: Stack.make(OpenAi.layer({ model: MODEL }))
})
`

const project = (model = "gpt-4o-mini", rows = ROWS) =>
  folder({ "flow.ts": FLOW.replace("MODEL", JSON.stringify(model)), "reviews.jsonl": rows })

const check = (cwd: string, args: ReadonlyArray<string>, env: { readonly [name: string]: string } = {}) =>
  pipe(["run", "flow.ts", "--check", ...args], { cwd, env })

describe("pipe run --check", { concurrent: false }, () => {
  it("names the rows that would fail and shows the first requests, and sends and writes nothing", async () => {
    const server = await serve(() => ({ status: 200, body: completion("no") }))
    const cwd = project()
    const { code, stdout } = await check(cwd, [], { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url })
    server.close()
    assert.strictEqual(code, 1, stdout)
    assert.include(stdout, "checked: 4 rows read, 3 rows would fail; nothing was sent")
    assert.include(stdout, "failed: reviews.jsonl:2: reviews: does not fit its schema")
    assert.include(stdout, "failed: reviews.jsonl:3: reviews: not JSON")
    assert.match(stdout, /failed: reviews\.jsonl:4: upper: no four/)
    assert.match(
      stdout,
      /label: the first request to gpt-4o-mini, for reviews\.jsonl:1, \d+ tokens\n +user: Label GOOD/
    )
    assert.match(stdout, /why: .*made from placeholder answers\n/)
    // Whether this row fails, only an answer tells.
    assert.include(stdout, "1 row failed on placeholder answers: whether they fail, only the run shows")
    assert.deepStrictEqual(server.seen, [])
    for (const file of ["out.jsonl", "checked.errors.jsonl"]) assert.isFalse(existsSync(join(cwd, file)))
  })

  it("says what would keep the run from starting, with exit code 2", async () => {
    const good = ROWS.split("\n")[0]!
    const key = await check(project(undefined, good), [])
    assert.strictEqual(key.code, 2)
    assert.match(key.stdout, /the run would not start: OPENAI_API_KEY is not set/)
    assert.strictEqual((await check(project(undefined, good), ["--simulate"])).code, 0)
    const env = { OPENAI_API_KEY: KEY }
    const price = await check(project("mystery-9", good), ["--budget", "1usd"], env)
    assert.strictEqual(price.code, 2)
    assert.match(price.stdout, /no price is known for mystery-9 \(label, why\), which a budget of money needs/)
    assert.strictEqual((await check(project("mystery-9", good), [], env)).code, 0)
    const unnamed = await check(project("", good), [], env)
    assert.strictEqual(unnamed.code, 2)
    assert.match(unnamed.stdout, /no model is named for label, why/)
    const missing = folder({ "flow.ts": FLOW.replace("MODEL", '"gpt-4o-mini"') })
    const file = await check(missing, [], env)
    assert.strictEqual(file.code, 2)
    assert.include(file.stderr, "reviews.jsonl: there is no such file")
  })

  it("is not ended by a row that fails, and says when the run would be", async () => {
    const cwd = project()
    const text = FLOW.replace("MODEL", '"gpt-4o-mini"').replace('text.startsWith("Because")', "false")
    writeFileSync(
      join(cwd, "flow.ts"),
      text.replace('new Error("no reason"))))', 'new Error("no reason"))), { onError: "fail" })')
    )
    const plan = await pipe(["plan", "flow.ts"], { cwd, env: {} })
    assert.include(plan.stdout, "checked: 4 rows")
    writeFileSync(
      join(cwd, "flow.ts"),
      text
        .replace("schema: Review })", 'schema: Review, onError: "fail" })')
        .replace("outputs:", "allowFailedRows: 9, outputs:")
    )
    const { code, stdout } = await check(cwd, ["--simulate"])
    assert.include(stdout, "4 rows read")
    assert.strictEqual(code, 1, stdout)
  })

  it("is data with --json, and counts with --limit", async () => {
    const { code, stdout } = await check(project(), ["--simulate", "--json", "--limit", "1"])
    assert.strictEqual(code, 0)
    const found = JSON.parse(stdout)
    assert.deepInclude(found, { flow: "checked", rows: 1, problems: [], failed: 0, failures: [], unknown: 1 })
    assert.deepStrictEqual(
      found.requests.map(({ hasPlaceholders, model, position, step }: Record<string, unknown>) => [
        step,
        model,
        position,
        hasPlaceholders
      ]),
      [
        ["label", "gpt-4o-mini", "reviews.jsonl:1", false],
        ["why", "gpt-4o-mini", "reviews.jsonl:1", true]
      ]
    )
    assert.strictEqual(found.requests[0].request.messages[0].content, "Label GOOD")
  })
})
