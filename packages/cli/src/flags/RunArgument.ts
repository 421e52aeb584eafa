/** The run that a command refers to. */
import * as Argument from "effect/cli/Argument"

export const run = Argument.String("run").pipe(
  Argument.withDescription("the run's name or its beginning; left out: the last"),
  Argument.optional
)
