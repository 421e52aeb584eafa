/** Nothing is paid twice, and nothing is lost, when a process is killed at any moment. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Soak from "../../../test/Soak.ts"
import { flow, folder, pipe } from "./Process.ts"

const KILLS = Soak.times(5, 200)
const ROWS = Soak.times(600, 14_000)
const CONCURRENCY = 16

// gpt-4o-mini: 0.15 and 0.60 USD per million tokens (platform.openai.com/docs/pricing, 2026-11-25), in picodollars a token.
const INPUT = 150_000n
const OUTPUT = 600_000n

/** Rows whose call was noted as on its way in a store that a killed process left. */
const noted = (file: string): ReadonlyArray<number> => {
  if (!existsSync(file)) return []
  const db = new DatabaseSync(file)
  try {
    return (
      db.prepare("SELECT row_index FROM calls").all() as unknown as ReadonlyArray<{ readonly row_index: number }>
    ).map((call) => call.row_index)
  } catch {
    // It was killed before it had made its tables.
    return []
  } finally {
    db.close()
  }
}

const files = {
  "flow.ts": flow({
    source: `Source.fromIterable("rows", Array.from({ length: ${ROWS} }, (_, i) => "word " + i))`,
    options: `concurrency: ${CONCURRENCY},`
  })
}

describe("kill -9", () => {
  it.live(
    `at ${KILLS} random moments: each answered call once, the same output, the same bill`,
    () =>
      Effect.gen(function* () {
        const answered = new Map<string, number>()
        const underWay = new Map<number, number>()
        const simulator = yield* Simulator.start({
          latency: "5 millis",
          answer: ({ prompt }) => {
            answered.set(prompt, (answered.get(prompt) ?? 0) + 1)
            return undefined
          }
        })
        const env = { OPENAI_API_KEY: "sk-test-0123456789abcdef", OPENAI_BASE_URL: simulator.openAiUrl }
        const cwd = folder(files)
        let kills = 0
        let outcome = { code: null as number | null, stdout: "", stderr: "" }
        for (let attempt = 0; attempt < KILLS + 50; attempt++) {
          const before = simulator.requests()
          outcome = yield* Effect.promise(() =>
            pipe(attempt === 0 ? ["run", "flow.ts", "--quiet"] : ["resume", "--quiet"], {
              cwd,
              env,
              onStart: (child) => {
                if (kills >= KILLS) return
                // So many calls into this try, and some moment of that turn.
                const after = Math.floor(Math.random() * 110)
                const timer = setInterval(() => {
                  if (simulator.requests() - before < after) return
                  clearInterval(timer)
                  setTimeout(() => child.kill("SIGKILL"), Math.random() * 8)
                }, 1)
                child.on("exit", (_, signal) => {
                  clearInterval(timer)
                  if (signal === "SIGKILL") kills++
                })
              }
            })
          )
          if (outcome.code === 0) break
          assert.isNull(outcome.code, outcome.stderr)
          for (const row of noted(join(cwd, ".pipe/pipe.db"))) underWay.set(row, (underWay.get(row) ?? 0) + 1)
          // Answers to the dead process go nowhere; they are on the bill.
          yield* Effect.sleep(30)
        }
        assert.strictEqual(outcome.code, 0, outcome.stderr)
        assert.isAtLeast(kills, 0.8 * KILLS, "the run was over before it could be killed so often")

        // Each call was answered, and again only if it was under way at a kill.
        assert.strictEqual(answered.size, ROWS)
        let repeated = 0
        let unexplained = 0
        for (const [prompt, times] of answered) {
          repeated += times - 1
          // Calls that an earlier try left noted are still noted when the next is killed: a row counts at each.
          unexplained += Math.max(0, times - 1 - (underWay.get(Number(/\d+/.exec(prompt)![0])) ?? 0))
        }
        assert.isAtMost(repeated, kills * CONCURRENCY)
        // A call whose end is on disk a moment before its answer is: one in a thousand, if at all.
        assert.isAtMost(unexplained, Math.ceil(KILLS / 10))

        const seen = new Map(answered)
        const billed = simulator
          .bill()
          .reduce((sum, { input, output }) => sum + INPUT * BigInt(input) + OUTPUT * BigInt(output), 0n)

        // The output is that of a run that nobody disturbs.
        const calm = folder(files)
        const undisturbed = yield* Effect.promise(() => pipe(["run", "flow.ts", "--quiet"], { cwd: calm, env }))
        assert.strictEqual(undisturbed.code, 0, undisturbed.stderr)
        assert.strictEqual(readFileSync(join(cwd, "out.jsonl"), "utf8"), readFileSync(join(calm, "out.jsonl"), "utf8"))

        // The books have every call that the provider bills: to the picodollar what was answered, and at the most that it can
        // have cost what was under way at a kill.
        const db = new DatabaseSync(join(cwd, ".pipe/pipe.db"), { readOnly: true })
        const entries = db.prepare("SELECT row_index, cost, estimated FROM attempts").all() as Array<{
          row_index: number
          cost: number
          estimated: number
        }>
        assert.strictEqual(db.prepare("SELECT count(*) AS n FROM calls").get()!["n"], 0)
        db.close()
        const byRow = Map.groupBy(entries, (entry) => entry.row_index)
        let neverSent = 0
        for (let row = 0; row < ROWS; row++) {
          const own = byRow.get(row) ?? []
          const times = seen.get(`Say something of "word ${row}"`)!
          assert.isAtLeast(own.length, times, `row ${row} was billed ${times} times`)
          assert.isAtMost(own.length - times, own.filter((entry) => entry.estimated === 1).length)
          neverSent += own.length - times
        }
        const booked = (some: typeof entries) => some.reduce((sum, { cost }) => sum + BigInt(cost), 0n)
        assert.isTrue(booked(entries) >= billed, `${booked(entries)} of ${billed}`)
        assert.isTrue(booked(entries.filter(({ estimated }) => estimated === 0)) <= billed)
        assert.isAtMost(neverSent, kills * CONCURRENCY)
        console.log(
          `${kills} kills, ${repeated} of ${ROWS} calls repeated, ${neverSent} noted and never sent, ${unexplained} unexplained`
        )
      }),
    Soak.timeout(120_000)
  )
})
