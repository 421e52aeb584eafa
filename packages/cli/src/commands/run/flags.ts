/** The flags of `pipe run`. */
import type * as Command from "effect/cli/Command"
import type * as ParameterFlags from "../../flags/ParameterFlags.ts"
import * as RunFlags from "../../flags/RunFlags.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  flow: RunFlags.flow,
  limit: RunFlags.limit,
  concurrency: RunFlags.concurrency,
  check: Switch.make(
    "check",
    "read all rows and make the first prompts without a call; exit code 1 or 2 when something is wrong"
  ),
  noCache: Switch.make("no-cache", "ignore the cache and earlier results"),
  ...RunFlags.flags
}

export type Input = Command.Command.Config.Infer<typeof flags> & ParameterFlags.Given
