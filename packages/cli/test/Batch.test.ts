/** `--batch` at the terminal: left, picked up, collected, cancelled. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as View from "../src/view/View.ts"
import { bill, booked, envOf, files, lines, output } from "./BatchFlows.ts"
import { folder, pipe } from "./Pipe.ts"

const run = (args: ReadonlyArray<string>, options: Parameters<typeof pipe>[1]) =>
  Effect.promise(() => pipe(args, options))

describe("pipe run --batch", { concurrent: false }, () => {
  it.live("can be left and picked up another day; nothing that is in progress is paid again by mistake", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "1 hour" } })
      const cwd = folder(files("openai", 40))
      const options = { cwd, env: envOf(simulator) }
      const left = yield* run(["run", "flow.ts", "--batch", "--detach"], options)
      assert.strictEqual(left.code, 0, left.stderr)
      assert.match(left.stderr, /1 batch is at the provider; collect with: pipe resume \d{14}-\w{4}/)
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
        /40 of its requests are at the provider or answered, and would be paid for twice\. Resume it: pipe resume/
      )
      assert.strictEqual(simulator.requests(), 0)
      const early = yield* run(["batches", "collect"], options)
      assert.match(early.stdout, /of 40 answered/)
      simulator.endBatches()
      const collected = yield* run(["batches", "collect"], options)
      assert.match(collected.stdout, /40 answered, 0 failed, 0 to be sent again/)
      assert.deepStrictEqual(booked(cwd), { attempts: 40, cost: bill("openai", simulator) })
      const again = yield* run(["batches", "collect"], options)
      assert.match(again.stdout, /no batch is in progress/)
      const resumed = yield* run(["resume"], options)
      assert.strictEqual(resumed.code, 0, resumed.stderr)
      assert.match(resumed.stderr, /gpt-4o-mini \(batch\) +40 +0 +40/)
      assert.match(resumed.stderr, /batch, flex, decisions +\S+ +50\.0 %/)
      assert.deepStrictEqual(booked(cwd), { attempts: 40, cost: bill("openai", simulator) })
      assert.strictEqual(output(cwd).trim().split("\n").length, 40)
      assert.strictEqual(simulator.batches().length, 1)
    })
  )

  it.live("asks at once what is not back at the deadline, and says what each part cost", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "6 seconds" } })
      const cwd = folder(files("openai", 60))
      const done = yield* run(["run", "flow.ts", "--deadline", "2s"], { cwd, env: envOf(simulator) })
      assert.strictEqual(done.code, 0, done.stderr)
      assert.match(
        done.stderr,
        /the deadline is reached: 1 batch is cancelled, and unanswered requests are sent as single calls/
      )
      assert.match(done.stderr, /answer +gpt-4o-mini \(batch\) +\d+/)
      assert.match(done.stderr, /answer +gpt-4o-mini +\d+/)
      assert.deepStrictEqual(booked(cwd), { attempts: 60, cost: bill("openai", simulator) })
      assert.strictEqual(output(cwd).trim().split("\n").length, 60)
    })
  )

  it.live("is planned at its price, and a sample is called at once", () =>
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
    })
  )

  it.live("reads standard input once and uses it twice", () =>
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
    })
  )

  it.live("says what is wrong in one line", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { errors: 1, latency: "50 millis" } })
      const cwd = folder(files("openai", 5))
      const options = { cwd, env: envOf(simulator) }
      const contrary = yield* run(["run", "flow.ts", "--batch", "--online"], options)
      assert.deepStrictEqual([contrary.code, contrary.stderr.trim().split("\n").length], [2, 1])
      const time = yield* run(["run", "flow.ts", "--deadline", "soon"], options)
      assert.match(time.stderr, /--deadline: soon is not a duration/)
      const unknown = yield* run(["batches", "show", "nope"], options)
      assert.strictEqual(unknown.code, 2)
      // Every request failed: the API answers that with an error file alone (bapi-01).
      const failed = yield* run(["run", "flow.ts", "--batch"], options)
      assert.strictEqual(failed.code, 1)
      assert.match(failed.stderr, /400 the simulator refused this request/)
    })
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

  it.live("shows how batches stand, as lines and as data", () =>
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
    })
  )
})
