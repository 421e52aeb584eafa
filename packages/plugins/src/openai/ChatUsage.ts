/**
 * The count of a chat completion.
 *
 * @internal
 */
import * as Usage from "@pipe/core/Usage"
import * as Answer from "../transport/Answer.ts"

/** Cached tokens stand inside the prompt's, reasoning inside the completion's. */
export const make = (value: unknown): Usage.Usage | undefined => {
  const usage = Answer.fields(value)
  const input = Answer.fields(usage["prompt_tokens_details"])
  return Usage.fromInclusive({
    input: usage["prompt_tokens"],
    output: usage["completion_tokens"],
    total: usage["total_tokens"],
    cacheRead: input["cached_tokens"],
    cacheWrite: input["cache_write_tokens"],
    reasoning: Answer.fields(usage["completion_tokens_details"])["reasoning_tokens"]
  })
}
