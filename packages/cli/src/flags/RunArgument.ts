/** The run that a command refers to. */
import * as Argument from "effect/cli/Argument"

export const run = Argument.String("run").pipe(
  Argument.withDescription("the run's name or a prefix (default: the last run)"),
  Argument.optional
)
