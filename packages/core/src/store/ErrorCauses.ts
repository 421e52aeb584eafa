/**
 * The causes of an error of a database client: the driver's own error is the innermost.
 *
 * @internal
 */

/** An error and its causes, from the outside in. */
export const all = function* (error: unknown): Generator<object> {
  for (let at = error; typeof at === "object" && at !== null;) {
    yield at
    at = "reason" in at ? at.reason : "cause" in at ? at.cause : undefined
  }
}

/** The innermost message. */
export const messageOf = (error: unknown): string => {
  let message = ""
  for (const cause of all(error)) {
    if ("message" in cause && typeof cause.message === "string" && cause.message !== "") message = cause.message
  }
  return message
}
