/** Implements `pipe tune`. */
import * as Calibration from "@pipe/core/internal/Calibration"
import type * as Flow from "@pipe/core/Flow"
import { count, share } from "@pipe/core/internal/Format"
import * as RequestKey from "@pipe/core/RequestKey"
import * as Routing from "@pipe/core/internal/Routing"
import * as RunEvent from "@pipe/core/RunEvent"
import * as Tune from "@pipe/core/internal/Tune"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { relative, resolve } from "node:path"
import * as Spending from "../../flags/Spending.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Heap from "../../process/Heap.ts"
import * as Host from "../../process/Host.ts"
import * as Interrupt from "../../process/Interrupt.ts"
import * as LoadFlow from "../../process/LoadFlow.ts"
import * as Output from "../../process/Output.ts"
import * as OutputFile from "../../process/OutputFile.ts"
import * as Html from "../../view/Html.ts"
import * as TuneText from "../../view/TuneText.ts"
import * as View from "../../view/View.ts"
import type { Input } from "./flags.ts"

export const tuneFlow = Effect.fnUntraced(function* (input: Input) {
  const flow = yield* LoadFlow.load(input.flow)
  const parameters = yield* Host.parametersOf(flow, input)
  const budget = yield* Spending.parse(input.budget)
  const { delta, sample, seed } = yield* settingsOf(input)
  yield* Heap.settle()
  const output = yield* Output.Output
  const view = View.make(View.modeOf({ quiet: input.json || input.quiet }, output), output)
  if (input.simulate && !input.json)
    view.note("answers are simulated: no key is used, nothing is paid, and nothing is learned about real models")
  const options: Tune.Options = {
    parameters,
    sample,
    seed,
    // The user waits for the sample.
    batch: "off",
    drain: Interrupt.first,
    record: {
      parameters,
      simulate: input.simulate,
      file: relative(process.cwd(), resolve(input.flow)),
      budget: input.budget
    },
    observe: (event) => Effect.sync(() => view.show(event)),
    ...(delta === undefined ? undefined : { delta }),
    ...(budget === undefined ? undefined : { budget }),
    ...(Option.isSome(input.concurrency) ? { concurrency: input.concurrency.value } : undefined)
  }
  const work = input.check ? checkRows(flow, options, input) : tune(flow, options, input)
  const code = yield* work.pipe(
    Effect.provide(Host.layer({ ...input, view })),
    Effect.ensuring(Effect.sync(view.end)),
    Effect.mapError((error) => {
      if (error instanceof ExitCode.Failure) return error
      const { message } = error
      return error._tag !== "RunFailed"
        ? ExitCode.refuse(message)
        : new ExitCode.Failure({
            message:
              error.summary.status === "interrupted"
                ? "interrupted: answers are kept, so tuning again continues from there"
                : message,
            exitCode:
              error.summary.status === "interrupted"
                ? ExitCode.interrupted
                : RunEvent.hasWork(error.summary)
                  ? ExitCode.failed
                  : ExitCode.usage
          })
    })
  )
  if (code !== ExitCode.done) return yield* ExitCode.end(code)
})

/** The settings of the statistics. Too few rows are refused before they are paid for. */
const settingsOf = Effect.fnUntraced(function* ({ check, delta, sample, seed, target }: Input) {
  const given = Option.getOrUndefined(delta)
  const size = Option.getOrElse(sample, () => Tune.SAMPLE)
  const least = Calibration.leastSample({ target, ...(given === undefined ? undefined : { delta: given }) })
  if (!check && size < least) {
    return yield* ExitCode.refuse(
      `--sample ${size}: too few rows: keeping ${share(target)} with ${share(1 - (given ?? 0.05))} confidence takes at least ${least}, and several times as many where answers differ`
    )
  }
  return { delta: given, sample: size, seed }
})

const tune = Effect.fnUntraced(function* (flow: Flow.Any, options: Tune.Options, input: Input) {
  const tuned = yield* Tune.make(flow, { ...options, target: input.target })
  const { file, routing, steps, summary } = tuned
  const lost = file === undefined ? [] : yield* lostBy(file, routing)
  const isWritten = file !== undefined && !input.dryRun && !input.simulate && lost.length === 0
  if (isWritten)
    yield* OutputFile.write(
      file,
      { what: "a routing file", text: Stream.make(Routing.encode(routing)), starts: "{" },
      keptBy(input)
    )
  const { failed } = summary.rows
  const code =
    summary.status === "budget" ? ExitCode.budget : failed > flow.allowFailedRows ? ExitCode.failed : ExitCode.done
  const asked = steps.reduce((most, { rows }) => Math.max(most, rows), 0)
  const charts = steps.map((step) => ({ step, chart: TuneText.chartOf(step) }))
  if (Option.isSome(input.svg) || Option.isSome(input.html)) yield* draw(tuned, charts, input)
  if (input.json) {
    yield* Console.log(
      JSON.stringify({
        file: isWritten ? file : undefined,
        rows: asked,
        failed,
        routing: JSON.parse(Routing.encode(routing)),
        frontier: steps.map(TuneText.frontierToJson)
      })
    )
    return code
  }
  yield* Console.log(charts.map(({ chart, step }) => TuneText.render(step, chart)).join("\n\n"))
  const shown = file === undefined ? undefined : relative(process.cwd(), file)
  const isCertified = steps.some(({ calibration }) => calibration.policy !== undefined)
  yield* Console.log(
    [
      "",
      ...(summary.status === "budget"
        ? [
            `the budget was reached after ${count(asked)} of ${count(routing.sample.rows)} rows: the certificate is based on those`
          ]
        : []),
      ...(failed === 0
        ? []
        : [
            `${count(failed)} of ${count(summary.rows.read)} rows failed: the certificate is for rows that do not (pipe show ${summary.run} --failed)`
          ]),
      input.simulate
        ? `${count(asked)} rows were answered by the simulator: nothing was paid`
        : `spent ${TuneText.money(summary.cost)} on ${count(asked)} rows; a run with the same requests finds those answers in the cache`,
      isWritten
        ? `wrote ${shown}: the flow reads it${isCertified ? `, and pipe tune ${input.flow} --check tells whether it holds for later rows` : ""}`
        : lost.length > 0
          ? `${shown} is left unchanged, because it certifies what this sample does not (${lost.join(", ")}): pipe tune ${input.flow} --check tells whether that holds; delete the file to start again`
          : file === undefined
            ? `the cascade names no file, so nothing is written: set routing: new URL("./${flow.name}.routing.json", import.meta.url)`
            : `${shown} is not written (${input.dryRun ? "--dry-run" : "--simulate: simulated answers say nothing about real models"})`
    ].join("\n")
  )
  return code
})

const keptBy = (input: Input): OutputFile.KeptOutput => ({
  ...OutputFile.storeAt(StoreFlag.resolve(input)),
  "the flow file": input.flow
})

/** Steps that the existing file certifies, and the new one does not. */
const lostBy = Effect.fnUntraced(function* (file: string, { judges, models, steps }: Routing.Routing) {
  const fs = yield* FileSystem.FileSystem
  const earlier = yield* Effect.orElseSucceed(Effect.flatMap(fs.readFileString(file), Routing.decode), () => undefined)
  const isOf = RequestKey.canonical([earlier?.judges, earlier?.models]) === RequestKey.canonical([judges, models])
  return !isOf
    ? []
    : Object.entries(earlier?.steps ?? {}).flatMap(([name, { key, policy }]) =>
        policy !== undefined && steps[name] !== undefined && steps[name].policy === undefined && steps[name].key === key
          ? [name]
          : []
      )
})

const draw = Effect.fnUntraced(function* (tuned: Tune.Tuned, charts: ReadonlyArray<TuneText.Charted>, input: Input) {
  const page = yield* Effect.promise(() => import("../../view/TuneHtml.ts"))
  if (Option.isSome(input.svg)) {
    if (charts.length > 1) yield* Effect.logWarning(`--svg draws one step: ${charts[0]!.step.name}; --html draws all`)
    yield* OutputFile.write(
      input.svg.value,
      { what: "a drawing", text: Stream.make(page.svg(charts[0]!)), starts: "<svg " },
      keptBy(input)
    )
  }
  if (Option.isSome(input.html))
    yield* OutputFile.write(
      input.html.value,
      { what: "a page of ours", text: Stream.make(page.render(tuned, charts, input.target)), starts: Html.start },
      keptBy(input)
    )
})

const checkRows = Effect.fnUntraced(function* (flow: Flow.Any, options: Tune.Options, input: Input) {
  const checked = yield* Tune.check(flow, options)
  yield* Console.log(input.json ? JSON.stringify(TuneText.checkToJson(checked)) : TuneText.renderCheck(checked))
  return checked.steps.some(({ standing }) => standing === "broken") ? ExitCode.failed : ExitCode.done
})
