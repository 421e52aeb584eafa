/** `pipe runs`: lists runs and how they ended. */
import type * as Store from "@pipe/core/Store"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Count from "../../flags/Count.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

/** The newest runs, with their cost so far. */
const readRuns = (limit: number) =>
  Effect.fnUntraced(function* (store: Store.Service) {
    const runs = yield* store.runs.list(limit)
    const costs = yield* store.ledger.costs(runs.map(({ id }) => id))
    return runs.map((run) => ({ run, cost: costs.get(run.id) }))
  })

export const command = Command.make(
  "runs",
  {
    limit: Flag.withDefault(Count.make("limit", "at most this many, newest first (default 20)"), 20),
    json: Switch.make("json", "one JSON line per run"),
    simulate: Switch.make("simulate", "simulated runs"),
    store: StoreFlag.flag
  },
  (input) =>
    Effect.gen(function* () {
      const [FindRun, RunText] = yield* Effect.promise(() =>
        Promise.all([import("../../process/FindRun.ts"), import("../../view/RunText.ts")])
      )
      const entries = (yield* FindRun.inAll(input, readRuns(input.limit)))
        .flat()
        .toSorted((a, b) => b.run.startedAt - a.run.startedAt)
        .slice(0, input.limit)
      if (entries.length === 0) return input.json ? undefined : yield* Console.log("no run yet")
      yield* Console.log(
        input.json
          ? entries.map(({ cost, run }) => JSON.stringify(RunText.toJson(run, cost))).join("\n")
          : RunText.list(entries)
      )
    })
).pipe(
  Command.withDescription("List runs: their time, progress, cost and status"),
  Command.withExamples([{ command: "pipe runs --limit 5" }])
)
