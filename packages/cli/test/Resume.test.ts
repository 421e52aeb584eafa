/** Runs that end early, and what can be done with them: by the command, as a user would. */
import { Money, Report } from "@pipe/core"
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { KEY, lines, words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

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
      pipe: (...args: ReadonlyArray<string>) => Effect.promise(() => pipe(args, { cwd, env }))
    }
  })

describe("failed rows", { concurrent: false }, () => {
  it.live("are shown, and only they are run again (promptfoo#5849)", () =>
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
const rows = ${words(20)}
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
    })
  )
})

describe("a budget", { concurrent: false }, () => {
  it.live("ends the run with exit code 3, and a larger one continues", () =>
    Effect.gen(function* () {
      const test = yield* setUp({ "flow.ts": flow({ source: words(100) }) })
      const bill = () =>
        test.simulator
          .bill()
          .reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)
      const first = yield* test.pipe("run", "flow.ts", "--budget", "0.0005usd")
      assert.strictEqual(first.code, 3, first.stderr)
      assert.match(
        first.stderr,
        /nothing more fits \(a call of \S+ may cost up to \$[\d.]+\); resume with: pipe resume \S+ --budget \S+/
      )
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
    })
  )
})

describe("a plan", { concurrent: false }, () => {
  it.live(
    "counts calls, what is done already, and money, without a key and without a call; the report has it beside what came",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp({ "flow.ts": flow({ source: words(100) }) })
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
        assert.match(run.stderr, /planned: 70 calls for .*; actual: 70 calls for/)
        const report = Schema.decodeUnknownSync(Report.Report)(
          JSON.parse((yield* test.pipe("report", "--json")).stdout)
        )
        assert.strictEqual(report.plan?.lines[0]?.calls, 70)
        const { high, low } = report.plan!.cost
        assert.isTrue(
          report.summary!.cost >= (low * 9n) / 10n && report.summary!.cost <= (high * 11n) / 10n,
          `${report.summary!.cost} in ${low} to ${high}`
        )
        // The plan was of that run (B9).
        assert.notInclude((yield* test.pipe("run", "flow.ts")).stderr, "planned:")
        assert.deepInclude(JSON.parse((yield* plan()).stdout).lines[0], { calls: 0, reused: 100 })
      })
  )
})

describe("the store", { concurrent: false }, () => {
  it.live("is the user's own: the ledger and the cache can be deleted and brought back", () =>
    Effect.gen(function* () {
      const test = yield* setUp({ "flow.ts": flow({ source: words(30) }) })
      yield* test.pipe("run", "flow.ts")
      const csv = lines((yield* test.pipe("report", "--csv")).stdout)
      assert.strictEqual(csv.length, 31)
      const column = csv[0]!.split(",").indexOf("cost_usd")
      const total = csv
        .slice(1)
        .reduce((sum, line) => sum + BigInt(Math.round(Number(line.split(",")[column]) * 1e12)), 0n)
      const { summary } = JSON.parse((yield* test.pipe("show", "--json")).stdout)
      assert.strictEqual(Money.toUsd(total), summary.cost)
      const byRow = lines((yield* test.pipe("report", "--csv", "--rows")).stdout)
      assert.strictEqual(byRow[0], "run,step,row,calls,failed,milliseconds,input,output,cost_usd,unpriced,estimated")
      assert.strictEqual(byRow.length, 31)
      const costs = byRow.slice(1).map((line) => Option.getOrThrow(Money.fromUsd(line.split(",")[8]!)))
      assert.strictEqual(Money.toUsd(Money.sum(costs)), summary.cost)
      assert.include((yield* test.pipe("report", "--rows")).stderr, "--rows needs --csv")
      const exported = yield* test.pipe("cache", "export", "answers.jsonl")
      assert.include(exported.stdout, "30 answers are in answers.jsonl")
      const stats = JSON.parse((yield* test.pipe("cache", "stats", "--json")).stdout)
      assert.deepInclude(stats, { entries: 30, results: 30, models: [{ model: "gpt-4o-mini", entries: 30 }] })
      assert.strictEqual((yield* test.pipe("cache", "clear")).code, 2)
      assert.include((yield* test.pipe("cache", "clear", "--yes")).stdout, "30 answers and 30 results were deleted")
      assert.include((yield* test.pipe("cache", "import", "answers.jsonl")).stdout, "30 answers were imported")
      assert.include((yield* test.pipe("cache", "import", "answers.jsonl")).stdout, "30 existed already")
      yield* test.pipe("run", "flow.ts")
      assert.strictEqual(test.simulator.requests(), 30)
      assert.include((yield* test.pipe("cache", "prune", "--older-than", "0s")).stdout, "30 answers")
      writeFileSync(join(test.cwd, "broken.jsonl"), '{"key": 1}\n')
      const broken = yield* test.pipe("cache", "import", "broken.jsonl")
      assert.strictEqual(broken.code, 2)
      assert.include(broken.stderr, "broken.jsonl:1: is not an exported answer")
    })
  )

  it.live("makes a page that needs no network and takes no markup from rows", () =>
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
    })
  )

  it.live("never holds a key, nor does anything that is made of it", () =>
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
    })
  )

  it.live(
    "says in one line that it is newer, damaged or cannot be written, and the run continues or stops with nothing lost",
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
        assert.match(damaged.stderr, /is damaged .*: it was moved to .*damaged-\d+, and a new one is created/)
        assert.isTrue(readdirSync(join(test.cwd, ".pipe")).some((name) => name.includes("damaged-")))
      })
  )

  it.live("in a folder that cannot be written leaves the run its work in memory, and says so", () =>
    Effect.gen(function* () {
      const test = yield* setUp({ "flow.ts": flow({ output: `Sink.jsonl("-", { row: rows, answer })` }) })
      mkdirSync(join(test.cwd, "closed"))
      writeFileSync(join(test.cwd, "closed/file"), "")
      chmodSync(join(test.cwd, "closed"), 0o500)
      const run = yield* test.pipe("run", "flow.ts", "--store", "closed/file/pipe.db")
      assert.strictEqual(run.code, 0, run.stderr)
      assert.match(run.stderr, /warning: .*closed\/file cannot be made.*in memory only/)
      assert.strictEqual(lines(run.stdout).length, 3)
    })
  )
})

describe("pipe doctor", { concurrent: false }, () => {
  it.live("checks keys, endpoint, store and disk, and shows no key", () =>
    Effect.gen(function* () {
      const test = yield* setUp({ "flow.ts": flow() })
      const fine = yield* test.pipe("doctor", "--offline")
      assert.strictEqual(fine.code, 0, fine.stdout)
      assert.match(fine.stdout, /✓ store .*does not exist yet/)
      // Its package exports no package.json.
      assert.match(fine.stdout, /✓ packages +openai \d+\.\d+\.\d+\n/)
      yield* test.pipe("run", "flow.ts", "--quiet")
      const later = yield* test.pipe("doctor", "--json")
      assert.isTrue(
        lines(later.stdout)
          .map((line) => JSON.parse(line))
          .some((check) => check.name === "store" && /1 run, 2 answers, 2 results/.test(check.message))
      )
      assert.notInclude(later.stdout, KEY)
      const nobody = yield* Effect.promise(() =>
        pipe(["doctor"], { cwd: test.cwd, env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: "http://127.0.0.1:1/v1" } })
      )
      assert.strictEqual(nobody.code, 1)
      assert.match(nobody.stdout, /✗ OpenAI .*does not answer/)
    })
  )
})
