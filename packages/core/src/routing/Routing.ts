/**
 * A calibrated routing as plain data: which models are called in which order, which scores decide, and what is
 * certified. `pipe tune` writes it to a file, and `Cascade` reads it.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import * as Money from "../price/Money.ts"
import type * as Features from "./Features.ts"
import * as Scorer from "./Scorer.ts"

/** A model below the strong one. */
export const Stage = Schema.Struct({
  model: Schema.String,
  /** The probability that its answer is good. */
  own: Scorer.Scorer,
  /**
   * The probability that the strong model's answer is good, when known. Without it the strong model's answer is the
   * reference.
   */
  strong: Schema.optionalKey(Scorer.Scorer)
})

export interface Stage extends Schema.Schema.Type<typeof Stage> {}

/** How a model is chosen. */
export const RoutingPolicy = Schema.Struct({
  /** `row`: one model, chosen before any call. `answer`: one model after the other, each judged by its answer. */
  by: Schema.Literals(["row", "answer"]),
  /** From the cheapest on. */
  rungs: Schema.Array(Stage),
  strong: Schema.String,
  /** A model's answer is accepted when it is expected to be worse than the strong one's by no more than this. */
  threshold: Schema.Finite
})

export interface RoutingPolicy extends Schema.Schema.Type<typeof RoutingPolicy> {}

/** What is known of a policy, and with which certainty. */
export const Certificate = Schema.Struct({
  /** The lowest share of the strong model's quality to keep. */
  target: Schema.Finite,
  /** The highest probability that this is wrong. */
  delta: Schema.Finite,
  /** The reference of answers: the author's label, or the strong model's answer. */
  standard: Schema.Literals(["label", "agreement"]),
  /** The rows that trained the scores, and the rows that certified the threshold. */
  training: Schema.Int,
  rows: Schema.Int,
  /** Mean quality of the routed answers and of the strong model's, on the certifying rows. */
  quality: Schema.Finite,
  strongQuality: Schema.Finite,
  /** The share of the strong model's quality that is kept at least, with confidence 1 − delta. */
  kept: Schema.Finite,
  /** The share of rows that the strong model answers. */
  strongShare: Schema.Finite,
  /** Mean cost of a row: routed, and with the strong model alone. */
  cost: Money.FromUsd,
  strongCost: Money.FromUsd
})

export interface Certificate extends Schema.Schema.Type<typeof Certificate> {}

/** The result for a step: a policy with its certificate, or why there is none. */
export const StepRoute = Schema.Struct({
  /** The key of the step when it was tuned: its code, its settings, its model names. */
  key: Schema.String,
  policy: Schema.optionalKey(RoutingPolicy),
  certificate: Schema.optionalKey(Certificate),
  /** Why nothing is certified. */
  refused: Schema.optionalKey(Schema.String)
})

export interface StepRoute extends Schema.Schema.Type<typeof StepRoute> {}

/** The file that `pipe tune` writes. */
export const Routing = Schema.Struct({
  version: Schema.Literal(1),
  flow: Schema.String,
  /** When it was tuned, as an ISO date. */
  tunedAt: Schema.String,
  /** The models that were tried, the strong one last. */
  models: Schema.Array(Schema.String),
  /** The judges whose facts the scores weigh. `key` identifies what changes their verdicts. */
  judges: Schema.Array(Schema.Struct({ name: Schema.String, key: Schema.String })),
  sample: Schema.Struct({
    rows: Schema.Int,
    seed: Schema.String,
    /** The rows with hashes up to this one were used. A check uses others. */
    upTo: Schema.String,
    spent: Money.FromUsd
  }),
  steps: Schema.Record(Schema.String, StepRoute)
})

export interface Routing extends Schema.Schema.Type<typeof Routing> {}

export const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Routing))

const toJson = Schema.encodeSync(Routing)

/** Encodes the file: one line per fact, and one per vector. */
export const encode = (routing: Routing): string =>
  `${JSON.stringify(toJson(routing), undefined, 1).replace(/\[\n\s*-?\d[^[\]"{}]*\n\s*\]/g, (numbers) => numbers.replace(/\s+/g, ""))}\n`

/** By how much a model's answer is expected to be worse than the strong one's. */
export const loss = (stage: Stage, sample: Features.Sample): number =>
  (stage.strong === undefined ? 1 : Scorer.score(stage.strong, sample)) - Scorer.score(stage.own, sample)

/** Whether a model may answer a row (`by: "row"`), or its answer is accepted (`by: "answer"`). */
export const accepts = ({ threshold }: RoutingPolicy, stage: Stage, sample: Features.Sample): boolean =>
  loss(stage, sample) <= threshold
