/** A flag without a value. */
import * as Flag from "effect/cli/Flag"

export const make = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withoutNegation, Flag.withDefault(false))
