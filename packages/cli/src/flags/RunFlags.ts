/** The flags of commands that run a flow: which flow, how much of it, and how the run is shown and stopped. */
import * as Argument from "effect/cli/Argument"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Count from "./Count.ts"
import * as Simulate from "./Simulate.ts"
import * as StoreFlag from "./StoreFlag.ts"
import * as Switch from "./Switch.ts"

/** How a run is shown and stopped, for every command that runs a flow. */
export const flags = {
  budget: Flag.String("budget").pipe(
    Flag.withMetavar("AMOUNT"),
    Flag.withDescription("stop when the next call no longer fits: 5usd, 2Mtokens; repeatable (exit code 3)"),
    Flag.atLeast(0)
  ),
  grace: Flag.String("grace").pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription("how long calls in flight may continue after Ctrl-C (default 8s)"),
    Flag.optional
  ),
  batch: Switch.make("batch", "send requests in batches: half the price, answers within a day"),
  online: Switch.make("online", "send single calls, even if the flow uses batches"),
  deadline: Flag.String("deadline").pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription("use batches until then (2h, 45m); what has no result is cancelled and sent as single calls"),
    Flag.optional
  ),
  detach: Switch.make("detach", "send requests in batches, and exit when all are submitted; pipe resume collects them"),
  workers: Flag.String("workers").pipe(
    Flag.withMetavar("N|any"),
    Flag.withDescription(
      "have rows computed by this many processes of this machine, or by any that have joined (pipe worker)"
    ),
    Flag.filter(
      (text) => /^(?:any|[1-9]\d*)$/.test(text),
      () => "is a number of processes, or any"
    ),
    Flag.optional
  ),
  overwrite: Switch.make(
    "overwrite",
    "replace outputs even with less than what is there: fewer rows, or another flow's"
  ),
  explain: Switch.make("explain", "say why a row is not reused"),
  json: Switch.make("json", "one JSON event per line on standard output; the last is the summary"),
  quiet: Flag.withAlias(Switch.make("quiet", "no progress and no report; only warnings and errors"), "q"),
  store: StoreFlag.flag,
  storePatience: StoreFlag.patience,
  ...Simulate.flags,
  envFile: Flag.String("env-file").pipe(
    Flag.withDescription("a file of environment variables, before .env"),
    Flag.optional
  )
}

export type Input = Command.Command.Config.Infer<typeof flags>

export const flow = Argument.String("flow").pipe(Argument.withDescription("the flow's file, such as reviews.ts"))

export const flowFile = Flag.String("flow").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("the flow's file, if it is not the one the run was started with"),
  Flag.optional
)

export const limit = Flag.optional(Count.make("limit", "read at most this many rows of each source"))

export const concurrency = Count.make(
  "concurrency",
  "rows processed concurrently, overriding the flow's own number"
).pipe(Flag.withAlias("c"), Flag.optional)
