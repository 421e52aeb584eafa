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
  Argument.withDescription("the batch's name or the provider's id, or a prefix of either")
)

const work = Effect.promise(() => import("./handler.ts"))

const simulate = Switch.make("simulate", "batches of simulated runs")

const list = {
  limit: Flag.withDefault(Count.make("limit", "at most this many, newest first (default 20)"), 20),
  json: Switch.make("json", "one JSON line per batch"),
  simulate,
  store: StoreFlag.flag
}

const show = Command.make(
  "show",
  { batch, json: Switch.make("json", "as JSON"), simulate, store: StoreFlag.flag },
  (input) => Effect.flatMap(work, (batches) => batches.show(input))
).pipe(Command.withDescription("Show a batch: its status, its run, and what to do next"))

const collect = Command.make("collect", { batch: Argument.optional(batch), ...shared }, (input) =>
  Effect.flatMap(work, (batches) => batches.collect(input))
).pipe(
  Command.withDescription(
    "Collect the results of finished batches and record their cost; pipe resume passes them to their rows"
  )
)

const cancel = Command.make("cancel", { batch, ...shared }, (input) =>
  Effect.flatMap(work, (batches) => batches.cancel(input))
).pipe(Command.withDescription("Cancel a batch at the provider; what it has answered by then can be collected"))

const forget = Command.make(
  "forget",
  { batch, yes: Switch.make("yes", "do not ask for confirmation"), store: StoreFlag.flag },
  (input) => Effect.flatMap(work, (batches) => batches.forget(input))
).pipe(
  Command.withDescription(
    "Abandon a batch that the provider no longer knows: its requests are recorded at their maximum cost, and sent and paid for again"
  )
)

export const command = Command.make("batches", list, (input) =>
  Effect.flatMap(work, (batches) => batches.list(input))
).pipe(
  Command.withDescription("List, show, collect and cancel the batches of runs"),
  Command.withSubcommands([show, collect, cancel, forget]),
  Command.withExamples([
    { command: "pipe batches", description: "The last twenty" },
    { command: "pipe batches collect", description: "Collect everything that is finished" }
  ])
)
