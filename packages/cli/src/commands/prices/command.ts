/** `pipe prices`: shows the price of a model, and its source. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ExitCode from "../../process/ExitCode.ts"

export const command = Command.make(
  "prices",
  {
    model: Argument.String("model").pipe(
      Argument.withDescription("a model, dated or with its provider's prefix (default: all known models)"),
      Argument.optional
    ),
    provider: Flag.String("provider").pipe(
      Flag.withDescription("the provider whose prices count, such as openai, anthropic, google, deepseek"),
      Flag.optional
    )
  },
  ({ model, provider }) =>
    Effect.gen(function* () {
      const Pricing = yield* Effect.promise(() => import("@pipe/core/Pricing"))
      const { describe, list } = yield* Effect.promise(() => import("../../view/PriceText.ts"))
      const pricing = yield* Pricing.make()
      const at = yield* Clock.currentTimeMillis
      const from = Option.getOrUndefined(provider)
      if (Option.isNone(model)) return yield* Console.log(list(pricing.list({ provider: from, at })))
      const price = pricing.lookup({ model: model.value, provider: from, at })
      if (Option.isNone(price)) {
        return yield* new ExitCode.Failure({
          message: `no price is known for ${model.value}${from === undefined ? "" : ` at ${from}`}: its cost in a run would be unknown. ${Pricing.advice(pricing, { at, model: model.value, provider: from })}`,
          exitCode: ExitCode.failed
        })
      }
      yield* Console.log(describe(model.value, price.value, at))
    })
).pipe(
  Command.withDescription("Show the price of a model, and its source"),
  Command.withExamples([
    { command: "pipe prices gpt-4o-mini-2024-07-18" },
    { command: "pipe prices --provider anthropic" }
  ])
)
