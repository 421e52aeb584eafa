/** Nothing is paid twice, and nothing is lost, when a process is killed at any moment. */
import { Store } from "@pipe/core"
import { NodeHost, Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Servers from "../../../test/Servers.ts"
import * as Soak from "../../../test/Soak.ts"
import { environment, type Outcome } from "./Flows.ts"
import { bin, flow, folder, pipe } from "./Process.ts"
import * as TunedFlow from "./TunedFlow.ts"

const KILLS = Soak.times(1, 200)
const ROWS = Soak.times(300, 14_000)
const CONCURRENCY = 16

/** The most calls that a kill can lose: answers are written in groups of 10 ms, and each takes 5 ms here. */
const LOST = 4 * CONCURRENCY

// gpt-4o-mini: 0.15 and 0.60 USD per million tokens (platform.openai.com/docs/pricing, 2026-11-25), in picodollars a token.
const INPUT = 150_000n
const OUTPUT = 600_000n

/** Rows whose call a killed process has noted without recording its attempt: it was in flight, or its end was not written yet. */
const noted = (file: string): ReadonlyArray<number> => {
  if (!existsSync(file)) return []
  const notes = readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${basename(file)}-calls-`))
    .flatMap((name) =>
      readFileSync(join(dirname(file), name), "utf8")
        .split("\n")
        .slice(1, -1)
    )
    .map((line) => JSON.parse(line) as ReadonlyArray<number>)
  const db = new DatabaseSync(file)
  try {
    const recorded = db.prepare("SELECT call FROM attempts").all() as unknown as ReadonlyArray<{
      readonly call: number
    }>
    const ended = new Set(recorded.map(({ call }) => call))
    const left = db.prepare("SELECT id, row_index FROM calls").all() as unknown as ReadonlyArray<{
      readonly id: number
      readonly row_index: number
    }>
    return [
      ...left.map((call) => call.row_index),
      ...notes.filter((note) => note.length > 2 && !ended.has(note[1]!)).map((note) => note[3]!)
    ]
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

/** Runs a command, and kills it this many calls into it, at some moment of that turn; `undefined`: it ends by itself. */
const killed = (
  simulator: Simulator.Simulator,
  args: ReadonlyArray<string>,
  options: {
    readonly cwd: string
    readonly env: { readonly [name: string]: string }
    readonly within: number | undefined
  }
) =>
  Effect.promise(() => {
    const { within, ...rest } = options
    const before = simulator.requests()
    return pipe(args, {
      ...rest,
      onStart: (child) => {
        if (within === undefined) return
        // From the first call on: before it there may be no store, and nothing to resume.
        const after = 1 + Math.floor(Math.random() * within)
        const timer = setInterval(() => {
          if (simulator.requests() - before < after) return
          clearInterval(timer)
          setTimeout(() => child.kill("SIGKILL"), Math.random() * 8)
        }, 1)
        child.on("exit", () => clearInterval(timer))
      }
    })
  })

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
          outcome = yield* killed(simulator, attempt === 0 ? ["run", "flow.ts", "--quiet"] : ["resume", "--quiet"], {
            cwd,
            env,
            within: kills < KILLS ? 110 : undefined
          })
          if (outcome.code === null) kills++
          if (outcome.code === 0) break
          assert.isNull(outcome.code, outcome.stderr)
          for (const row of noted(join(cwd, ".pipe/pipe.db"))) underWay.set(row, (underWay.get(row) ?? 0) + 1)
          // Answers to the dead process go nowhere; they are on the bill.
          yield* Effect.sleep(30)
        }
        assert.strictEqual(outcome.code, 0, outcome.stderr)
        assert.isAtLeast(kills, Math.floor(0.8 * KILLS), "the run was over before it could be killed so often")

        // Each call was answered, and again only if it was in flight at a kill.
        assert.strictEqual(answered.size, ROWS)
        let repeated = 0
        let unexplained = 0
        for (const [prompt, times] of answered) {
          repeated += times - 1
          // Calls that an earlier try left noted are still noted when the next is killed: a row counts at each.
          unexplained += Math.max(0, times - 1 - (underWay.get(Number(/\d+/.exec(prompt)![0])) ?? 0))
        }
        // What was in flight, and what was answered within the last 10 ms of a process.
        assert.isAtMost(repeated, kills * LOST)
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

        // The ledger has every call that the provider bills: to the picodollar what was answered, and at the most that it can
        // have cost what was in flight at a kill.
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
        assert.isAtMost(neverSent, kills * LOST)
        console.log(
          `${kills} kills, ${repeated} of ${ROWS} calls repeated, ${neverSent} noted and never sent, ${unexplained} unexplained`
        )
      }),
    Soak.timeout(120_000)
  )
})

/** What a store has recorded, of all its runs. */
const books = (location: string) =>
  Effect.gen(function* () {
    const store = yield* Store.Store
    const runs = yield* store.runs.list(10_000)
    const sums = (yield* Effect.forEach(runs, ({ id }) => store.ledger.sums(id))).flat()
    const of = (f: (sum: (typeof sums)[number]) => bigint) => sums.reduce((total, sum) => total + f(sum), 0n)
    return {
      spent: of(({ spent }) => spent),
      counted: of(({ estimatedSpent, spent }) => spent - estimatedSpent),
      open: (yield* store.ledger.unsettled).length
    }
  }).pipe(Effect.provide(Layer.fresh(NodeHost.existingStore(location))), Effect.scoped)

/** What each model costs, in picodollars a token (platform.openai.com/docs/pricing, 2026-11-28). */
const rates: { readonly [model: string]: readonly [input: bigint, output: bigint] } = {
  "gpt-4o-mini": [INPUT, OUTPUT],
  "gpt-4o": [2_500_000n, 10_000_000n]
}

const billOf = (simulator: Simulator.Simulator): bigint =>
  simulator.bill().reduce((sum, { input, model, output }) => {
    const [inputRate, outputRate] = rates[model]!
    return sum + BigInt(input) * inputRate + BigInt(output) * outputRate
  }, 0n)

interface Way {
  readonly files: { readonly [name: string]: string }
  readonly options?: Simulator.Options
  /** How it begins, before anything is killed; `undefined`: with the first of what follows. */
  readonly before?: ReadonlyArray<string>
  /** What is run again after each kill, until it ends by itself. */
  readonly again: ReadonlyArray<string>
  readonly output: string
  /** It is killed within this many calls, of which its first turn has more. Default: 60. */
  readonly within?: number
}

const SMALL = Soak.times(120, 1_500)

const small = (fields: Parameters<typeof flow>[0] = {}) =>
  flow({
    source: `Source.fromIterable("rows", Array.from({ length: ${SMALL} }, (_, i) => "word " + i))`,
    options: `concurrency: ${CONCURRENCY},`,
    ...fields
  })

const ways: { readonly [name: string]: Way } = {
  "a run that is started again": {
    files: { "flow.ts": small() },
    again: ["run", "flow.ts", "--quiet"],
    output: "out.jsonl"
  },
  "a retry of failed rows": {
    files: {
      "flow.ts": small({
        stack: `Stack.make(Ledger.layer, Retry.layer({ attempts: 1 }), OpenAi.layer({ model: "gpt-4o-mini" }))`
      })
    },
    options: { faults: { serverError: 0.4 } },
    before: ["run", "flow.ts", "--quiet"],
    again: ["retry", "--quiet"],
    output: "out.jsonl",
    within: 20
  },
  "a tuning": {
    files: {
      "package.json": '{"type": "module"}',
      "flow.ts": TunedFlow.flow(),
      "rows.jsonl": TunedFlow.rows(400)
        .map((row) => JSON.stringify(row))
        .join("\n")
    },
    options: TunedFlow.simulated(),
    again: ["tune", "flow.ts"],
    output: "products.routing.json"
  }
}

describe.each(["SQLite", "PostgreSQL"] as const)("kill -9 on %s", (database) => {
  for (const [name, way] of Object.entries(ways)) {
    const kills = Soak.times(1, 30)
    it.live.skipIf(!Soak.isSoak || (database === "PostgreSQL" && !Servers.hasPostgres))(
      `of ${name}, ${kills} times: it ends as if nobody had disturbed it, and the ledger has no less than the bill`,
      () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator.start({ latency: "5 millis", ...way.options })
          const url = database === "PostgreSQL" ? yield* Servers.postgres : undefined
          const cwd = folder(way.files)
          const env = {
            OPENAI_API_KEY: "sk-test-0123456789abcdef",
            OPENAI_BASE_URL: simulator.openAiUrl,
            ...(url === undefined ? undefined : { PIPE_STORE: url })
          }
          if (way.before !== undefined) yield* Effect.promise(() => pipe(way.before!, { cwd, env }))
          let done = 0
          let outcome: Outcome | undefined
          for (let attempt = 0; attempt < kills + 60 && outcome?.code !== 0; attempt++) {
            outcome = yield* killed(simulator, way.again, {
              cwd,
              env,
              within: done < kills ? (way.within ?? 60) : undefined
            })
            if (outcome.code === null) done++
            // Rows fail again, and are retried again.
            else assert.include(name === "a retry of failed rows" ? [0, 1] : [0], outcome.code, outcome.stderr)
          }
          assert.strictEqual(outcome?.code, 0, outcome?.stderr)
          assert.isAtLeast(done, 1)
          yield* Effect.sleep(50)
          const { counted, open, spent } = yield* books(url ?? join(cwd, ".pipe/pipe.db"))
          const billed = billOf(simulator)
          const text = `${done} kills: billed ${billed}, recorded ${spent}, of it counted ${counted}`
          assert.strictEqual(open, 0, text)
          assert.isTrue(spent >= billed, text)
          assert.isTrue(counted <= billed, text)

          const calm = yield* Simulator.start({ ...way.options, faults: {} })
          const undisturbed = folder(way.files)
          const { code, stderr } = yield* Effect.promise(() =>
            pipe(way.before ?? way.again, {
              cwd: undisturbed,
              env: { ...env, OPENAI_BASE_URL: calm.openAiUrl, PIPE_STORE: ".pipe/pipe.db" }
            })
          )
          assert.strictEqual(code, 0, stderr)
          // When a tuning was, and what of it was paid in its last try, is its own.
          const read = (folder: string) =>
            readFileSync(join(folder, way.output), "utf8").replaceAll(/"(?:tunedAt|spent)": "[^"]*"/g, "")
          assert.strictEqual(read(cwd), read(undisturbed))
        }),
      Soak.timeout(120_000)
    )
  }
})

/** Whether a process can have a space of process numbers of its own, as on another machine. */
const canUnshare = (): boolean => {
  try {
    execFileSync("unshare", ["-fp", "--mount-proc", "true"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

describe("a process that was thought dead", () => {
  it.live.skipIf(!Soak.isSoak || !Servers.hasPostgres || !canUnshare())(
    "writes nothing more when it wakes: its run was resumed by another machine",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start({ latency: "40 millis" })
        const cwd = folder({
          "flow.ts": flow({
            source: `Source.fromIterable("rows", Array.from({ length: 600 }, (_, i) => "word " + i))`,
            options: "concurrency: 8,"
          })
        })
        const env = {
          OPENAI_API_KEY: "sk-test-0123456789abcdef",
          OPENAI_BASE_URL: simulator.openAiUrl,
          PIPE_STORE: url
        }
        const elsewhere = spawn(
          "unshare",
          ["-fp", "--mount-proc", process.execPath, bin, "run", "flow.ts", "--quiet"],
          { cwd, env: environment(env), stdio: ["ignore", "ignore", "pipe"] }
        )
        let stderr = ""
        elsewhere.stderr.on("data", (chunk) => (stderr += chunk))
        const ended = new Promise((done) => elsewhere.on("exit", done))
        yield* Effect.repeat(Effect.sleep(20), { until: () => simulator.requests() > 150 })
        const inner = Number(execFileSync("pgrep", ["-P", String(elsewhere.pid)], { encoding: "utf8" }))
        process.kill(inner, "SIGSTOP")
        const early = yield* Effect.promise(() => pipe(["resume", "--quiet"], { cwd, env }))
        assert.strictEqual(early.code, 2)
        assert.include(early.stderr, "is active already")
        // Its lease lasts 10 seconds.
        yield* Effect.sleep(11_000)
        const resumed = pipe(["resume", "--quiet"], { cwd, env })
        yield* Effect.sleep(2_500)
        process.kill(inner, "SIGCONT")
        assert.strictEqual((yield* Effect.promise(() => resumed)).code, 0)
        yield* Effect.promise(() => ended)
        assert.include(stderr, "another process resumed the run while this one was silent")
        const { counted, open, spent } = yield* books(url)
        const billed = billOf(simulator)
        const text = `billed ${billed}, recorded ${spent}, of it counted ${counted}`
        assert.strictEqual(open, 0)
        assert.isTrue(spent >= billed && counted <= billed, text)
        assert.isAtMost(simulator.requests(), 600 + 16)
      }),
    Soak.timeout(120_000)
  )
})
