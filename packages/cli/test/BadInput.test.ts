import { assert, describe, it } from "@effect/vitest"
import { flow, folder, pipe } from "./Pipe.ts"

/** Each: a flow file, and what the one line on standard error must say. */
const cases: ReadonlyArray<readonly [title: string, file: string, expected: ReadonlyArray<string>]> = [
  ["does not parse", "const a = 1\nconst b = {\nexport default b\n", ["flow.ts:3", "does not parse"]],
  ["exports nothing", "export const a = 1\n", ["flow.ts", "no default export"]],
  ["exports something else", "export default 42\n", ["flow.ts", "a number", "Flow.make"]],
  [
    "imports a package that is not there",
    `import "nonexistent-package"\nexport default 1\n`,
    ["flow.ts", "npm install nonexistent-package"]
  ],
  [
    "imports a file that is not there",
    `import "./other.ts"\nexport default 1\n`,
    ["flow.ts", "other.ts", "does not exist"]
  ],
  ["uses syntax that cannot be stripped", "enum Colour { Red }\nexport default Colour\n", ["flow.ts:1", "enum"]],
  ["throws", `throw new Error("boom")\n`, ["flow.ts:1", "boom"]],
  [
    "has two nodes of one name",
    `import { Flow, Sink, Source } from "@pipe/core"
const a = Source.fromIterable("a", [1])
const b = Flow.map("a", { a }, ({ a }) => a)
export default Flow.make("two", { outputs: [Sink.jsonl("o.jsonl", { a, b })] })\n`,
    ["flow.ts:4", "two nodes named a"]
  ]
]

describe("a flow file that", { concurrent: false }, () => {
  for (const [title, file, expected] of cases) {
    it(`${title} gets one clear line and exit code 2`, async () => {
      const { code, stderr, stdout } = await pipe(["run", "flow.ts"], { cwd: folder({ "flow.ts": file }) })
      assert.strictEqual(code, 2, stderr)
      assert.strictEqual(stdout, "")
      assert.strictEqual(stderr.trim().split("\n").length, 1, stderr)
      for (const text of expected) assert.include(stderr, text)
    })
  }
})

describe("pipe", { concurrent: false }, () => {
  it("says where a missing key was looked for", async () => {
    const { code, stderr } = await pipe(["run", "flow.ts"], { cwd: folder({ "flow.ts": flow() }) })
    assert.strictEqual(code, 2)
    for (const text of ["OPENAI_API_KEY", ".env", "--simulate"]) assert.include(stderr, text)
  })

  it("refuses unknown flags and commands with exit code 2, and says what to look at", async () => {
    const cwd = folder({ "flow.ts": flow() })
    const flag = await pipe(["run", "flow.ts", "--bogus"], { cwd })
    assert.strictEqual(flag.code, 2)
    assert.include(flag.stderr, "--bogus")
    assert.include(flag.stderr, "pipe run --help")
    assert.strictEqual((await pipe(["rnu"], { cwd })).code, 2)
    assert.strictEqual((await pipe(["run"], { cwd })).code, 2)
    assert.strictEqual((await pipe(["run", "missing.ts"], { cwd })).code, 2)
  })

  it("describes itself", async () => {
    const cwd = folder()
    const help = await pipe(["--help"], { cwd })
    assert.strictEqual(help.code, 0)
    for (const command of ["run", "graph", "prices", "init"]) assert.include(help.stdout, command)
    assert.include((await pipe(["--completions", "bash"], { cwd })).stdout, "complete")
    assert.include((await pipe(["--version"], { cwd })).stdout, "0.1.0")
  })

  it("shows prices with their source, and none for a model that no table knows (claude-usage#21)", async () => {
    const cwd = folder()
    // OpenAI's price page: gpt-4o-mini 0.15 / 0.075 / 0.60 USD per million tokens.
    const known = await pipe(["prices", "openai/gpt-4o-mini-2024-07-18"], { cwd })
    assert.match(known.stdout, /input\s+\$0\.15\n[\s\S]*cache read\s+\$0\.075\n[\s\S]*output\s+\$0\.6\n/)
    assert.include(known.stdout, "genai-prices")
    const unknown = await pipe(["prices", "gpt-4o-mini-pro"], { cwd })
    assert.strictEqual(unknown.code, 1)
    assert.include(unknown.stderr, "no price is known")
  })

  it("writes a new flow that runs and draws, and leaves files alone that are there", async () => {
    const cwd = folder()
    assert.strictEqual((await pipe(["init", "mine", "--no-install"], { cwd })).code, 0)
    const run = await pipe(["run", "mine/flow.ts", "--simulate"], { cwd })
    assert.strictEqual(run.code, 0, run.stderr)
    assert.include((await pipe(["graph", "mine/flow.ts"], { cwd })).stdout, "─ verdict (step)")
    assert.include((await pipe(["graph", "mine/flow.ts", "--mermaid"], { cwd })).stdout, "flowchart TB")
    const again = await pipe(["init", "mine", "--no-install"], { cwd })
    assert.strictEqual(again.code, 0, again.stderr)
    assert.include(again.stderr, "flow.ts exists already and is left unchanged")
    assert.include(again.stdout, "nothing is missing here")
  })
})
