/**
 * The length from which a provider caches the beginning of a prompt, and charges it less when it occurs again.
 *
 * **Details** OpenAI, DeepSeek and Google's newer models find common prefixes automatically. Anthropic caches what a
 * request marks, and charges more for the first time; OpenAI does so for every prompt since GPT-5.6. The figures and their
 * sources are in `KnownModels`. When a provider's page and measurements of its users disagree (Claude Sonnet 4.6: 1,024 or
 * 2,048), the larger figure is used.
 *
 * **Example**
 *
 * ```ts
 * import * as PromptCacheMinimum from "@pipe/core/internal/PromptCacheMinimum"
 *
 * PromptCacheMinimum.ruleOf("anthropic", "claude-haiku-4-5")?.minimum // => 4096
 * PromptCacheMinimum.ruleOf("anthropic", "claude-haiku-5-5")?.minimum // => 512
 * PromptCacheMinimum.ruleOf("openai", "gpt-4o-mini")?.minimum // => 1024
 * PromptCacheMinimum.ruleOf("somebody", "some-model") // => undefined
 * ```
 *
 * @internal
 */
import * as ModelFacts from "../model/ModelFacts.ts"

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
  /** Whether every prompt of that length is written without a mark, and what is not read is charged as written. */
  readonly isWritten?: boolean | undefined
}

/** The rules of providers for models without a figure of their own: the highest minimum. */
const others: ReadonlyMap<string, PromptCacheMinimum> = new Map([
  ["openai", { minimum: 1_024, step: 128, isMarked: false }],
  ["anthropic", { minimum: 4_096, step: 1, isMarked: true }],
  ["google", { minimum: 4_096, step: 1, isMarked: false }],
  ["deepseek", { minimum: 64, step: 64, isMarked: false }]
])

/** The rule of a provider for a model; `undefined` when no cache is known. */
export const ruleOf = (provider: string, model: string): PromptCacheMinimum | undefined => {
  const other = others.get(provider)
  if (other === undefined) return undefined
  const own = ModelFacts.of(model)?.promptCache
  return own === undefined ? other : { ...own, isMarked: own.isMarked === true }
}

/** The tokens of a common prefix that are cached. */
export const kept = (rule: PromptCacheMinimum | undefined, tokens: number): number =>
  rule === undefined || tokens < rule.minimum
    ? 0
    : rule.minimum + Math.floor((tokens - rule.minimum) / rule.step) * rule.step
