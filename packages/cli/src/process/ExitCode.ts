/**
 * The exit codes of the command: 0 done; 1 the run failed, or more rows failed than the flow allows; 2 bad usage or
 * flow file; 3 the budget was reached; 130 interrupted.
 */
import * as Schema from "effect/Schema"

export const done = 0
export const failed = 1
export const usage = 2
export const budget = 3
export const interrupted = 130

/** Ends the command with a message on standard error, and an exit code. */
export class Failure extends Schema.TaggedError<Failure>()("CliFailure", {
  message: Schema.String,
  exitCode: Schema.Int
}) {}

/** Ends the command with an exit code and no further message. */
export const end = (exitCode: number): Failure => new Failure({ message: "", exitCode })

/** Ends the command for bad usage, or a missing requirement. */
export const refuse = (message: string): Failure => new Failure({ message, exitCode: usage })
