/**
 * Prices that the public table does not have, or has wrong, as data. The public table was compared with the providers' pages
 * on the day below; it agreed in all other models of OpenAI and Anthropic.
 *
 * Sources, accessed 2026-11-30: developers.openai.com/api/docs/pricing and the pages of GPT-6.1 Sol, GPT-6.1 Terra,
 * GPT-6.2 Sol and GPT-6.2 Astra; developers.openai.com/api/docs/guides/decisions ($0.10 per million input tokens, and
 * nothing for output); platform.claude.com/docs/en/about-claude/pricing.
 *
 * @internal
 */
import type * as PriceTable from "./PriceTable.ts"

/** The day on which the prices of the package were compared with the providers' pages. */
export const CHECKED = "2026-11-30"

type Usd = Readonly<Record<"input" | "cacheRead" | "cacheWrite" | "output", number>>

/** OpenAI's models since GPT-5.6: above 272,000 input tokens, input costs twice as much and output half as much again. */
const openai = (model: string, usd: Usd): PriceTable.Row => ({
  provider: "openai",
  model,
  tiers: [
    { above: 0, rates: usd },
    {
      above: 272_000,
      rates: {
        input: 2 * usd.input,
        cacheRead: 2 * usd.cacheRead,
        cacheWrite: 2 * usd.cacheWrite,
        output: 1.5 * usd.output
      }
    }
  ],
  perSearch: 0.01,
  contextWindow: 1_050_000
})

export const knownPrices: ReadonlyArray<PriceTable.Row> = [
  openai("gpt-6.1-sol", { input: 2, cacheRead: 0.1, cacheWrite: 2.5, output: 10 }),
  openai("gpt-6.1-terra", { input: 1, cacheRead: 0.05, cacheWrite: 1.25, output: 5 }),
  openai("gpt-6.2-sol", { input: 2, cacheRead: 0.1, cacheWrite: 2.5, output: 10 }),
  openai("gpt-6.2-astra", { input: 8, cacheRead: 0.4, cacheWrite: 10, output: 40 }),
  {
    provider: "openai",
    model: "gpt-6-luna",
    tiers: [
      {
        above: 0,
        rates: { input: 0.1, cacheRead: 0.01, cacheWrite: 0.125, output: 0.5 },
        services: { decision: { input: 0.1, output: 0 } }
      },
      {
        above: 272_000,
        rates: { input: 0.2, cacheRead: 0.02, cacheWrite: 0.25, output: 0.75 },
        services: { decision: { input: 0.2, output: 0 } }
      }
    ],
    perSearch: 0.01,
    contextWindow: 1_050_000
  },
  {
    provider: "anthropic",
    model: "claude-haiku-5-5",
    tiers: [
      { above: 0, rates: { input: 0.1, cacheRead: 0.01, cacheWrite: 0.125, cacheWrite1h: 0.2, output: 0.5 } },
      { above: 100_000, rates: { input: 0.5, cacheRead: 0.05, cacheWrite: 0.625, cacheWrite1h: 1, output: 2.5 } }
    ],
    perSearch: 0.01,
    contextWindow: 1_000_000
  },
  {
    provider: "anthropic",
    model: "claude-sonnet-5-5",
    tiers: [{ above: 0, rates: { input: 2, cacheRead: 0.1, cacheWrite: 2.5, cacheWrite1h: 4, output: 10 } }],
    perSearch: 0.01,
    contextWindow: 1_000_000
  }
]
