/**
 * The count of a message.
 *
 * @internal
 */
import * as Usage from "@pipe/core/Usage"
import * as Answer from "../transport/Answer.ts"

/** Every input class stands beside the others; thinking is a part of the output. */
export const make = (value: unknown): Usage.Usage | undefined => {
  const usage = Answer.fields(value)
  const creation = Answer.fields(usage["cache_creation"])
  const oneHour = creation["ephemeral_1h_input_tokens"] ?? 0
  const fiveMinutes = creation["ephemeral_5m_input_tokens"] ?? 0
  // Some say the sum, some its two parts.
  const created = usage["cache_creation_input_tokens"] ?? Number(oneHour) + Number(fiveMinutes)
  // What was written for an hour is a part of what was written.
  const written = Usage.fromInclusive({ input: created, cacheWrite: oneHour, output: 0 })
  const output = Usage.fromInclusive({
    input: 0,
    output: usage["output_tokens"],
    reasoning: Answer.fields(usage["output_tokens_details"])["thinking_tokens"]
  })
  const input = Usage.fromDisjoint({
    input: usage["input_tokens"],
    cacheRead: usage["cache_read_input_tokens"],
    output: 0
  })
  if (written === undefined || output === undefined || input === undefined) return undefined
  return {
    ...output,
    uncachedInput: input.uncachedInput,
    cacheRead: input.cacheRead,
    cacheWrite: written.unpriceable === true ? 0 : written.uncachedInput,
    cacheWrite1h: written.unpriceable === true ? Number(oneHour) : written.cacheWrite
  }
}
