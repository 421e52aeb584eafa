/**
 * A plan as data: its lines, their ranges, and what the run would cost otherwise.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import * as Money from "../price/Money.ts"
import * as PriceTable from "../price/PriceTable.ts"

/** The range that probably contains the true amount. */
export const Range = Schema.Struct({ low: Money.FromUsd, expected: Money.FromUsd, high: Money.FromUsd })

export interface Range extends Schema.Schema.Type<typeof Range> {}

/** The calls of a step to a model. */
export const PlanLine = Schema.Struct({
  step: Schema.String,
  provider: Schema.String,
  model: Schema.String,
  /** The service tier. Absent for the standard one. */
  serviceTier: Schema.optionalKey(Schema.String),
  /** Rows whose value is reused. */
  reused: Schema.Int,
  /** Calls that the cache answers. */
  cached: Schema.Int,
  /** Calls that will be paid for. */
  calls: Schema.Int,
  /**
   * How they were counted, where they depend on answers: from an earlier run, by the option `expect`, or on placeholders.
   * The low end of the cost is then that of the calls that come whatever the answers are. Absent where they were counted
   * on the rows.
   */
  counted: Schema.optionalKey(Schema.Literals(["learned", "expected", "guessed"])),
  /** The calls that come whatever the answers are. Absent where all do. */
  least: Schema.optionalKey(Schema.Int),
  /** Counted on the rows. */
  inputTokens: Schema.Int,
  outputTokens: Schema.Struct({ low: Schema.Int, expected: Schema.Int, high: Schema.Int }),
  /** The number of earlier answers that the answer length is learned from; 0 for a guess. */
  learnedFrom: Schema.Int,
  /** Absent when the model's price is unknown. */
  cost: Schema.optionalKey(Range)
})

export interface PlanLine extends Schema.Schema.Type<typeof PlanLine> {}

/** What the run would cost otherwise. */
export const Strategy = Schema.Struct({
  name: Schema.String,
  cost: Money.FromUsd,
  /** How to enable it, or why not. */
  how: Schema.String
})

export interface Strategy extends Schema.Schema.Type<typeof Strategy> {}

/** The expected cost of a run. */
export const Plan = Schema.Struct({
  flow: Schema.String,
  /** Milliseconds since 1970. */
  at: Schema.Finite,
  /** Identifies the version of the flow. */
  version: Schema.optionalKey(Schema.String),
  rows: Schema.Int,
  lines: Schema.Array(PlanLine),
  cost: Range,
  /** The table of the public prices. Absent when no call was planned. */
  prices: Schema.optionalKey(PriceTable.Named),
  /** Models without a known price. Their calls are not in `cost`. */
  unpriced: Schema.Array(Schema.String),
  /** The shortest duration at the known rate limits, in milliseconds. */
  milliseconds: Schema.optionalKey(Schema.Finite),
  strategies: Schema.Array(Strategy),
  /** Steps that no row has reached, because of the placeholders: their calls are not in `cost`. */
  unreached: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Rows that could not be planned, because a step failed on a placeholder. */
  unplanned: Schema.Int,
  /** Why the first of them could not be planned. */
  problem: Schema.optionalKey(Schema.String),
  /** Notes for the author. */
  notes: Schema.optionalKey(Schema.Array(Schema.String))
})

export interface Plan extends Schema.Schema.Type<typeof Plan> {}

/** Encodes a plan as JSON, as the store keeps it, and decodes it. */
export const toJson = (plan: Plan): Schema.Json => encode(plan) as Schema.Json

const encode = Schema.encodeSync(Plan)

export const fromJson = Schema.decodeUnknownOption(Plan)
