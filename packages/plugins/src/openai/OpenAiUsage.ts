/**
 * Reads the usage of OpenAI's APIs, and of the endpoints that follow them, wherever they put a figure.
 *
 * **Details** Cached tokens: `prompt_tokens_details.cached_tokens` (OpenAI), `cached_tokens` (Moonshot),
 * `num_cached_tokens` (Mistral), `prompt_cache_hit_tokens` (DeepSeek), `cache_read_input_tokens` (gateways in front of
 * Anthropic). Reasoning: in the output's details, or separate (`reasoning_tokens` of Perplexity). Searches:
 * `num_search_queries` (Perplexity), `num_sources_used` (xAI), `server_tool_use.web_search_requests` (OpenRouter).
 * Reported cost: `cost` (OpenRouter), `cost.total_cost` (Perplexity), `cost_in_usd_ticks` of 10⁻¹⁰ USD (xAI),
 * `estimated_cost` (DeepInfra).
 *
 * @internal
 */
import * as Usage from "@pipe/core/Usage"
import * as Fields from "../provider/Fields.ts"

/** The first value that is present. */
const first = (...values: ReadonlyArray<unknown>): unknown => {
  for (let at = 0; at < values.length; at++) if (Fields.isPresent(values[at])) return values[at]
  return undefined
}

/** A figure that can be added to another. */
const figure = (value: unknown): number =>
  typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0

export const make = (value: unknown, searches?: number): Usage.Usage | undefined => {
  const usage = Fields.fields(value)
  const input = Fields.fields(first(usage["prompt_tokens_details"], usage["input_tokens_details"]))
  const output = Fields.fields(first(usage["completion_tokens_details"], usage["output_tokens_details"]))
  const tools = Fields.fields(first(usage["server_tool_use"], usage["server_tool_use_details"]))
  // Citations are charged as input, and are in no other figure.
  const cited = figure(usage["citation_tokens"])
  const beside = output["reasoning_tokens"] === undefined ? figure(usage["reasoning_tokens"]) : 0
  const said = {
    input: first(usage["prompt_tokens"], usage["input_tokens"]),
    output: first(usage["completion_tokens"], usage["output_tokens"]),
    total: usage["total_tokens"]
  }
  const written = first(
    input["cache_write_tokens"],
    input["cache_creation_tokens"],
    input["cached_creation_tokens"],
    usage["cache_creation_input_tokens"]
  )
  // The part of the cache writes that is kept for an hour (LiteLLM).
  const creation = Fields.fields(first(input["cache_creation_token_details"], usage["cache_creation"]))
  const hour = creation["ephemeral_1h_input_tokens"]
  const longWrites = typeof hour === "number" && typeof written === "number" && hour <= written ? hour : undefined
  return Usage.fromInclusive({
    input: cited > 0 && typeof said.input === "number" ? said.input + cited : said.input,
    output: beside > 0 && typeof said.output === "number" ? said.output + beside : said.output,
    total: cited > 0 || beside > 0 ? undefined : said.total,
    cacheRead: first(
      input["cached_tokens"],
      usage["cached_tokens"],
      usage["prompt_cache_hit_tokens"],
      usage["num_cached_tokens"],
      usage["cache_read_input_tokens"]
    ),
    cacheWrite: typeof written === "number" && typeof longWrites === "number" ? written - longWrites : written,
    cacheWrite1h: longWrites,
    reasoning: first(output["reasoning_tokens"], beside),
    inputAudio: input["audio_tokens"],
    inputImage: input["image_tokens"],
    outputAudio: output["audio_tokens"],
    outputImage: output["image_tokens"],
    searches: first(
      searches === 0 ? undefined : searches,
      tools["web_search_requests"],
      usage["num_search_queries"],
      usage["num_sources_used"]
    )
  })
}

/** The cost of the call, as the provider reports it. */
export const reportedCost = (value: unknown): { readonly reportedCost: number } | undefined => {
  const usage = Fields.fields(value)
  const { cost, cost_details, cost_in_usd_ticks, estimated_cost, is_byok } = usage
  const ticks = typeof cost_in_usd_ticks === "number" ? cost_in_usd_ticks / 1e10 : undefined
  // With your own key: the gateway's fee plus the bill of the provider behind it.
  const behind = is_byok === true ? figure(Fields.fields(cost_details)["upstream_inference_cost"]) : 0
  const usd = first(
    typeof cost === "number" ? cost + behind : undefined,
    Fields.fields(cost)["total_cost"],
    ticks,
    estimated_cost
  )
  return typeof usd === "number" && Number.isFinite(usd) && usd > 0 ? { reportedCost: usd } : undefined
}
