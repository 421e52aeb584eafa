/**
 * A calibrated routing, as plain data: which models are asked in which order, which scores decide, and what is certified of it. `pipe tune`
 * writes it to a file, and `Cascade` reads it.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import * as Money from "../price/Money.ts"
import type * as Features from "./Features.ts"
import * as Scorer from "./Scorer.ts"

/** A model below the strong one. */
export const Rung = Schema.Struct({
  model: Schema.String,
  /** The probability that its answer is good. */
  own: Scorer.Scorer,
  /** The probability that the strong model's is, where that is known; left out: the strong model's answer is the standard. */
  strong: Schema.optionalKey(Scorer.Scorer)
})

export interface Rung extends Schema.Schema.Type<typeof Rung> {}

/** How a model is chosen. */
export const RoutingPolicy = Schema.Struct({
  /** `row`: before anything is asked, one model alone; `answer`: model after model, each by its answer. */
  by: Schema.Literals(["row", "answer"]),
  /** From the cheapest on. */
  rungs: Schema.Array(Rung),
  strong: Schema.String,
  /** A model's answer is taken where it is expected to be worse than the strong one's by no more than this. */
  threshold: Schema.Finite
})

export interface RoutingPolicy extends Schema.Schema.Type<typeof RoutingPolicy> {}

/** What is known of a policy, and how certainly. */
export const Certificate = Schema.Struct({
  /** Least share of the strong model's quality that is kept. */
  target: Schema.Finite,
  /** The probability with which this is wrong, at most. */
  delta: Schema.Finite,
  /** What an answer was compared with: the author's label, or the strong model's answer. */
  standard: Schema.Literals(["label", "agreement"]),
  /** Rows by which the scores were trained, and rows by which the threshold was certified. */
  training: Schema.Int,
  rows: Schema.Int,
  /** Of the rows that certify: the mean quality of the routed answers and of the strong model's. */
  quality: Schema.Finite,
  strongQuality: Schema.Finite,
  /** The share of the strong model's quality that is kept at least, with certainty 1 − delta. */
  kept: Schema.Finite,
  /** Share of the rows that the strong model answers. */
  strongShare: Schema.Finite,
  /** Of a row, in the mean: routed, and by the strong model alone. */
  cost: Money.FromUsd,
  strongCost: Money.FromUsd
})

export interface Certificate extends Schema.Schema.Type<typeof Certificate> {}

/** What was found for a step: a policy with its certificate, or why there is none. */
export const StepRoute = Schema.Struct({
  /** What the step was when it was tuned: its code, its settings, its model's names. */
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
  /** The judges whose facts the scores weigh; `key` stands for what of them changes what they say. */
  judges: Schema.Array(Schema.Struct({ name: Schema.String, key: Schema.String })),
  sample: Schema.Struct({
    rows: Schema.Int,
    seed: Schema.String,
    /** Rows whose hash is not above this were looked at; a check takes others. */
    upTo: Schema.String,
    spent: Money.FromUsd
  }),
  steps: Schema.Record(Schema.String, StepRoute)
})

export interface Routing extends Schema.Schema.Type<typeof Routing> {}

export const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Routing))

const toJson = Schema.encodeSync(Routing)

/** As it stands in the file: a line for each fact, and one for a vector. */
export const encode = (routing: Routing): string =>
  `${JSON.stringify(toJson(routing), undefined, 1).replace(/\[\n\s*-?\d[^[\]"{}]*\n\s*\]/g, (numbers) => numbers.replace(/\s+/g, ""))}\n`

/** By how much a model's answer is expected to be worse than the strong one's. */
export const loss = (rung: Rung, sample: Features.Sample): number =>
  (rung.strong === undefined ? 1 : Scorer.score(rung.strong, sample)) - Scorer.score(rung.own, sample)

/** Whether a model may answer a row (`by: "row"`), or its answer may stand (`by: "answer"`). */
export const accepts = ({ threshold }: RoutingPolicy, rung: Rung, sample: Features.Sample): boolean =>
  loss(rung, sample) <= threshold
