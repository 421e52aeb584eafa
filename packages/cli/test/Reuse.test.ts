/** Reuse by meaning, packed prompts and prompt caches from the command line. */
import { assert, describe, it } from "@effect/vitest"
import { folder, pipe } from "./Pipe.ts"
import { files, type Options, rows } from "./ReuseFlow.ts"

const at = (options: Options) => folder(files(options))

describe("pipe cache eval", { concurrent: false }, () => {
  it("says in one line what is wrong with a file", async () => {
    const cwd = folder({
      "rows.jsonl": '{"text": "x"}',
      "bad.jsonl": '{"a": "x", "b": "y", "same": true}\n{"a": "x", "b": 1, "same": true}',
      "broken.jsonl": "no json",
      "empty.jsonl": ""
    })
    for (const [file, message] of [
      ["rows.jsonl", /rows\.jsonl:1: has no answer; it has text: name the columns/],
      ["bad.jsonl", /bad\.jsonl:2: a pair has texts a and b/],
      ["broken.jsonl", /broken\.jsonl:1: not JSON/],
      ["empty.jsonl", /empty\.jsonl: has no rows/],
      ["none.jsonl", /none\.jsonl: there is no such file/]
    ] as const) {
      const { code, stderr, stdout } = await pipe(["cache", "eval", file], { cwd })
      assert.strictEqual(code, 2)
      assert.strictEqual(stdout, "")
      assert.match(stderr, message)
      assert.strictEqual(stderr.trim().split("\n").length, 1, stderr)
    }
    assert.strictEqual((await pipe(["cache", "eval", "rows.jsonl", "--max-error-rate", "2"], { cwd })).code, 2)
  })
})

describe("pipe plan", { concurrent: false }, () => {
  const plan = async (options: Options, ...args: ReadonlyArray<string>) => {
    const { code, stderr, stdout } = await pipe(["plan", "flow.ts", "--json", ...args], { cwd: at(options) })
    assert.strictEqual(code, 0, stderr)
    return JSON.parse(stdout) as {
      readonly lines: ReadonlyArray<{ readonly calls: number; readonly inputTokens: number }>
      readonly cost: { readonly low: string; readonly expected: string; readonly high: string }
      readonly strategies: ReadonlyArray<{ readonly name: string; readonly cost: string }>
      readonly notes?: ReadonlyArray<string>
    }
  }
  const prompt = (times: number) => `"Read the handbook. ".repeat(${times}) + "\\n\\n" + row.text`
  const claude = { model: "claude-haiku-4-5", provider: "Anthropic.layer()" }

  it("says where a beginning is too short for the provider's cache", async () => {
    // 4,000 tokens: enough for OpenAI (1,024), not for Claude Haiku 4.5 (4,096).
    const short = await plan({ ...claude, prompt: prompt(840) })
    assert.isTrue(
      short.notes!.some((note) =>
        /common prefix of about \d{4} tokens; anthropic caches .* from 4096 tokens/.test(note)
      ),
      JSON.stringify(short.notes)
    )
    assert.notInclude(
      short.strategies.map(({ name }) => name),
      "the provider's prompt cache"
    )
    const enough = await plan({ prompt: prompt(840) })
    assert.isFalse(enough.notes!.some((note) => note.includes("none is charged less")))
    assert.include(
      enough.strategies.map(({ name }) => name),
      "the provider's prompt cache"
    )
  })

  it("says whether batches or the prompt cache are cheaper, and never that a run costs less than nothing", async () => {
    // A tenth of the price for nearly all of the input against half of everything.
    const cached = await plan({ ...claude, prompt: prompt(2_000), layers: "PromptCache.layer()," })
    assert.isTrue(
      cached.notes!.some((note) => note.endsWith("single calls are cheaper")),
      JSON.stringify(cached.notes)
    )
    for (const { cost } of cached.strategies) assert.isAbove(Number(cost), 0)
    // Half of the price for a part of the input: batches.
    const part = await plan({ prompt: prompt(840) })
    assert.isTrue(
      part.notes!.some((note) => note.endsWith("batches are cheaper")),
      JSON.stringify(part.notes)
    )
    const without = await plan({ ...claude, prompt: prompt(2_000) })
    assert.isBelow(Number(cached.cost.expected), 0.5 * Number(without.cost.expected))
    assert.strictEqual(cached.cost.high, without.cost.high)
  })

  it("counts packed prompts, in batches at half of their price", async () => {
    const options = { step: "pack: { size: 10 }", layers: "Pack.layer(),", prompt: prompt(200) }
    const [packed, single, batched] = [
      await plan(options),
      await plan({ prompt: prompt(200) }),
      await plan(options, "--batch")
    ]
    assert.strictEqual(packed.lines[0]!.calls, Math.ceil(rows.length / 10))
    assert.strictEqual(single.lines[0]!.calls, rows.length)
    assert.strictEqual(batched.lines[0]!.calls, packed.lines[0]!.calls)
    assert.isBelow(packed.lines[0]!.inputTokens, 0.3 * single.lines[0]!.inputTokens)
    assert.strictEqual(batched.lines[0]!.inputTokens, packed.lines[0]!.inputTokens)
    assert.closeTo(Number(batched.cost.expected) / Number(packed.cost.expected), 0.5, 0.01)
  })

  it("says of a step with reuse that only the run shows how much", async () => {
    const reused = await plan({
      step: "reuse: { maxErrorRate: 0.05 }",
      layers: "SemanticCache.layer().pipe(Layer.provide([LocalEmbedder.layer, Usearch.layer])),"
    })
    assert.isTrue(
      reused.notes!.some((note) => note.includes("only the run shows how many answers are reused by meaning"))
    )
  })
})
