/**
 * How an answer ended, by the names that providers and gateways have for it, in any case.
 *
 * @internal
 */
import type * as ModelResponse from "@pipe/core/ModelResponse"

const names: ReadonlyMap<string, ModelResponse.FinishReason> = new Map([
  ...["stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed", "end", "finished"].map(
    (name) => [name, "stop"] as const
  ),
  ...["length", "max_tokens", "model_length", "max_output_tokens", "token_limit", "model_context_window_exceeded"].map(
    (name) => [name, "length"] as const
  ),
  ...["tool_calls", "tool_use", "function_call"].map((name) => [name, "tool-calls"] as const),
  ["pause_turn", "pause"]
])

/** Names that gateways make up, by what they say. */
const patterns: ReadonlyArray<readonly [RegExp, ModelResponse.FinishReason]> = [
  [/filter|safety|sensitive|prohibit|block|spii|recitation|guardrail|toxic|refus|policy|moderation/, "content-filter"],
  [/error|overload|fail|abort|cancel|time_?(?:out|limit)|network|interrupt|insufficient|unavailable/, "error"],
  [/length|limit|max|exceed|truncat/, "length"]
]

/** `unknown` where nothing is said, and `other` for a name that says nothing to us: such an answer may not be whole. */
export const of = (value: unknown): ModelResponse.FinishReason => {
  if (typeof value !== "string" || value === "") return "unknown"
  const name = value.toLowerCase()
  return names.get(name) ?? patterns.find(([pattern]) => pattern.test(name))?.[1] ?? "other"
}
