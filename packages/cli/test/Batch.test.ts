/** `--batch` at the terminal: left, killed at every stage, picked up, cancelled, given up. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as View from "../src/view/View.ts"
import { folder, pipe } from "./Pipe.ts"

const ROWS = 300

type Wire = "openai" | "anthropic"

/** Batch prices in picodollars a token (platform.openai.com/docs/pricing and docs.anthropic.com pricing, 2026-11-25). */
const rates = { openai: [75_000n, 300_000n], anthropic: [500_000n, 2_500_000n] } as const

const flowOf = (wire: Wire) => `
import { Cache, Flow, Ledger, Parameter, RateLimit, Retry, Sink, Source, Stack } from "@pipe/core"
import { ${wire === "openai" ? "OpenAi" : "Anthropic"} as Provider } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const input = Parameter.make("input", Schema.String, { default: "rows.jsonl" })
const rows = Source.jsonl("rows", { path: input, schema: Schema.Struct({ id: Schema.Int, word: Schema.String }) })
const answer = Flow.step("answer", { row: rows }, ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row.word }), (r) => r.text))

export default Flow.make("words", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer })],
  parameters: [input],
  stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), RateLimit.layer({ requestsPerMinute: 6000 }),
    Provider.layer({ model: "${wire === "openai" ? "gpt-4o-mini" : "claude-haiku-4-5"}" }))
})
`

const lines = (n: number) =>
  Array.from({ length: n }, (_, id) => `${JSON.stringify({ id, word: `word ${id}` })}\n`).join("")

const files = (wire: Wire, n = ROWS) => ({ "flow.ts": flowOf(wire), "rows.jsonl": lines(n) })

const envOf = (simulator: Simulator.Simulator) => ({
  OPENAI_API_KEY: "sk-test-0123456789abcdef",
  OPENAI_BASE_URL: simulator.openAiUrl,
  ANTHROPIC_API_KEY: "sk-ant-test-0123456789abcdef",
  ANTHROPIC_BASE_URL: simulator.anthropicUrl
})

const bill = (wire: Wire, simulator: Simulator.Simulator): bigint =>
  simulator
    .bill()
    .reduce(
      (sum, one) =>
        sum
        + (BigInt(one.input) * rates[wire][0] + BigInt(one.output) * rates[wire][1])
          * (one.serviceTier === "batch" ? 1n : 2n),
      0n
    )

/** What a store has booked. */
const booked = (cwd: string): { readonly attempts: number; readonly cost: bigint } => {
  const db = new DatabaseSync(join(cwd, ".pipe/pipe.db"))
  try {
    const row = db
      .prepare("SELECT count(*) AS n, CAST(coalesce(sum(cost), 0) AS TEXT) AS cost FROM attempts WHERE error IS NULL")
      .get() as { readonly n: number; readonly cost: string }
    return { attempts: Number(row.n), cost: BigInt(row.cost) }
  } finally {
    db.close()
  }
}

/** Single calls that a kill has cut, as they are booked: whether each had reached the provider, nobody knows. */
const cut = (cwd: string): ReadonlyArray<bigint> => {
  const db = new DatabaseSync(join(cwd, ".pipe/pipe.db"))
  try {
    return db
      .prepare("SELECT CAST(cost AS TEXT) AS cost FROM attempts WHERE estimated = 1")
      .all()
      .map((row) => BigInt(String(row["cost"])))
  } finally {
    db.close()
  }
}

/** The sums of all that can be chosen of some amounts. */
const sums = (amounts: ReadonlyArray<bigint>): ReadonlyArray<bigint> =>
  amounts.reduce<ReadonlyArray<bigint>>((found, amount) => [...found, ...found.map((sum) => sum + amount)], [0n])

const run = (args: ReadonlyArray<string>, options: Parameters<typeof pipe>[1]) =>
  Effect.promise(() => pipe(args, options))

const output = (cwd: string) => readFileSync(join(cwd, "out.jsonl"), "utf8")

describe("kill -9 of a run in batches", () => {
  const stages: { readonly [W in Wire]: ReadonlyArray<Simulator.BatchStage> } = {
    openai: ["uploading", "uploaded", "creating", "created", "polled", "downloading", "downloaded"],
    anthropic: ["creating", "created", "polled", "downloading", "downloaded"]
  }
  for (const wire of ["openai", "anthropic"] as const) {
    it.live(
      `at each stage (${stages[wire].join(", ")}): no batch is created twice, no row is lost, the bill is right (${wire})`,
      () =>
        Effect.gen(function* () {
          const calm = yield* Simulator.start()
          const expected = folder(files(wire))
          assert.strictEqual((yield* run(["run", "flow.ts", "--quiet"], { cwd: expected, env: envOf(calm) })).code, 0)
          for (const stage of stages[wire]) {
            let child: ChildProcess | undefined
            let armed = true
            const simulator = yield* Simulator.start({
              batches: {
                latency: "300 millis",
                onStage: (at) => {
                  if (!armed || at !== stage) return
                  armed = false
                  child?.kill("SIGKILL")
                }
              }
            })
            const cwd = folder(files(wire))
            const options = { cwd, env: envOf(simulator), onStart: (started: ChildProcess) => void (child = started) }
            const killed = yield* run(["run", "flow.ts", "--batch", "--quiet"], options)
            assert.isFalse(armed, `it never came to ${stage}`)
            if (killed.code !== 0) {
              assert.isNull(killed.code, `${stage}: ${killed.stderr}`)
              const resumed = yield* run(["resume", "--quiet"], options)
              assert.strictEqual(resumed.code, 0, `${stage}: ${resumed.stderr}`)
            }
            assert.strictEqual(output(cwd), output(expected), stage)
            assert.strictEqual(
              simulator.batches().length,
              1,
              `${stage}: ${simulator.batches().length} batches were created`
            )
            assert.deepStrictEqual(booked(cwd), { attempts: ROWS, cost: bill(wire, simulator) }, stage)
          }
        }),
      240_000
    )
  }

  it.live(
    "before it was created: two other runs that ask the same find it, and one of them sends it",
    () =>
      Effect.gen(function* () {
        let child: ChildProcess | undefined
        let armed = true
        const simulator = yield* Simulator.start({
          batches: {
            latency: "300 millis",
            onStage: (stage) => {
              if (!armed || stage !== "uploaded") return
              armed = false
              child?.kill("SIGKILL")
            }
          }
        })
        const other = (name: string) =>
          flowOf("openai")
            .replace('"words"', `"${name}"`)
            .replace("out.jsonl", `${name}.jsonl`)
            .replace('Flow.step("answer"', `Flow.step("${name}"`)
        const cwd = folder({ ...files("openai", 80), "one.ts": other("one"), "two.ts": other("two") })
        const options = { cwd, env: envOf(simulator) }
        const killed = yield* run(["run", "flow.ts", "--batch", "--quiet"], {
          ...options,
          onStart: (started) => void (child = started)
        })
        assert.isNull(killed.code, killed.stderr)
        assert.strictEqual(simulator.batches().length, 0)
        const both = yield* Effect.all(
          ["one", "two"].map((name) => run(["run", `${name}.ts`, "--batch", "--quiet"], options)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          both.map(({ code }) => code),
          [0, 0],
          both.map(({ stderr }) => stderr).join("\n")
        )
        assert.deepStrictEqual(
          simulator.batches().map(({ requests }) => requests),
          [80]
        )
        assert.deepStrictEqual(booked(cwd), { attempts: 80, cost: bill("openai", simulator) })
        for (const name of ["one", "two"])
          assert.strictEqual(
            readFileSync(join(cwd, `${name}.jsonl`), "utf8")
              .trim()
              .split("\n").length,
            80
          )
      }),
    120_000
  )

  it.live(
    "at random moments, five times: the same output and the same bill",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({
          batches: { latency: "400 millis", expired: 0.2, serverErrors: 0.1, duplicates: 0.1 }
        })
        const calm = yield* Simulator.start()
        const expected = folder(files("openai"))
        yield* run(["run", "flow.ts", "--quiet"], { cwd: expected, env: envOf(calm) })
        const cwd = folder(files("openai"))
        let kills = 0
        let code: number | null = null
        for (let attempt = 0; attempt < 40 && code !== 0; attempt++) {
          const outcome = yield* run(attempt === 0 ? ["run", "flow.ts", "--batch", "--quiet"] : ["resume", "--quiet"], {
            cwd,
            env: envOf(simulator),
            onStart: (child) => {
              if (kills >= 5) return
              const timer = setTimeout(() => child.kill("SIGKILL"), 1_200 + Math.random() * 1_500)
              child.on("exit", (_, signal) => {
                clearTimeout(timer)
                if (signal === "SIGKILL") kills++
              })
            }
          })
          code = outcome.code
          // A process that was killed before it had begun a run leaves nothing to resume.
          if (code === 2 && /no run yet|no store/.test(outcome.stderr)) attempt = -1
        }
        assert.strictEqual(code, 0)
        assert.strictEqual(output(cwd), output(expected))
        // A row that has left its batch is asked at once: a kill may cut that call, which is booked beside its repetition.
        assert.include(sums(cut(cwd)), bill("openai", simulator) - booked(cwd).cost)
        assert.strictEqual(booked(cwd).attempts, ROWS)
      }),
    240_000
  )
})

describe("pipe run --batch", () => {
  it.live(
    "can be left and picked up another day; nothing that is on its way is paid again by mistake",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "12 seconds" } })
        const cwd = folder(files("openai", 40))
        const options = { cwd, env: envOf(simulator) }
        const left = yield* run(["run", "flow.ts", "--batch", "--detach"], options)
        assert.strictEqual(left.code, 0, left.stderr)
        assert.match(left.stderr, /1 batch is on the way; collect with: pipe resume \d{14}-\w{4}/)
        const listed = yield* run(["batches"], options)
        assert.match(listed.stdout, /pb-\w+-\w+ +\d{14}-\w{4} +gpt-4o-mini .*at the provider +40 +0 +0/)
        assert.match((yield* run(["runs"], options)).stdout, /waiting/)
        const [line] = (yield* run(["batches", "--json"], options)).stdout
          .trim()
          .split("\n")
          .map((text) => JSON.parse(text) as { readonly [field: string]: unknown })
        assert.deepInclude(line, { state: "sent", requests: 40, cost: "0", held: { money: "0", tokens: 0 } })
        const shown = yield* run(["batches", "show", String(line?.["name"]), "--json"], options)
        assert.deepStrictEqual(JSON.parse(shown.stdout), line)
        const online = yield* run(["run", "flow.ts"], options)
        assert.strictEqual(online.code, 2)
        assert.match(
          online.stderr,
          /40 of its requests are at the provider or answered, and would be paid twice\. Go on with it: pipe resume/
        )
        assert.strictEqual(simulator.requests(), 0)
        const early = yield* run(["batches", "collect"], options)
        assert.match(early.stdout, /of 40 answered/)
        while (simulator.batches()[0]!.status !== "completed") yield* Effect.sleep("100 millis")
        const collected = yield* run(["batches", "collect"], options)
        assert.match(collected.stdout, /40 answered, 0 failed, 0 to be asked again/)
        assert.deepStrictEqual(booked(cwd), { attempts: 40, cost: bill("openai", simulator) })
        const again = yield* run(["batches", "collect"], options)
        assert.match(again.stdout, /no batch is on its way/)
        const resumed = yield* run(["resume"], options)
        assert.strictEqual(resumed.code, 0, resumed.stderr)
        assert.match(resumed.stderr, /gpt-4o-mini \(batch\) +40 +0 +40/)
        assert.match(resumed.stderr, /batch and flex service +\S+ +50\.0 %/)
        assert.deepStrictEqual(booked(cwd), { attempts: 40, cost: bill("openai", simulator) })
        assert.strictEqual(output(cwd).trim().split("\n").length, 40)
        assert.strictEqual(simulator.batches().length, 1)
      }),
    120_000
  )

  it.live(
    "asks at once what is not back at the deadline, and says what each part cost",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "12 seconds" } })
        const cwd = folder(files("openai", 60))
        const done = yield* run(["run", "flow.ts", "--deadline", "4s"], { cwd, env: envOf(simulator) })
        assert.strictEqual(done.code, 0, done.stderr)
        assert.match(done.stderr, /the deadline has come: 1 batches? (?:is|are) cancelled/)
        assert.match(done.stderr, /answer +gpt-4o-mini \(batch\) +\d+/)
        assert.match(done.stderr, /answer +gpt-4o-mini +\d+/)
        assert.deepStrictEqual(booked(cwd), { attempts: 60, cost: bill("openai", simulator) })
        assert.strictEqual(output(cwd).trim().split("\n").length, 60)
      }),
    60_000
  )

  it.live(
    "ends in good order with Ctrl-C while batches are away, and can be cancelled and resumed",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "1 hour" } })
        const cwd = folder(files("openai", 20))
        const options = { cwd, env: envOf(simulator) }
        const stopped = yield* run(["run", "flow.ts", "--batch"], {
          ...options,
          onStart: (child) => {
            const timer = setInterval(() => {
              if (simulator.batches().length === 0) return
              clearInterval(timer)
              setTimeout(() => child.kill("SIGINT"), 300)
            }, 20)
          }
        })
        assert.strictEqual(stopped.code, 130, stopped.stderr)
        assert.match(stopped.stderr, /interrupted; a batch goes on at the provider; go on with: pipe resume/)
        const cancelled = yield* run(["batches", "cancel", "pb-"], options)
        assert.strictEqual(cancelled.code, 0, cancelled.stderr)
        const collected = yield* run(["batches", "collect"], options)
        assert.match(collected.stdout, /0 answered, 0 failed, 20 to be asked again/)
        const online = yield* run(["resume", "--online"], options)
        assert.strictEqual(online.code, 0, online.stderr)
        assert.strictEqual(simulator.requests(), 20)
      }),
    60_000
  )

  it.live(
    "is planned at its price, and a sample is asked at once",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start()
        const cwd = folder(files("openai", 100))
        const options = { cwd, env: envOf(simulator) }
        const sampled = yield* run(["plan", "flow.ts", "--batch", "--sample", "10"], options)
        assert.strictEqual(simulator.requests(), 10)
        assert.match(sampled.stdout, /answer +gpt-4o-mini \(batch\) +10 +0 +90/)
        assert.match(sampled.stdout, /all at once +\$\S+ +--online/)
        const cost = (text: string) => Number(/as it stands +\$(\S+)/.exec(text)?.[1])
        const online = yield* run(["plan", "flow.ts"], options)
        assert.closeTo(cost(sampled.stdout) / cost(online.stdout), 0.5, 0.01)
      }),
    60_000
  )

  it.live(
    "reads standard input once and uses it twice",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "100 millis" } })
        const cwd = folder(files("openai", 1))
        const done = yield* run(["run", "flow.ts", "--batch", "--quiet", "--input", "-"], {
          cwd,
          env: envOf(simulator),
          stdin: lines(30)
        })
        assert.strictEqual(done.code, 0, done.stderr)
        assert.strictEqual(output(cwd).trim().split("\n").length, 30)
      }),
    60_000
  )

  it.live(
    "says what is wrong in one line",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { errors: 1, latency: "50 millis" } })
        const cwd = folder(files("openai", 5))
        const options = { cwd, env: envOf(simulator) }
        const contrary = yield* run(["run", "flow.ts", "--batch", "--online"], options)
        assert.deepStrictEqual([contrary.code, contrary.stderr.trim().split("\n").length], [2, 1])
        const time = yield* run(["run", "flow.ts", "--deadline", "soon"], options)
        assert.match(time.stderr, /--deadline: soon is not a time/)
        const unknown = yield* run(["batches", "show", "nope"], options)
        assert.strictEqual(unknown.code, 2)
        // Every request failed: the API answers that with an error file alone (bapi-01).
        const failed = yield* run(["run", "flow.ts", "--batch"], options)
        assert.strictEqual(failed.code, 1)
        assert.match(failed.stderr, /400 the simulator refused this request/)
      }),
    60_000
  )

  it("has a line of the live display for batches", () => {
    const progress = {
      _tag: "Progress" as const,
      run: "r",
      milliseconds: 60_000,
      nodes: [{ name: "answer", kind: "Step", running: 0, done: 0, reused: 0, failed: 0, skipped: 0, total: 100 }],
      spent: 0n,
      saved: 0n,
      answers: { provider: 0, cache: 0, shared: 0, semantic: 0 },
      waiting: 0,
      waited: 0,
      batches: {
        open: 2,
        queued: 10,
        running: 60,
        back: 28,
        failed: 2,
        sentAt: Date.now() - 125_000,
        expected: 1_500_000_000_000n
      }
    }
    assert.match(
      View.render(progress, 200)[1] ?? "",
      /2 batches · 10 queued · 60 running · 28 back · 2 failed · for 2 min 5 s · \$1\.50 expected/
    )
    const { batches: _, ...without } = progress
    assert.strictEqual(View.render(without, 200).length, 2)
  })

  it.live(
    "shows how batches stand, as lines and as data",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "2 seconds" } })
        const cwd = folder(files("openai", 50))
        const json = yield* run(["run", "flow.ts", "--batch", "--json"], { cwd, env: envOf(simulator) })
        const standings = json.stdout
          .trim()
          .split("\n")
          .map(
            (line) =>
              JSON.parse(line) as {
                readonly batches?: {
                  readonly open: number
                  readonly running: number
                  readonly back: number
                  readonly sentAt?: number
                }
              }
          )
          .flatMap(({ batches }) => (batches === undefined ? [] : [batches]))
        assert.isTrue(
          standings.some(({ open, running, sentAt }) => open === 1 && running > 0 && sentAt !== undefined),
          json.stdout.slice(0, 2_000)
        )
        assert.strictEqual(standings.at(-1)?.back, 50)
      }),
    60_000
  )
})
