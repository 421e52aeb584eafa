/**
 * What the simulator would have billed, and the limits it enforces and reports.
 *
 * @internal
 */
import type * as Types from "effect/Types"
import type { Bill, Options } from "./Options.ts"
import type { WireTokens } from "./Wire.ts"

const MINUTE = 60_000

export interface SimulatorMeter {
  readonly record: (model: string, tokens: WireTokens, serviceTier?: string) => void
  readonly bill: () => ReadonlyArray<Bill>
  /** Counts a request in its minute. Returns how long to wait when it exceeds the limit, in milliseconds. */
  readonly overLimit: () => number | undefined
  /** The limits as headers of either API. */
  readonly headers: (isAnthropic: boolean) => Record<string, string>
}

export const make = ({ requestsPerMinute, tokensPerMinute }: Options): SimulatorMeter => {
  const bills = new Map<string, Types.Mutable<Bill>>()
  const window = { start: 0, requests: 0, tokens: 0 }
  return {
    record: (model, tokens, serviceTier) => {
      const key = `${model}\n${serviceTier ?? ""}`
      let bill = bills.get(key)
      if (bill === undefined) bills.set(key, (bill = empty(model, serviceTier)))
      bill.answers++
      bill.input += tokens.input
      bill.cacheRead += tokens.cacheRead
      bill.cacheWrite += tokens.cacheWrite
      bill.output += tokens.output
      bill.reasoning += tokens.reasoning
      if (serviceTier !== "batch") window.tokens += tokens.input + tokens.output
    },
    bill: () => [...bills.values()].map((bill) => ({ ...bill })),
    overLimit: () => {
      const now = Date.now()
      if (now - window.start >= MINUTE) Object.assign(window, { start: now, requests: 0, tokens: 0 })
      window.requests++
      return (requestsPerMinute !== undefined && window.requests > requestsPerMinute)
        || (tokensPerMinute !== undefined && window.tokens > tokensPerMinute)
        ? window.start + MINUTE - now
        : undefined
    },
    headers: (isAnthropic) => {
      const reset = Math.max(0, window.start + MINUTE - Date.now())
      return {
        ...headersOf(isAnthropic, "requests", requestsPerMinute, window.requests, reset),
        ...headersOf(isAnthropic, "tokens", tokensPerMinute, window.tokens, reset)
      }
    }
  }
}

const empty = (model: string, serviceTier: string | undefined): Types.Mutable<Bill> => ({
  model,
  answers: 0,
  input: 0,
  cacheRead: 0,
  cacheWrite: 0,
  output: 0,
  reasoning: 0,
  ...(serviceTier === undefined ? undefined : { serviceTier })
})

const headersOf = (
  isAnthropic: boolean,
  what: "requests" | "tokens",
  limit: number | undefined,
  used: number,
  reset: number
): Record<string, string> => {
  if (limit === undefined) return {}
  const remaining = String(Math.max(0, limit - used))
  return isAnthropic
    ? {
        [`anthropic-ratelimit-${what}-limit`]: String(limit),
        [`anthropic-ratelimit-${what}-remaining`]: remaining,
        [`anthropic-ratelimit-${what}-reset`]: new Date(Date.now() + reset).toISOString()
      }
    : {
        [`x-ratelimit-limit-${what}`]: String(limit),
        [`x-ratelimit-remaining-${what}`]: remaining,
        [`x-ratelimit-reset-${what}`]: `${Math.ceil(reset / 1000)}s`
      }
}
