/** `--batch` as a process: killed at every stage, and interrupted. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Soak from "../../../test/Soak.ts"
import { bill, booked, envOf, files, flowOf, output, ROWS, type Wire } from "./BatchFlows.ts"
import { folder, pipe } from "./Process.ts"

/** Single calls that a kill has cut, as they are recorded: whether each had reached the provider, nobody knows. */
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

const KILLS = 40

describe("kill -9 of a run in batches", () => {
  const stages: { readonly [W in Wire]: ReadonlyArray<Simulator.BatchStage> } = {
    openai: ["uploading", "uploaded", "creating", "created", "polled", "downloading", "downloaded"],
    anthropic: ["creating", "created", "polled", "downloading", "downloaded"]
  }
  // One of one side where time is short.
  const tried = (wire: Wire) => (Soak.isSoak ? stages[wire] : (["creating"] as const))
  for (const wire of ["openai", "anthropic"] as const) {
    it.live.skipIf(!Soak.isSoak && wire !== "openai")(
      `at each stage (${tried(wire).join(", ")}): no batch is created twice, no row is lost, the bill is right (${wire})`,
      () =>
        Effect.gen(function* () {
          const calm = yield* Simulator.start()
          const expected = folder(files(wire))
          assert.strictEqual((yield* run(["run", "flow.ts", "--quiet"], { cwd: expected, env: envOf(calm) })).code, 0)
          const killedAt = (stage: Simulator.BatchStage) =>
            Effect.gen(function* () {
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
            })
          // Most of the time of a run goes by in waiting for its batch.
          yield* Effect.forEach(tried(wire), killedAt, { concurrency: 3 })
        }),
      240_000
    )
  }

  it.live.skipIf(!Soak.isSoak)(
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

  it.live.skipIf(!Soak.isSoak)(
    `at ${KILLS} random moments: the same output and the same bill`,
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
        for (let attempt = 0; attempt < KILLS + 35 && code !== 0; attempt++) {
          const outcome = yield* run(attempt === 0 ? ["run", "flow.ts", "--batch", "--quiet"] : ["resume", "--quiet"], {
            cwd,
            env: envOf(simulator),
            onStart: (child) => {
              if (kills >= KILLS) return
              const timer = setTimeout(() => child.kill("SIGKILL"), 1_200 + Math.random() * 1_500)
              child.on("exit", (_, signal) => {
                clearTimeout(timer)
                if (signal === "SIGKILL") kills++
              })
            }
          })
          code = outcome.code
          // A process that was killed before it had started a run leaves nothing to resume.
          if (code === 2 && /no run yet|no store/.test(outcome.stderr)) attempt = -1
        }
        assert.strictEqual(code, 0)
        assert.strictEqual(output(cwd), output(expected))
        // A row that has left its batch is called at once: a kill may cut that call, which is recorded beside its repetition.
        assert.include(sums(cut(cwd)), bill("openai", simulator) - booked(cwd).cost)
        assert.strictEqual(booked(cwd).attempts, ROWS)
      }),
    240_000
  )
})

describe("pipe run --batch", () => {
  it.live.skipIf(!Soak.isSoak)(
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
        assert.match(stopped.stderr, /interrupted; a batch continues at the provider; resume with: pipe resume/)
        const cancelled = yield* run(["batches", "cancel", "pb-"], options)
        assert.strictEqual(cancelled.code, 0, cancelled.stderr)
        const collected = yield* run(["batches", "collect"], options)
        assert.match(collected.stdout, /0 answered, 0 failed, 20 to be sent again/)
        const online = yield* run(["resume", "--online"], options)
        assert.strictEqual(online.code, 0, online.stderr)
        assert.strictEqual(simulator.requests(), 20)
      }),
    60_000
  )
})
