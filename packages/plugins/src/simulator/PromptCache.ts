/**
 * Simulates the providers' prompt caches: OpenAI's automatic one, from 1,024 tokens in steps of 128, and Anthropic's,
 * up to a mark. Later requests find what an earlier answer has added.
 *
 * @internal
 */
import { createHash } from "node:crypto"
import type * as Wire from "./Wire.ts"

const MIN = 1_024
const STEP = 128
/** Models whose prompts are all written, and charged for it (developers.openai.com/api/docs/guides/prompt-caching). */
const WRITES = /^gpt-(?:5\.[6-9]|[6-9])/
/** Characters per token, to find the end of a step. */
const CHARACTERS = 4

export interface PromptCache {
  /** Input tokens read from and written to the cache, for a request at a given time. */
  readonly use: (
    asked: Wire.WireRequest,
    input: number,
    arrived: number
  ) => { readonly cacheRead: number; readonly cacheWrite: number }
}

export const make = (count: (text: string) => number): PromptCache => {
  /** When prefixes were added, by hash. */
  const kept = new Map<string, number>()
  const isKnown = (key: string, arrived: number): boolean => (kept.get(key) ?? Number.POSITIVE_INFINITY) < arrived
  const keep = (key: string): void => {
    if (!kept.has(key)) kept.set(key, performance.now())
  }

  const bySteps = ({ model, prompt }: Wire.WireRequest, input: number, arrived: number): number => {
    const hash = createHash("sha256").update(model)
    let read = 0
    for (let tokens = STEP; tokens <= input && tokens * CHARACTERS <= prompt.length; tokens += STEP) {
      hash.update(prompt.slice((tokens - STEP) * CHARACTERS, tokens * CHARACTERS))
      if (tokens < MIN) continue
      const key = hash.copy().digest("base64")
      if (isKnown(key, arrived)) read = tokens
      keep(key)
    }
    return read
  }

  return {
    use: (asked, input, arrived) => {
      if (asked.marked === "automatic") {
        const cacheRead = input < MIN ? 0 : bySteps(asked, input, arrived)
        return { cacheRead, cacheWrite: input >= MIN && WRITES.test(asked.model) ? input - cacheRead : 0 }
      }
      const tokens = asked.marked === undefined ? 0 : Math.min(input, count(asked.marked))
      if (tokens < MIN) return { cacheRead: 0, cacheWrite: 0 }
      const key = createHash("sha256").update(asked.model).update(asked.marked!).digest("base64")
      const isRead = isKnown(key, arrived)
      keep(key)
      return isRead ? { cacheRead: tokens, cacheWrite: 0 } : { cacheRead: 0, cacheWrite: tokens }
    }
  }
}
