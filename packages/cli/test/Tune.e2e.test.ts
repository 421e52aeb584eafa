/** A routed run as a process. */
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@pipe/plugins"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"
import { pipe } from "./Process.ts"
import { at, envOf, simulated } from "./TunedFlow.ts"

describe("a routed run", () => {
  it.live.skipIf(!Soak.isSoak)("is resumed after kill -9: every row has its answer, and each request counts once", () =>
    Effect.gen(function* () {
      let answers = 0
      let killAt = Number.POSITIVE_INFINITY
      let kill = () => {}
      const simulator = yield* Simulator.start(
        simulated(() => {
          if (++answers === killAt) kill()
        })
      )
      const cwd = at()
      const env = envOf(simulator)
      const tuned = yield* Effect.promise(() => pipe(["tune", "flow.ts"], { cwd, env }))
      assert.strictEqual(tuned.code, 0, tuned.stderr)
      killAt = answers + 150
      const killed = yield* Effect.promise(() =>
        pipe(["run", "flow.ts"], { cwd, env, onStart: (child) => (kill = () => void child.kill("SIGKILL")) })
      )
      assert.isNull(killed.code)
      killAt = Number.POSITIVE_INFINITY
      const resumed = yield* Effect.promise(() => pipe(["resume"], { cwd, env }))
      assert.strictEqual(resumed.code, 0, resumed.stderr)
      assert.match(resumed.stderr, /was needed for 1\d\d of 600 requests/)
      assert.lengthOf(readFileSync(join(cwd, "out.jsonl"), "utf8").trim().split("\n"), 600)
    })
  )
})
