/**
 * What a planned run would cost with other strategies, and notes for its author.
 *
 * @internal
 */
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as PlanCost from "./PlanCost.ts"
import type * as PlanSchema from "./PlanSchema.ts"
import type * as PlanSteps from "./PlanSteps.ts"

type Planned = PlanCost.Planned

/** What is compared: the lines as they are, their total cost, and the prices of other models. */
interface Stand {
  readonly planned: ReadonlyArray<Planned>
  readonly expected: Money.Money
  readonly priceOf: (model: string) => Price.Price | undefined
}

/** The cost of all lines; lines that a strategy does not affect count as they are. */
const sum = ({ planned }: Stand, f: (planned: Planned) => Money.Money | undefined): Money.Money =>
  Money.sum(planned.map((one) => f(one) ?? one.line.cost?.expected ?? Money.zero))

/** What the run would cost otherwise. */
export const strategies = (
  planned: ReadonlyArray<Planned>,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  expected: Money.Money,
  priceOf: (model: string) => Price.Price | undefined
): ReadonlyArray<PlanSchema.Strategy> => {
  const stand = { planned, expected, priceOf }
  const others = [
    ...(LayerAnnotations.has(layers, LayerAnnotations.Cached) ? [withoutCache(stand)] : []),
    ...(LayerAnnotations.has(layers, LayerAnnotations.Routes) ? [withoutRouting(stand)] : []),
    ...withoutCascade(stand),
    ...decisions(stand),
    ...batches(stand, LayerAnnotations.has(layers, LayerAnnotations.UsesPromptCache)),
    ...serviceTiers(stand, layers),
    ...promptCache(stand),
    ...smallerModels(stand)
  ]
  return [{ name: "as it stands", cost: expected, how: "" }, ...others.filter(({ cost }) => cost !== expected)]
}

const withoutCache = ({ expected, planned }: Stand): PlanSchema.Strategy => {
  const repeated = planned.map(({ one, price }) =>
    price === undefined ? Money.zero : (Price.cost(price, one.cachedUsage) ?? Money.zero)
  )
  return {
    name: "without the exact cache",
    cost: expected + Money.sum(repeated),
    how: "remove Cache.layer: this is what it saves"
  }
}

const withoutRouting = (stand: Stand): PlanSchema.Strategy => ({
  name: "without routing",
  cost: sum(stand, ({ charged, line, one, output }) =>
    one.baseline === undefined
      ? undefined
      : PlanCost.costOf(stand.priceOf(one.baseline), line.calls, line.inputTokens, output.expected, line, charged)
  ),
  how: "remove the Router: every call goes to the strong model"
})

const withoutCascade = (stand: Stand): ReadonlyArray<PlanSchema.Strategy> => {
  if (stand.planned.every(({ one }) => one.unrouted === undefined)) return []
  const cost = sum(stand, ({ charged, line, one: { calls, isCascaded, unrouted }, output, price }) =>
    unrouted === undefined
      ? isCascaded
        ? Money.zero
        : undefined
      : PlanCost.costOf(
          price,
          unrouted.calls,
          unrouted.input,
          Math.round((output.expected / Math.max(calls, 1e-9)) * unrouted.calls),
          line,
          charged
        )
  )
  return [{ name: "without the cascade", cost, how: "remove Cascade.layer: every row goes to the strong model" }]
}

/** Decisions beside completions that give the same values. */
const decisions = (stand: Stand): ReadonlyArray<PlanSchema.Strategy> =>
  stand.planned.every(({ one }) => one.tier !== "decision")
    ? []
    : [
        {
          name: "without decisions",
          cost: sum(stand, ({ charged, line, one, price }) =>
            one.tier === "decision"
              ? PlanCost.costOf(
                  price,
                  line.calls,
                  line.inputTokens,
                  line.calls * ExpectedUsage.GUESS.expected,
                  {},
                  charged
                )
              : undefined
          ),
          how: "generateObject in place of Flow.decide: this is what decisions save, if its answers have a usual length"
        }
      ]

/** A cheaper service tier of the models, and the ordinary one in place of it. */
const serviceTiers = (
  stand: Stand,
  layers: ReadonlyArray<ModelClient.LayerInfo>
): ReadonlyArray<PlanSchema.Strategy> => {
  const at = (serviceTier: string | undefined) =>
    sum(stand, ({ charged, line, one, output, price }) => {
      const isOrdinary = one.tier === undefined && line.serviceTier !== "batch"
      const isTaken = serviceTier === undefined || ModelClient.inTier(layers, one.model, serviceTier) !== undefined
      if (!isOrdinary || !isTaken) return undefined
      const service = { serviceTier, provider: line.provider }
      return PlanCost.costOf(price, line.calls, line.inputTokens, output.expected, service, charged)
    })
  const isUsed = stand.planned.some(
    ({ line, one }) => one.tier === undefined && line.serviceTier !== undefined && line.serviceTier !== "batch"
  )
  if (isUsed)
    return [
      { name: "without a service tier", cost: at(undefined), how: "remove ServiceTier.layer: this is what it saves" }
    ]
  return [
    {
      name: "flex service tier",
      cost: at("flex"),
      how: 'ServiceTier.layer({ use: "flex" }): a lower price, answers within minutes'
    }
  ]
}

const batches = (stand: Stand, cachesPrompts: boolean): ReadonlyArray<PlanSchema.Strategy> => {
  const { planned } = stand
  const isBatch = ({ line }: Planned) => line.serviceTier === "batch"
  const all: Array<PlanSchema.Strategy> = []
  if (!planned.every(isBatch)) {
    all.push({
      name: "batch service",
      cost: sum(stand, PlanCost.batchCost),
      how: "--batch: half the price, answers within a day"
    })
  }
  if (planned.some(({ one }) => one.alone > one.input)) {
    all.push({
      name: "without packed prompts",
      cost: sum(stand, ({ charged, line: { provider, serviceTier }, one, output, price }) =>
        PlanCost.costOf(price, one.calls, one.alone, output.expected, { serviceTier, provider }, charged)
      ),
      how: "remove Pack.layer: every text has its own prompt"
    })
  }
  if (planned.some(isBatch)) {
    all.push({
      name: "all at once",
      cost: sum(stand, (one) => (isBatch(one) ? PlanCost.onlineCost(one, cachesPrompts) : undefined)),
      how: "--online: single calls, in seconds to minutes, at the price of their tier"
    })
  }
  return all
}

const promptCache = ({ expected, planned }: Stand): ReadonlyArray<PlanSchema.Strategy> => {
  const off = Money.sum(planned.map((one) => one.off))
  if (off > Money.zero) {
    return [
      {
        name: "without the provider's prompt cache",
        cost: expected + off,
        how: "remove PromptCache.layer: this is what it saves, if each prompt finds the prefix of the first one"
      }
    ]
  }
  const kept = Money.sum(planned.map(({ prefix }) => prefix.saved))
  if (kept === Money.zero || planned.some(({ line }) => line.serviceTier === "batch")) return []
  return [
    {
      name: "the provider's prompt cache",
      cost: expected - kept,
      how: "PromptCache.layer(): the first prompt writes the common prefix, and the others read it"
    }
  ]
}

const smallerModels = (stand: Stand): ReadonlyArray<PlanSchema.Strategy> => {
  const { planned, priceOf } = stand
  const smaller = new Map(
    planned.flatMap(({ one: { isCascaded, model } }) => {
      const names = isCascaded || /-(?:mini|nano)$/.test(model) ? [] : [`${model}-mini`, `${model}-nano`]
      const cheap = names.find((name) => priceOf(name) !== undefined)
      return cheap === undefined ? [] : [[model, cheap] as const]
    })
  )
  return Array.from(smaller, ([model, cheap]) => ({
    name: `${cheap} in place of ${model}`,
    cost: sum(stand, ({ charged, line, one, output }) =>
      one.model === model
        ? PlanCost.costOf(priceOf(cheap), line.calls, line.inputTokens, output.expected, line, charged)
        : undefined
    ),
    how: "for rows where it is good enough: a Router decides, and you check the quality"
  }))
}

/** Calls that are not in the service tier that the stack asks for. */
const tierNotes = (
  { line: { provider }, one: { model, step, tier } }: Planned,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  tierOf: PlanSteps.TierOf
): ReadonlyArray<string> => {
  if (tier === "decision" && tierOf(step, model) === "batch")
    return [`${step}: decisions have no batches at ${provider}: they are sent as single calls`]
  return layers.flatMap((layer) => {
    const { models, steps, tier: asked } = LayerAnnotations.get(layer, LayerAnnotations.ServiceTier) ?? {}
    return asked === undefined || steps?.includes(step) === false || models === undefined || models(model)
      ? []
      : [`${step}: ${provider} has no service tier ${asked} for ${model}, so its calls are in the ordinary tier`]
  })
}

/** Notes for the author about the planned calls. */
export const notes = (
  planned: ReadonlyArray<Planned>,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  tierOf: PlanSteps.TierOf
): ReadonlyArray<string> => [...new Set(planned.flatMap((one) => [...notesOf(one), ...tierNotes(one, layers, tierOf)]))]

const notesOf = ({ charged, line, one, output, prefix, price }: Planned): ReadonlyArray<string> => {
  const { kept, rule, saved, tokens } = prefix
  const found: Array<string> = []
  if (kept === 0 && tokens >= NOTEWORTHY && rule !== undefined) {
    found.push(
      `${one.step}: its prompts have a common prefix of about ${tokens} tokens; ${line.provider} caches prefixes for ${one.model} from ${rule.minimum} tokens, so none is charged less`
    )
  }
  const batch = PlanCost.batchCost({ charged, line, one, output, price })
  if (saved > Money.zero && batch !== undefined) {
    const online = PlanCost.onlineCost({ charged, one, output, price, prefix }, true)!
    found.push(
      `${one.step}: batches and prompt cache do not add up, because the requests of a batch run in parallel and rarely find each other's prefix: ${Money.format(
        batch
      )} in batches, ${Money.format(online)} as single calls with PromptCache.layer(); ${online < batch ? "single calls are" : "batches are"} cheaper`
    )
  }
  if (one.isMost)
    found.push(
      `${one.step}: only the run shows how many rows earlier models leave to ${one.model}; all are counted here`
    )
  if (one.rounds !== undefined && (one.rounds > 0 || one.bounds === undefined))
    found.push(
      one.rounds === 0
        ? `${one.step}: it has tools, and only the run shows how often a row calls the model; one call is counted here, and the run's number in the next plan`
        : `${one.step}: it has tools; each row counts ${Number(one.rounds.toFixed(1))} calls, as in earlier runs`
    )
  for (const text of one.leftOut) found.push(`${one.step}: ${text}`)
  if (one.unknownFile !== undefined)
    found.push(
      `${one.step}: only the run shows the tokens of a file of type ${one.unknownFile} for ${one.model}; a guess is counted here`
    )
  if (one.isReused)
    found.push(`${one.step}: only the run shows how many answers are reused by meaning; this is the most it costs`)
  return found
}

/** A shorter prefix is not worth a note. */
const NOTEWORTHY = 200
