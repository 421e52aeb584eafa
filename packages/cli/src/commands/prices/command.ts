/** `pipe prices`: shows the price of a model, and its source. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const work = Effect.promise(() => import("./handler.ts"))

const update = Command.make(
  "update",
  {
    url: Flag.String("url").pipe(
      Flag.withDescription(
        "a table in the form of LiteLLM or models.dev: an address, or a file (default PIPE_PRICES_URL, or LiteLLM's)"
      ),
      Flag.optional
    ),
    accept: Flag.String("accept").pipe(
      Flag.withMetavar("MODEL"),
      Flag.withDescription("accept a change of this model that is refused, or its absence; may be repeated"),
      Flag.atLeast(0)
    ),
    dryRun: Switch.make("dry-run", "show what would change, and write nothing"),
    store: StoreFlag.flag
  },
  (input) => Effect.flatMap(work, (prices) => prices.update(input))
).pipe(
  Command.withDescription("Fetch a public table of prices, show what changes, and pin it in pipe-prices.json"),
  Command.withExamples([
    { command: "pipe prices update --dry-run" },
    { command: "pipe prices update --url https://models.dev/api.json" }
  ])
)

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
  (input) => Effect.flatMap(work, (prices) => prices.show(input))
).pipe(
  Command.withDescription("Show the price of a model, and its source"),
  Command.withExamples([
    { command: "pipe prices gpt-4o-mini-2024-07-18" },
    { command: "pipe prices --provider anthropic" },
    { command: "pipe prices update" }
  ]),
  Command.withSubcommands([update])
)
