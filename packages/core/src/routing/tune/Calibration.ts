/**
 * Finds the cheapest routing that keeps a share of the strong model's quality, on a sample of rows that every model has answered, and
 * certifies it.
 *
 * **Details** The sample is cut in two. One part trains the scores of every candidate (which models, chosen by the row or by the
 * answer) and tells which candidate is the cheapest; the other, which none of that has seen, certifies its threshold: from the
 * safest on, as long as it is certain that the share is kept (`Certificate`). So the promise holds for the routing that is
 * written, with a probability of at least 1 − δ, for rows like those of the sample.
 *
 * @internal
 */
import * as Money from "../../price/Money.ts"
import * as Certificate from "../Certificate.ts"
import type * as Features from "../Features.ts"
import * as Routing from "../Routing.ts"
import * as Scorer from "../Scorer.ts"

/** What one model did with a row. */
export interface Answer {
  readonly model: string
  /** What the answer cost, and what its judges did, in picodollars. */
  readonly cost: Money.Money
  readonly judging: Money.Money
  /** From 0 to 1: as good as the label, or as the strong model's answer. */
  readonly quality: number
  /** Facts about the row and the answer; `undefined`: there is no answer that could stand. */
  readonly sample: Features.Sample | undefined
}

/** A row of the sample. */
export interface Observation {
  readonly row: Features.Sample
  /** Of every model, the strong one last. */
  readonly answers: ReadonlyArray<Answer>
}

export interface Options {
  /** Share of the strong model's quality that is to be kept. */
  readonly target: number
  /** The probability with which the promise may be wrong. Default: 0.05. */
  readonly delta?: number
  /** What the quality was measured by. */
  readonly standard: "label" | "agreement"
  /** Share of the sample that trains the scores. Default: 0.4. */
  readonly trainingShare?: number
}

/** A point of the cost–quality frontier, measured on rows that have not trained it. */
export interface Point {
  /** Of a row, in the mean. */
  readonly cost: Money.Money
  readonly quality: number
  readonly strongShare: number
  readonly threshold: number
}

/** Models and how they are chosen, with what that gives at each threshold, from the safest on. */
export interface Candidate {
  readonly models: ReadonlyArray<string>
  readonly by: Routing.Policy["by"]
  readonly points: ReadonlyArray<Point>
}

/** One model for all rows. */
export interface Single {
  readonly model: string
  readonly cost: Money.Money
  readonly quality: number
}

export interface Calibration {
  /** Each model alone, the strong one last. */
  readonly singles: ReadonlyArray<Single>
  readonly candidates: ReadonlyArray<Candidate>
  readonly policy: Routing.Policy | undefined
  readonly certificate: Routing.Certificate | undefined
  /** Why nothing is certified. */
  readonly refused: string | undefined
}

/** Thresholds of a candidate that are looked at. */
const STEPS = 100

const FOLDS = 5

/** Fewer rows train nothing. */
const LEAST_TRAINING = 20

/** Standard errors that a certificate takes from what it certifies, about. */
const MARGIN = 2

/** Models below the strong one that are tried together, at most. */
const MOST_RUNGS = 2

interface Routed {
  readonly cost: Money.Money
  readonly quality: number
  readonly isStrong: boolean
}

type Losses = (rung: number, observation: Observation) => number

/** What a row comes to, where `losses` says by how much each model is expected to be worse. */
const route = (
  { answers }: Observation,
  by: Routing.Policy["by"],
  rungs: ReadonlyArray<number>,
  losses: ReadonlyArray<number>,
  threshold: number
): Routed => {
  let cost = Money.zero
  for (const [at, rung] of rungs.entries()) {
    const answer = answers[rung]!
    const isTaken = losses[at]! <= threshold
    if (by === "row" && !isTaken) continue
    cost += by === "row" ? answer.cost : answer.cost + answer.judging
    if (isTaken && answer.sample !== undefined) return { cost, quality: answer.quality, isStrong: false }
  }
  const strong = answers[answers.length - 1]!
  return { cost: cost + strong.cost, quality: strong.quality, isStrong: true }
}

/** What rows come to at each threshold, from the safest on: a row is looked at anew only where the threshold passes one of its losses. */
const sweep = (
  rows: ReadonlyArray<Observation>,
  {
    by,
    losses,
    rungs,
    target,
    thresholds
  }: {
    readonly by: Routing.Policy["by"]
    readonly rungs: ReadonlyArray<number>
    readonly losses: ReadonlyArray<ReadonlyArray<number>>
    readonly thresholds: ReadonlyArray<number>
    readonly target: number
  }
) => {
  const size = rows.length
  const routed = rows.map((row, at) => route(row, by, rungs, losses[at]!, Number.NEGATIVE_INFINITY))
  const sums = { cost: Money.zero, quality: 0, strong: 0, gain: 0, squares: 0 }
  const add = (at: number, { cost, isStrong, quality }: Routed, sign: 1 | -1): void => {
    const gain = quality - target * strongOf(rows[at]!).quality
    sums.cost += sign === 1 ? cost : -cost
    sums.quality += sign * quality
    sums.strong += sign * Number(isStrong)
    sums.gain += sign * gain
    sums.squares += sign * gain ** 2
  }
  routed.forEach((one, at) => add(at, one, 1))
  const passes = losses
    .flatMap((own, row) => own.filter(Number.isFinite).map((loss) => ({ loss, row })))
    .toSorted((a, b) => a.loss - b.loss)
  let next = 0
  return thresholds.map((threshold) => {
    for (; next < passes.length && passes[next]!.loss <= threshold; next++) {
      const { row } = passes[next]!
      add(row, routed[row]!, -1)
      routed[row] = route(rows[row]!, by, rungs, losses[row]!, threshold)
      add(row, routed[row], 1)
    }
    const gain = sums.gain / size
    return {
      threshold,
      cost: sums.cost / BigInt(size),
      quality: sums.quality / size,
      strongShare: sums.strong / size,
      /** Quality less the target's share of the strong model's. */
      gain,
      deviation: Math.sqrt(Math.max(0, sums.squares / size - gain ** 2))
    }
  })
}

const strongOf = ({ answers }: Observation): Answer => answers[answers.length - 1]!

const mean = (values: ReadonlyArray<number>): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

const meanCost = (costs: ReadonlyArray<Money.Money>): Money.Money =>
  costs.length === 0 ? Money.zero : Money.sum(costs) / BigInt(costs.length)

const strongCostOf = (rows: ReadonlyArray<Observation>): Money.Money => meanCost(rows.map((row) => strongOf(row).cost))

/** How scores are trained: by what, and with which ridges. */
interface Training {
  readonly by: Routing.Policy["by"]
  readonly standard: Options["standard"]
  readonly own: number
  readonly strong: number
}

/** The rows of a model below the strong one, and what is to be told of them. */
const known = (observations: ReadonlyArray<Observation>, rung: number, by: Routing.Policy["by"]) => {
  const rows = observations.flatMap((observation) => {
    const answer = observation.answers[rung]!
    const sample = by === "row" ? observation.row : answer.sample
    return sample === undefined ? [] : [{ sample, own: answer.quality, strong: strongOf(observation).quality }]
  })
  return {
    own: rows.map(({ own, sample }) => ({ ...sample, target: own })),
    strong: rows.map(({ sample, strong }) => ({ ...sample, target: strong }))
  }
}

const trainingOf = (
  observations: ReadonlyArray<Observation>,
  rung: number,
  by: Routing.Policy["by"],
  standard: Options["standard"]
): Training => {
  const { own, strong } = known(observations, rung, by)
  return { by, standard, own: Scorer.ridgeOf(own), strong: standard === "agreement" ? 1 : Scorer.ridgeOf(strong) }
}

/** Trains the scores of a model below the strong one. */
const train = (observations: ReadonlyArray<Observation>, rung: number, training: Training): Routing.Rung => {
  const { own, strong } = known(observations, rung, training.by)
  return {
    model: observations[0]!.answers[rung]!.model,
    own: Scorer.fit(own, training.own),
    ...(training.standard === "agreement" ? undefined : { strong: Scorer.fit(strong, training.strong) })
  }
}

const lossOf =
  (rung: Routing.Rung, by: Routing.Policy["by"]) =>
  (observation: Observation, at: number): number => {
    const sample = by === "row" ? observation.row : observation.answers[at]!.sample
    return sample === undefined ? Number.POSITIVE_INFINITY : Routing.loss(rung, sample)
  }

/** Losses of rows by scores that were trained without them. */
const leftOut = (observations: ReadonlyArray<Observation>, rung: number, options: Training): Losses => {
  const losses = new Map<Observation, number>()
  for (let fold = 0; fold < FOLDS; fold++) {
    const trained = train(
      observations.filter((_, at) => at % FOLDS !== fold),
      rung,
      options
    )
    const own = lossOf(trained, options.by)
    observations.forEach((observation, at) => {
      if (at % FOLDS === fold) losses.set(observation, own(observation, rung))
    })
  }
  return (_, observation) => losses.get(observation)!
}

/** Thresholds from the safest on: at each a further share of the rows is taken by a model below the strong one. */
const thresholdsOf = (losses: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => {
  const all = losses
    .map((own) => own.reduce((least, loss) => Math.min(least, loss), Number.POSITIVE_INFINITY))
    .filter(Number.isFinite)
    .toSorted((a, b) => a - b)
  const picked = Array.from({ length: STEPS }, (_, step) => all[Math.ceil(((step + 1) / STEPS) * all.length) - 1])
  return [...new Set(picked.flatMap((loss) => (loss === undefined ? [] : [Number(loss.toPrecision(6))])))]
}

/** How good the routed answer to a row is, and the strong model's. */
export interface Pair {
  readonly quality: number
  readonly strong: number
}

/** The values that are tested, and the mean that they have to exceed: quality less `target` of the strong model's, from 0 to 1. */
const tested = (pairs: ReadonlyArray<Pair>, target: number) =>
  pairs.every(({ strong }) => strong === 1)
    ? { values: pairs.map(({ quality }) => quality), mean: target }
    : {
        values: pairs.map(({ quality, strong }) => (quality - target * strong + target) / (1 + target)),
        mean: target / (1 + target)
      }

/** Whether at least `target` of the strong model's quality is kept, with certainty 1 − delta. */
export const keeps = (pairs: ReadonlyArray<Pair>, target: number, delta: number): boolean => {
  const { mean, values } = tested(pairs, target)
  return Certificate.exceeds(values, mean, delta)
}

/** The share of the strong model's quality that is kept at least, with certainty 1 − delta; to a ten-thousandth. */
export const kept = (pairs: ReadonlyArray<Pair>, delta: number): number =>
  Certificate.highest((share) => keeps(pairs, share, delta))

/** The share that is kept at most, with certainty 1 − delta. */
export const keptAtMost = (pairs: ReadonlyArray<Pair>, delta: number): number =>
  1
  - Certificate.highest((lost) => {
    const { mean, values } = tested(pairs, 1 - lost)
    return Certificate.exceeds(
      values.map((value) => 1 - value),
      1 - mean,
      delta
    )
  })

/** A way to choose that needs no training, with the threshold chosen by hindsight: what a routing is to be compared with. */
export interface Baseline {
  readonly name: "chance" | "prompt length"
  /** Least share of the rows that the strong model has to answer. */
  readonly strongShare: number
  readonly quality: number
  readonly cost: Money.Money
}

/** What the cheapest and the strong model come to when rows are given to the strong one by chance, or by the length of their prompts. */
export const baselines = (
  observations: ReadonlyArray<Observation>,
  target: number,
  lengthOf: (row: Features.Sample) => number
): ReadonlyArray<Baseline> => {
  const rows = observations.map(({ answers, row }) => ({
    weak: answers[0]!,
    strong: answers[answers.length - 1]!,
    length: lengthOf(row)
  }))
  if (rows.length === 0) return []
  const size = rows.length
  const [weak, strong] = [mean(rows.map(({ weak }) => weak.quality)), mean(rows.map(({ strong }) => strong.quality))]
  const share = weak >= target * strong ? 0 : (target * strong - weak) / (strong - weak)
  const [weakCost, strongCost] = [
    Money.sum(rows.map(({ weak }) => weak.cost)),
    Money.sum(rows.map(({ strong }) => strong.cost))
  ]
  const millionths = BigInt(Math.round(share * 1e6))
  // The longest go to the strong model, as few as are needed.
  const sorted = rows.toSorted((a, b) => b.length - a.length)
  let quality = weak * size
  let cost = weakCost
  let taken = 0
  while (taken < size && quality < target * strong * size - 1e-9) {
    const row = sorted[taken++]!
    quality += row.strong.quality - row.weak.quality
    cost += row.strong.cost - row.weak.cost
  }
  return [
    {
      name: "chance",
      strongShare: share,
      quality: weak + share * (strong - weak),
      cost: (weakCost * (1_000_000n - millionths) + strongCost * millionths) / 1_000_000n / BigInt(size)
    },
    { name: "prompt length", strongShare: taken / size, quality: quality / size, cost: cost / BigInt(size) }
  ]
}

const combinations = (count: number): ReadonlyArray<ReadonlyArray<number>> => {
  const all: Array<ReadonlyArray<number>> = []
  const add = (chosen: ReadonlyArray<number>, from: number): void => {
    if (chosen.length > 0) all.push(chosen)
    if (chosen.length < MOST_RUNGS) for (let rung = from; rung < count; rung++) add([...chosen, rung], rung + 1)
  }
  add([], 0)
  // All of them, where that are more.
  return count > MOST_RUNGS ? [...all, Array.from({ length: count }, (_, rung) => rung)] : all
}

/** What a policy does with a row of the sample. */
export const apply = (policy: Routing.Policy, observation: Observation): Routed => {
  const rungs = policy.rungs.map(({ model }) => observation.answers.findIndex((answer) => answer.model === model))
  const losses = policy.rungs.map((rung, at) => lossOf(rung, policy.by)(observation, rungs[at]!))
  return route(observation, policy.by, rungs, losses, policy.threshold)
}

/** What a routing came to on some rows, beside the strong model alone. */
export interface Measured extends Pick<
  Routing.Certificate,
  "rows" | "quality" | "strongQuality" | "strongShare" | "cost" | "strongCost"
> {}

/** Measures what became of rows. */
const measuredOf = (rows: ReadonlyArray<Observation>, routed: ReadonlyArray<Routed>): Measured => ({
  rows: rows.length,
  quality: mean(routed.map(({ quality }) => quality)),
  strongQuality: mean(rows.map((row) => strongOf(row).quality)),
  strongShare: mean(routed.map(({ isStrong }) => Number(isStrong))),
  cost: meanCost(routed.map(({ cost }) => cost)),
  strongCost: strongCostOf(rows)
})

const pairsOf = (rows: ReadonlyArray<Observation>, routed: ReadonlyArray<Routed>): ReadonlyArray<Pair> =>
  routed.map(({ quality }, at) => ({ quality, strong: strongOf(rows[at]!).quality }))

/** What a policy comes to on rows, and between what the share of the strong model's quality lies that it keeps, each with certainty 1 − delta. */
export const measure = (policy: Routing.Policy, rows: ReadonlyArray<Observation>, delta: number) => {
  const routed = rows.map((row) => apply(policy, row))
  const pairs = pairsOf(rows, routed)
  return { ...measuredOf(rows, routed), low: kept(pairs, delta), high: keptAtMost(pairs, delta) }
}

/** Least rows of a sample for a target, if all goes well. */
export const leastSample = ({ delta = 0.05, target, trainingShare = 0.4 }: Omit<Options, "standard">): number =>
  Math.max(
    Math.ceil(Certificate.leastRows(target, delta) / (1 - trainingShare)),
    Math.ceil(LEAST_TRAINING / trainingShare)
  )

/** Finds and certifies a routing on rows in an order by chance. */
export const make = (observations: ReadonlyArray<Observation>, options: Options): Calibration => {
  const { delta = 0.05, standard, target, trainingShare = 0.4 } = options
  const models = observations[0]?.answers.map(({ model }) => model) ?? []
  const singles = models.map((model, at): Single => ({
    model,
    cost: meanCost(observations.map(({ answers }) => answers[at]!.cost)),
    quality: mean(observations.map(({ answers }) => answers[at]!.quality))
  }))
  const refuse = (refused: string, candidates: ReadonlyArray<Candidate> = []): Calibration => ({
    singles,
    candidates,
    policy: undefined,
    certificate: undefined,
    refused
  })
  const least = leastSample(options)
  if (models.length < 2) return refuse("there is one model only: nothing is to be chosen")
  const size = Math.round(observations.length * trainingShare)
  const [training, certifying] = [observations.slice(0, size), observations.slice(size)]
  if (observations.length < least) {
    return refuse(
      `${observations.length} rows are too few: to be certain to ${percent(1 - delta)} that ${percent(target)} are kept takes ${least} at least, if every answer agrees, and some times as many where they do not`
    )
  }
  const made = combinations(models.length - 1).flatMap((rungs) =>
    (["row", "answer"] as const).map((by) => {
      const how = rungs.map((rung) => trainingOf(training, rung, by, standard))
      const withoutThem = rungs.map((rung, at) => leftOut(training, rung, how[at]!))
      const losses = training.map((observation) => rungs.map((rung, at) => withoutThem[at]!(rung, observation)))
      const thresholds = thresholdsOf(losses)
      const tried = sweep(training, { by, rungs, losses, thresholds, target })
      const scores = rungs.map((rung, at) => train(training, rung, how[at]!))
      const certified = certifying.map((observation) =>
        rungs.map((rung, at) => lossOf(scores[at]!, by)(observation, rung))
      )
      const routedAt = (threshold: number) =>
        certifying.map((observation, row) => route(observation, by, rungs, certified[row]!, threshold))
      const points = sweep(certifying, { by, rungs, losses: certified, thresholds, target }).map(
        ({ cost, quality, strongShare, threshold }): Point => ({ threshold, cost, quality, strongShare })
      )
      const cheapest = tried
        .filter(({ deviation, gain }) => gain >= (MARGIN * deviation) / Math.sqrt(certifying.length))
        .reduce<Money.Money | undefined>(
          (least, { cost }) => (least === undefined || cost < least ? cost : least),
          undefined
        )
      return {
        rungs,
        by,
        thresholds,
        scores,
        routedAt,
        cheapest,
        candidate: { models: [...rungs.map((rung) => models[rung]!), models.at(-1)!], by, points } satisfies Candidate
      }
    })
  )
  const candidates = made.map(({ candidate }) => candidate)
  const strong = singles.at(-1)!
  const [best] = made
    .filter(({ cheapest }) => cheapest !== undefined && cheapest < strongCostOf(training))
    // Of what costs the same, the simpler.
    .toSorted((a, b) =>
      a.cheapest === b.cheapest ? a.rungs.length - b.rungs.length : a.cheapest! < b.cheapest! ? -1 : 1
    )
  if (best === undefined)
    return refuse(
      `with so many rows no routing promises to keep ${percent(target)} of the quality of ${strong.model} for less money: take a larger sample, or a lower target`,
      candidates
    )
  const threshold = Certificate.descend(best.thresholds, (threshold) =>
    keeps(pairsOf(certifying, best.routedAt(threshold)), target, delta)
  )
  if (threshold === undefined) {
    return refuse(
      `${certifying.length} rows do not make certain that ${percent(target)} of the quality of ${strong.model} are kept: take a larger sample, or a lower target`,
      candidates
    )
  }
  const routed = best.routedAt(threshold)
  const measured = measuredOf(certifying, routed)
  if (measured.cost >= measured.strongCost)
    return refuse(
      `what is certain to keep ${percent(target)} of the quality of ${strong.model} costs no less than asking it every time: take a larger sample, or a lower target`,
      candidates
    )
  return {
    singles,
    candidates,
    policy: { by: best.by, rungs: best.scores, strong: strong.model, threshold },
    certificate: {
      ...measured,
      target,
      delta,
      standard,
      training: training.length,
      kept: kept(pairsOf(certifying, routed), delta)
    },
    refused: undefined
  }
}

const percent = (share: number): string => `${Number((share * 100).toFixed(1))} %`
