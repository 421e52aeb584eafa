/** Runs as processes: interrupted, killed, edited and run again, on a full disk. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"
import { KEY, lines, words } from "./Flows.ts"
import { flow, folder, pipe } from "./Process.ts"

/** A simulator, and how `pipe` is run against it in a folder. */
const setUp = (files: { readonly [name: string]: string }, options: Simulator.Options = {}) =>
  Effect.map(Simulator.start(options), (simulator) => {
    const cwd = folder(files)
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: simulator.openAiUrl }
    return {
      cwd,
      env,
      simulator,
      read: (name: string) => readFileSync(join(cwd, name), "utf8"),
      pipe: (...args: ReadonlyArray<string>) => Effect.promise(() => pipe(args, { cwd, env })),
      /** Ends the run by a signal when this many calls have been made. */
      interrupted: (signal: NodeJS.Signals, after: number, ...args: ReadonlyArray<string>) =>
        Effect.promise(() =>
          pipe(args, {
            cwd,
            env,
            onStart: (child) => {
              const timer = setInterval(() => {
                if (simulator.requests() < after) return
                clearInterval(timer)
                child.kill(signal)
              }, 2)
              child.on("exit", () => clearInterval(timer))
            }
          })
        )
    }
  })

describe("an interrupted run", () => {
  it.live(
    "ends in good order, is listed, and is resumed once",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: words(240), options: "concurrency: 8," }) },
          { latency: "10 millis" }
        )
        const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
        for (const signal of Soak.isSoak ? signals : signals.slice(0, 1)) {
          const ended = yield* test.interrupted(
            signal,
            test.simulator.requests() + 60,
            ...(signal === "SIGINT" ? ["run", "flow.ts"] : ["resume"])
          )
          assert.strictEqual(ended.code, 130, ended.stderr)
          assert.match(ended.stderr, /interrupted; resume with: pipe resume \d{14}-\w{4}/)
          assert.isFalse(existsSync(join(test.cwd, "out.jsonl")))
        }
        const listed = yield* test.pipe("runs")
        assert.match(listed.stdout, /test\s+\S+ \S+\s+interrupted/)
        // Calls in flight were waited for: none was cut, and none is an estimate.
        const resumed = yield* test.pipe("resume")
        assert.strictEqual(resumed.code, 0, resumed.stderr)
        assert.strictEqual(test.simulator.requests(), 240)
        assert.notInclude(resumed.stderr, "estimate")
        assert.deepStrictEqual(
          lines(test.read("out.jsonl")).map((line) => JSON.parse(line).row),
          Array.from({ length: 240 }, (_, i) => `word ${i}`)
        )
        const again = yield* test.pipe("resume")
        assert.strictEqual(again.code, 2)
        assert.include(again.stderr, "is done: there is nothing to resume")
        // A second run takes everything over, with one line that says how much.
        const second = yield* test.pipe("run", "flow.ts")
        assert.include(second.stderr, "reused: answer 240 of 240 rows")
        assert.strictEqual(test.simulator.requests(), 240)
      }),
    120_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "cuts calls after the grace time, and records them as estimates",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: words(4), options: "concurrency: 4," }) },
          { latency: "1 hour" }
        )
        let told = false
        const ended = yield* Effect.promise(() =>
          pipe(["run", "flow.ts", "--grace", "200ms"], {
            cwd: test.cwd,
            env: test.env,
            onStderr: (text, child) => {
              if (told || !text.includes("answer 0")) return
              told = true
              child.kill("SIGINT")
            }
          })
        )
        assert.strictEqual(ended.code, 130, ended.stderr)
        const shown = yield* test.pipe("show", "--json")
        const { summary } = JSON.parse(shown.stdout)
        assert.strictEqual(summary.estimatedCalls, 4)
        assert.notStrictEqual(summary.estimatedCost, "0")
        assert.strictEqual(summary.cost, summary.estimatedCost)
      }),
    40_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "by kill -9 is shown as interrupted, and only one of two who resume it does (mastra#5549, #7464, #20443)",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: words(200), options: "concurrency: 8," }) },
          { latency: "10 millis" }
        )
        const killed = yield* test.interrupted("SIGKILL", 80, "run", "flow.ts", "--quiet")
        assert.isNull(killed.code)
        // It had no time for a report; what it has recorded is shown.
        assert.match((yield* test.pipe("runs")).stdout, /interrupted +– +– +\$0\.\d/)
        const shown = (yield* test.pipe("show")).stdout
        assert.match(shown, /recorded so far: \$0\.\d+, of which at most \$0\.\d+ for calls/)
        assert.include(shown, "it ended before it could write its summary")
        const both = yield* Effect.all([test.pipe("resume"), test.pipe("resume")], { concurrency: 2 })
        assert.deepStrictEqual(
          both.map(({ code }) => code).sort(),
          [0, 2],
          both.map(({ stderr }) => stderr).join("\n---\n")
        )
        assert.match(
          both.find(({ code }) => code === 2)!.stderr,
          /is (?:active already \(process \d+ on|done: there is nothing)/
        )
        assert.strictEqual(lines(test.read("out.jsonl")).length, 200)
      }),
    60_000
  )

  // Two that resume it are tried above.
  it.live.skipIf(!Soak.isSoak)(
    "is not started a second time while it is running",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: words(60), options: "concurrency: 2," }) },
          { latency: "30 millis" }
        )
        const both = yield* Effect.all(
          [test.pipe("run", "flow.ts"), Effect.andThen(Effect.sleep(1_500), test.pipe("run", "flow.ts"))],
          { concurrency: 2 }
        )
        // Either may come first.
        const [one, other] = both.toSorted((a, b) => a.code! - b.code!)
        assert.strictEqual(one!.code, 0, one!.stderr)
        if (other!.code !== 0) {
          assert.strictEqual(other!.code, 2)
          assert.include(other!.stderr, "is active already")
        }
        assert.strictEqual(test.simulator.requests(), 60)
      }),
    60_000
  )
})

describe("an edited flow", () => {
  const files = (helper: string, parse: string) => ({
    "flow.ts": `
import { Cache, Flow, Ledger, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { render } from "./helper.ts"
import { parse } from "./parse.ts"
const rows = ${words(5)}
const answer = Flow.step("answer", { row: rows }, ({ row }) => Effect.map(LanguageModel.generateText({ prompt: render(row) }), ({ text }) => parse(text)))
export default Flow.make("test", {
  outputs: [Sink.jsonl("out.jsonl", answer)],
  stack: Stack.make(Ledger.layer, Cache.layer(), OpenAi.layer({ model: "gpt-4o-mini" }))
})`,
    "helper.ts": `import { readFileSync } from "node:fs"
const template: string = readFileSync(new URL("template.txt", import.meta.url), "utf8")
export const render = (text: string): string => ${helper}
export const unused = 1`,
    "template.txt": "please",
    "parse.ts": `export const parse = (text: string): string => ${parse}`
  })

  it.live.skipIf(!Soak.isSoak)(
    "sends again when a helper or a file is another, and asks nothing when only the parsing is (curator#127, quodeq#291, margince#2486)",
    () =>
      Effect.gen(function* () {
        const before = files("`Sum up: ${text} ${template}`", "text.toLowerCase()")
        const test = yield* setUp(before, { answer: () => "An ANSWER" })
        const run = (files: { readonly [name: string]: string }) =>
          Effect.suspend(() => {
            for (const [name, content] of Object.entries(files)) writeFileSync(join(test.cwd, name), content)
            const requests = test.simulator.requests()
            return Effect.map(test.pipe("run", "flow.ts", "--explain"), (outcome) => ({
              ...outcome,
              calls: test.simulator.requests() - requests
            }))
          })
        assert.strictEqual((yield* run(before)).calls, 5)
        const parsed = yield* run(files("`Sum up: ${text} ${template}`", "text.slice(0, 2)"))
        assert.strictEqual(parsed.calls, 0)
        assert.match(parsed.stderr, /step answer captures other values \(\w+ has other code, flow\.ts:\d+\)/)
        assert.deepStrictEqual(
          lines(test.read("out.jsonl")),
          Array.from({ length: 5 }, () => '"An"')
        )
        // Where there is time, a helper too.
        const helper = Soak.isSoak ? "`Sum up in 5 words: ${text} ${template}`" : "`Sum up: ${text} ${template}`"
        if (Soak.isSoak) assert.strictEqual((yield* run(files(helper, "text.slice(0, 2)"))).calls, 5)
        const file = yield* run({
          ...files(helper, "text.slice(0, 2)"),
          "template.txt": "now"
        })
        assert.strictEqual(file.calls, 5)
        assert.match(file.stderr, /step answer captures other values \(\S*template: "\S+" → "now", flow\.ts:\d+\)/)
        // What no step names is no step's.
        const unused = files(helper, "text.slice(0, 2)")
        const touched = yield* run({
          ...unused,
          "template.txt": "now",
          "helper.ts": unused["helper.ts"].replace("unused = 1", "unused = 2")
        })
        assert.notInclude(touched.stderr, "not reused")
      }),
    60_000
  )
})

describe("the store", () => {
  it.live.skipIf(!Soak.isSoak || !canMount())(
    "on a full disk stops the run in one line, and the rows that are done are kept",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ source: words(4_000), options: "concurrency: 16," }) })
        const small = join(test.cwd, "small")
        mkdirSync(small)
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=700k", "tmpfs", small])
        try {
          const full = yield* test.pipe("run", "flow.ts", "--store", "small/pipe.db")
          assert.strictEqual(full.code, 1, full.stderr)
          assert.match(full.stderr, /small\/pipe\.db cannot be written \(.*full.*\)/)
          assert.notInclude(full.stderr, "    at ")
          const answered = test.simulator.requests()
          assert.isBelow(answered, 4_000)
          execFileSync("mount", ["-o", "remount,size=64m", small])
          const resumed = yield* test.pipe("resume", "--store", "small/pipe.db")
          assert.strictEqual(resumed.code, 0, resumed.stderr)
          // At most the calls in flight when the disk was full are sent again.
          assert.isAtMost(test.simulator.requests() - 4_000, 64)
          assert.strictEqual(lines(test.read("out.jsonl")).length, 4_000)
        } finally {
          execFileSync("umount", [small])
        }
      }),
    60_000
  )
})

function canMount(): boolean {
  try {
    const at = folder()
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=100k", "tmpfs", at], { stdio: "ignore" })
    execFileSync("umount", [at], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}
