/**
 * Reads public tables of prices: LiteLLM's (`model_prices_and_context_window.json`) and that of models.dev (`api.json`).
 * They come from outside: an entry that is not understood is left out and counted, and names that could control a terminal
 * are no names.
 *
 * @since 0.1.0
 */
import type * as Types from "effect/Types"
import * as Price from "./Price.ts"
import * as PriceTable from "./PriceTable.ts"

/** What was read of a table. */
export interface Read {
  /** The kind of table, for display. */
  readonly name: "LiteLLM" | "models.dev"
  readonly rows: ReadonlyArray<PriceTable.Row>
  /** Entries with a price that cannot be right, with the reason. */
  readonly problems: ReadonlyArray<{ readonly model: string; readonly reason: string }>
}

type Fields = { readonly [name: string]: unknown }
type Rates = Types.Mutable<Partial<Price.UsdRates>>

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Names of models and providers: letters, digits and a few marks. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N}._:/@+ -]{0,199}$/u

/** The most models of a table. */
const MOST_MODELS = 100_000

/** Reads a table; `undefined` when it is of neither kind. */
export const read = (json: unknown): Read | undefined => {
  if (!isRecord(json)) return undefined
  const entries = Object.entries(json)
  if (entries.some(([, entry]) => isRecord(entry) && "litellm_provider" in entry)) return litellm(entries)
  if (entries.some(([, entry]) => isRecord(entry) && isRecord(entry["models"]))) return modelsDev(entries)
  return undefined
}

/** Collects rows, the first of each name, and what is wrong with others. */
const collector = () => {
  const rows = new Map<string, PriceTable.Row>()
  const problems: Array<{ readonly model: string; readonly reason: string }> = []
  return {
    rows,
    problems,
    add: (row: PriceTable.Row): void => {
      if (!NAME.test(row.model) || !NAME.test(row.provider) || rows.size >= MOST_MODELS) return
      const reason = PriceTable.problemOf(row)
      if (reason !== undefined) problems.push({ model: row.model, reason })
      else if (!rows.has(`${row.provider}/${row.model}`)) rows.set(`${row.provider}/${row.model}`, row)
    },
    refuse: (model: string, reason: string): void => {
      if (NAME.test(model)) problems.push({ model, reason })
    }
  }
}

/** Figures from floating-point products: 1.5e-7 a token is 0.15 a million. */
const perMillion = (perToken: number): number => Number((perToken * 1e6).toPrecision(12))

/** How LiteLLM names providers, where price tables name them otherwise. */
const litellmProviders: ReadonlyMap<string, string> = new Map([
  ["text-completion-openai", "openai"],
  ["gemini", "google"],
  ["vertex_ai-language-models", "google"],
  ["vertex_ai-embedding-models", "google"],
  ["bedrock", "aws"],
  ["bedrock_converse", "aws"],
  ["xai", "x-ai"],
  ["moonshot", "moonshotai"],
  ["cohere_chat", "cohere"],
  ["fireworks_ai", "fireworks"],
  ["together_ai", "together"]
])

/** LiteLLM's fields of a token class; the service tier and the context length are suffixes. */
const litellmFields: ReadonlyArray<readonly [keyof Price.UsdRates, string]> = [
  ["input", "input_cost_per_token"],
  ["output", "output_cost_per_token"],
  ["cacheRead", "cache_read_input_token_cost"],
  ["cacheWrite", "cache_creation_input_token_cost"],
  ["cacheWrite1h", "cache_creation_input_token_cost_above_1hr"],
  ["reasoning", "output_cost_per_reasoning_token"],
  ["inputAudio", "input_cost_per_audio_token"],
  ["outputAudio", "output_cost_per_audio_token"],
  ["inputImage", "input_cost_per_image_token"],
  ["outputImage", "output_cost_per_image_token"]
]

const LITELLM_SERVICES = { batch: "_batches", flex: "_flex", priority: "_priority" } as const

/** The kinds of models that are charged by tokens. */
const LITELLM_MODES: ReadonlySet<unknown> = new Set([undefined, "chat", "completion", "responses", "embedding"])

const ABOVE = /_above_(\d{1,4})k_tokens$/

const litellm = (entries: ReadonlyArray<readonly [string, unknown]>): Read => {
  const found = collector()
  for (const [key, entry] of entries) {
    if (!isRecord(entry) || key === "sample_spec" || !LITELLM_MODES.has(entry["mode"])) continue
    const { litellm_provider: given, max_input_tokens: window } = entry
    if (typeof given !== "string" || !("input_cost_per_token" in entry)) continue
    const model = key.startsWith(`${given}/`) ? key.slice(given.length + 1) : key
    let isBroken = false
    const ratesOf = (suffix: string): Rates => {
      const rates: Rates = {}
      for (const [name, field] of litellmFields) {
        const value = entry[`${field}${suffix}`]
        if (typeof value === "number") rates[name] = perMillion(value)
        // A price that is there and no number is not a price of zero.
        else if (value !== undefined && value !== null) isBroken = true
      }
      return rates
    }
    const base = ratesOf("")
    if (entry["mode"] === "embedding") base.output ??= 0
    const lengths = new Set<number>()
    for (const field of Object.keys(entry)) {
      const above = ABOVE.exec(field)?.[1]
      if (above !== undefined) lengths.add(Number(above) * 1_000)
    }
    const servicesOf = (suffix: string, rates: Price.UsdRates) =>
      Object.entries(LITELLM_SERVICES).flatMap(([service, ending]) => {
        const own = ratesOf(`${suffix}${ending}`)
        return own.input === undefined ? [] : [[service, completed(own, rates)] as const]
      })
    const { input, output } = base
    // Only embeddings have no output. Of others a missing price is not a price of zero.
    if (input === undefined || output === undefined) {
      found.refuse(model, "its price has no output, or is not a number")
      continue
    }
    const provider = litellmProviders.get(given) ?? given
    const rates = { ...base, input, output }
    const longer = [...lengths]
      .toSorted((a, b) => a - b)
      .flatMap((above) => {
        const suffix = `_above_${above / 1_000}k_tokens`
        const own = ratesOf(suffix)
        if (Object.keys(own).length === 0) return []
        const all = completed(own, rates)
        return [tierOf(provider, above, all, servicesOf(suffix, all))]
      })
    const tiers = [tierOf(provider, 0, rates, servicesOf("", rates)), ...longer]
    if (isBroken) {
      found.refuse(model, "its price is not a number")
      continue
    }
    found.add({
      provider,
      model,
      tiers: tiers as unknown as PriceTable.Row["tiers"],
      ...searchFee(entry["search_context_cost_per_query"]),
      ...windowOf(window)
    })
  }
  return { name: "LiteLLM", rows: [...found.rows.values()], problems: found.problems }
}

const windowOf = (tokens: unknown) =>
  typeof tokens === "number" && Number.isSafeInteger(tokens) && tokens > 0 ? { contextWindow: tokens } : undefined

/** The dearest fee of a search. */
const searchFee = (fees: unknown) => {
  const all = isRecord(fees) ? Object.values(fees).filter((fee) => typeof fee === "number" && fee >= 0) : []
  return all.length === 0 ? undefined : { perSearch: Math.max(...(all as ReadonlyArray<number>)) }
}

/** A context length, without the service tiers whose published share says the same. */
const tierOf = (
  provider: string,
  above: number,
  rates: Price.UsdRates,
  services: ReadonlyArray<readonly [string, Price.UsdRates]>
) => {
  const own = services.flatMap(([name, given]) => {
    const share = Price.knownShare(provider, name)
    const isSame = (value: number, of: number) => share !== undefined && Math.abs(value - of * share) <= 1e-9 * of
    if (isSame(given.input, rates.input) && isSame(given.output, rates.output)) return []
    return [[name, given] as const]
  })
  return { above, rates, ...(own.length === 0 ? undefined : { services: Object.fromEntries(own) }) }
}

/**
 * The classes that a service tier or a context length does not name, at the same share of the ordinary price as those that
 * it does: the highest of them.
 */
const completed = (given: Partial<Price.UsdRates>, rates: Price.UsdRates): Price.UsdRates => {
  const shares = (["input", "output"] as const).flatMap((name) => {
    const [own, of] = [given[name], rates[name]]
    return own === undefined || own <= 0 || of <= 0 ? [] : [own / of]
  })
  const share = shares.length === 0 ? 1 : Math.max(...shares)
  const scaled = Object.entries(rates).flatMap(([name, value]: [string, number]) => {
    const own = Number((value * share).toPrecision(12))
    // A class that would cost next to nothing is charged as its parent.
    return own !== 0 && own < Price.LEAST ? [] : [[name, own]]
  })
  return { input: rates.input, output: rates.output, ...Object.fromEntries(scaled), ...given }
}

/** How models.dev names providers, where price tables name them otherwise. */
const modelsDevProviders: ReadonlyMap<string, string> = new Map([
  ["amazon-bedrock", "aws"],
  ["xai", "x-ai"],
  ["google-vertex", "google"],
  ["fireworks-ai", "fireworks"],
  ["togetherai", "together"]
])

const modelsDevFields: ReadonlyArray<readonly [keyof Price.UsdRates, string]> = [
  ["input", "input"],
  ["output", "output"],
  ["cacheRead", "cache_read"],
  ["cacheWrite", "cache_write"],
  ["reasoning", "reasoning"],
  ["inputAudio", "input_audio"],
  ["outputAudio", "output_audio"]
]

const modelsDevRates = (cost: unknown): Price.UsdRates | undefined => {
  if (!isRecord(cost)) return undefined
  const rates: Rates = {}
  for (const [name, field] of modelsDevFields) {
    const value = cost[field]
    if (typeof value === "number") rates[name] = value
    else if (value !== undefined && value !== null) return undefined
  }
  return rates.input === undefined || rates.output === undefined
    ? undefined
    : { ...rates, input: rates.input, output: rates.output }
}

/** The longer contexts of a price: `tiers` by size, or the older one above 200,000 tokens. */
const modelsDevTiers = (cost: Fields): ReadonlyArray<readonly [above: number, rates: unknown]> => {
  const { context_over_200k: over, tiers } = cost
  if (Array.isArray(tiers))
    return tiers.flatMap((tier: unknown) => {
      const { size, type } = isRecord(tier) && isRecord(tier["tier"]) ? tier["tier"] : {}
      return type === "context" && typeof size === "number" ? [[size, tier] as const] : []
    })
  return over === undefined ? [] : [[200_000, over]]
}

const modelsDev = (entries: ReadonlyArray<readonly [string, unknown]>): Read => {
  const found = collector()
  for (const [id, provider] of entries) {
    if (!isRecord(provider) || !isRecord(provider["models"])) continue
    for (const [model, entry] of Object.entries(provider["models"])) {
      if (!isRecord(entry) || !isRecord(entry["cost"])) continue
      const rates = modelsDevRates(entry["cost"])
      if (rates === undefined) {
        found.refuse(model, "its price is not a number")
        continue
      }
      const longer = modelsDevTiers(entry["cost"]).flatMap(([above, given]) => {
        const own = modelsDevRates(given)
        return own === undefined ? [] : [{ above, rates: own }]
      })
      found.add({
        provider: modelsDevProviders.get(id) ?? id,
        model,
        tiers: [{ above: 0, rates }, ...longer.toSorted((a, b) => a.above - b.above)],
        ...windowOf(isRecord(entry["limit"]) ? entry["limit"]["context"] : undefined)
      })
    }
  }
  return { name: "models.dev", rows: [...found.rows.values()], problems: found.problems }
}
