/**
 * The scores of a candidate: trained on one part of the sample, they estimate by how much a model is worse than the
 * strong one.
 *
 * @internal
 */
import * as Routing from "../Routing.ts"
import * as Scorer from "../Scorer.ts"
import { type Observation, type RoutedRow, route, strongOf } from "./Observation.ts"

/** The number of thresholds evaluated per candidate. */
const STEPS = 100

const FOLDS = 5

type Losses = (stage: number, observation: Observation) => number

/** The settings of training: the policy's kind, and the ridges. */
export interface Training {
  readonly by: Routing.RoutingPolicy["by"]
  readonly standard: Routing.Certificate["standard"]
  readonly own: number
  readonly strong: number
}

/** The rows of a model below the strong one, with their targets. */
const known = (observations: ReadonlyArray<Observation>, stage: number, by: Routing.RoutingPolicy["by"]) => {
  const rows = observations.flatMap((observation) => {
    const answer = observation.answers[stage]!
    const sample = by === "row" ? observation.row : answer.sample
    return sample === undefined ? [] : [{ sample, own: answer.quality, strong: strongOf(observation).quality }]
  })
  return {
    own: rows.map(({ own, sample }) => ({ ...sample, target: own })),
    strong: rows.map(({ sample, strong }) => ({ ...sample, target: strong }))
  }
}

export const trainingOf = (
  observations: ReadonlyArray<Observation>,
  stage: number,
  by: Routing.RoutingPolicy["by"],
  standard: Routing.Certificate["standard"]
): Training => {
  const { own, strong } = known(observations, stage, by)
  return { by, standard, own: Scorer.ridgeOf(own), strong: standard === "agreement" ? 1 : Scorer.ridgeOf(strong) }
}

/** Trains the scores of a model below the strong one. */
export const train = (observations: ReadonlyArray<Observation>, stage: number, training: Training): Routing.Stage => {
  const { own, strong } = known(observations, stage, training.by)
  return {
    model: observations[0]!.answers[stage]!.model,
    own: Scorer.fit(own, training.own),
    ...(training.standard === "agreement" ? undefined : { strong: Scorer.fit(strong, training.strong) })
  }
}

export const lossOf =
  (stage: Routing.Stage, by: Routing.RoutingPolicy["by"]) =>
  (observation: Observation, at: number): number => {
    const sample = by === "row" ? observation.row : observation.answers[at]!.sample
    return sample === undefined ? Number.POSITIVE_INFINITY : Routing.loss(stage, sample)
  }

/** Losses of rows by scores trained without them. */
export const leftOut = (observations: ReadonlyArray<Observation>, stage: number, options: Training): Losses => {
  const losses = new Map<Observation, number>()
  for (let fold = 0; fold < FOLDS; fold++) {
    const trained = train(
      observations.filter((_, at) => at % FOLDS !== fold),
      stage,
      options
    )
    const own = lossOf(trained, options.by)
    observations.forEach((observation, at) => {
      if (at % FOLDS === fold) losses.set(observation, own(observation, stage))
    })
  }
  return (_, observation) => losses.get(observation)!
}

/** Thresholds from the safest on: each lets a model below the strong one answer a further share of the rows. */
export const thresholdsOf = (losses: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => {
  const all = losses
    .map((own) => own.reduce((least, loss) => Math.min(least, loss), Number.POSITIVE_INFINITY))
    .filter(Number.isFinite)
    .toSorted((a, b) => a - b)
  const picked = Array.from({ length: STEPS }, (_, step) => all[Math.ceil(((step + 1) / STEPS) * all.length) - 1])
  return [...new Set(picked.flatMap((loss) => (loss === undefined ? [] : [Number(loss.toPrecision(6))])))]
}

/** Applies a policy to a row of the sample. */
export const apply = (policy: Routing.RoutingPolicy, observation: Observation): RoutedRow => {
  const rungs = policy.rungs.map(({ model }) => observation.answers.findIndex((answer) => answer.model === model))
  const losses = policy.rungs.map((stage, at) => lossOf(stage, policy.by)(observation, rungs[at]!))
  return route(observation, policy.by, rungs, losses, policy.threshold)
}
