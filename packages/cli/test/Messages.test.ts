/** What is said when something is wrong: once, in a line, with what to do next. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Cli from "../src/Cli.ts"
import * as Output from "../src/process/Output.ts"
import { completion, serve } from "./Endpoint.ts"
import { KEY, lines, words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

const simulate = (files: { readonly [name: string]: string }, ...args: ReadonlyArray<string>) => {
  const cwd = folder(files)
  return pipe(["run", "flow.ts", "--simulate", ...args], { cwd, env: {} }).then((outcome) => ({ ...outcome, cwd }))
}

/** A flow whose step is written as given. */
const stepping = (body: string, rows = words(3), before = "") =>
  before + flow({ source: rows }).replace(/\(\{ row \}\) =>[^]*?\n\n/, `${body})\n\n`)

describe("failed rows", { concurrent: false }, () => {
  it("of one kind are shown three times and then counted (H1)", async () => {
    const { code, stderr } = await simulate({
      "flow.ts": stepping(`() => Effect.fail(new Error("no luck"))`, words(146))
    })
    assert.strictEqual(code, 1)
    assert.lengthOf(stderr.match(/: no luck/g) ?? [], 4)
    assert.include(stderr, "failed: 143 more rows at answer: no luck")
    assert.include(stderr, "test: ended with failed rows in")
    assert.notMatch(stderr, /test: done/)
  })

  it("of many kinds do not fill the terminal", async () => {
    const { stderr } = await simulate({
      "flow.ts": stepping(`({ row }) => Effect.fail(new Error("no luck with " + row))`, words(300))
    })
    assert.isBelow(lines(stderr).length, 60)
    assert.match(stderr, /failed: \d+ more rows at answer: for other reasons/)
  })

  it("are one line with --quiet, with the commands that help", async () => {
    const { cwd, stderr } = await simulate({ "flow.ts": stepping(`() => Effect.fail(new Error("no luck"))`) }, "-q")
    const [, show, retry] =
      /^3 of 3 rows failed: pipe (show \S+ --failed); run them again: pipe (retry \S+ --failed)\n$/.exec(stderr)!
    assert.strictEqual((await pipe(show!.split(" "), { cwd })).code, 0)
    assert.strictEqual((await pipe(retry!.split(" "), { cwd, env: {} })).code, 1)
  })

  it("keep the fields of the author's error, the place of a throw, and what the model answered", async () => {
    const { cwd, stderr } = await simulate({
      "flow.ts": stepping(
        `({ row }) => row === "word 0"
    ? Effect.fail(new NoStock({ sku: "a-1", left: 0, message: "sold out" }))
    : Effect.sync(() => broken(row))`,
        words(2),
        `import { Schema as S } from "effect"
class NoStock extends S.TaggedError<NoStock>()("NoStock", { sku: S.String, left: S.Int, message: S.String }) {}
const broken = (row) => row.name.first
`
      )
    })
    assert.include(stderr, "answer: sold out")
    assert.match(stderr, /answer: Cannot read properties of undefined \(reading 'first'\) \(.*flow\.ts:3:\d+\)/)
    const [first, second] = lines(readFileSync(join(cwd, "test.simulated.errors.jsonl"), "utf8")).map((line) =>
      JSON.parse(line)
    )
    assert.deepInclude(first, { error: "NoStock", message: "sold out", fields: { sku: "a-1", left: 0 } })
    assert.match(second.at, /flow\.ts:3:\d+$/)
    const shown = await pipe(["show", "--failed"], { cwd })
    assert.include(shown.stdout, 'fields: {"sku":"a-1","left":0}')

    const server = await serve(() => ({ status: 200, body: completion('{"label": "purple"}') }))
    const labels = folder({
      "flow.ts": flow({ source: words(1), stack: `Stack.make(OpenAi.layer({ model: "gpt-4o-mini" }))` }).replace(
        /LanguageModel\.generateText.*$/m,
        `LanguageModel.generateObject({ schema: Schema.Struct({ label: Schema.Literals(["red"]) }), prompt: "of " + row }).pipe(Effect.map(({ value }) => value)))`
      )
    })
    const run = await pipe(["run", "flow.ts", "-q"], {
      cwd: labels,
      env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(run.code, 1)
    assert.include(JSON.parse(readFileSync(join(labels, "test.errors.jsonl"), "utf8")).answer, "purple")
    assert.include((await pipe(["show", "--failed"], { cwd: labels })).stdout, 'answer: {"label": "purple"}')
  })
})

describe("an author's mistake", { concurrent: false }, () => {
  const table: {
    readonly [name: string]: readonly [files: { readonly [name: string]: string }, code: number, says: string | RegExp]
  } = {
    "an async step (H2)": [
      { "flow.ts": stepping(`async ({ row }) => row`) },
      1,
      "returns a promise, not a value or an effect: return Effect.tryPromise(() => …)"
    ],
    "a generator": [
      { "flow.ts": stepping(`function* ({ row }) { return row }`) },
      1,
      "returns a generator, not an effect: wrap it, Effect.gen(function* () { … })"
    ],
    nothing: [{ "flow.ts": stepping(`({ row }) => { row }`) }, 1, "returns nothing: return a value or an effect"],
    "an option of another name (H2)": [
      { "flow.ts": flow().replace("outputs:", "output:") },
      2,
      "flow test has no option output: did you mean outputs?"
    ],
    "an option of a step": [
      { "flow.ts": flow().replace("(r) => r.text)))", '(r) => r.text)), { onErorr: "skip" })') },
      2,
      "step answer has no option onErorr: did you mean onError?"
    ],
    "a helper without its extension (H5)": [
      { "flow.ts": `import { x } from "./helper.ts"\n${flow()}`, "helper.ts": `export { x } from "./other"\n` },
      2,
      /helper\.ts: imports \S*other, which does not exist: include the extension/
    ],
    "an enum in a helper": [
      { "flow.ts": `import { X } from "./helper.ts"\n${flow()}`, "helper.ts": `\nexport enum X { a }\n` },
      2,
      /helper\.ts:2: .*write them without/
    ],
    "a throw in a helper": [
      {
        "flow.ts": `import { x } from "./helper.ts"\n${flow()}`,
        "helper.ts": `export const x = 1\n\nthrow new Error("no config")\n`
      },
      2,
      /helper\.ts:3: no config/
    ],
    "a parameter with the name of a flag (H3)": [
      { "flow.ts": flow({ options: `parameters: [Parameter.make("limit", Schema.Int, { default: 3 })],` }) },
      2,
      "its parameter limit has the name of a flag of pipe: rename it"
    ],
    "an input that is no node": [
      { "flow.ts": flow().replace("{ row: rows }", "{ row: [1, 2] }") },
      2,
      "step answer: its input row is a list, not a node"
    ],
    "an option of a layer": [
      { "flow.ts": flow().replace("Cache.layer()", "Cache.layer({ ttl: 5 })") },
      2,
      "Cache.layer has no option ttl; it has timeToLive, namespace"
    ],
    "an option of a budget": [
      { "flow.ts": flow({ options: "budget: { dollars: 1 }," }) },
      2,
      "the budget of flow test has no option dollars"
    ],
    "an option of a source": [
      { "flow.ts": flow({ source: `Source.jsonl("rows", { path: "x", shcema: Schema.String })` }) },
      2,
      "source rows has no option shcema: did you mean schema?"
    ],
    "a stack without a provider": [
      { "flow.ts": flow({ stack: "Stack.make(Ledger.layer, Retry.layer())" }) },
      2,
      "ends without a provider: add one at the end, such as OpenAi.layer"
    ],
    "a file that is CommonJS by its package (H5)": [
      { "flow.ts": flow(), "package.json": '{"type":"commonjs"}' },
      0,
      "3 rows read"
    ]
  }
  for (const [name, [files, code, says]] of Object.entries(table)) {
    it(name, async () => {
      const outcome = await simulate(files, ...(code === 2 ? ["-q"] : []))
      assert.strictEqual(outcome.code, code, outcome.stderr)
      if (typeof says === "string") assert.include(outcome.stderr, says)
      else assert.match(outcome.stderr, says)
      if (code === 2) assert.lengthOf(lines(outcome.stderr), 1, outcome.stderr)
    })
  }

  it("parameters show their choices, and lists are given with commas (H3)", async () => {
    const text = flow({
      options: `parameters: [tone, tags],`,
      output: `Sink.jsonl("out.jsonl", { row: rows, tagged })`
    }).replace(
      "export default",
      `const tone = Parameter.make("tone", Schema.Literals(["warm", "cold"]), { default: "warm" })
const tags = Parameter.make("tags", Schema.Array(Schema.String), { default: ["a"] })
const tagged = Flow.step("tagged", { row: rows }, () => Effect.all([tone, tags]))
export default`
    )
    const cwd = folder({ "flow.ts": text })
    const help = await pipe(["run", "flow.ts", "--help"], { cwd, env: {} })
    assert.match(help.stdout.replace(/\s+/g, " "), /default warm\) \(choices: warm, cold\)/)
    assert.match(help.stdout.replace(/\s+/g, " "), /a comma-separated list; default a/)
    const run = await pipe(["run", "flow.ts", "--simulate", "--tags", "x, y", "--tone", "cold"], { cwd, env: {} })
    assert.strictEqual(run.code, 0, run.stderr)
    assert.include(readFileSync(join(cwd, "out.simulated.jsonl"), "utf8"), '"tagged":["cold",["x","y"]]')
    const wrong = await pipe(["run", "flow.ts", "--simulate", "--tone", "hot"], { cwd, env: {} })
    assert.strictEqual(wrong.code, 2)
    assert.include(wrong.stderr, "--tone:")
    const unlisted = await pipe(["run", "flow.ts", "--simulate", "--mood=hot"], { cwd, env: {} })
    assert.strictEqual(unlisted.code, 2)
    assert.include(unlisted.stderr, "when the flow lists it: parameters: [mood]")
  })
})

describe("a parameter", { concurrent: false }, () => {
  it("of any schema is that of its run when failed rows are tried again", async () => {
    const cwd = folder({
      "flow.ts": `import { Flow, Parameter, Sink, Source } from "@pipe/core"
import { Effect, Schema } from "effect"
import { existsSync } from "node:fs"
const since = Parameter.make("since", Schema.Date)
const tags = Parameter.make("tags", Schema.ReadonlySet(Schema.String), { default: new Set() })
const n = Source.fromIterable("n", [1, 2])
const seen = Flow.step("seen", { n, since, tags }, ({ n, since, tags }) =>
  n === 1 && !existsSync("mended") ? Effect.fail(new Error("no")) : Effect.succeed([since, tags.size]))
export default Flow.make("seen", { outputs: [Sink.jsonl("out.jsonl", seen)] })
`
    })
    const run = await pipe(["run", "flow.ts", "--since", "2026-01-02", "--tags", "a,b"], { cwd, env: {} })
    assert.strictEqual(run.code, 1, run.stderr)
    writeFileSync(join(cwd, "mended"), "")
    const retry = await pipe(["retry", "last", "--failed"], { cwd, env: {} })
    assert.strictEqual(retry.code, 0, retry.stderr)
    const row = '["2026-01-02T00:00:00.000Z",2]\n'
    assert.strictEqual(readFileSync(join(cwd, "out.jsonl"), "utf8"), row + row)
  })

  it("cannot have a name that is a short flag, or that every object has", async () => {
    for (const name of ["c", "constructor"]) {
      const { code, stderr } = await simulate({
        "flow.ts": flow({ options: `parameters: [Parameter.make("${name}", Schema.Int, { default: 3 })],` })
      })
      assert.strictEqual(code, 2)
      assert.match(stderr, /flag/)
    }
  })
})

describe("a model or an address that is not there (E8)", { concurrent: false }, () => {
  const cases: { readonly [name: string]: readonly [answer: ReturnType<Parameters<typeof serve>[0]>, says: RegExp] } = {
    "a model": [
      {
        status: 404,
        body: JSON.stringify({ error: { message: "The model `gpt-4o-minni` does not exist", code: "model_not_found" } })
      },
      /404 The model `gpt-4o-minni` does not exist \(model_not_found\): check the model's name and the address, http:\/\/127\.0\.0\.1:\d+\/v1/
    ],
    "an address": [
      { status: 404, body: "<html>not here</html>", type: "text/html" },
      /404 .*check the model's name and the address, http/
    ],
    "a page in its place": [
      { status: 200, body: "<html>hello</html>", type: "text/html" },
      /answered text\/html, not JSON .*is the base URL right\?/
    ],
    "a setting that is not taken": [
      {
        status: 400,
        body: JSON.stringify({
          error: { message: "Unsupported parameter: 'temperature'", code: "unsupported_parameter" }
        })
      },
      /400 Unsupported parameter: 'temperature'/
    ]
  }
  for (const [name, [answer, says]] of Object.entries(cases)) {
    it(`${name} stops the run after a few equal failures`, async () => {
      const server = await serve(() => answer)
      const cwd = folder({ "flow.ts": flow({ source: words(280), options: "concurrency: 4," }) })
      const { code, stderr } = await pipe(["run", "flow.ts", "-q"], {
        cwd,
        env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
      })
      server.close()
      assert.strictEqual(code, 1, stderr)
      assert.match(stderr, says)
      assert.include(stderr, "rows failed in this way, and none got an answer")
      assert.isAtMost(server.seen.length, 12)
    })
  }

  it("does not stop one whose rows are refused for what they are", async () => {
    for (const error of [
      { message: "unsupported image", code: "invalid_image" },
      { message: "flagged as potentially violating our usage policy", code: "invalid_prompt" },
      { message: "no" }
    ]) {
      const server = await serve((_, count) =>
        count <= 8 ? { status: 400, body: JSON.stringify({ error }) } : { status: 200, body: completion("fine") }
      )
      const cwd = folder({ "flow.ts": flow({ source: words(30), options: "concurrency: 1," }) })
      const { code, stderr } = await pipe(["run", "flow.ts", "-q"], {
        cwd,
        env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
      })
      server.close()
      assert.strictEqual(code, 1, stderr)
      assert.lengthOf(lines(readFileSync(join(cwd, "out.jsonl"), "utf8")), 22)
    }
  })

  it("does not stop one that has answers, or whose rows fail each in its own way", async () => {
    const server = await serve((body, count) =>
      count === 1
        ? { status: 200, body: completion("fine") }
        : { status: 400, body: JSON.stringify({ error: { message: count % 2 === 0 ? "no" : `no ${count}` } }) }
    )
    const cwd = folder({ "flow.ts": flow({ source: words(40), options: "concurrency: 1," }) })
    const { code } = await pipe(["run", "flow.ts", "-q"], {
      cwd,
      env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(code, 1)
    assert.lengthOf(server.seen, 40)
  })

  it("a name without a price is unknown in every line, and the name that was meant is said (B2)", async () => {
    const server = await serve(() => ({ status: 200, body: completion("fine").replace("gpt-4o-mini", "gpt-4o-minni") }))
    const cwd = folder({
      "flow.ts": flow({ source: words(3), stack: `Stack.make(OpenAi.layer({ model: "gpt-4o-minni" }))` })
    })
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    const plan = await pipe(["plan", "flow.ts"], { cwd, env })
    assert.match(plan.stdout, /test: 3 rows, 3 calls to pay, unknown\n/)
    assert.include(plan.stdout, "Did you mean gpt-4o-mini?")
    const run = await pipe(["run", "flow.ts"], { cwd, env })
    server.close()
    assert.include(run.stderr, "Did you mean gpt-4o-mini?")
    assert.match(run.stderr, /total cost +unknown/)
    assert.match(run.stderr, /average per call .* tokens, unknown/)
    assert.match(run.stderr, /cost without savings +unknown/)
    assert.match(run.stderr, /planned: 3 calls for unknown; actual: 3 calls for unknown/)
    assert.notMatch(run.stderr.replace(/total saved.*$/m, ""), /\$0\.00\b/)
  })
})

describe("calls that failed (B7)", { concurrent: false }, () => {
  it("have a line of their own, and the average is that of a call", async () => {
    const server = await serve((_, count) =>
      count === 1 ? { status: 200, body: completion("cut").slice(0, 60) } : { status: 200, body: completion("fine") }
    )
    const cwd = folder({
      "flow.ts": flow({
        source: words(2),
        options: "concurrency: 1, settings: { maxTokens: 100 },",
        stack: `Stack.make(Retry.layer({ attempts: 2, base: "1 millis" }), OpenAi.layer({ model: "gpt-4o-mini" }))`
      })
    })
    const { code, stderr } = await pipe(["run", "flow.ts"], {
      cwd,
      env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(code, 0, stderr)
    assert.match(stderr, /calls to providers +3 \(1 failed\)/)
    // 100 tokens of output at $0.60 a million, and the bytes of the prompt at most.
    const [, cost] = /for failed calls +\$(0\.\d+)/.exec(stderr)!
    assert.isAtLeast(Number(cost), 0.00006)
    assert.isBelow(Number(cost), 0.0001)
    // Two answers with 15 tokens each, and one attempt of which nobody has counted.
    assert.match(stderr, /average per call +10\.0 tokens/)
  })
})

describe("words", { concurrent: false }, () => {
  it("are singular for one, and a map is called a map (H4)", async () => {
    const { cwd, stderr } = await simulate({
      "flow.ts": flow({ source: words(1), output: `Sink.jsonl("out.jsonl", { row: rows, mapped })` }).replace(
        "export default",
        `const mapped = Flow.map("mapped", { row: rows }, ({ row }) => row.length)\nexport default`
      )
    })
    assert.match(stderr, /1 row read/)
    assert.match(stderr, /out\.simulated\.jsonl: 1 row\n/)
    assert.include((await pipe(["graph", "flow.ts"], { cwd })).stdout, "mapped (map)")
  })

  it("name an output from the working folder", async () => {
    const cwd = folder({
      "deep/er/flow.ts": flow({
        output: `Sink.jsonl(new URL("../out/results.jsonl", import.meta.url), { row: rows, answer })`
      })
    })
    const { stderr } = await pipe(["run", "deep/er/flow.ts", "--simulate"], { cwd, env: {} })
    assert.include(stderr, "  deep/out/results.simulated.jsonl: 3 rows")
  })
})

describe("a run that could not start", { concurrent: false }, () => {
  const unpriced = {
    "flow.ts": flow({ stack: `Stack.make(Ledger.layer, OpenAi.layer({ model: "mystery-9" }))` })
  }

  it("for want of a price ends with exit code 2, and is not called unfinished", async () => {
    const { code, cwd, stderr } = await simulate(unpriced, "--budget", "1usd")
    assert.strictEqual(code, 2, stderr)
    assert.include(stderr, "no price is known for openai model mystery-9")
    assert.notInclude(stderr, "pipe resume")
    assert.notInclude((await pipe(["show", "last", "--simulate"], { cwd, env: {} })).stdout, "pipe resume")
    const again = await pipe(["run", "flow.ts", "--simulate"], { cwd, env: {} })
    assert.strictEqual(again.code, 0, again.stderr)
    assert.notInclude(again.stderr, "failed; its finished work is reused")
  })

  it("is one, too, where rows were mapped and some could not be read", async () => {
    const { code, stderr } = await simulate(
      {
        "flow.ts": flow({
          source: `Flow.map("trimmed", { row: Source.jsonl("rows", { path: "rows.jsonl", schema: Schema.Struct({ text: Schema.String }) }) }, ({ row }) => row.text.trim())`,
          stack: `Stack.make(Ledger.layer, OpenAi.layer({ model: "mystery-9" }))`
        }),
        "rows.jsonl": `{"txt":"bee"}\n{"text":"ant"}\n`
      },
      "--budget",
      "1usd"
    )
    assert.strictEqual(code, 2, stderr)
    assert.notInclude(stderr, "pipe resume")
  })

  it("for want of a key does not stand in the way of the next", async () => {
    const cwd = folder({ "flow.ts": flow() })
    assert.strictEqual((await pipe(["run", "flow.ts"], { cwd, env: {} })).code, 2)
    const again = await pipe(["run", "flow.ts"], { cwd, env: {} })
    assert.strictEqual(again.code, 2)
    assert.notInclude(again.stderr, "pipe resume")
  })
})

describe("commands in messages", () => {
  it("are those that the user can type, each of them", () => {
    const written: Array<string> = []
    const write = process.stderr.write
    process.stderr.write = (text: string | Uint8Array) => written.push(String(text)) > 0
    try {
      const { err } = Output.fromProcess("npx pipe")
      for (const { commands } of Cli.command([]).subcommands)
        for (const { name } of commands) err(`see: pipe ${name} --help`)
      err("pipe is not a command here")
    } finally {
      process.stderr.write = write
    }
    assert.isAbove(written.length, 18)
    assert.strictEqual(written.pop(), "pipe is not a command here")
    for (const text of written) assert.match(text, /^see: npx pipe \w+ --help$/)
  })
})
