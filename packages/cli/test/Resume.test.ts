/** Runs that end early, and what can be done with them: by the command, as a user would. */
import { Money, Report } from "@pipe/core"
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { flow, folder, pipe } from "./Pipe.ts"

const KEY = "sk-test-0123456789abcdef"

const rows = (n: number) => `Source.fromIterable("rows", Array.from({ length: ${n} }, (_, i) => "word " + i))`

const lines = (text: string) => text.split("\n").filter((line) => line !== "")

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
      /** Ends the run by a signal when so many calls have been made. */
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
    "ends in good order, is listed, and is gone on with once",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: rows(300), options: "concurrency: 8," }) },
          { latency: "10 millis" }
        )
        for (const signal of ["SIGINT", "SIGTERM"] as const) {
          const ended = yield* test.interrupted(
            signal,
            test.simulator.requests() + 60,
            ...(signal === "SIGINT" ? ["run", "flow.ts"] : ["resume"])
          )
          assert.strictEqual(ended.code, 130, ended.stderr)
          assert.match(ended.stderr, /interrupted; go on with: pipe resume \d{14}-\w{4}/)
          assert.isFalse(existsSync(join(test.cwd, "out.jsonl")))
        }
        const listed = yield* test.pipe("runs")
        assert.match(listed.stdout, /test\s+\S+ \S+\s+interrupted/)
        // Calls under way were waited for: none was cut, and none is an estimate.
        const resumed = yield* test.pipe("resume")
        assert.strictEqual(resumed.code, 0, resumed.stderr)
        assert.strictEqual(test.simulator.requests(), 300)
        assert.notInclude(resumed.stderr, "estimate")
        assert.deepStrictEqual(
          lines(test.read("out.jsonl")).map((line) => JSON.parse(line).row),
          Array.from({ length: 300 }, (_, i) => `word ${i}`)
        )
        const again = yield* test.pipe("resume")
        assert.strictEqual(again.code, 2)
        assert.include(again.stderr, "is done: there is nothing to go on with")
        // A second run takes everything over, with one line that says how much.
        const second = yield* test.pipe("run", "flow.ts")
        assert.include(second.stderr, "taken over from earlier work: answer 300 of 300 rows")
        assert.strictEqual(test.simulator.requests(), 300)
      }),
    60_000
  )

  it.live(
    "cuts calls after the grace time, and books them as estimates",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: rows(4), options: "concurrency: 4," }) },
          { latency: "20 seconds" }
        )
        const started = Date.now()
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
        assert.isBelow(Date.now() - started, 15_000)
        const shown = yield* test.pipe("show", "--json")
        const { summary } = JSON.parse(shown.stdout)
        assert.strictEqual(summary.estimatedCalls, 4)
        assert.notStrictEqual(summary.estimatedCost, "0")
        assert.strictEqual(summary.cost, summary.estimatedCost)
      }),
    40_000
  )

  it.live(
    "by kill -9 is shown as interrupted, and only one of two who resume it does (mastra#5549, #7464, #20443)",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: rows(400), options: "concurrency: 8," }) },
          { latency: "10 millis" }
        )
        const killed = yield* test.interrupted("SIGKILL", 80, "run", "flow.ts", "--quiet")
        assert.isNull(killed.code)
        assert.match((yield* test.pipe("runs")).stdout, /interrupted/)
        assert.include((yield* test.pipe("show")).stdout, "it ended before it could write its summary")
        const both = yield* Effect.all([test.pipe("resume"), test.pipe("resume")], { concurrency: 2 })
        assert.deepStrictEqual(
          both.map(({ code }) => code).sort(),
          [0, 2],
          both.map(({ stderr }) => stderr).join("\n---\n")
        )
        assert.match(
          both.find(({ code }) => code === 2)!.stderr,
          /is (?:at work already \(process \d+ on|done: there is nothing)/
        )
        assert.strictEqual(lines(test.read("out.jsonl")).length, 400)
      }),
    60_000
  )

  it.live(
    "is not begun a second time while it is at work",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          { "flow.ts": flow({ source: rows(60), options: "concurrency: 2," }) },
          { latency: "30 millis" }
        )
        const both = yield* Effect.all(
          [test.pipe("run", "flow.ts"), Effect.andThen(Effect.sleep(1_500), test.pipe("run", "flow.ts"))],
          { concurrency: 2 }
        )
        assert.strictEqual(both[0].code, 0, both[0].stderr)
        if (both[1].code !== 0) {
          assert.strictEqual(both[1].code, 2)
          assert.include(both[1].stderr, "is at work already")
        }
        assert.strictEqual(test.simulator.requests(), 60)
      }),
    60_000
  )
})

describe("failed rows", () => {
  it.live(
    "are shown, and only they are run again (promptfoo#5849)",
    () =>
      Effect.gen(function* () {
        const refused = new Set(["7", "13"])
        const asked: Array<string> = []
        const test = yield* setUp(
          {
            "flow.ts": `
import { Cache, Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
const rows = ${rows(20)}
const answer = Flow.step("answer", { row: rows }, ({ row }) =>
  Effect.flatMap(LanguageModel.generateText({ prompt: row }), ({ text }) => text === "bad" ? Effect.fail(new Error("a bad answer")) : Effect.succeed(text)),
  { version: process.env["PIPE_TEST_VERSION"] ?? "1" })
export default Flow.make("test", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer })],
  stack: Stack.make(Ledger.layer, Retry.layer({ attempts: 1 }), OpenAi.layer({ model: "gpt-4o-mini" }))
})`
          },
          {
            answer: ({ prompt }) => {
              asked.push(prompt)
              return refused.has(prompt.split(" ")[1]!) ? "bad" : "good"
            }
          }
        )
        const first = yield* test.pipe("run", "flow.ts")
        assert.strictEqual(first.code, 1)
        assert.include(first.stderr, "pipe retry")
        const failed = lines((yield* test.pipe("show", "last", "--failed", "--json")).stdout).map((line) =>
          JSON.parse(line)
        )
        assert.deepStrictEqual(failed.map((row) => [row.position, row.node, row.message, row.input]).sort(), [
          ["rows[13]", "answer", "a bad answer", { row: "word 13" }],
          ["rows[7]", "answer", "a bad answer", { row: "word 7" }]
        ])
        refused.clear()
        asked.length = 0
        const retried = yield* test.pipe("retry", "last", "--failed")
        assert.strictEqual(retried.code, 0, retried.stderr)
        assert.deepStrictEqual(asked.sort(), ["word 13", "word 7"])
        assert.deepStrictEqual(
          lines(test.read("out.jsonl")).map((line) => JSON.parse(line).row),
          Array.from({ length: 20 }, (_, i) => `word ${i}`)
        )
        const none = yield* test.pipe("retry")
        assert.strictEqual(none.code, 2)
        assert.include(none.stderr, "has no failed rows")
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
import { parse } from "./parse.ts"
import { render } from "./helper.ts"
const rows = ${rows(5)}
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

  it.live(
    "asks anew when a helper or a file is another, and asks nothing when only the parsing is (curator#127, quodeq#291, margince#2486)",
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
        assert.strictEqual((yield* run(before)).calls, 0)
        const parsed = yield* run(files("`Sum up: ${text} ${template}`", "text.slice(0, 2)"))
        assert.strictEqual(parsed.calls, 0)
        assert.include(parsed.stderr, "step answer names code that has changed")
        assert.deepStrictEqual(
          lines(test.read("out.jsonl")),
          Array.from({ length: 5 }, () => '"An"')
        )
        assert.strictEqual((yield* run(files("`Sum up in 5 words: ${text} ${template}`", "text.slice(0, 2)"))).calls, 5)
        const file = yield* run({
          ...files("`Sum up in 5 words: ${text} ${template}`", "text.slice(0, 2)"),
          "template.txt": "now"
        })
        assert.strictEqual(file.calls, 5)
        assert.include(file.stderr, "asks something else than in earlier runs")
        // What no step names is no step's.
        const unused = files("`Sum up in 5 words: ${text} ${template}`", "text.slice(0, 2)")
        const touched = yield* run({
          ...unused,
          "template.txt": "now",
          "helper.ts": unused["helper.ts"].replace("unused = 1", "unused = 2")
        })
        assert.notInclude(touched.stderr, "not taken over")
      }),
    60_000
  )
})

describe("a budget", () => {
  it.live(
    "ends the run with exit code 3, and a larger one goes on",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ source: rows(100) }) })
        const bill = () =>
          test.simulator
            .bill()
            .reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)
        const first = yield* test.pipe("run", "flow.ts", "--budget", "0.0005usd")
        assert.strictEqual(first.code, 3, first.stderr)
        assert.match(first.stderr, /nothing more fits; go on with: pipe resume \S+ --budget <more>/)
        assert.isTrue(bill() <= 500_000_000n && bill() > 400_000_000n, `${bill()}`)
        assert.strictEqual((yield* test.pipe("resume")).code, 3)
        assert.isTrue(bill() <= 500_000_000n)
        const more = yield* test.pipe("resume", "--budget", "1usd")
        assert.strictEqual(more.code, 0, more.stderr)
        const { summary } = JSON.parse((yield* test.pipe("show", "--json")).stdout)
        assert.strictEqual(summary.cost, Money.toUsd(bill()))
        const wrong = yield* test.pipe("run", "flow.ts", "--budget", "5 euros")
        assert.strictEqual(wrong.code, 2)
        assert.include(wrong.stderr, "is not an amount")
      }),
    60_000
  )
})

describe("a plan", () => {
  it.live(
    "counts calls, what is done already, and money, without a key and without a call; the report has it beside what came",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ source: rows(100) }) })
        const { OPENAI_API_KEY: _, ...keyless } = test.env
        const plan = (...args: ReadonlyArray<string>) =>
          Effect.promise(() => pipe(["plan", "flow.ts", "--json", ...args], { cwd: test.cwd, env: keyless }))
        const bare = JSON.parse((yield* plan()).stdout)
        assert.strictEqual(test.simulator.requests(), 0)
        assert.strictEqual(bare.rows, 100)
        assert.deepInclude(bare.lines[0], {
          step: "answer",
          model: "gpt-4o-mini",
          calls: 100,
          cached: 0,
          reused: 0,
          learnedFrom: 0
        })
        const sampled = JSON.parse((yield* test.pipe("plan", "flow.ts", "--json", "--sample", "30")).stdout)
        assert.strictEqual(test.simulator.requests(), 30)
        assert.isFalse(existsSync(join(test.cwd, "out.jsonl")))
        assert.deepInclude(sampled.lines[0], { calls: 70, reused: 30, learnedFrom: 30 })
        const run = yield* test.pipe("run", "flow.ts")
        assert.strictEqual(run.code, 0, run.stderr)
        assert.strictEqual(test.simulator.requests(), 100)
        assert.match(run.stderr, /planned: 70 calls for .*; came: 70 calls for/)
        const report = Schema.decodeUnknownSync(Report.Report)(
          JSON.parse((yield* test.pipe("report", "--json")).stdout)
        )
        assert.strictEqual(report.plan?.lines[0]?.calls, 70)
        const { high, low } = report.plan!.cost
        assert.isTrue(
          report.summary!.cost >= (low * 9n) / 10n && report.summary!.cost <= (high * 11n) / 10n,
          `${report.summary!.cost} in ${low} to ${high}`
        )
        assert.deepInclude(JSON.parse((yield* plan()).stdout).lines[0], { calls: 0, reused: 100 })
      }),
    60_000
  )
})

describe("the store", () => {
  it.live(
    "is the user's own: the ledger and the cache can be taken away and brought back",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ source: rows(30) }) })
        yield* test.pipe("run", "flow.ts")
        const csv = lines((yield* test.pipe("report", "--csv")).stdout)
        assert.strictEqual(csv.length, 31)
        const column = csv[0]!.split(",").indexOf("cost_usd")
        const total = csv
          .slice(1)
          .reduce((sum, line) => sum + BigInt(Math.round(Number(line.split(",")[column]) * 1e12)), 0n)
        const { summary } = JSON.parse((yield* test.pipe("show", "--json")).stdout)
        assert.strictEqual(Money.toUsd(total), summary.cost)
        const exported = yield* test.pipe("cache", "export", "answers.jsonl")
        assert.include(exported.stdout, "30 answers are in answers.jsonl")
        const stats = JSON.parse((yield* test.pipe("cache", "stats", "--json")).stdout)
        assert.deepInclude(stats, { entries: 30, results: 30, models: [{ model: "gpt-4o-mini", entries: 30 }] })
        assert.strictEqual((yield* test.pipe("cache", "clear")).code, 2)
        assert.include((yield* test.pipe("cache", "clear", "--yes")).stdout, "30 answers and 30 results are gone")
        assert.include((yield* test.pipe("cache", "import", "answers.jsonl")).stdout, "30 answers were taken in")
        assert.include((yield* test.pipe("cache", "import", "answers.jsonl")).stdout, "30 were there already")
        yield* test.pipe("run", "flow.ts")
        assert.strictEqual(test.simulator.requests(), 30)
        assert.include((yield* test.pipe("cache", "prune", "--older-than", "0s")).stdout, "30 answers")
        writeFileSync(join(test.cwd, "broken.jsonl"), '{"key": 1}\n')
        const broken = yield* test.pipe("cache", "import", "broken.jsonl")
        assert.strictEqual(broken.code, 2)
        assert.include(broken.stderr, "broken.jsonl:1: is not an exported answer")
      }),
    90_000
  )

  it.live(
    "makes a page that needs no network and takes no markup from rows",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(
          {
            "flow.ts": flow({
              source: `Source.fromIterable("rows", ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>"])`,
              stack: `Stack.make(Ledger.layer, Retry.layer({ attempts: 1 }), OpenAi.layer({ model: "gpt-4o-mini" }))`
            })
          },
          { faults: { serverError: 1 } }
        )
        yield* test.pipe("run", "flow.ts")
        const made = yield* test.pipe("report")
        assert.strictEqual(made.stdout.trim(), "test.report.html", made.stderr)
        const page = test.read("test.report.html")
        assert.notMatch(page, /<script[^>]*>alert|<img/)
        assert.notMatch(page.replace(/<script>[\s\S]*?<\/script>/g, ""), /<[^>]*(?:src|href)=/)
        assert.include(page, "default-src 'none'")
        assert.include(page, "&lt;img src=x onerror=alert(1)&gt;")
      }),
    60_000
  )

  it.live(
    "never holds a key, nor does anything that is made of it",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow() })
        yield* test.pipe("run", "flow.ts", "--json")
        yield* test.pipe("report")
        yield* test.pipe("cache", "export", "answers.jsonl")
        yield* test.pipe("report", "--csv", "--out", "ledger.csv")
        for (const entry of readdirSync(test.cwd, { recursive: true, withFileTypes: true })) {
          if (!entry.isFile()) continue
          assert.notInclude(readFileSync(join(entry.parentPath, entry.name), "latin1"), KEY, entry.name)
        }
      }),
    60_000
  )

  it.live(
    "says in one line that it is newer, damaged or cannot be written, and the run goes on or stops with nothing lost",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow() })
        yield* test.pipe("run", "flow.ts", "--quiet")
        const file = join(test.cwd, ".pipe/pipe.db")
        const db = new DatabaseSync(file)
        db.exec("INSERT INTO effect_sql_migrations (migration_id, name) VALUES (999, 'future')")
        db.close()
        const newer = yield* test.pipe("runs")
        assert.strictEqual(newer.code, 2)
        assert.strictEqual(lines(newer.stderr).length, 1)
        assert.include(newer.stderr, "newer version of pipe")
        const whole = readFileSync(file)
        writeFileSync(file, whole.subarray(0, Math.floor(whole.length / 2)))
        const damaged = yield* test.pipe("run", "flow.ts")
        assert.strictEqual(damaged.code, 0, damaged.stderr)
        assert.match(damaged.stderr, /is damaged .*: it was moved to .*damaged-\d+, and a new one is begun/)
        assert.isTrue(readdirSync(join(test.cwd, ".pipe")).some((name) => name.includes("damaged-")))
      }),
    60_000
  )

  it.live(
    "in a folder that cannot be written leaves the run its work in memory, and says so",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ output: `Sink.jsonl("-", { row: rows, answer })` }) })
        mkdirSync(join(test.cwd, "closed"))
        writeFileSync(join(test.cwd, "closed/file"), "")
        chmodSync(join(test.cwd, "closed"), 0o500)
        const run = yield* test.pipe("run", "flow.ts", "--store", "closed/file/pipe.db")
        assert.strictEqual(run.code, 0, run.stderr)
        assert.match(run.stderr, /warning: .*closed\/file cannot be made.*kept in memory only/)
        assert.strictEqual(lines(run.stdout).length, 3)
      }),
    60_000
  )

  it.live.skipIf(!canMount())(
    "on a full disk stops the run in one line, and the rows that are done are kept",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ source: rows(4_000), options: "concurrency: 16," }) })
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
          // At most what was under way when the disk was full is asked again.
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

describe("pipe doctor", () => {
  it.live(
    "checks keys, endpoint, store and disk, and shows no key",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow() })
        const fine = yield* test.pipe("doctor", "--offline")
        assert.strictEqual(fine.code, 0, fine.stdout)
        assert.match(fine.stdout, /✓ store .*is not there yet/)
        yield* test.pipe("run", "flow.ts", "--quiet")
        const later = yield* test.pipe("doctor", "--json")
        assert.isTrue(
          lines(later.stdout)
            .map((line) => JSON.parse(line))
            .some((check) => check.name === "store" && /1 runs, 2 answers/.test(check.message))
        )
        assert.notInclude(later.stdout, KEY)
        const nobody = yield* Effect.promise(() =>
          pipe(["doctor"], { cwd: test.cwd, env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: "http://127.0.0.1:1/v1" } })
        )
        assert.strictEqual(nobody.code, 1)
        assert.match(nobody.stdout, /✗ OpenAI .*does not answer/)
      }),
    60_000
  )
})
