/** `pipe show`: one run, or its failed rows. */
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
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
      const [FindRun, OpenStore, RunText] = yield* Effect.promise(() =>
        Promise.all([import("../FindRun.ts"), import("../OpenStore.ts"), import("../view/RunText.ts")])
      )
      const { location, run } = yield* FindRun.find(input)
      yield* OpenStore.readable(
        OpenStore.use(location, (store) =>
          Effect.gen(function* () {
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
