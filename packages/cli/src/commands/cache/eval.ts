/** Implements `pipe cache eval`. */
import { count, share as percent } from "@pipe/core/internal/Format"
import * as ErrorBound from "@pipe/core/internal/ErrorBound"
import * as ReuseEval from "@pipe/core/internal/ReuseEval"
import * as Sourced from "@pipe/core/Source"
import type * as Node from "@pipe/core/Node"
import * as LocalEmbedder from "@pipe/plugins/LocalEmbedder"
import * as Usearch from "@pipe/plugins/Usearch"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Output from "../../process/Output.ts"
import * as Chart from "../../view/Chart.ts"
import * as Table from "../../view/Table.ts"

export interface Input {
  readonly file: string
  readonly text: string
  readonly answer: string
  readonly maxErrorRate: ReadonlyArray<number>
  readonly shuffles: number
  readonly seed: string
  readonly svg: Option.Option<string>
  readonly json: boolean
}

type Values = { readonly [column: string]: unknown }

const Row = Schema.Record(Schema.String, Schema.Unknown)

/** The rows of a file, with their positions. */
const read = (file: string) =>
  Effect.gen(function* () {
    const delimiter = file.endsWith(".csv") ? "," : file.endsWith(".tsv") ? "\t" : undefined
    const node =
      delimiter !== undefined
        ? Sourced.csv("file", { path: file, delimiter, schema: Schema.Record(Schema.String, Schema.String) })
        : Sourced.jsonl("file", { path: file, schema: Row })
    if (node.kind._tag !== "Source") return []
    const { rows } = yield* node.kind.open as Effect.Effect<
      Node.SourceReading<Values, Error, FileSystem.FileSystem>,
      Error,
      FileSystem.FileSystem
    >
    const found: Array<{ readonly position: string; readonly value: Values }> = []
    yield* Stream.runForEach(rows, (row) => {
      if ("problem" in row) return Effect.fail(ExitCode.refuse(`${row.position}: ${row.problem}`))
      found.push(row)
      return Effect.void
    })
    return found
  })

const isPair = (value: Values): boolean => "a" in value && "b" in value && "same" in value

const truths: { readonly [word: string]: boolean } = {
  true: true,
  "1": true,
  yes: true,
  false: false,
  "0": false,
  no: false
}

const toPair = ({ position, value }: { readonly position: string; readonly value: Values }) => {
  const same = truths[String(value["same"]).toLowerCase()]
  return typeof value["a"] === "string" && typeof value["b"] === "string" && same !== undefined
    ? Effect.succeed({ a: value["a"], b: value["b"], same })
    : Effect.fail(ExitCode.refuse(`${position}: a pair has texts a and b, and same: true or false`))
}

const toRow =
  (input: Input) =>
  ({ position, value }: { readonly position: string; readonly value: Values }) => {
    const [text, answer] = [value[input.text], value[input.answer]]
    return typeof text === "string" && answer !== undefined
      ? Effect.succeed({ text, answer: typeof answer === "string" ? answer : JSON.stringify(answer) })
      : Effect.fail(
          ExitCode.refuse(
            text !== undefined && typeof text !== "string"
              ? `${position}: ${input.text}: expected a string, got ${JSON.stringify(text)}`
              : `${position}: has no ${typeof text === "string" ? input.answer : input.text}; it has ${Object.keys(value).join(", ")}: name the columns with --text and --answer, or use pairs with a, b and same`
          )
        )
  }

const chartOf = ({ outcomes, thresholds }: ReuseEval.Evaluation): Chart.Chart => ({
  title: "Reused answers, and how many of them are wrong",
  x: {
    name: "share of reused answers that is wrong",
    max: Math.max(0.02, ...outcomes.map(({ maxErrorRate }) => maxErrorRate)) * 1.5,
    format: percent
  },
  y: { name: "share reused", max: 1, format: percent },
  series: [
    {
      name: "within an error rate",
      kind: "points",
      points: outcomes
        .map(({ trials }) => ReuseEval.total(trials))
        .map((all) => ({ x: ReuseEval.errorOf(all), y: ReuseEval.reuseOf(all) }))
        .toSorted((a, b) => a.x - b.x)
    },
    {
      name: "a threshold, in hindsight",
      kind: "line",
      points: thresholds
        .filter(({ reused }) => reused > 0)
        .map((one) => ({ x: ReuseEval.errorOf(one), y: ReuseEval.reuseOf(one) }))
    }
  ]
})

const DEFAULT_THRESHOLDS = [0.95, 0.9, 0.8]

const render = (evaluation: ReuseEval.Evaluation, shuffles: number, chart: Chart.Chart): string => {
  const { embedder, of, outcomes, repeated, size, thresholds, unfit } = evaluation
  const worst = (trials: ReadonlyArray<ReuseEval.EvalTrial>) =>
    trials.map(ReuseEval.errorOf).reduce((a, b) => Math.max(a, b), 0)
  const least = (trials: ReadonlyArray<ReuseEval.EvalTrial>) =>
    trials.map(ReuseEval.reuseOf).reduce((a, b) => Math.min(a, b), 1)
  const at = (threshold: number) => thresholds.findLast((one) => one.threshold >= threshold - 1e-9)
  return [
    `${count(size)} ${of}${repeated === 0 ? "" : ` (${count(repeated)} exact repeats were left out)`}, ${count(shuffles)} random orders, vectors of ${embedder}${
      unfit === 0 ? "" : `; ${count(unfit)} cannot be compared and go to the model`
    }`,
    ...(size - unfit > ErrorBound.COLD_START
      ? []
      : [`  too few: nothing is reused before ${ErrorBound.COLD_START} look-ups have shown how often it is right`]),
    "",
    ...Table.lines(
      {
        header: ["maxErrorRate", "reused", "least", "wrong", "most", "threshold in hindsight"],
        rows: outcomes.map(({ maxErrorRate, trials }) => {
          const all = ReuseEval.total(trials)
          const best = ReuseEval.bestThreshold(thresholds, maxErrorRate)
          return [
            percent(maxErrorRate),
            percent(ReuseEval.reuseOf(all)),
            percent(least(trials)),
            percent(ReuseEval.errorOf(all)),
            percent(worst(trials)),
            best === undefined ? "none" : `${best.threshold.toFixed(3)}: ${percent(ReuseEval.reuseOf(best))} reused`
          ]
        }),
        left: 0
      },
      { indent: "  " }
    ),
    "",
    ...Table.lines(
      {
        header: ["threshold", "reused", "wrong"],
        rows: DEFAULT_THRESHOLDS.flatMap((threshold) => {
          const one = at(threshold)
          return one === undefined
            ? []
            : [[threshold.toFixed(2), percent(ReuseEval.reuseOf(one)), percent(ReuseEval.errorOf(one))]]
        }),
        left: 0
      },
      { indent: "  " }
    ),
    "",
    Chart.render(chart)
  ].join("\n")
}

export const evaluate = (input: Input) =>
  Effect.gen(function* () {
    // An empty file is reported once.
    const found = yield* read(input.file).pipe(
      Effect.provide(Logger.layer([])),
      Effect.mapError((error) => ExitCode.refuse(error.message))
    )
    if (found.length === 0) return yield* ExitCode.refuse(`${input.file}: has no rows`)
    const { canRepaint, erase, err } = yield* Output.Output
    const options: ReuseEval.Options = {
      shuffles: input.shuffles,
      seed: input.seed,
      ...(input.maxErrorRate.length === 0 ? undefined : { maxErrorRates: input.maxErrorRate }),
      onProgress: (done, of, what) => {
        if (!canRepaint) return
        erase(0)
        err(`${what} ${done}/${of}`)
      }
    }
    const evaluation = yield* (
      isPair(found[0]!.value)
        ? Effect.flatMap(Effect.forEach(found, toPair), (pairs) => ReuseEval.pairs(pairs, options))
        : Effect.flatMap(Effect.forEach(found, toRow(input)), (rows) => ReuseEval.rows(rows, options))
    ).pipe(
      Effect.provide([LocalEmbedder.layer, Usearch.layer]),
      Effect.mapError((error) => ExitCode.refuse(error.message)),
      Effect.ensuring(
        Effect.sync(() => {
          if (canRepaint) erase(0)
        })
      )
    )
    const chart = chartOf(evaluation)
    if (Option.isSome(input.svg)) {
      const fs = yield* FileSystem.FileSystem
      const file = input.svg.value
      yield* Effect.mapError(fs.writeFileString(file, Chart.toSvg(chart)), (error) =>
        ExitCode.refuse(`${file}: cannot be written: ${error.message}`)
      )
    }
    yield* Console.log(
      input.json
        ? JSON.stringify({ ...evaluation, thresholds: evaluation.thresholds.filter(({ reused }) => reused > 0) })
        : render(evaluation, input.shuffles, chart)
    )
  })
