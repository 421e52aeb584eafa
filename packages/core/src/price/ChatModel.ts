/**
 * Tells models that answer in text from those that make vectors.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as Pricing from "./Pricing.ts"

/**
 * Tests whether a model is known to answer in text, so that it makes no vectors: the price table charges its output. Your
 * own prices do not tell, and neither do names with "embed", which a table may list with a price of output.
 */
export const isChat = (pricing: Pricing.Service, model: string, at: number): boolean =>
  !model.toLowerCase().includes("embed")
  && Option.exists(
    pricing.lookup({ model, at }),
    ({ provider, tiers }) => provider !== "" && tiers.some(({ rates }) => rates.output > 0n)
  )
