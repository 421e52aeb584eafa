/** `pipe runs`: what was run, and how it ended. */
import type * as Store from "@pipe/core/Store"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Count from "../Count.ts"
import * as StoreFlag from "../StoreFlag.ts"
import * as Switch from "../Switch.ts"

/** The newest runs, and what each has cost so far. */
const readRuns = (limit: number) =>
  Effect.fnUntraced(function* (store: Store.Service) {
    const runs = yield* store.runs.list(limit)
    return { runs, costs: yield* store.ledger.costs(runs.map(({ id }) => id)) }
  })

export const command = Command.make(
  "runs",
  {
    limit: Flag.withDefault(Count.make("limit", "at most so many, the newest first (default 20)"), 20),
    json: Switch.make("json", "one run a line, as JSON"),
    simulate: Switch.make("simulate", "the runs that were simulated"),
    store: StoreFlag.flag
  },
  (input) =>
    Effect.gen(function* () {
      const OpenStore = yield* Effect.promise(() => import("../OpenStore.ts"))
      const RunText = yield* Effect.promise(() => import("../view/RunText.ts"))
      const { costs, runs } = yield* OpenStore.readable(OpenStore.use(StoreFlag.resolve(input), readRuns(input.limit)))
      if (runs.length === 0 && !input.json) return yield* Console.log("no run yet")
      yield* Console.log(
        input.json
          ? runs.map((run) => JSON.stringify(RunText.toJson(run, costs.get(run.id)))).join("\n")
          : RunText.list(runs, costs)
      )
    })
).pipe(
  Command.withDescription("List runs: when, how far, what they cost, and how they ended"),
  Command.withExamples([{ command: "pipe runs --limit 5" }])
)
