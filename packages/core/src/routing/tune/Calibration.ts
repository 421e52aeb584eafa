/**
 * Finds the cheapest routing that keeps a share of the strong model's quality, on a sample of rows that every model has
 * answered, and certifies it.
 *
 * **Details** The sample is split in two. One part trains the scores of every candidate (which models, chosen by the
 * row or by the answer) and selects the cheapest candidate. The other part, unseen so far, certifies its threshold:
 * from the safest on, as long as it is certain that the share is kept (`Certificate`). The guarantee therefore holds
 * for the routing that is written, with a probability of at least 1 − δ, for rows like those of the sample.
 *
 * @internal
 */
import * as Format from "../../encoding/Format.ts"
import * as Money from "../../price/Money.ts"
import * as Certificate from "../Certificate.ts"
import type * as Routing from "../Routing.ts"
import * as CandidateScores from "./CandidateScores.ts"
import * as KeptQuality from "./KeptQuality.ts"
import { mean, meanCost, type Observation, route, type RoutedRow, strongCostOf, strongOf } from "./Observation.ts"

export interface Options {
  /** The share of the strong model's quality to keep. */
  readonly target: number
  /** The highest probability that the guarantee is wrong. Default: 0.05. */
  readonly delta?: number
  /** The reference of quality. */
  readonly standard: "label" | "agreement"
  /** The share of the sample that trains the scores. Default: 0.4. */
  readonly trainingShare?: number
}

/** A point of the cost–quality frontier, measured on rows that did not train it. */
export interface Point {
  /** Mean cost of a row. */
  readonly cost: Money.Money
  readonly quality: number
  readonly strongShare: number
  readonly threshold: number
}

/** Models and how they are chosen, with the result at each threshold, from the safest on. */
export interface PolicyCandidate {
  readonly models: ReadonlyArray<string>
  readonly by: Routing.RoutingPolicy["by"]
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
  readonly candidates: ReadonlyArray<PolicyCandidate>
  readonly policy: Routing.RoutingPolicy | undefined
  readonly certificate: Routing.Certificate | undefined
  /** Why nothing is certified. */
  readonly refused: string | undefined
}

/** The fewest rows that can train. */
const LEAST_TRAINING = 20

/** The approximate standard errors that a certificate costs. */
const MARGIN = 2

/** The most models below the strong one that are combined. */
const MOST_STAGES = 2

/**
 * The results of rows at each threshold, from the safest on. A row is evaluated again only when the threshold passes
 * one of its losses.
 */
const sweep = (
  rows: ReadonlyArray<Observation>,
  {
    by,
    losses,
    rungs,
    target,
    thresholds
  }: {
    readonly by: Routing.RoutingPolicy["by"]
    readonly rungs: ReadonlyArray<number>
    readonly losses: ReadonlyArray<ReadonlyArray<number>>
    readonly thresholds: ReadonlyArray<number>
    readonly target: number
  }
) => {
  const size = rows.length
  const routed = rows.map((row, at) => route(row, by, rungs, losses[at]!, Number.NEGATIVE_INFINITY))
  const sums = { cost: Money.zero, quality: 0, strong: 0, gain: 0, squares: 0 }
  const add = (at: number, { cost, isStrong, quality }: RoutedRow, sign: 1 | -1): void => {
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

const combinations = (count: number): ReadonlyArray<ReadonlyArray<number>> => {
  const all: Array<ReadonlyArray<number>> = []
  const add = (chosen: ReadonlyArray<number>, from: number): void => {
    if (chosen.length > 0) all.push(chosen)
    if (chosen.length < MOST_STAGES) for (let stage = from; stage < count; stage++) add([...chosen, stage], stage + 1)
  }
  add([], 0)
  // All of them, when there are more.
  return count > MOST_STAGES ? [...all, Array.from({ length: count }, (_, stage) => stage)] : all
}

/** The result of a routing on some rows, compared with the strong model alone. */
export interface Measured extends Pick<
  Routing.Certificate,
  "rows" | "quality" | "strongQuality" | "strongShare" | "cost" | "strongCost"
> {}

/** Measures routed rows. */
const measuredOf = (rows: ReadonlyArray<Observation>, routed: ReadonlyArray<RoutedRow>): Measured => ({
  rows: rows.length,
  quality: mean(routed.map(({ quality }) => quality)),
  strongQuality: mean(rows.map((row) => strongOf(row).quality)),
  strongShare: mean(routed.map(({ isStrong }) => Number(isStrong))),
  cost: meanCost(routed.map(({ cost }) => cost)),
  strongCost: strongCostOf(rows)
})

const pairsOf = (
  rows: ReadonlyArray<Observation>,
  routed: ReadonlyArray<RoutedRow>
): ReadonlyArray<KeptQuality.QualityPair> =>
  routed.map(({ quality }, at) => ({ quality, strong: strongOf(rows[at]!).quality }))

/**
 * The result of a policy on rows, and the interval of the share of the strong model's quality that it keeps, each end
 * with confidence 1 − delta.
 */
export const measure = (policy: Routing.RoutingPolicy, rows: ReadonlyArray<Observation>, delta: number) => {
  const routed = rows.map((row) => CandidateScores.apply(policy, row))
  const pairs = pairsOf(rows, routed)
  return {
    ...measuredOf(rows, routed),
    low: KeptQuality.kept(pairs, delta),
    high: KeptQuality.keptAtMost(pairs, delta)
  }
}

/** The smallest sample for a target, in the best case. */
export const leastSample = ({ delta = 0.05, target, trainingShare = 0.4 }: Omit<Options, "standard">): number =>
  Math.max(
    Math.ceil(Certificate.leastRows(target, delta) / (1 - trainingShare)),
    Math.ceil(LEAST_TRAINING / trainingShare)
  )

/** A candidate, with what decides whether it is selected. */
interface Made {
  readonly rungs: ReadonlyArray<number>
  readonly candidate: PolicyCandidate
  readonly thresholds: ReadonlyArray<number>
  readonly scores: ReadonlyArray<Routing.Stage>
  /** What it does with the certifying rows at a threshold. */
  readonly routedAt: (threshold: number) => ReadonlyArray<RoutedRow>
  /** The cost of a row where the training part keeps the target with some margin; `undefined` when it never does. */
  readonly cheapest: Money.Money | undefined
}

/** The split sample: one part trains, the other certifies. */
interface Parts {
  readonly training: ReadonlyArray<Observation>
  readonly certifying: ReadonlyArray<Observation>
}

/** Trains a candidate and evaluates it at each threshold. */
const candidateOf = (
  { certifying, training }: Parts,
  models: ReadonlyArray<string>,
  rungs: ReadonlyArray<number>,
  by: Routing.RoutingPolicy["by"],
  { standard, target }: Options
): Made => {
  const how = rungs.map((stage) => CandidateScores.trainingOf(training, stage, by, standard))
  const withoutThem = rungs.map((stage, at) => CandidateScores.leftOut(training, stage, how[at]!))
  const losses = training.map((observation) => rungs.map((stage, at) => withoutThem[at]!(stage, observation)))
  const thresholds = CandidateScores.thresholdsOf(losses)
  const tried = sweep(training, { by, rungs, losses, thresholds, target })
  const scores = rungs.map((stage, at) => CandidateScores.train(training, stage, how[at]!))
  const certified = certifying.map((observation) =>
    rungs.map((stage, at) => CandidateScores.lossOf(scores[at]!, by)(observation, stage))
  )
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
    thresholds,
    scores,
    routedAt: (threshold) =>
      certifying.map((observation, row) => route(observation, by, rungs, certified[row]!, threshold)),
    cheapest,
    candidate: { models: [...rungs.map((stage) => models[stage]!), models.at(-1)!], by, points }
  }
}

/** The candidate with the lowest cost; of equals, the simpler. */
const cheapestOf = (made: ReadonlyArray<Made>, strongCost: Money.Money): Made | undefined =>
  made
    .filter(({ cheapest }) => cheapest !== undefined && cheapest < strongCost)
    .toSorted((a, b) =>
      a.cheapest === b.cheapest ? a.rungs.length - b.rungs.length : a.cheapest! < b.cheapest! ? -1 : 1
    )[0]

/** Certifies a candidate on unseen rows, or says why it cannot. */
const certify = (
  best: Made,
  { certifying, training }: Parts,
  strong: string,
  { delta = 0.05, standard, target }: Options
): Pick<Calibration, "policy" | "certificate" | "refused"> => {
  const refuse = (refused: string) => ({
    policy: undefined,
    certificate: undefined,
    refused: `${refused}: use a larger sample, or a lower target`
  })
  const threshold = Certificate.descend(best.thresholds, (threshold) =>
    KeptQuality.keeps(pairsOf(certifying, best.routedAt(threshold)), target, delta)
  )
  if (threshold === undefined) {
    return refuse(
      `${certifying.length} rows cannot certify that ${Format.share(target)} of the quality of ${strong} is kept`
    )
  }
  const routed = best.routedAt(threshold)
  const measured = measuredOf(certifying, routed)
  if (measured.cost >= measured.strongCost) {
    return refuse(
      `what certainly keeps ${Format.share(target)} of the quality of ${strong} costs no less than calling it every time`
    )
  }
  return {
    policy: { by: best.candidate.by, rungs: best.scores, strong, threshold },
    certificate: {
      ...measured,
      target,
      delta,
      standard,
      training: training.length,
      kept: KeptQuality.kept(pairsOf(certifying, routed), delta)
    },
    refused: undefined
  }
}

/** Finds and certifies a routing on rows in random order. */
export const make = (observations: ReadonlyArray<Observation>, options: Options): Calibration => {
  const { delta = 0.05, target, trainingShare = 0.4 } = options
  const models = observations[0]?.answers.map(({ model }) => model) ?? []
  const singles = models.map((model, at): Single => ({
    model,
    cost: meanCost(observations.map(({ answers }) => answers[at]!.cost)),
    quality: mean(observations.map(({ answers }) => answers[at]!.quality))
  }))
  const refuse = (refused: string, candidates: ReadonlyArray<PolicyCandidate> = []): Calibration => ({
    singles,
    candidates,
    policy: undefined,
    certificate: undefined,
    refused
  })
  if (models.length < 2) return refuse("there is only one model, so there is nothing to choose")
  const least = leastSample(options)
  if (observations.length < least) {
    return refuse(
      `${observations.length} rows are too few: keeping ${Format.share(target)} with ${Format.share(1 - delta)} confidence takes at least ${least} if every answer agrees, and several times as many otherwise`
    )
  }
  const size = Math.round(observations.length * trainingShare)
  const parts: Parts = { training: observations.slice(0, size), certifying: observations.slice(size) }
  const made = combinations(models.length - 1).flatMap((rungs) =>
    (["row", "answer"] as const).map((by) => candidateOf(parts, models, rungs, by, options))
  )
  const candidates = made.map(({ candidate }) => candidate)
  const strong = models.at(-1)!
  const best = cheapestOf(made, strongCostOf(parts.training))
  return best === undefined
    ? refuse(
        `with this many rows no routing is likely to keep ${Format.share(target)} of the quality of ${strong} for less money: use a larger sample, or a lower target`,
        candidates
      )
    : { singles, candidates, ...certify(best, parts, strong, options) }
}
