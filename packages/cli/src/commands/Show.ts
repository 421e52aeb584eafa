/** `pipe show`: one run, or its failed rows. */
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as RunArgument from "../RunArgument.ts"
import * as StoreFlag from "../StoreFlag.ts"
import * as Switch from "../Switch.ts"

export const command = Command.make(
  "show",
  {
    run: RunArgument.run,
    failed: Switch.make("failed", "its failed rows: where they stand, what failed, with what input"),
    json: Switch.make("json", "as JSON: the summary, or with --failed a row a line"),
    simulate: Switch.make("simulate", "a run that was simulated"),
    store: StoreFlag.flag
  },
  (input) =>
    Effect.gen(function* () {
      const OpenStore = yield* Effect.promise(() => import("../OpenStore.ts"))
      const RunText = yield* Effect.promise(() => import("../view/RunText.ts"))
      yield* OpenStore.readable(
        OpenStore.use(StoreFlag.resolve(input), (store) =>
          Effect.gen(function* () {
            const run = yield* store.runs.find(Option.getOrUndefined(input.run))
            if (!input.failed) {
              const cost = (yield* store.ledger.costs([run.id])).get(run.id)
              return yield* Console.log(
                input.json ? JSON.stringify(RunText.toJson(run, cost)) : RunText.describe(run, cost)
              )
            }
            let count = 0
            yield* Stream.runForEach(store.rows.failures(run.id), (row) => {
              count++
              return Console.log(input.json ? RunText.failureToJson(row) : RunText.failure(row))
            })
            if (!input.json) {
              yield* Console.log(
                count === 0
                  ? `run ${run.name} has no failed rows`
                  : `${count} failed; run them again: pipe retry ${run.name} --failed`
              )
            }
          })
        )
      )
    })
).pipe(
  Command.withDescription("Show a run: its report, or the rows that failed"),
  Command.withExamples([{ command: "pipe show" }, { command: "pipe show last --failed" }])
)
