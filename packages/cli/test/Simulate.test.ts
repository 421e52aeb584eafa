/** A simulated run calls nothing real, writes nothing over real results, and its answers fit what was asked for. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { KEY, lines, words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

let server: Awaited<ReturnType<typeof serve>>
beforeAll(async () => {
  server = await serve(() => ({ status: 200, body: completion("real") }))
})
afterAll(() => server.close())

const env = () => ({ OPENAI_API_KEY: KEY, OPENAI_BASE_URL: server.url, REAL: server.url })

const read = (cwd: string, name = "out.simulated.jsonl") => lines(readFileSync(join(cwd, name), "utf8"))

const rowsOf = (cwd: string, name?: string) =>
  read(cwd, name).map((line) => JSON.parse(line) as { readonly answer: unknown })

/** A bottom of the author's own, which calls an endpoint of its own. */
const own = `import { ModelClient, ModelResponse, FromLanguageModel } from "@pipe/core"
import { LanguageModel as Model } from "effect/ai"
import { Layer, Stream } from "effect"
const call = () => Effect.promise(() => fetch(process.env.REAL + "/chat", { method: "POST", body: "{}" }).then((r) => r.text()))
const send = (request) => Effect.map(call(), (text) => ModelResponse.completion({ request, provider: "mine", model: "mine-1", parts: [{ type: "text", text }], finishReason: "stop" }))
const theirs = Layer.effect(Model.LanguageModel, Model.make({
  generateText: () => Effect.map(call(), (text) => [{ type: "text", text }, { type: "finish", reason: "stop", usage: { inputTokens: {}, outputTokens: {} } }]),
  streamText: () => Stream.empty
}))
`

const bottoms: { readonly [name: string]: string } = {
  "a provider of the author's own": `Stack.make(Retry.layer(), Layer.succeed(ModelClient.ModelClient, ModelClient.provider({ name: "mine", send })))`,
  "a provider of effect/ai": `Stack.make(Cache.layer(), FromLanguageModel.layer({ provider: "openai", model: "gpt-4o-mini" }).pipe(Layer.provide(theirs)))`,
  "an endpoint that the flow names": `Stack.make(OpenAi.layer({ model: "gpt-4o-mini", baseUrl: process.env.REAL, apiKey: "x" }))`,
  "the SDK": `Stack.make(OpenAi.layer({ model: "gpt-4o-mini", transport: "sdk" }))`,
  "a stream": `Stack.make(OpenAi.layer({ model: "gpt-4o-mini", stream: true }))`,
  "the Responses API": `Stack.make(OpenAi.layer({ model: "gpt-4o-mini", api: "responses" }))`,
  Anthropic: `Stack.make(Anthropic.layer({ model: "claude-haiku-4-5" }))`
}

describe("nothing real is called (A1)", { concurrent: false }, () => {
  for (const [name, stack] of Object.entries(bottoms)) {
    const hasBatches = !name.startsWith("a provider of")
    for (const args of [["run"], ...(hasBatches ? [["run", "--batch"]] : []), ["plan", "--sample", "2"]]) {
      it(`by ${args.join(" ")} with ${name}`, async () => {
        const cwd = folder({
          "flow.ts":
            own + flow({ source: words(5), stack }).replace("import { OpenAi }", "import { Anthropic, OpenAi }")
        })
        const before = server.seen.length
        const [command, ...rest] = args as [string, ...ReadonlyArray<string>]
        const { code, stderr } = await pipe([command, "flow.ts", "--simulate", ...rest], { cwd, env: env() })
        assert.strictEqual(code, 0, stderr)
        assert.strictEqual(server.seen.length, before)
        if (command === "run") {
          assert.lengthOf(new Set(rowsOf(cwd).map(({ answer }) => answer)).size === 5 ? read(cwd) : [], 5)
          for (const { answer } of rowsOf(cwd)) assert.match(String(answer), /^\(simulated\) /)
        }
      })
    }
  }

  const refused: { readonly [name: string]: readonly [change: (text: string) => string, says: string] } = {
    "a model among the flow's services": [
      (text) => text.replace(/stack: [^]*$/, "services: theirs })"),
      "the flow's `services` contain a model"
    ],
    "a ModelClient that is no provider": [
      (text) =>
        text.replace(/stack: [^]*$/, "stack: Layer.succeed(ModelClient.ModelClient, { send, resolve: (r) => r }) })"),
      "make it with ModelClient.provider"
    ]
  }
  for (const [name, [change, says]] of Object.entries(refused)) {
    it(`and a run that could is refused: ${name}`, async () => {
      const cwd = folder({ "flow.ts": own + change(flow({ source: words(5) })) })
      const before = server.seen.length
      const { code, stderr } = await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd, env: env() })
      assert.strictEqual(code, 2, stderr)
      assert.include(stderr, "--simulate cannot replace all models of this flow, so nothing was called")
      assert.include(stderr, says)
      assert.strictEqual(server.seen.length, before)
    })
  }

  it("and a simulator in the stack writes no made-up money into a real store", async () => {
    const stack = `Stack.make(OpenAi.layer({ model: "gpt-4o-mini" })).pipe(Layer.provide(Simulator.layer()))`
    const cwd = folder({
      "flow.ts":
        `import { Layer } from "effect"\n`
        + flow({ source: words(5), stack }).replace("import { OpenAi }", "import { OpenAi, Simulator }")
    })
    const real = await pipe(["run", "flow.ts", "-q"], { cwd, env: env() })
    assert.strictEqual(real.code, 2, real.stderr)
    assert.include(real.stderr, "the flow's stack has a simulator")
    assert.include(real.stderr, "run with --simulate")
    assert.strictEqual((await pipe(["run", "flow.ts", "-q", "--simulate"], { cwd, env: env() })).code, 0)
  })
})

describe("what others share", { concurrent: false }, () => {
  it("holds no simulated answer that a real run could find", async () => {
    const stack = `Stack.make(Cache.layer().pipe(Layer.provide(shared)), OpenAi.layer({ model: "gpt-4o-mini" }))`
    const cwd = folder({
      "flow.ts":
        `import { CacheStore } from "@pipe/core"
import { Layer } from "effect"
globalThis.kept ??= new Map()
const shared = Layer.succeed(CacheStore.CacheStore, { name: "shared", get: (key) => Effect.succeed(globalThis.kept.get(key)), set: (entry) => Effect.sync(() => void globalThis.kept.set(entry.key, entry.value)) })
` + flow({ source: words(4), stack })
    })
    assert.strictEqual((await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd, env: env() })).code, 0)
    const real = await pipe(["run", "flow.ts", "-q"], { cwd, env: env() })
    assert.strictEqual(real.code, 0, real.stderr)
    assert.deepStrictEqual(
      rowsOf(cwd, "out.jsonl").map(({ answer }) => answer),
      ["real", "real", "real", "real"]
    )
  })

  it("and embedders of the author's own are replaced; balanced endpoints are all looked at", async () => {
    const embedding = `import { Embedder, SemanticCache, Balance } from "@pipe/core"
import { EmbeddingModel as Em } from "effect/ai"
import { Layer as L } from "effect"
const model = L.effect(Em.EmbeddingModel, Em.make({ embedMany: ({ inputs }) => Effect.as(Effect.promise(() => fetch(process.env.REAL, { method: "POST", body: "{}" })), { results: inputs.map(() => [1, 0]), usage: { inputTokens: undefined } }) }))
`
    const semantic = folder({
      "flow.ts":
        own
        + embedding
        + flow({
          source: words(6),
          stack: `Stack.make(SemanticCache.layer().pipe(Layer.provide(Embedder.layer({ name: "mine", unfit: () => undefined }).pipe(Layer.provide(model)))), OpenAi.layer({ model: "gpt-4o-mini" }))`
        }).replace("(r) => r.text)))", "(r) => r.text)), { varies: ({ row }) => row, reuse: { maxErrorRate: 0.1 } })")
    })
    const before = server.seen.length
    const first = await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd: semantic, env: env() })
    assert.strictEqual(server.seen.length, before, first.stderr)
    const balanced = folder({
      "flow.ts":
        own
        + embedding
        + flow({
          source: words(4),
          stack: `Balance.layer([{ layer: OpenAi.layer({ model: "gpt-4o-mini" }) }, { layer: Layer.succeed(ModelClient.ModelClient, { send, resolve: (r) => r }) }])`
        })
    })
    const second = await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd: balanced, env: env() })
    assert.strictEqual(second.code, 2, second.stderr)
    assert.strictEqual(server.seen.length, before)
  })
})

const schemas: { readonly [name: string]: string } = {
  "a date": "Schema.DateFromString",
  "a date and time": "Schema.DateTimeUtcFromString",
  "a pattern": "Schema.String.check(Schema.isPattern(/^[A-Z]{3}-\\\\d{4}$/))",
  "a UUID": "Schema.String.check(Schema.isUUID())",
  "a least length": "Schema.String.check(Schema.isMinLength(60))",
  "a length": "Schema.String.check(Schema.isMinLength(2), Schema.isMaxLength(5))",
  "a multiple": "Schema.Int.check(Schema.isMultipleOf(7), Schema.isBetween({ minimum: 30, maximum: 50 }))",
  "an open range": "Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThan(0.5))",
  "a number as text": "Schema.NumberFromString",
  "a list without doubles": `Schema.Array(Schema.Literals(["a", "b", "c"])).check(Schema.isMinLength(2), Schema.isUnique())`,
  "a choice of records": `Schema.Union([Schema.Struct({ kind: Schema.Literal("a"), n: Schema.Int }), Schema.Struct({ kind: Schema.Literal("b"), text: Schema.String })])`,
  "a record of names": "Schema.Record(Schema.String, Schema.Int)",
  "a rule of your own": `Schema.String.check(Schema.makeFilter((text) => text.startsWith("A")))`,
  "a Date": "Schema.Date",
  "an Option": "Schema.Option(Schema.Int)",
  "a number in a range": "Schema.Number.check(Schema.isBetween({ minimum: 10, maximum: 20 }))",
  "what holds itself": "Tree"
}

describe("answers fit the schema (A6)", { concurrent: false }, () => {
  for (const [name, schema] of Object.entries(schemas)) {
    it(name, async () => {
      const cwd = folder({
        "flow.ts": flow({ source: words(10) })
          .replace(
            "const rows =",
            "const Tree = Schema.Struct({ v: Schema.Int, kids: Schema.Array(Schema.suspend(() => Tree)) })\nconst rows ="
          )
          .replace(
            /LanguageModel\.generateText.*$/m,
            `LanguageModel.generateObject({ schema: Schema.Struct({ value: ${schema} }), prompt: "of " + row }).pipe(Effect.map(({ value }) => value)))`
          )
      })
      const { code, stderr } = await pipe(["run", "flow.ts", "--simulate"], { cwd, env: {} })
      assert.strictEqual(code, 0, stderr)
      assert.lengthOf(rowsOf(cwd), 10)
    })
  }
})

describe("arguments of tools fit too", { concurrent: false }, () => {
  it("with checks that no wire format says", async () => {
    const cwd = folder({
      "flow.ts": flow({ source: words(6) })
        .replace("{ LanguageModel }", "{ LanguageModel, Tool, Toolkit }")
        .replace(
          "const rows =",
          `const tools = Toolkit.make(Tool.make("find", { parameters: Schema.Struct({ sku: Schema.String.check(Schema.isPattern(/^[A-Z]{2}-\\d{3}$/))}), success: Schema.String }))
const handlers = tools.toLayer({ find: ({ sku }) => Effect.succeed(sku) })
const rows =`
        )
        .replace(
          /LanguageModel\.generateText.*$/m,
          `LanguageModel.generateText({ prompt: "of " + row, toolkit: tools }).pipe(Effect.map((r) => r.toolResults[0].result), Effect.provide(handlers)))`
        )
    })
    const { code, stderr } = await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd, env: {} })
    assert.strictEqual(code, 0, stderr)
    for (const { answer } of rowsOf(cwd)) assert.match(String(answer), /^[A-Z]{2}-\d{3}$/)
  })
})

describe("simulated answers", { concurrent: false }, () => {
  const run = async (text: string, ...args: ReadonlyArray<string>) => {
    const cwd = folder({ "flow.ts": text })
    const { code, stderr } = await pipe(["run", "flow.ts", "--simulate", "-q", ...args], { cwd, env: {} })
    assert.strictEqual(code, 0, stderr)
    return rowsOf(cwd).map(({ answer }) => answer)
  }
  const plain = flow({ source: words(6), stack: `Stack.make(OpenAi.layer({ model: "gpt-4o-mini" }))` })

  it("are the same for the same seed, and others for another", async () => {
    const first = await run(plain)
    assert.deepStrictEqual(await run(plain), first)
    const other = await run(plain, "--simulate-seed", "b")
    assert.lengthOf(
      other.filter((answer) => first.includes(answer)),
      0
    )
  })

  it("of another seed are not found among those of the first, in one store", async () => {
    const cwd = folder({ "flow.ts": flow({ source: words(4) }) })
    const answers: Array<unknown> = []
    for (const seed of ["a", "b", "a"]) {
      const { code, stderr } = await pipe(["run", "flow.ts", "--simulate", "-q", "--simulate-seed", seed], {
        cwd,
        env: {}
      })
      assert.strictEqual(code, 0, stderr)
      answers.push(rowsOf(cwd))
    }
    assert.notDeepEqual(answers[0], answers[1])
    assert.deepStrictEqual(answers[0], answers[2])
  })

  it("differ by sample and by file", async () => {
    const samples = await run(plain.replace(/=> r\.text\)\)\)/, "=> r.text)), { samples: 3 })"))
    for (const row of samples as ReadonlyArray<ReadonlyArray<string>>) assert.lengthOf(new Set(row), 3)
    const files = await run(
      plain.replace(
        /prompt: "Say something of " \+ JSON\.stringify\(row\)/,
        `prompt: [{ role: "user", content: [{ type: "text", text: "What is it?" }, { type: "file", mediaType: "image/png", data: new TextEncoder().encode(row) }] }]`
      )
    )
    assert.lengthOf(new Set(files), 6)
  })

  it("are chosen without regard to the words of the prompt", async () => {
    const labels = await run(
      flow({ source: words(40) }).replace(
        /LanguageModel\.generateText.*$/m,
        `LanguageModel.generateObject({ schema: Schema.Struct({ label: Schema.Literals(["spam", "ham"]) }), prompt: row + ": is it spam?" }).pipe(Effect.map(({ value }) => value.label)))`
      )
    )
    assert.deepStrictEqual([...new Set(labels)].toSorted(), ["ham", "spam"])
  })

  it("may be the flow's own, and an edit of them is seen", async () => {
    const text = (answer: string) =>
      flow({
        source: words(3),
        options: `simulate: ({ step, prompt, values, sample, model }) => ${answer},`
      })
    const cwd = folder({
      "flow.ts": text(`step + "|" + model + "|" + sample + "|" + values.row + "|" + prompt.length`)
    })
    const { code, stderr } = await pipe(["run", "flow.ts", "--simulate", "-q"], { cwd, env: {} })
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      rowsOf(cwd).map(({ answer }) => answer),
      ["word 0", "word 1", "word 2"].map(
        (word) => `answer|gpt-4o-mini|0|${word}|${`Say something of "${word}"`.length}`
      )
    )
    const values = await run(
      flow({
        source: words(3),
        options: `simulate: ({ values }) => values.row === "word 1" ? undefined : { n: 7 },`
      }).replace(
        /LanguageModel\.generateText.*$/m,
        `LanguageModel.generateObject({ schema: Schema.Struct({ n: Schema.Int }), prompt: "of " + row }).pipe(Effect.map(({ value }) => value.n)))`
      ),
      "--batch"
    )
    assert.deepStrictEqual([values[0], values[2]], [7, 7])
  })

  it("come with faults, and as slowly as flags say; flags without --simulate are refused", async () => {
    const cwd = folder({ "flow.ts": plain })
    const { code, stderr } = await pipe(["run", "flow.ts", "--simulate", "--simulate-faults", "serverError=1"], {
      cwd,
      env: {}
    })
    assert.strictEqual(code, 1)
    assert.include(stderr, "simulated server error")
    for (const [args, says] of [
      [["--simulate-seed", "x"], "--simulate-seed requires --simulate: add it"],
      [["--simulate", "--simulate-faults", "fire=1"], "fire=1 is not the share of a fault"],
      [["--simulate", "--simulate-latency", "soon"], "--simulate-latency: soon is not a duration"]
    ] as const) {
      const refused = await pipe(["run", "flow.ts", ...args], { cwd, env: {} })
      assert.strictEqual(refused.code, 2, refused.stderr)
      assert.include(refused.stderr, says)
    }
  })
})

describe("runs are found in both stores (A5)", { concurrent: false }, () => {
  it("by every command, without a flag", async () => {
    const cwd = folder({ "flow.ts": flow({ source: words(3) }) })
    const command = (...args: ReadonlyArray<string>) => pipe(args, { cwd, env: env() })
    assert.strictEqual((await command("run", "flow.ts", "--simulate", "--simulate-faults", "serverError=1")).code, 1)
    for (const args of [["runs"], ["show"], ["show", "--failed"], ["report"]]) {
      const { code, stderr, stdout } = await command(...args)
      assert.strictEqual(code, 0, stderr)
      assert.notInclude(stdout + stderr, "there is no store")
    }
    assert.isTrue(existsSync(join(cwd, "test.simulated.report.html")))
    assert.strictEqual((await command("run", "flow.ts", "-q")).code, 0)
    const { stdout } = await command("runs")
    const [simulated, real] = [/^(\S+)\s+test \(simulated\)/m, /^(\S+)\s+test\s{2,}/m].map(
      (row) => row.exec(stdout)![1]!
    )
    for (const name of [simulated!, real!]) {
      for (const args of [
        ["show", name],
        ["report", name, "--json"]
      ]) {
        const { code, stderr, stdout } = await command(...args)
        assert.strictEqual(code, 0, stderr)
        assert.include(stdout, name)
      }
    }
    // The last is the newest of both.
    assert.include((await command("show")).stdout, real!)
    const retried = await command("retry", simulated!, "--failed")
    assert.strictEqual(retried.code, 0, retried.stderr)
  })
})
