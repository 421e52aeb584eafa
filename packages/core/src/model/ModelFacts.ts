/**
 * What a model takes: the settings that it refuses, the API that its tools need, how its provider caches prompts, its
 * service tiers, and how it counts files. The figures are data, in `KnownModels`.
 *
 * **Example**
 *
 * ```ts
 * import * as ModelFacts from "@pipe/core/internal/ModelFacts"
 *
 * ModelFacts.refused("gpt-6-luna", { temperature: 0 }) // => ["temperature"]
 * ModelFacts.refused("gpt-6-luna", { temperature: 0, reasoningEffort: "none" }) // => []
 * ModelFacts.refused("gpt-4o-mini", { temperature: 0 }) // => []
 * ```
 *
 * @internal
 */
import type * as KnownModel from "./known/KnownModel.ts"
import { knownModels } from "./known/KnownModels.ts"
import * as ModelRequest from "./ModelRequest.ts"
import * as ModelTable from "./ModelTable.ts"

const table: ModelTable.ModelTable<KnownModel.KnownModel> = knownModels.flatMap((facts) =>
  facts.models.map((name) => [name, facts] as const)
)

const found = new Map<string, KnownModel.KnownModel | undefined>()

/** Names that are remembered. Requests of a run have few. */
const MOST_NAMES = 1_000

/** The name that facts are found by: without the case of its letters, and of a fine-tuned model (`ft:<model>:…`) its base. */
const plainName = (model: string): string => {
  const name = model.toLowerCase()
  return name.startsWith("ft:") ? name.slice(3).split(":", 1)[0]! : name
}

/** What is known of a model; `undefined` when nothing is. */
export const of = (model: string): KnownModel.KnownModel | undefined => {
  if (found.has(model)) return found.get(model)
  const facts = ModelTable.find(table, plainName(model), "-@:")
  if (found.size < MOST_NAMES) found.set(model, facts)
  return facts
}

/** Tests whether a model thinks with these settings, as far as is known. */
const thinks = ({ efforts }: KnownModel.KnownModel, { reasoningEffort }: ModelRequest.Settings): boolean => {
  const effort =
    reasoningEffort !== undefined && efforts?.values.includes(reasoningEffort) ? reasoningEffort : efforts?.default
  return effort !== "none"
}

const isRefused = (
  facts: KnownModel.KnownModel,
  { except, when }: KnownModel.Refusal,
  name: KnownModel.Setting,
  settings: ModelRequest.Settings
): boolean =>
  settings[name] !== undefined
  && settings[name] !== except
  && (when === "always"
    || (when === "thinking" && thinks(facts, settings))
    || (when === "with temperature" && settings.temperature !== undefined))

/** The values that some model takes. */
const EFFORTS: ReadonlySet<string> = new Set(knownModels.flatMap(({ efforts }) => efforts?.values ?? []))

/** The settings that a model refuses, of those given. */
export const refused = (model: string, settings: ModelRequest.Settings): ReadonlyArray<KnownModel.Setting> => {
  const facts = of(model)
  if (facts === undefined) return NONE
  let all: Array<KnownModel.Setting> | undefined
  for (const refusal of facts.refuses ?? [])
    for (const name of refusal.settings) if (isRefused(facts, refusal, name, settings)) (all ??= []).push(name)
  const { reasoningEffort } = settings
  // A value that no model is known to take may be new, or a mistake: the provider says so.
  if (
    reasoningEffort !== undefined
    && EFFORTS.has(reasoningEffort)
    && facts.efforts?.values.includes(reasoningEffort) === false
  )
    (all ??= []).push("reasoningEffort")
  return all ?? NONE
}

const NONE: ReadonlyArray<KnownModel.Setting> = []

/** What would have a model take a setting, in words; `""` when nothing would. */
const wayOut = (model: string, name: KnownModel.Setting): string => {
  const { efforts, refuses = [] } = of(model) ?? {}
  if (name === "reasoningEffort")
    return efforts === undefined || efforts.values.length === 0 ? "" : `; it takes ${efforts.values.join(", ")}`
  const isThinking = refuses.some(({ settings, when }) => when === "thinking" && settings.includes(name))
  return isThinking && efforts?.values.includes("none") === true ? `; it does with reasoningEffort: "none"` : ""
}

/** A request without the settings that its model refuses: they are part of what is left out of it. */
export const fit = <R extends ModelRequest.ModelRequest>(request: R): R =>
  request._tag === "Completion"
    ? (ModelRequest.leaveOut(request, refused(request.model ?? "", request.settings)) as typeof request)
    : request

/** What `fit` leaves out of a request, in a sentence for each setting whose absence is a difference. */
export const leftOut = (request: ModelRequest.ModelRequest): ReadonlyArray<string> => {
  if (request._tag !== "Completion") return []
  const { model = "", settings } = request
  return refused(model, settings).flatMap((name) =>
    // A model that never thinks needs no effort of none.
    name === "reasoningEffort" && settings[name] === "none" && of(model)?.efforts?.values.length === 0
      ? []
      : [
          `${model} does not take ${name}${name === "reasoningEffort" ? `: "${settings[name]}"` : ""}, so it is left out${wayOut(model, name)}`
        ]
  )
}

/** Tests whether a request needs OpenAI's responses API: for its model, its tools, or its reasoning effort. */
export const needsResponses = ({ model = "", settings, tools }: ModelRequest.Completion): boolean => {
  const facts = of(model)
  if (facts === undefined) return false
  return (
    facts.api === "responses"
    || (tools.length > 0 && (facts.tools === "responses" || (facts.tools !== undefined && thinks(facts, settings))))
    || (settings.reasoningEffort !== undefined && facts.efforts?.responses?.includes(settings.reasoningEffort) === true)
  )
}

const listed = (names: Iterable<string>): string => [...names].join(", ")

/** What is known of a model, in lines for display; none when nothing is. */
export const describe = (model: string): ReadonlyArray<string> => {
  const facts = of(model)
  if (facts === undefined) return []
  const { api, decisions, efforts, image, promptCache, refuses = [], tiers = [], tools } = facts
  const by = (when: KnownModel.Refusal["when"]) => refuses.flatMap((one) => (one.when === when ? one.settings : []))
  const [always, thinking, together] = [by("always"), by("thinking"), by("with temperature")]
  return [
    ...(always.length === 0 ? [] : [`does not take ${listed(always)}`]),
    ...(thinking.length === 0 ? [] : [`does not take ${listed(thinking)} while it thinks`]),
    ...(together.length === 0 ? [] : [`does not take ${listed(together)} with temperature`]),
    ...(efforts === undefined || efforts.values.length === 0
      ? []
      : [
          `reasoning effort: ${listed(efforts.values)}${efforts.default === undefined ? "" : ` (default ${efforts.default})`}`
        ]),
    ...(api === undefined ? [] : [`answers in the ${api} API only`]),
    ...(tools === undefined
      ? []
      : [`tools by the responses API${tools === "responses" ? "" : ', or with reasoningEffort: "none"'}`]),
    ...(decisions === true ? ["answers decisions, with probabilities"] : []),
    ...(promptCache === undefined
      ? []
      : [
          `prompts are cached from ${promptCache.minimum.toLocaleString("en-US")} tokens${promptCache.isMarked === true ? ", where they are marked" : promptCache.isWritten === true ? ", and all of them are written" : ""}`
        ]),
    ...(tiers.length === 0 ? [] : [`service tiers: ${listed(tiers)}`]),
    ...(image === undefined ? [] : [`images are counted by ${image.rule}`])
  ]
}
