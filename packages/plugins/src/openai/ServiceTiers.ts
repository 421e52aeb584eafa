/**
 * The service tiers of OpenAI and of services that speak its API: `service_tier` in a request, and in the answer the one
 * that was used.
 *
 * **Details** OpenAI: `flex` for the models that its page lists (developers.openai.com/api/docs/guides/flex-processing).
 * Google: `flex` (ai.google.dev/gemini-api/docs/flex-inference). Groq: `flex`, at the standard price
 * (console.groq.com/docs/flex-processing). Amazon Bedrock: `flex` (docs.aws.amazon.com/bedrock, service tiers). All
 * accessed 2026-11-30.
 *
 * @internal
 */
import type * as LayerAnnotations from "@pipe/core/LayerAnnotations"
import * as ModelFacts from "@pipe/core/internal/ModelFacts"
import * as Fields from "../provider/Fields.ts"

/** The tiers that services have for all of their models, or for those that the table says. */
const known: { readonly [provider: string]: ReadonlyArray<string> | "by model" } = {
  openai: "by model",
  azure: "by model",
  google: "by model",
  groq: ["flex", "auto", "performance"],
  aws: ["flex", "priority", "reserved"],
  "x-ai": ["priority"]
}

/** The names of the standard tier (OpenAI, Groq). */
const ORDINARY: ReadonlySet<string> = new Set(["default", "auto", "standard", "on_demand"])

/** A tier as an answer or a request names it; `"default"` for the standard one. */
export const named = (value: unknown): string | undefined => {
  const tier = Fields.name(value)
    ?.toLowerCase()
    .replace(/^on_demand_/, "")
  return tier === undefined ? undefined : ORDINARY.has(tier) ? "default" : tier
}

/** The options that request a tier of a service. */
export const optionsOf =
  (provider: string): LayerAnnotations.ServiceTiers["options"] =>
  (tier, model) => {
    const tiers = Object.hasOwn(known, provider) ? known[provider] : undefined
    const all = tiers === "by model" ? ModelFacts.of(model)?.tiers : tiers
    return all?.includes(tier) === true ? { openai: { service_tier: tier } } : undefined
  }

/** The tier that a request names. */
export const askedBy: LayerAnnotations.ServiceTiers["of"] = ({ providerOptions }) => {
  const own = providerOptions["openai"]
  return Fields.isRecord(own) ? named(own["service_tier"]) : undefined
}
