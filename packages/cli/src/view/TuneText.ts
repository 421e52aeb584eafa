/** The results of tuning, as text and as a chart. */
import type * as Calibration from "@pipe/core/internal/Calibration"
import * as Money from "@pipe/core/Money"
import { count, share } from "@pipe/core/internal/Format"
import type * as Tune from "@pipe/core/internal/Tune"
import * as Chart from "./Chart.ts"
import * as Table from "./Table.ts"

export interface Charted {
  readonly step: Tune.TunedStep
  readonly chart: Chart.Chart
}

export const money = Money.format

/** Per thousand rows: the cost of one is too small to read. */
const per1000 = (cost: Money.Money): string => Money.format(cost * 1_000n)

const usdPer1000 = (cost: Money.Money): number => Number(Money.toUsd(cost * 1_000n))

const standards = {
  label: "share of answers that match the labels",
  agreement: "share of answers that agree with the strong model's"
} as const

/** The models of a routing, and how they are chosen. */
export const nameOf = ({ by, models }: Pick<Calibration.PolicyCandidate, "by" | "models">): string =>
  `${models.join(" > ")}, ${by === "row" ? "chosen by the row" : "judged by the answer"}`

/** The points that no other of the same line beats: each costs less than those with more quality. */
const frontier = (points: ReadonlyArray<Calibration.Point>): ReadonlyArray<Calibration.Point> => {
  const kept: Array<Calibration.Point> = []
  for (const point of points.toSorted((a, b) =>
    a.cost === b.cost ? b.quality - a.quality : a.cost < b.cost ? -1 : 1
  )) {
    if (kept.length === 0 || point.quality > kept.at(-1)!.quality) kept.push(point)
  }
  return kept
}

/** The candidate of a policy, or the best one for its cost. */
const shownOf = ({ calibration: { candidates, policy } }: Tune.TunedStep): ReadonlyArray<Calibration.PolicyCandidate> =>
  policy === undefined ? candidates : candidates.toSorted((a, b) => Number(isOf(b, policy)) - Number(isOf(a, policy)))

const isOf = (
  { by, models }: Calibration.PolicyCandidate,
  policy: NonNullable<Calibration.Calibration["policy"]>
): boolean =>
  by === policy.by
  && models.length === policy.rungs.length + 1
  && policy.rungs.every(({ model }, at) => model === models[at])

export const chartOf = (step: Tune.TunedStep): Chart.Chart => {
  const { certificate, singles } = step.calibration
  const point = ({ cost, quality }: { readonly cost: Money.Money; readonly quality: number }) => ({
    x: usdPer1000(cost),
    y: quality
  })
  const lines = shownOf(step).slice(0, 3)
  const most = Math.max(
    ...singles.map(({ cost }) => usdPer1000(cost)),
    ...lines.flatMap(({ points }) => points.map(({ cost }) => usdPer1000(cost))),
    1e-9
  )
  const least = Math.min(
    0.9,
    ...singles.map(({ quality }) => quality),
    ...lines.flatMap(({ points }) => points.map(({ quality }) => quality))
  )
  return {
    title: `${step.name}: quality over cost`,
    x: { name: "cost of 1,000 rows", max: most * 1.05, format: (value) => `$${Number(value.toPrecision(3))}` },
    y: { name: standards[step.standard], min: Math.floor(least * 10) / 10, max: 1, format: share },
    series: [
      ...lines.map(({ by, models, points }): Chart.Series => ({
        name: nameOf({ by, models }),
        kind: "line",
        points: frontier(points).map(point)
      })),
      { name: "one model for all rows", kind: "points", points: singles.map(point).toSorted((a, b) => a.x - b.x) },
      ...(certificate === undefined
        ? []
        : [{ name: "the certified routing", kind: "points" as const, points: [point(certificate)] }])
    ]
  }
}

export const header = ["routing", "quality", "strong calls", "cost of 1,000 rows"]

/** Each model alone, what needs no training, and what was certified. */
export const rowsOf = ({
  baselines,
  calibration: { certificate, policy, singles }
}: Tune.TunedStep): ReadonlyArray<ReadonlyArray<string>> => [
  ...singles.map(({ cost, model, quality }, at) => [
    `${model} alone`,
    share(quality),
    share(at === singles.length - 1 ? 1 : 0),
    per1000(cost)
  ]),
  ...baselines.map(({ cost, name, quality, strongShare }) => [
    `${name === "chance" ? "random" : `by ${name}`}, in hindsight`,
    share(quality),
    share(strongShare),
    per1000(cost)
  ]),
  ...(certificate === undefined || policy === undefined
    ? []
    : [
        [
          `certified: ${nameOf({ by: policy.by, models: [...policy.rungs.map(({ model }) => model), policy.strong] })}`,
          share(certificate.quality),
          share(certificate.strongShare),
          per1000(certificate.cost)
        ]
      ])
]

/** What is certified for a step, or why nothing is. */
export const verdictOf = ({ calibration: { certificate, refused, singles } }: Tune.TunedStep): string => {
  const strong = singles.at(-1)?.model ?? "the strong model"
  return certificate === undefined
    ? `not certified: ${refused}. Every row goes to ${strong}`
    : `certified on ${count(certificate.rows)} rows: with ${share(1 - certificate.delta)} confidence, at least ${share(certificate.kept)} of the quality of ${strong} is kept (target: ${share(
        certificate.target
      )}), for ${share(Number(certificate.cost) / Number(certificate.strongCost))} of its cost`
}

/** The result for a step. */
export const render = (step: Tune.TunedStep, chart: Chart.Chart): string =>
  [
    `${step.name}: ${count(step.rows)} rows; quality is the ${standards[step.standard]}${
      step.reviewed === 0 ? "" : `, and of ${count(step.reviewed)} reviewed rows with the reviewed answer`
    }`,
    "",
    ...Table.lines({ header, rows: rowsOf(step) }, { indent: "  " }),
    ...(step.calibration.candidates.length === 0 ? [] : ["", Chart.render(chart)]),
    "",
    `  ${verdictOf(step)}`
  ].join("\n")

const standings = {
  holds: "holds",
  broken: "no longer holds: tune again with pipe tune",
  open: "undecided: use more rows (--sample)"
} as const

/** How routings perform on other rows. */
export const renderCheck = ({ rows, steps, summary }: Tune.TuneCheck): string =>
  [
    ...(steps.length === 0 ? ["no step has a certified routing: there is nothing to check"] : []),
    ...steps.map((step) =>
      [
        `${step.name}: ${standings[step.standing]}`,
        `  on ${count(step.rows)} other rows the quality is ${share(step.quality)}, ${standards[step.standard]} (the strong model alone: ${share(step.strongQuality)}): ${share(
          step.low
        )} to ${share(step.high)} of its quality, where ${share(step.target)} is guaranteed`,
        `  ${share(step.strongShare)} went to the strong model; ${per1000(step.cost)} per 1,000 rows, and ${per1000(step.strongCost)} with the strong model alone`
      ].join("\n")
    ),
    `spent ${Money.format(summary.cost)} on ${count(rows)} rows`
  ].join("\n")

const usd = Money.toUsd

export const checkToJson = ({ rows, steps, summary }: Tune.TuneCheck) => ({
  rows,
  spent: usd(summary.cost),
  steps: steps.map((step) => ({ ...step, cost: usd(step.cost), strongCost: usd(step.strongCost) }))
})

/** Every routing that was tried, with its cost and quality. */
export const frontierToJson = ({
  baselines,
  calibration: { candidates, singles },
  name,
  reviewed,
  rows,
  standard
}: Tune.TunedStep) => ({
  step: name,
  rows,
  reviewed,
  standard,
  singles: singles.map((single) => ({ ...single, cost: usd(single.cost) })),
  baselines: baselines.map((baseline) => ({ ...baseline, cost: usd(baseline.cost) })),
  candidates: candidates.map(({ points, ...candidate }) => ({
    ...candidate,
    points: points.map((point) => ({ ...point, cost: usd(point.cost) }))
  }))
})
