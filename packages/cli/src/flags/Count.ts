/** A flag for an integer of 1 or more. */
import * as Flag from "effect/cli/Flag"

export const make = (name: string, description: string): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.withDescription(description),
    Flag.filter(
      (count) => count >= 1 && Number.isSafeInteger(count),
      () => "an integer of 1 or more"
    )
  )
