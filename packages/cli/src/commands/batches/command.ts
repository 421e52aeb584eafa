/** `pipe batches`: lists the batches at providers, and manages them. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Count from "../../flags/Count.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const shared = {
  store: StoreFlag.flag,
  envFile: Flag.String("env-file").pipe(
    Flag.withDescription("a file of environment variables, before .env"),
    Flag.optional
  )
}

const batch = Argument.String("batch").pipe(
  Argument.withDescription("our name of a batch or the provider's id, or the beginning of either")
)

const work = Effect.promise(() => import("./handler.ts"))

const list = {
  limit: Flag.withDefault(Count.make("limit", "at most so many, the newest first (default 20)"), 20),
  json: Switch.make("json", "one batch a line, as JSON"),
  store: StoreFlag.flag
}

const show = Command.make("show", { batch, json: Switch.make("json", "as JSON"), store: StoreFlag.flag }, (input) =>
  Effect.flatMap(work, (batches) => batches.show(input))
).pipe(Command.withDescription("One batch: where it stands, whose it is, and what can be done with it"))

const collect = Command.make("collect", { batch: Argument.optional(batch), ...shared }, (input) =>
  Effect.flatMap(work, (batches) => batches.collect(input))
).pipe(
  Command.withDescription(
    "Take in the results of the batches that are back, and book them; pipe resume gives them to their rows"
  )
)

const cancel = Command.make("cancel", { batch, ...shared }, (input) =>
  Effect.flatMap(work, (batches) => batches.cancel(input))
).pipe(Command.withDescription("Cancel a batch at the provider: what it has answered by then can be collected"))

const forget = Command.make(
  "forget",
  { batch, yes: Switch.make("yes", "do it without asking"), store: StoreFlag.flag },
  (input) => Effect.flatMap(work, (batches) => batches.forget(input))
).pipe(
  Command.withDescription(
    "Give a batch up (the provider does not know it any more): its requests are booked as the most that they can cost, and sent and paid again"
  )
)

export const command = Command.make("batches", list, (input) =>
  Effect.flatMap(work, (batches) => batches.list(input))
).pipe(
  Command.withDescription("The batches that runs have sent: listed, shown, collected, cancelled"),
  Command.withSubcommands([show, collect, cancel, forget]),
  Command.withExamples([
    { command: "pipe batches", description: "The last twenty" },
    { command: "pipe batches collect", description: "Take in all that is back" }
  ])
)
