/** `--workers` as processes: killed with -9 while they work, the run too; outputs and bill are those of an undisturbed run. */
import { Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync, type ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
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
          readonly summary: { readonly cost: string; readonly estimatedCost: string }
        }
        const billed = simulator
          .bill()
          .reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)
        const picodollars = (usd: string): bigint => BigInt(Math.round(Number(usd) * 1e12))
        assert.isTrue(picodollars(summary.cost) >= billed, `${summary.cost} of ${billed}`)
        assert.isTrue(picodollars(summary.cost) - picodollars(summary.estimatedCost) <= billed)
        console.log(`${kills} kills of workers, ${simulator.requests() - ROWS} of ${ROWS} calls made again`)
      }).pipe(Effect.scoped),
    Soak.timeout(120_000)
  )
})
