/** What `pipe run` does. */
import type * as Flow from "@pipe/core/Flow"
import * as ReportText from "@pipe/core/ReportText"
import type * as RunEvent from "@pipe/core/RunEvent"
import * as Runner from "@pipe/core/Runner"
import * as Secret from "@pipe/core/Secret"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as ExitCode from "../ExitCode.ts"
import * as Heap from "../Heap.ts"
import * as LoadFlow from "../LoadFlow.ts"
import * as View from "../view/View.ts"
import type { Input } from "./Run.ts"

/** Runs a flow with a view of it, and turns its end into an exit code. */
export const runFlow = Effect.fnUntraced(function*(input: Input) {
  const flow = yield* LoadFlow.load(input.flow)
  if (input.json && flow.outputs.some((output) => output.toStdout)) {
    return yield* new ExitCode.Failure({
      message: "--json writes events to standard output, and so does an output of this flow: give that output a file",
      exitCode: ExitCode.usage
    })
  }
  Heap.settle()
  const view = View.make({
    mode: input.json ? "json" : input.quiet ? "quiet" : View.canRepaint() ? "live" : "plain"
  })
  if (input.simulate && !input.json) view.note("answers are simulated: no key is used and nothing is paid")
  const host = Layer.mergeAll(
    // Simulated answers have a store of their own: a real run must never find one.
    NodeHost.layer(input.simulate ? { store: ".pipe/simulated.db" } : {}),
    Logger.layer([logger(view)]),
    input.simulate
      ? Layer.unwrap(Effect.map(
        Effect.promise(() => import("@pipe/plugins/Simulator")),
        (Simulator) => Simulator.layer({ latency: "20 millis" })
      ))
      : Layer.empty
  )
  const exit = yield* Effect.exit(
    Effect.provide(
      Runner.run(flow, {
        parameters: yield* parametersOf(flow, input),
        ...(Option.isSome(input.limit) ? { limit: input.limit.value } : undefined),
        ...(Option.isSome(input.concurrency) ? { concurrency: input.concurrency.value } : undefined),
        cache: !input.noCache,
        rowEvents: input.json,
        observe: (event) => Effect.sync(() => view.show(event))
      }),
      host
    ).pipe(
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          view.end()
          view.note(
            `interrupted: what was finished stands in the .partial files, and answers are in the cache; go on with: pipe run ${input.flow}`
          )
        })
      )
    )
  )
  view.end()
  if (Exit.isSuccess(exit)) {
    if (!input.json && !input.quiet) process.stderr.write(`${ReportText.render(exit.value)}\n`)
    const { failed } = exit.value.rows
    if (failed > flow.allowFailedRows) process.exitCode = ExitCode.failed
    return
  }
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (error === undefined) return yield* Effect.failCause(exit.cause as never)
  if (error._tag !== "RunFailed") {
    return yield* new ExitCode.Failure({ message: Secret.mask(error.message), exitCode: ExitCode.usage })
  }
  if (!input.json && !input.quiet && error.summary.calls.attempts > 0) {
    process.stderr.write(`${ReportText.render(withoutFailure(error.summary))}\n`)
  }
  // A run that read no row could not start: a missing key, a missing file.
  return yield* new ExitCode.Failure({
    message: Secret.mask(error.message),
    exitCode: error.summary.rows.read === 0 ? ExitCode.usage : ExitCode.failed
  })
})

/** The failure itself is said last, on a line of its own. */
const withoutFailure = ({ failure: _, ...summary }: RunEvent.RunFinished): RunEvent.RunFinished => summary

/** What was given on the command line, as the parameters' schemas encode it. */
const parametersOf = Effect.fnUntraced(function*(flow: Flow.Any, input: Input) {
  const values: Record<string, unknown> = {}
  for (const { parameter } of flow.parameters) {
    const given = input.parameters[parameter.name]
    if (given === undefined || Option.isNone(given)) continue
    const schema = parameter.schema as Schema.Codec<unknown, unknown>
    values[parameter.name] = typeof given.value === "boolean"
      ? given.value
      : yield* Schema.decodeUnknownEffect(Schema.toCodecStringTree(schema))(given.value).pipe(
        Effect.flatMap(Schema.encodeEffect(schema)),
        Effect.mapError((error) =>
          new ExitCode.Failure({
            message: `--${parameter.name}: ${error.message.replace(/\s*\n\s*/g, " ")}`,
            exitCode: ExitCode.usage
          })
        )
      )
  }
  return values
})

/** Warnings and errors of the run, in the view's way. */
const logger = (view: View.View) =>
  Logger.make<unknown, void>(({ logLevel, message }) => {
    if (logLevel !== "Warn" && logLevel !== "Error" && logLevel !== "Fatal") return
    const text = Secret.mask((Array.isArray(message) ? message : [message]).map(String).join(" "))
    view.show({ _tag: "Warning", message: text })
  })

