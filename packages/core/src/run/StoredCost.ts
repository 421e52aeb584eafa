/**
 * Costs beside stored values.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as StoredValue from "../encoding/StoredValue.ts"
import type * as FlowCost from "../flow/FlowCost.ts"

const Cost = Schema.Struct({
  usd: Schema.NullOr(Schema.String),
  calls: Schema.NullOr(Schema.Int),
  milliseconds: Schema.NullOr(Schema.Finite)
})

const decode = Schema.decodeUnknownOption(Cost)

/** The stored form of a value with what its calls cost. */
export const add = (text: string, { calls, milliseconds, usd }: FlowCost.Cost): string =>
  StoredValue.withNote(text, { usd, calls, milliseconds })

/** What the calls of a stored value cost; `undefined` when it is not kept. */
export const of = (text: string): FlowCost.Cost | undefined => Option.getOrUndefined(decode(StoredValue.noteOf(text)))
