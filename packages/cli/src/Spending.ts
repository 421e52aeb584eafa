/** `--budget` in money and in tokens. */
import * as Budget from "@pipe/core/Budget"
import * as Effect from "effect/Effect"
import * as ExitCode from "./ExitCode.ts"

export const parse = Effect.fnUntraced(function* (given: ReadonlyArray<string>) {
  let limits: Budget.Limits | undefined
  for (const text of given) {
    const one = Budget.parse(text)
    if (one === undefined) {
      return yield* ExitCode.refuse(`--budget: ${text} is not an amount: write 5usd, 0.25usd or 200000tokens`)
    }
    limits = { ...limits, ...one }
  }
  return limits
})
