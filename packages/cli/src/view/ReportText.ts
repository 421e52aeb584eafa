/** The report of a run as text for a terminal: where the money went, and what each strategy saved. */
import * as Format from "@pipe/core/internal/Format"
import * as CostText from "./CostText.ts"
import * as Strategies from "./Strategies.ts"
import * as RunTotals from "@pipe/core/internal/RunTotals"
import * as Money from "@pipe/core/Money"
import * as PriceTable from "@pipe/core/PriceTable"
import type * as RunEvent from "@pipe/core/RunEvent"
import * as Table from "./Table.ts"

type Summary = RunEvent.RunFinished

const { count, share } = Format

const INDENT = "  "

/** Input that was not read from the provider's cache, of every kind. */
const inputOf = (tokens: RunEvent.RunFinished["tokens"]): number =>
  tokens.uncachedInput + tokens.cacheWrite + tokens.cacheWrite1h + (tokens.inputAudio ?? 0) + (tokens.inputImage ?? 0)

/** The report as lines of text. */
export const render = (summary: Summary): string => {
  const { calls, waited } = summary
  const lines = [...outcome(summary), ...reused(summary), ...gaps(summary), ...batches(summary)]
  if (RunTotals.answers(calls.answers) === 0 && calls.attempts === 0)
    return [...lines, "  no model was called: total cost $0.00"].join("\n")
  return [
    ...lines,
    "",
    ...steps(summary),
    "",
    ...totals(summary),
    ...saved(summary),
    ...[...reuse(summary), ...routes(summary), ...packs(summary), ...workers(summary), ...doubts(summary)].flatMap(
      (line) => ["", line]
    ),
    ...(waited > 0 ? [`  calls waited ${Format.duration(waited)} in total for limits and retries`] : [])
  ].join("\n")
}

/** How the run ended. */
const ending = ({ rows, status }: Summary): string => {
  switch (status) {
    case "done":
      return rows.failed > 0 ? "ended with failed rows" : "done"
    case "budget":
      return "stopped at its budget"
    case "waiting":
      return "waits for batches"
    case "interrupted":
      return "interrupted"
    default:
      return "stopped"
  }
}

const outcome = (summary: Summary): ReadonlyArray<string> => {
  const { errorsFile, failure, flow, milliseconds, outputs, rows } = summary
  const failed =
    rows.failed === 0 ? "" : `, ${count(rows.failed)} failed${errorsFile === undefined ? "" : ` (see ${errorsFile})`}`
  const dropped = rows.dropped === 0 ? "" : `, ${count(rows.dropped)} dropped`
  return [
    `${flow}: ${ending(summary)} in ${Format.duration(milliseconds)}: ${Format.of(rows.read, "row")} read${failed}${dropped}`,
    ...(failure === undefined ? [] : [`  ${failure}`]),
    ...outputs.map((output) => `  ${output.name}: ${Format.of(output.rows, "row")}`)
  ]
}

/** How many rows of a node were reused, of those that it was computed for. */
const reusedOf = ({ done, kind, name, reused, skipped }: RunEvent.NodeProgress): string =>
  kind === "Expand"
    ? `${name} ${Format.of(reused, "list")}`
    : `${name} ${count(reused)} of ${count(kind === "Filter" ? done + skipped : done)} rows`

const reused = ({ nodes }: Summary): ReadonlyArray<string> => {
  const some = nodes.filter((node) => node.reused > 0)
  return some.length === 0 ? [] : [`  reused: ${some.map(reusedOf).join(", ")}`]
}

/** Groups that lack rows, rows without a partner, and loops. */
const gaps = ({ nodes }: Summary): ReadonlyArray<string> =>
  nodes.flatMap(({ incomplete, loops, name, unmatched }) => [
    ...(loops === undefined
      ? []
      : [
          `  ${name}: ${(loops.calls / loops.rows).toFixed(1)} calls a row${
            loops.unfinished === 0
              ? ""
              : `, and ${Format.of(loops.unfinished, "row")} reached the limit of ${Format.of(loops.most, "call")}`
          }`
        ]),
    ...(incomplete === undefined
      ? []
      : [`  ${name}: ${Format.of(incomplete, "group lacks", "groups lack")} rows that failed`]),
    ...(unmatched === undefined
      ? []
      : [`  ${name}: ${Format.of(unmatched.rows, "row has", "rows have")} no partner (first: ${unmatched.first})`])
  ])

const batches = (summary: Summary): ReadonlyArray<string> => {
  if (summary.batches === undefined) return []
  const { back, expected, failed, open, queued, running } = summary.batches
  return [
    `  batches in progress: ${open}, with ${count(running)} requests at the provider and ${count(queued)} to be sent (${count(back)} done${
      failed === 0 ? "" : `, ${count(failed)} failed`
    }); expected cost ${Money.format(expected)}`
  ]
}

const steps = ({ steps }: Summary): ReadonlyArray<string> =>
  Table.lines(
    {
      header: ["step", "model", "answers", "reused", "calls", "input", "cached", "output", "reasoning", "cost"],
      rows: steps.map((step) => [
        step.step,
        step.serviceTier === undefined ? step.model : `${step.model} (${step.serviceTier})`,
        count(RunTotals.answers(step.answers)),
        count(RunTotals.reused(step.answers)),
        count(step.attempts),
        count(inputOf(step.tokens)),
        count(step.tokens.cacheRead),
        count(step.tokens.output + (step.tokens.outputAudio ?? 0) + (step.tokens.outputImage ?? 0)),
        count(step.tokens.reasoning),
        CostText.of({ cost: step.cost, unpriced: step.unpriced, attempts: step.attempts })
      ]),
      left: 2
    },
    { indent: INDENT, ruled: true }
  )

const totals = ({ calls, cost, fees, prices, tokens, unpriced }: Summary): ReadonlyArray<string> => {
  const { answers, attempts, failedAttempts, failedCost, failedRowsCost, reaskCost } = calls
  const amount = (cost: Money.Money) => CostText.of({ cost, unpriced, attempts })
  const semantic = answers.semantic === 0 ? "" : `, ${count(answers.semantic)} reused by meaning`
  const average =
    attempts === 0 ? "–" : `${(tokens.total / attempts).toFixed(1)} tokens, ${amount(cost / BigInt(attempts))}`
  return Table.pairs(
    [
      ["total cost", amount(cost)],
      ...(fees === undefined ? [] : [["of which fees", Money.format(fees)]]),
      ["total tokens", count(tokens.total)],
      [
        "requests",
        `${count(RunTotals.answers(answers))} (${count(answers.provider)} paid, ${count(answers.cache)} from the cache, ${count(answers.shared)} shared${semantic})`
      ],
      ["calls to providers", `${count(attempts)}${failedAttempts === 0 ? "" : ` (${count(failedAttempts)} failed)`}`],
      ["average per call", average],
      ...(failedCost === undefined || failedAttempts === 0 ? [] : [["for failed calls", amount(failedCost)]]),
      ...(reaskCost === undefined ? [] : [["for re-asks", amount(reaskCost)]]),
      ...(failedRowsCost === undefined ? [] : [["for failed rows", amount(failedRowsCost)]]),
      ...(prices === undefined ? [] : [["prices", PriceTable.describe(prices)]])
    ],
    INDENT
  )
}

const saved = ({ baseline, calls, savings, unpriced }: Summary): ReadonlyArray<string> => {
  // Calls that are all free, or have all failed, have nothing to compare.
  if (baseline === Money.zero && unpriced === 0) return []
  const all = Money.sum(Object.values(savings))
  const table = Table.lines(
    {
      header: ["saved by", "amount", "share"],
      rows: [
        ...Strategies.all
          .filter(({ key }) => savings[key] !== Money.zero)
          .map(({ key, name }) => [name, Money.format(savings[key]), Format.partOf(savings[key], baseline)]),
        ["total saved", Money.format(all), Format.partOf(all, baseline)],
        ["cost without savings", CostText.of({ cost: baseline, unpriced, attempts: calls.attempts }), ""]
      ]
    },
    { indent: INDENT, ruled: true }
  )
  return ["", ...table]
}

const reuse = ({ reuse = [] }: Summary): ReadonlyArray<string> =>
  reuse.map(({ audited, high, low, lookups, maxErrorRate, reused, step, wrong }) => {
    const error =
      audited === 0
        ? "none audited yet"
        : `${count(wrong)} of ${count(audited)} audited answers were wrong: ${share(low)} to ${share(high)} of all, where ${share(maxErrorRate)} are allowed`
    return `  ${step}: ${count(reused)} of ${count(lookups)} answers reused by meaning; ${error}${low > maxErrorRate ? "; reuse is off" : ""}`
  })

const routes = ({ routes = [] }: Summary): ReadonlyArray<string> =>
  routes.map(({ agreement, audited, high, low, promised, requests, step, strong, substituted }) => {
    const seen =
      audited === 0
        ? "none of the others audited"
        : `${share(agreement)} of all answers agree with the strong model's, by ${count(audited)} audits (${share(low)} to ${share(high)})`
    const promise =
      promised === undefined
        ? ""
        : promised.standard === "agreement"
          ? `; ${share(promised.target)} is guaranteed`
          : `; ${share(promised.target)} of its quality by labels is guaranteed`
    const others = substituted === 0 ? "" : `, and another model answered ${count(substituted)} of them`
    return `  ${step}: the strong model was needed for ${count(strong)} of ${count(requests)} requests${others}; ${seen}${promise}`
  })

const packs = ({ packs = [] }: Summary): ReadonlyArray<string> =>
  packs.map(({ agreed, answered, compared, packs, step, texts }) => {
    const agreement =
      compared === 0
        ? "none compared with a single answer"
        : `${count(agreed)} of ${count(compared)} compared answers agree with single ones`
    return `  ${step}: ${count(texts)} texts in ${count(packs)} packed prompts, ${count(texts - answered)} sent again; ${agreement}`
  })

/** What each worker has computed. */
const workers = ({ workers = [] }: Summary): ReadonlyArray<string> =>
  workers.length === 0
    ? []
    : [
        Table.lines(
          {
            header: ["worker", "rows", "chunks"],
            rows: workers.map(({ chunks, rows, worker }) => [worker, count(rows), count(chunks)])
          },
          { indent: INDENT, ruled: true }
        ).join("\n")
      ]

/** Which figures are uncertain. */
const doubts = ({ estimatedCalls, estimatedCost, unpriced }: Summary): ReadonlyArray<string> => [
  ...(unpriced > 0
    ? [
        `  ${Format.of(unpriced, "call has no known cost and is", "calls have no known cost and are")} not in the figures above`
      ]
    : []),
  ...(estimatedCalls > 0
    ? [
        `  ${Format.of(estimatedCalls, "call has", "calls have")} no bill (interrupted, or ended without one): ${Money.format(estimatedCost)} of the cost is an upper bound for them`
      ]
    : [])
]
