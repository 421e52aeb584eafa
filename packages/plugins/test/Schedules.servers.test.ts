/**
 * Runs with workers whose processes are killed with -9 at random: the simulator's own bill and its count of requests say
 * whether the budget, the rate limit and the ledger held.
 */
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@pipe/plugins"
import { Effect, type Scope } from "effect"
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import * as Servers from "../../../test/Servers.ts"
import * as Soak from "../../../test/Soak.ts"
import type { ProcessOptions } from "./Schedules.program.ts"

const PROGRAM = fileURLToPath(new URL("Schedules.program.ts", import.meta.url))

const CONCURRENCY = 8

/** The most that a call can cost: 60 tokens out, and at most 40 bytes in (gpt-4o-mini, picodollars). */
const MOST = 60n * 600_000n + 40n * 150_000n

interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<unknown>
  /** The name of its run, the rows it has written, and how it failed. */
  readonly said: { run?: string; written?: number; failure?: string }
}

const start = (given: ProcessOptions): Started => {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(given)], { stdio: ["ignore", "pipe", "ignore"] })
  const said: Started["said"] = {}
  child.stdout!.on("data", (chunk) => {
    for (const line of String(chunk).split("\n")) if (line.startsWith("{")) Object.assign(said, JSON.parse(line))
  })
  return { child, ended: once(child, "close"), said }
}

/** Numbers from 0 to 1, the same for a seed (mulberry32, Tommy Ettinger, public domain). */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

/** A store, a provider, and workers that are started again when they end. */
const team = (count: number, rate?: number) =>
  Effect.gen(function* () {
    const store = yield* Servers.postgres
    const seen: Array<{ readonly prompt: string; readonly at: number }> = []
    const simulator = yield* Simulator.start({
      latency: "15 millis",
      answer: ({ prompt }) => {
        seen.push({ prompt, at: Date.now() })
        return undefined
      }
    })
    const common = { store, baseUrl: simulator.openAiUrl, ...(rate === undefined ? undefined : { rate }) }
    const workers: Array<Started> = []
    let isOver = false
    const join = (place: number): void => {
      const worker = (workers[place] = start({ ...common, role: "worker" }))
      void worker.ended.then(() => (isOver ? undefined : join(place)))
    }
    for (let place = 0; place < count; place++) join(place)
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        isOver = true
        for (const { child } of workers) child.kill("SIGKILL")
        await Promise.all(workers.map(({ ended }) => ended))
      })
    )
    /** Ends a process at once. Its lease lapses now instead of ten seconds later, so that a schedule takes seconds. */
    const kill = ({ child, ended }: Started) =>
      Effect.gen(function* () {
        child.kill("SIGKILL")
        yield* Effect.promise(() => ended)
        yield* Servers.sql(store, `UPDATE leases SET expires_at = 0 WHERE pid = ${child.pid}`)
      })
    const billed = (): bigint =>
      simulator
        .bill()
        .reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)
    return { store, seen, simulator, common, workers, kill, billed }
  })

type Team = Effect.Success<ReturnType<typeof team>>

interface Schedule {
  readonly tag: string
  readonly rows: number
  /** Picodollars. */
  readonly cap: bigint
  readonly kills: number
}

/** Runs a schedule to its end. Returns how many processes were killed. */
const perform = (
  team: Team,
  schedule: Schedule,
  next: () => number
): Effect.Effect<Started["said"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const { common, kill, simulator, workers } = team
    const given: ProcessOptions = {
      ...common,
      role: "run",
      tag: schedule.tag,
      rows: schedule.rows,
      usd: `0.${String(schedule.cap).padStart(12, "0")}`
    }
    let run = start(given)
    yield* Effect.addFinalizer(() => Effect.sync(() => run.child.kill("SIGKILL")))
    const before = simulator.requests()
    for (let kills = 0; kills < schedule.kills; kills++) {
      const at = before + Math.floor(next() * schedule.rows)
      const isOver = () => run.child.exitCode !== null
      const deadline = Date.now() + 3_000
      yield* Effect.repeat(Effect.sleep(5), {
        until: () => simulator.requests() >= at || isOver() || Date.now() > deadline
      })
      if (isOver()) break
      if (next() < 0.7) {
        yield* kill(workers[Math.floor(next() * workers.length)]!)
        continue
      }
      const { run: name } = run.said
      if (name === undefined) continue
      yield* kill(run)
      run = start({ ...given, resume: name })
    }
    yield* Effect.promise(() => run.ended)
    return run.said
  })

describe.skipIf(!Servers.hasPostgres || !Soak.isSoak)("processes that are killed at random", () => {
  it.live(
    "never spend more than the budget, pay for each prompt once, and leave nothing open",
    () =>
      Effect.gen(function* () {
        const schedules = Number(process.env["PIPE_SCHEDULES"] ?? 1_000)
        const all = yield* team(4)
        const { billed, seen, simulator, store } = all
        const ends = { done: 0, budget: 0, kills: 0, again: 0 }
        for (let n = 0; n < schedules; n++) {
          const next = random(n)
          const rows = 30 + Math.floor(next() * 120)
          const schedule: Schedule = {
            tag: `schedule-${n}`,
            rows,
            // A prompt costs about 15 millionths of a dollar; two of three rows have one of their own.
            cap: BigInt(Math.floor(rows * (2 / 3) * 15_000_000 * (0.3 + next() * 2))),
            kills: Math.floor(next() * 4)
          }
          const [before, requests] = [billed(), simulator.requests()]
          seen.length = 0
          const said = yield* Effect.scoped(perform(all, schedule, next))
          // Calls of killed processes end at the provider.
          yield* Effect.sleep(50)
          const bill = billed() - before
          const what = JSON.stringify({ ...schedule, cap: String(schedule.cap), bill: String(bill), ...said })
          assert.isTrue(bill <= schedule.cap, what)
          const isDone = said.failure === undefined
          ends[isDone ? "done" : "budget"]++
          ends.kills += schedule.kills
          if (isDone) assert.strictEqual(said.written, rows, what)
          else assert.match(said.failure!, /budget/, what)
          const prompts = new Set(seen.map(({ prompt }) => prompt)).size
          const again = simulator.requests() - requests - prompts
          ends.again += again
          // A process that was killed had at most this many calls in flight.
          assert.isAtMost(again, schedule.kills * CONCURRENCY, what)
          if (isDone) assert.strictEqual(prompts, rows - Math.floor(rows / 3), what)
          const costs = yield* Servers.sql(
            store,
            `SELECT coalesce(sum(cost), 0) AS cost, coalesce(sum(CASE WHEN estimated = 1 THEN cost ELSE 0 END), 0) AS estimated
            FROM attempts WHERE run = (SELECT max(id) FROM runs)`
          )
          const [cost, estimated] = costs.trim().split("|").map(BigInt) as [bigint, bigint]
          assert.isTrue(cost >= bill, `${what} ${cost} ${estimated}`)
          assert.isTrue(cost - estimated <= bill, `${what} ${cost} ${estimated}`)
          assert.isTrue(cost <= schedule.cap, `${what} ${cost}`)
          const left = yield* Servers.sql(
            store,
            "SELECT (SELECT count(*) FROM chunks) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM replies) + (SELECT count(*) FROM calls) AS n"
          )
          assert.strictEqual(left.trim(), "0", what)
          // What is left is less than two calls can cost.
          if (!isDone && schedule.kills === 0) assert.isTrue(schedule.cap - bill < 2n * MOST, what)
          if (n % 20 === 19) console.log(`${n + 1} schedules: ${JSON.stringify(ends)}`)
        }
      }).pipe(Effect.scoped),
    Soak.timeout(60_000)
  )

  it.live(
    "stay within the rate limit in any minute, and use 95 % of it",
    () =>
      Effect.gen(function* () {
        const limit = 500
        const all = yield* team(4, limit)
        const given: ProcessOptions = { ...all.common, role: "run", tag: "limit", rows: 1_650 }
        const run = start(given)
        yield* Effect.addFinalizer(() => Effect.sync(() => run.child.kill("SIGKILL")))
        yield* Effect.repeat(Effect.sleep(50), { until: () => all.seen.length > 300 })
        yield* all.kill(all.workers[0]!)
        yield* Effect.promise(() => run.ended)
        assert.strictEqual(run.said.written, 1_650)
        const at = all.seen.map(({ at }) => at)
        const most = Math.max(
          ...at.map((start) => at.filter((other) => other >= start && other < start + 60_000).length)
        )
        assert.isAtMost(most, limit)
        const minutes = (at.at(-1)! - at[0]!) / 60_000
        const used = at.length / minutes / limit
        console.log(`${most} requests in the fullest minute, ${(used * 100).toFixed(1)} % of the limit used`)
        assert.isAtLeast(used, 0.95)
      }).pipe(Effect.scoped),
    Soak.timeout(60_000)
  )
})
