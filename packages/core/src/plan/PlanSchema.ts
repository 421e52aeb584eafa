/**
 * A plan as data: its lines, their ranges, and what the run would cost otherwise.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import * as Money from "../price/Money.ts"

/** Amounts between which the true one probably lies. */
export const Range = Schema.Struct({ low: Money.FromUsd, expected: Money.FromUsd, high: Money.FromUsd })

export interface Range extends Schema.Schema.Type<typeof Range> {}

/** The calls of one step to one model. */
export const PlanLine = Schema.Struct({
  step: Schema.String,
  provider: Schema.String,
  model: Schema.String,
  /** The class of service; left out: the ordinary one. */
  serviceTier: Schema.optionalKey(Schema.String),
  /** Rows whose value is reused from earlier work. */
  reused: Schema.Int,
  /** Calls that the cache answers. */
  cached: Schema.Int,
  /** Calls that will be paid. */
  calls: Schema.Int,
  /** Counted. */
  inputTokens: Schema.Int,
  outputTokens: Schema.Struct({ low: Schema.Int, expected: Schema.Int, high: Schema.Int }),
  /** Where the length of answers comes from: so many earlier answers, or a guess (0). */
  learnedFrom: Schema.Int,
  /** `undefined`: no price is known for the model. */
  cost: Schema.optionalKey(Range)
})

export interface PlanLine extends Schema.Schema.Type<typeof PlanLine> {}

/** What the run would cost otherwise. */
export const Strategy = Schema.Struct({
  name: Schema.String,
  cost: Money.FromUsd,
  /** What to switch on for it, or what speaks against it. */
  how: Schema.String
})

export interface Strategy extends Schema.Schema.Type<typeof Strategy> {}

export const Plan = Schema.Struct({
  flow: Schema.String,
  /** Milliseconds since 1970. */
  at: Schema.Finite,
  rows: Schema.Int,
  lines: Schema.Array(PlanLine),
  cost: Range,
  /** Models without a known price: their calls are not in `cost`. */
  unpriced: Schema.Array(Schema.String),
  /** Shortest time at the known rate limits, in milliseconds. */
  milliseconds: Schema.optionalKey(Schema.Finite),
  strategies: Schema.Array(Strategy),
  /** Rows that could not be planned: a step failed on a placeholder. */
  unplanned: Schema.Int,
  /** What the author may want to know of it. */
  notes: Schema.optionalKey(Schema.Array(Schema.String))
})

export interface Plan extends Schema.Schema.Type<typeof Plan> {}

/** A plan as JSON, as the store keeps it, and back. */
export const toJson = (plan: Plan): Schema.Json => encode(plan) as Schema.Json

const encode = Schema.encodeSync(Plan)

export const fromJson = Schema.decodeUnknownOption(Plan)
