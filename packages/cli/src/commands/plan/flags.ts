/** The flags of `pipe plan`. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Count from "../../flags/Count.ts"
import type * as ParameterFlags from "../../flags/ParameterFlags.ts"
import * as RunFlags from "../../flags/RunFlags.ts"
import * as Simulate from "../../flags/Simulate.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  flow: RunFlags.flow,
  limit: RunFlags.limit,
  sample: Count.make(
    "sample",
    "run this many rows first to learn the length of answers; they are paid for, and the run reuses them"
  ).pipe(Flag.withMetavar("ROWS"), Flag.optional),
  batch: Switch.make("batch", "plan for a run with --batch"),
  noCache: Switch.make("no-cache", "ignore the cache and earlier results"),
  json: Switch.make("json", "the plan as JSON"),
  ...Simulate.flags,
  store: StoreFlag.flag,
  envFile: RunFlags.flags.envFile
}

export type Input = Command.Command.Config.Infer<typeof flags> & ParameterFlags.Given
