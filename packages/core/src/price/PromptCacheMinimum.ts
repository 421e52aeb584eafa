/**
 * The length from which a provider caches the beginning of a prompt, and charges it less when it occurs again.
 *
 * **Details** OpenAI, DeepSeek and Google's newer models find common prefixes automatically. Anthropic caches what a
 * request marks, and charges more for the first time. When a provider's page and measurements of its users disagree
 * (Claude Sonnet 4.6: 1,024 or 2,048), the larger figure is used. Sources, accessed 2026-11-25: LiteLLM's price table
 * of 2026-07-24 (`prompt_cache_min_tokens`), openai.com/index/api-prompt-caching,
 * platform.claude.com/docs/en/build-with-claude/prompt-caching, ai.google.dev/gemini-api/docs/caching, api-docs.deepseek.com/guides/kv_cache.
 *
 * **Example**
 *
 * ```ts
 * import * as PromptCacheMinimum from "@pipe/core/internal/PromptCacheMinimum"
 *
 * PromptCacheMinimum.ruleOf("anthropic", "claude-haiku-4-5")?.minimum // => 4096
 * PromptCacheMinimum.ruleOf("openai", "gpt-4o-mini")?.minimum // => 1024
 * PromptCacheMinimum.ruleOf("somebody", "some-model") // => undefined
 * ```
 *
 * @internal
 */

export interface PromptCacheMinimum {
  /** Tokens of the shortest prefix that is cached. */
  readonly minimum: number
  /** Beyond the minimum, prefixes are cached in steps of this many tokens. */
  readonly step: number
  /**
   * Whether requests must mark the end of the prefix, and pay more for writes. The message or part that ends it then has
   * `options.anthropic.cacheControl`.
   */
  readonly isMarked: boolean
}

const anthropic: ReadonlyArray<readonly [RegExp, number]> = [
  [/opus-4-[56]|haiku-4-5/, 4_096],
  [/opus-4-[78]|sonnet-4-6|haiku-3|3-5-haiku|3-haiku/, 2_048],
  [/sonnet-[45]|opus-4|4-opus|4-sonnet|3-[57]-sonnet|3-opus/, 1_024],
  [/opus-5|fable-5/, 512]
]

/** The rule of a provider for a model; `undefined` when no cache is known. */
export const ruleOf = (provider: string, model: string): PromptCacheMinimum | undefined => {
  switch (provider) {
    case "openai":
      return { minimum: 1_024, step: 128, isMarked: false }
    case "anthropic":
      // An unknown model is assumed to have the highest minimum.
      return { minimum: anthropic.find(([name]) => name.test(model))?.[1] ?? 4_096, step: 1, isMarked: true }
    case "google":
      return { minimum: /gemini-2\.5/.test(model) ? 2_048 : 4_096, step: 1, isMarked: false }
    case "deepseek":
      return { minimum: 64, step: 64, isMarked: false }
    default:
      return undefined
  }
}

/** The tokens of a common prefix that are cached. */
export const kept = (rule: PromptCacheMinimum | undefined, tokens: number): number =>
  rule === undefined || tokens < rule.minimum
    ? 0
    : rule.minimum + Math.floor((tokens - rule.minimum) / rule.step) * rule.step
