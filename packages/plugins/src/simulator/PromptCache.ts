/**
 * The providers' prompt caches, as the simulator has them: OpenAI's by itself, from 1,024 tokens on in steps of 128; Anthropic's
 * where a request marks the end of what is to be kept. What an answer has put there is found by requests that come after it.
 *
 * @internal
 */
import { createHash } from "node:crypto"
import type * as Wire from "./Wire.ts"

const MIN = 1_024
const STEP = 128
/** Characters of a token, for where a step ends. */
const CHARACTERS = 4

export interface PromptCache {
  /** Input tokens that are read from the cache and written to it, for a request that came at a time. */
  readonly use: (
    asked: Wire.WireRequest,
    input: number,
    arrived: number
  ) => { readonly cacheRead: number; readonly cacheWrite: number }
}

export const make = (count: (text: string) => number): PromptCache => {
  /** When the beginnings of prompts were put there, by their hash. */
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
      if (asked.marked === "automatic")
        return { cacheRead: input < MIN ? 0 : bySteps(asked, input, arrived), cacheWrite: 0 }
      const tokens = asked.marked === undefined ? 0 : Math.min(input, count(asked.marked))
      if (tokens < MIN) return { cacheRead: 0, cacheWrite: 0 }
      const key = createHash("sha256").update(asked.model).update(asked.marked!).digest("base64")
      const isRead = isKnown(key, arrived)
      keep(key)
      return isRead ? { cacheRead: tokens, cacheWrite: 0 } : { cacheRead: 0, cacheWrite: tokens }
    }
  }
}
