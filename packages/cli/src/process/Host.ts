/** What commands provide to flows: files, prices, the store, the simulator if it answers, and a log. */
import type * as Flow from "@pipe/core/Flow"
import * as RequestKey from "@pipe/core/RequestKey"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as PricesFile from "./PricesFile.ts"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as ParameterFlags from "../flags/ParameterFlags.ts"
import * as Simulate from "../flags/Simulate.ts"
import * as StoreFlag from "../flags/StoreFlag.ts"
import * as Time from "../flags/Time.ts"
import type * as View from "../view/View.ts"
import * as Environment from "./Environment.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Log from "./Log.ts"
import * as Output from "./Output.ts"

/** Equal for runs of one flow with the same parameters, which write the same files. */
export const identityOf = (run: {
  readonly file: string
  readonly flow: string
  readonly parameters: { readonly [name: string]: Schema.Json }
  readonly limit: number | undefined
}): string =>
  RequestKey.canonical([
    `${Environment.packageNameOf(Environment.rootOf(process.cwd()))}:${Environment.inProject(run.file)}`,
    run.flow,
    run.parameters,
    run.limit ?? null
  ])

export const layer = (
  input: Simulate.Input & {
    readonly store: Option.Option<string>
    readonly storePatience?: Option.Option<string>
    readonly view: View.View
  }
) => {
  const log = Log.layer((message) => input.view.show({ _tag: "Warning", message }))
  const simulator = Layer.unwrap(
    Effect.gen(function* () {
      const options = yield* Simulate.options(input)
      if (options === undefined) return Layer.empty
      const Simulator = yield* Effect.promise(() => import("@pipe/plugins/Simulator"))
      return Simulator.layer(options)
    })
  )
  // A flow reads and writes the standard streams of the command.
  return Layer.unwrap(
    Effect.map(
      Effect.all([Stdio.Stdio, Output.Output, Time.parse("--store-patience", input.storePatience ?? Option.none())]),
      ([stdio, { outIsTerminal }, patience]) =>
        Layer.mergeAll(
          NodeHost.layer({ store: StoreFlag.resolve(input), patience, prices: PricesFile.path() }),
          Layer.succeed(Stdio.Stdio, outIsTerminal ? safe(stdio) : stdio),
          log,
          simulator
        ).pipe(Layer.provide(log))
    )
  )
}

/** Standard output to a terminal: written rows cannot control it. */
const safe = (stdio: Stdio.Stdio): Stdio.Stdio => ({
  ...stdio,
  stdout: (options) =>
    Sink.mapInput(stdio.stdout(options), (chunk: string | Uint8Array) =>
      typeof chunk === "string" ? SafeText.withoutControls(chunk) : chunk
    )
})

/** The parameters given on the command line, encoded by their schemas. */
export const parametersOf = Effect.fnUntraced(function* (flow: Flow.Any, input: ParameterFlags.Given) {
  const values: Record<string, Schema.Json> = {}
  for (const { parameter } of flow.parameters) {
    const given = input.parameters[parameter.name]
    if (given === undefined || Option.isNone(given)) continue
    values[parameter.name] = yield* Effect.mapError(
      ParameterFlags.encode(parameter, given.value),
      (error) =>
        new ExitCode.Failure({
          message: `--${parameter.name}: ${error.message.replace(/\s*\n\s*/g, " ")}`,
          exitCode: ExitCode.usage
        })
    )
  }
  return values
})
