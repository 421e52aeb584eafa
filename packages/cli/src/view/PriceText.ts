/** Prices as text. */
import * as Format from "@pipe/core/internal/Format"
import * as ModelFacts from "@pipe/core/internal/ModelFacts"
import * as Money from "@pipe/core/Money"
import * as Price from "@pipe/core/Price"
import * as Table from "./Table.ts"

const classes = [
  ["uncachedInput", "input"],
  ["cacheRead", "cache read"],
  ["cacheWrite", "cache write"],
  ["cacheWrite1h", "cache write, 1 hour"],
  ["output", "output"],
  ["reasoning", "reasoning"]
] as const

const rare = [
  ["inputAudio", "audio input"],
  ["inputImage", "image input"],
  ["outputAudio", "audio output"],
  ["outputImage", "image output"]
] as const

/** USD per million tokens. */
const usd = (rates: Price.Rates, tokenClass: Parameters<typeof Price.perMillion>[1]): string => {
  const price = Price.perMillion(rates, tokenClass)
  return price === undefined ? "unknown" : `$${Money.toUsd(price)}`
}

/** The price of one model: every class at every context length, then batch. */
export const describe = (asked: string, price: Price.Price, at: number): string => {
  const lines = [
    `${asked}${asked === price.model ? "" : ` is ${price.model}`}${price.provider === "" ? "" : ` (${price.provider})`}`,
    `  USD per 1,000,000 tokens on ${new Date(at).toISOString().slice(0, 10)}, from ${price.source}`
  ]
  for (const { above, rates } of price.tiers) {
    if (price.tiers.length > 1) {
      const next = price.tiers.find((tier) => tier.above > above)
      lines.push(
        above === 0
          ? `  up to ${Format.count(next!.above)} input tokens`
          : `  above ${Format.count(above)} input tokens`
      )
    }
    for (const [tokenClass, name] of classes) {
      const owns = Price.hasOwnRate(rates, tokenClass)
      if (!owns && tokenClass === "cacheWrite1h") continue
      lines.push(
        `    ${name.padEnd(20)} ${usd(rates, tokenClass)}${owns ? "" : "  (no price of its own: its parent's)"}`
      )
    }
  }
  for (const [name, label] of rare) {
    const { rates } = price.tiers[0]
    if (rates[name] !== undefined) lines.push(`    ${label.padEnd(20)} ${usd(rates, name)}`)
  }
  if (price.fees?.request !== undefined)
    lines.push(`    ${"each request".padEnd(20)} ${Money.format(price.fees.request)}`)
  if (price.fees?.search !== undefined)
    lines.push(`    ${"each web search".padEnd(20)} ${Money.format(price.fees.search)}`)
  const tiers = ModelFacts.of(price.model)?.tiers
  const own = price.tiers[0].services ?? {}
  for (const [tier, rates] of Object.entries(own))
    lines.push(`    ${tier.padEnd(20)} ${usd(rates, "uncachedInput")} input, ${usd(rates, "output")} output`)
  for (const tier of ["batch", "flex"]) {
    if (tier in own || (tier === "flex" && tiers?.includes(tier) === false)) continue
    const whole = Price.cost(price, oneMillion, { provider: price.provider })
    const part = Price.cost(price, oneMillion, { provider: price.provider, serviceTier: tier })
    if (whole === undefined || part === undefined || whole === 0n) continue
    lines.push(`    ${tier.padEnd(20)} ${Number((part * 100n) / whole)} % of each`)
  }
  if (price.contextWindow !== undefined)
    lines.push(`    context window       ${Format.count(price.contextWindow)} tokens`)
  for (const line of ModelFacts.describe(price.model)) lines.push(`    ${line}`)
  return lines.join("\n")
}

const oneMillion = { uncachedInput: 1_000, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0, output: 1_000, reasoning: 0 }

/** Many models, one line each. */
export const list = (prices: ReadonlyArray<Price.Price>): string =>
  Table.lines({
    header: ["model", "input", "cached", "output", " USD per 1,000,000 tokens"],
    rows: prices.map(({ model, tiers }) => {
      const { rates } = tiers[0]
      return [
        model,
        usd(rates, "uncachedInput"),
        rates.cacheRead === undefined ? "–" : usd(rates, "cacheRead"),
        usd(rates, "output"),
        tiers.length > 1 ? " more for long prompts" : ""
      ].map((cell, column) => (column === 4 ? cell.padEnd(25) : cell))
    })
  }).join("\n")
