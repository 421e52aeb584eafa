/**
 * Maps the finish reasons of providers and gateways, in any case.
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
  ...["tool_calls", "tool-calls", "tool_use", "function_call"].map((name) => [name, "tool-calls"] as const),
  ["pause_turn", "pause"],
  ["pause", "pause"]
])

/** Patterns for names that gateways invent. */
const patterns: ReadonlyArray<readonly [RegExp, ModelResponse.FinishReason]> = [
  [/filter|safety|sensitive|prohibit|block|spii|recitation|guardrail|toxic|refus|policy|moderation/, "content-filter"],
  [/error|overload|fail|abort|cancel|time_?(?:out|limit)|network|interrupt|insufficient|unavailable/, "error"],
  [/length|limit|max|exceed|truncat/, "length"]
]

/** `unknown` when there is none, and `other` for an unknown name: such an answer may be incomplete. */
export const of = (value: unknown): ModelResponse.FinishReason => {
  if (typeof value !== "string" || value === "") return "unknown"
  const name = value.toLowerCase()
  return names.get(name) ?? patterns.find(([pattern]) => pattern.test(name))?.[1] ?? "other"
}
