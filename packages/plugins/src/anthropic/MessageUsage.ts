/**
 * Reads the usage of a message.
 *
 * @internal
 */
import * as Usage from "@pipe/core/Usage"
import * as Fields from "../provider/Fields.ts"

/** Adds figures. One that is not a number invalidates the sum. */
const sum = (...values: ReadonlyArray<unknown>): unknown =>
  values.reduce<unknown>(
    (total, value) =>
      value === undefined || value === null
        ? total
        : typeof value === "number" && typeof total === "number"
          ? total + value
          : Number.NaN,
    0
  )

/**
 * All input classes are separate, and thinking is part of the output. What the API did before the answer, such as
 * compacting a long conversation, is only in `iterations`; what another model did has its own price.
 */
export const make = (value: unknown, model?: unknown): Usage.Usage | undefined => {
  const usage = one(value)
  const iterations = (Fields.list(Fields.fields(value)["iterations"]) ?? []).map(Fields.fields)
  if (usage === undefined || iterations.length === 0) return usage
  const isOther = ({ input_tokens: input, model: by, output_tokens: output }: Fields.Fields) =>
    typeof by === "string" && by !== model && (Number(input) > 0 || Number(output) > 0)
  const others = iterations.filter(isOther)
  const inside = iterations.filter(({ type }) => type === "compaction").map(one)
  if (inside.some((part) => part === undefined)) return undefined
  const whole = inside.reduce<Usage.Usage>((sum, part) => Usage.add(sum, part!), usage)
  return others.length === 0
    ? whole
    : {
        ...whole,
        inconsistent: `the answer is billed at the prices of several models (including ${others.map(({ model: by }) => by).join(", ")})`,
        unpriceable: true
      }
}

const one = (value: unknown): Usage.Usage | undefined => {
  const usage = Fields.fields(value)
  const creation = Fields.fields(usage["cache_creation"])
  const [oneHour, fiveMinutes] = [creation["ephemeral_1h_input_tokens"], creation["ephemeral_5m_input_tokens"]]
  // Some servers report the sum, some its two parts. When they differ, the larger counts.
  const parts = sum(oneHour, fiveMinutes)
  const whole = usage["cache_creation_input_tokens"] ?? parts
  const created = typeof whole === "number" && typeof parts === "number" ? Math.max(whole, parts) : whole
  const isPart = typeof created === "number" && typeof oneHour === "number" && oneHour <= created
  const output = Usage.fromInclusive({
    input: 0,
    output: usage["output_tokens"],
    reasoning: Fields.fields(usage["output_tokens_details"])["thinking_tokens"],
    total: usage["output_tokens"]
  })
  const input = Usage.fromDisjoint({
    input: usage["input_tokens"],
    cacheRead: usage["cache_read_input_tokens"],
    cacheWrite: isPart ? created - oneHour : oneHour === undefined || oneHour === null ? created : 0,
    cacheWrite1h: oneHour,
    output: 0,
    searches: Fields.fields(usage["server_tool_use"])["web_search_requests"]
  })
  return output === undefined || input === undefined
    ? undefined
    : {
        ...input,
        output: output.output,
        reasoning: output.reasoning,
        ...(output.inconsistent === undefined ? undefined : { inconsistent: output.inconsistent })
      }
}
