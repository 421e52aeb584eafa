/** `--workers` as processes: killed with -9 while they work, the run too; outputs and bill are those of an undisturbed run. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync, type ChildProcess } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { connect, createServer, type AddressInfo, type Socket } from "node:net"
import { join } from "node:path"
import * as Servers from "../../../test/Servers.ts"
import * as Soak from "../../../test/Soak.ts"
import { KEY } from "./Flows.ts"
import { flow, folder, pipe } from "./Process.ts"

const ROWS = Soak.times(300, 20_000)
const WORKERS = Soak.times(2, 4)

const files = {
  "flow.ts": flow({
    source: `Source.fromIterable("rows", Array.from({ length: ${ROWS} }, (_, i) => "word " + i))`,
    options: "concurrency: 16,"
  })
}

/** The workers that a run has started. */
const childrenOf = (child: ChildProcess): ReadonlyArray<number> => {
  try {
    return execFileSync("pgrep", ["-P", String(child.pid)], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map(Number)
  } catch {
    return []
  }
}

/** A way to a server on which everything can be lost, both ways or one, while its connections stay open. */
const way = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const to = new URL(url)
      let lost: "nothing" | "answers" | "all" = "nothing"
      const sockets = new Set<Socket>()
      const server = createServer((from) => {
        const target = connect(Number(to.port), to.hostname)
        for (const socket of [from, target]) {
          sockets.add(socket)
          socket.on("error", () => socket.destroy())
          socket.on("close", () => (from.destroy(), target.destroy(), sockets.delete(socket)))
        }
        from.on("data", (data) => (lost === "all" ? undefined : target.write(data)))
        target.on("data", (data) => (lost === "nothing" ? from.write(data) : undefined))
      })
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
      to.port = String((server.address() as AddressInfo).port)
      return {
        url: to.href,
        lose: (what: typeof lost) => {
          // What was lost does not come later: a connection that has lost something is of no more use.
          if (what === "nothing") for (const socket of sockets) socket.destroy()
          lost = what
        },
        close: () => {
          for (const socket of sockets) socket.destroy()
          server.close()
        }
      }
    }),
    ({ close }) => Effect.sync(close)
  )

/** Shifts the clock of a process (libfaketime, Debian's package `faketime`), where it is installed. */
const clock = (seconds: number): { readonly [name: string]: string } => {
  const file = ["x86_64", "aarch64"]
    .map((cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketime.so.1`)
    .find(existsSync)
  return file === undefined || seconds === 0
    ? {}
    : { LD_PRELOAD: file, FAKETIME: `${seconds > 0 ? "+" : ""}${seconds}s` }
}

/** Starts `pipe` again whenever it ends, until `end`. */
const kept = (args: ReadonlyArray<string>, cwd: string, env: { readonly [name: string]: string }) => {
  let child: ChildProcess | undefined
  let isOver = false
  const again = () => (isOver ? undefined : start())
  const start = (): Promise<unknown> =>
    pipe(args, { cwd, env, onStart: (started) => (child = started) }).then(again, again)
  const ended = start()
  return {
    signal: (name: NodeJS.Signals) => void child?.kill(name),
    end: () => {
      isOver = true
      child?.kill("SIGCONT")
      child?.kill("SIGKILL")
      return ended
    }
  }
}

const billedBy = (simulator: Simulator.Simulator): bigint =>
  simulator.bill().reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)

describe.skipIf(!Servers.hasPostgres)("pipe run --workers", () => {
  it.live.skipIf(!Soak.isSoak)(
    "survives kill -9 of its workers",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start({ latency: "30 millis" })
        const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: simulator.openAiUrl }
        const cwd = folder(files)
        let kills = 0
        const ran = yield* Effect.promise(() =>
          pipe(["run", "flow.ts", "--quiet", "--workers", String(WORKERS)], {
            cwd,
            env: { ...env, PIPE_STORE: url },
            onStart: (child) => {
              const timer = setInterval(
                () => {
                  if (simulator.requests() < 30 || (!Soak.isSoak && kills > 0)) return
                  const [worker] = childrenOf(child).toSorted(() => Math.random() - 0.5)
                  if (worker === undefined) return
                  process.kill(worker, "SIGKILL")
                  kills++
                },
                Soak.times(300, 4_000)
              )
              child.on("exit", () => clearInterval(timer))
            }
          })
        )
        assert.strictEqual(ran.code, 0, ran.stderr)
        assert.isAtLeast(kills, 1)
        const calm = yield* Simulator.start()
        const undisturbed = folder(files)
        const one = yield* Effect.promise(() =>
          pipe(["run", "flow.ts", "--quiet"], { cwd: undisturbed, env: { ...env, OPENAI_BASE_URL: calm.openAiUrl } })
        )
        assert.strictEqual(one.code, 0, one.stderr)
        const read = (at: string) => readFileSync(join(at, "out.jsonl"), "utf8")
        assert.strictEqual(read(cwd), read(undisturbed))
        // Each call in flight at a kill may be made again, and is recorded at the most that it can have cost.
        assert.isAtMost(simulator.requests(), ROWS + kills * 16)
        const shown = yield* Effect.promise(() => pipe(["show", "--json"], { cwd, env: { ...env, PIPE_STORE: url } }))
        const { summary } = JSON.parse(shown.stdout) as {
          readonly summary: {
            readonly cost: string
            readonly estimatedCost: string
            readonly nodes: ReadonlyArray<{ readonly reused: number }>
          }
        }
        // What a worker had computed before it was killed was computed in this run.
        assert.isTrue(summary.nodes.every(({ reused }) => reused === 0))
        const billed = billedBy(simulator)
        const picodollars = (usd: string): bigint => BigInt(Math.round(Number(usd) * 1e12))
        assert.isTrue(picodollars(summary.cost) >= billed, `${summary.cost} of ${billed}`)
        assert.isTrue(picodollars(summary.cost) - picodollars(summary.estimatedCost) <= billed)
        console.log(`${kills} kills of workers, ${simulator.requests() - ROWS} of ${ROWS} calls made again`)
      }).pipe(Effect.scoped),
    Soak.timeout(120_000)
  )

  it.live.skipIf(!Soak.isSoak)(
    "survives everything at once: workers and the run killed, frozen and cut off, clocks that differ, the server restarted and away",
    () =>
      Effect.gen(function* () {
        const server = yield* Servers.postgresServer()
        const simulator = yield* Simulator.start({ latency: "100 millis" })
        const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: simulator.openAiUrl, PIPE_STORE: server.url }
        const cwd = folder(files)
        const ways = yield* Effect.all(Array.from({ length: WORKERS }, () => way(server.url)))
        // The clock of one is ten minutes ahead, that of another behind.
        const workers = ways.map(({ url }, n) =>
          kept(["worker", "flow.ts", "--quiet"], cwd, { ...env, PIPE_STORE: url, ...clock([0, 600, -600][n] ?? 0) })
        )
        yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all(workers.map(({ end }) => end()))))
        const faults = { killed: 0, frozen: 0, cut: 0, runs: 0, restarts: 0 }
        let child: ChildProcess | undefined
        let isDone = false
        const onStart = (started: ChildProcess) => (child = started)
        const run = async (args: ReadonlyArray<string>): Promise<string> => {
          const { code, stderr } = await pipe([...args, "--quiet", "--workers", "any"], { cwd, env, onStart })
          if (code === 0) return stderr
          // A run whose process was killed is free when its lease is over.
          await new Promise((resolve) => setTimeout(resolve, 1_000))
          return run(["resume"])
        }
        const ended = run(["run", "flow.ts"]).then((text) => ((isDone = true), text))
        const pick = () => workers[Math.floor(Math.random() * workers.length)]!
        const chaos = Effect.gen(function* () {
          while (!isDone) {
            yield* Effect.sleep(4_000)
            if (simulator.requests() < 100 || isDone) continue
            const fault = Math.random()
            if (fault < 0.35) {
              faults.killed++
              pick().signal("SIGKILL")
            } else if (fault < 0.55) {
              faults.cut++
              const cut = ways[Math.floor(Math.random() * ways.length)]!
              cut.lose(Math.random() < 0.5 ? "all" : "answers")
              const heal = Effect.sync(() => cut.lose("nothing"))
              yield* Effect.forkScoped(Effect.andThen(Effect.sleep(5_000 + Math.random() * 20_000), heal))
            } else if (fault < 0.7) {
              faults.frozen++
              const frozen = pick()
              frozen.signal("SIGSTOP")
              // Longer than a lease: others get its rows, and it wakes up in the middle of its own.
              yield* Effect.forkScoped(
                Effect.andThen(
                  Effect.sleep(14_000),
                  Effect.sync(() => frozen.signal("SIGCONT"))
                )
              )
            } else if (fault < 0.85) {
              faults.runs++
              child?.kill("SIGKILL")
            } else if (faults.restarts < 5) {
              faults.restarts++
              yield* server.stop
              if (faults.restarts === 3) yield* Effect.sleep(30_000)
              yield* server.start
            }
          }
        })
        yield* Effect.forkScoped(chaos)
        yield* Effect.promise(() => ended)
        const calm = yield* Simulator.start()
        const undisturbed = folder(files)
        const one = yield* Effect.promise(() =>
          pipe(["run", "flow.ts", "--quiet"], {
            cwd: undisturbed,
            env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: calm.openAiUrl }
          })
        )
        assert.strictEqual(one.code, 0, one.stderr)
        const read = (at: string) => readFileSync(join(at, "out.jsonl"), "utf8")
        assert.strictEqual(read(cwd), read(undisturbed))
        const sql = (statement: string) => Effect.map(Servers.sql(server.url, statement), (text) => text.trim())
        const [cost, estimated] = (yield* sql(
          "SELECT sum(cost), sum(CASE estimated WHEN 1 THEN cost ELSE 0 END) FROM attempts"
        ))
          .split("|")
          .map(BigInt) as [bigint, bigint]
        const what = JSON.stringify({ ...faults, requests: simulator.requests(), cost: String(cost) })
        console.log(what)
        assert.isTrue(cost >= billedBy(simulator), what)
        assert.isTrue(cost - estimated <= billedBy(simulator), what)
        // No answer is recorded twice: neither by a process that wakes up, nor by a group that is sent again.
        const recorded = Number(yield* sql("SELECT count(*) FROM attempts WHERE estimated = 0"))
        assert.isAtMost(recorded, simulator.requests(), what)
        const disturbed =
          faults.killed + faults.frozen + faults.cut + faults.runs * (1 + WORKERS) + faults.restarts * WORKERS
        assert.isAtMost(simulator.requests(), ROWS + disturbed * 16, what)
      }).pipe(Effect.scoped),
    Soak.timeout(120_000)
  )

  it.live.skipIf(!Soak.isSoak)(
    "fails a row alone that ends each process that has it",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start()
        const cwd = folder({
          "flow.ts": flow({
            source: `Source.fromIterable("rows", Array.from({ length: 60 }, (_, i) => i === 17 ? "poison" : "word " + i))`,
            before: `row === "poison" ? Effect.sync(() => process.exit(9)) :`,
            options: "concurrency: 4, allowFailedRows: 1,"
          })
        })
        const ran = yield* Effect.promise(() =>
          pipe(["run", "flow.ts", "--quiet", "--workers", "2"], {
            cwd,
            env: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: simulator.openAiUrl, PIPE_STORE: url }
          })
        )
        assert.strictEqual(ran.code, 0, ran.stderr)
        assert.lengthOf(readFileSync(join(cwd, "out.jsonl"), "utf8").trim().split("\n"), 59)
        const errors = readFileSync(join(cwd, "test.errors.jsonl"), "utf8")
        assert.deepInclude(JSON.parse(errors), { position: "rows[17]", error: "WorkerLost" })
      }).pipe(Effect.scoped),
    Soak.timeout(120_000)
  )
})
