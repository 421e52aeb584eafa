/** The flags of `pipe run`. */
import type * as Command from "effect/cli/Command"
import type * as ParameterFlags from "../../flags/ParameterFlags.ts"
import * as RunFlags from "../../flags/RunFlags.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  flow: RunFlags.flow,
  limit: RunFlags.limit,
  concurrency: RunFlags.concurrency,
  noCache: Switch.make("no-cache", "ignore the cache and earlier results"),
  ...RunFlags.flags
}

/** The flags of pipe, which a parameter cannot be named after. */
export const names: ReadonlySet<string> = new Set([
  ...Object.keys(flags).map((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)),
  "target",
  "sample",
  "delta",
  "check",
  "seed",
  "dry-run",
  "svg",
  "html",
  "help",
  "version",
  "completions"
])

export type Input = Command.Command.Config.Infer<typeof flags> & ParameterFlags.Given
