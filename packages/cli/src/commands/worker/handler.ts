/** Implements `pipe worker`. */
import * as Format from "@pipe/core/internal/Format"
import * as Runner from "@pipe/core/Runner"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Simulate from "../../flags/Simulate.ts"
import * as Time from "../../flags/Time.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Host from "../../process/Host.ts"
import * as Interrupt from "../../process/Interrupt.ts"
import * as LoadFlow from "../../process/LoadFlow.ts"
import * as Output from "../../process/Output.ts"
import * as View from "../../view/View.ts"

export interface Input extends Simulate.Input {
  readonly flow: string
  readonly run: Option.Option<string>
  readonly concurrency: Option.Option<number>
  readonly grace: Option.Option<string>
  readonly quiet: boolean
  readonly store: Option.Option<string>
  readonly storePatience: Option.Option<string>
}

export const work = Effect.fnUntraced(function* (input: Input) {
  const flow = yield* LoadFlow.load(input.flow)
  const output = yield* Output.Output
  const view = View.make("quiet", output)
  const grace = yield* Time.parse("--grace", input.grace)
  const said = (text: string) => Effect.sync(() => void (input.quiet ? undefined : output.err(`${text}\n`)))
  yield* said(`worker for ${flow.name}: waits for runs with --workers; Ctrl-C ends it`)
  const rows = yield* Runner.work(flow, {
    drain: Interrupt.first,
    onNotice: said,
    ...(grace === undefined ? undefined : { grace }),
    ...(Option.isSome(input.run) ? { run: input.run.value } : undefined),
    ...(Option.isSome(input.concurrency) ? { concurrency: input.concurrency.value } : undefined)
  }).pipe(
    // A run gives its workers the store in their environment, also for simulated answers.
    Effect.provide(
      Host.layer({
        ...input,
        store: Option.orElse(input.store, () => Option.fromNullishOr(process.env["PIPE_STORE"])),
        view
      })
    ),
    Effect.mapError((error) => (error instanceof ExitCode.Failure ? error : ExitCode.refuse(error.message)))
  )
  yield* said(`worker for ${flow.name}: ${Format.of(rows, "row")} computed`)
})
