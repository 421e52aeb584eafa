/**
 * A flow, or an option of its run, that is invalid.
 *
 * @internal
 */
import * as Schema from "effect/Schema"

/**
 * The flow, or an option of its run, is invalid: two nodes share a name, the inputs of a node share no rows, a parameter has no value, an
 * output is also a source. Nothing was called.
 *
 * **Remedy** Change the flow or the option that the message names. The command exits with code 2.
 */
export class FlowError extends Schema.TaggedError<FlowError>()("FlowError", {
  message: Schema.String
}) {}
