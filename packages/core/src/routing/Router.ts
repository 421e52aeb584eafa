/**
 * Chooses the model of a request by a rule, before the call.
 *
 * **Details** A rule sees the request and the input values of the step's row. A request that already names its model (a
 * step's `model`) passes unchanged. The answer records the model that would have been called without the router (the
 * strong one), so the ledger knows what routing saved. Rules can be combined (`all`, `any`, `not`). To choose by the
 * quality of an *answer*, with a guarantee, see `Cascade` and `pipe tune`; to switch models after a *failure*, see
 * `Fallback`.
 *
 * **Example** (short prompts go to the cheap model)
 *
 * ```ts
 * import { Router } from "@pipe/core"
 *
 * export const router = Router.layer({
 *   cheap: "gpt-4o-mini",
 *   strong: "gpt-4o",
 *   when: Router.promptShorterThan(50)
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as RowValues from "../client/RowValues.ts"
import { FlowError } from "../flow/FlowError.ts"
import type * as Node from "../flow/Node.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"

/** Decides whether a request goes to the cheap model. `row` has the values of the step's inputs. */
export interface RoutingRule {
  (request: ModelRequest.Completion, row: RowValues.Values): boolean
  /** What the rule depends on, when its source does not show it. */
  readonly by?: unknown
}

/** Calls `cheap` when the rule holds, and `strong` otherwise. */
export const layer = (options: {
  readonly cheap: string
  readonly strong: string
  readonly when: RoutingRule
}): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  choose((request, row) => (holdsIn(options.when(request, row)) ? options.cheap : options.strong), {
    baseline: options.strong,
    by: [options.cheap, options.strong, options.when.by]
  })

/**
 * Calls the model that a function returns. `baseline` is the model that would be called without routing. `by` is what
 * the function depends on, when its source does not show it: results made with another value are not reused.
 */
export const choose = (
  model: (request: ModelRequest.Completion, row: RowValues.Values) => string,
  options: { readonly baseline: string; readonly by?: unknown }
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> => {
  const route: ModelClient.Resolve = (request, { values }) =>
    request._tag === "Completion" && request.model === undefined
      ? ModelRequest.withModel(request, model(request, values))
      : request
  return ModelClient.mapRequest(route, {
    name: "Router",
    answers: options.by,
    annotations: Context.make(LayerAnnotations.Routes, { baseline: options.baseline })
  })
}

/** Holds when the user messages have fewer than `characters` characters (code points). */
export const promptShorterThan = (characters: number): RoutingRule =>
  Object.assign(
    (request: ModelRequest.Completion) => {
      const text = ModelRequest.text(request, "user")
      // A code point has one or two UTF-16 units: most prompts are decided without counting.
      return text.length < characters || (text.length < characters * 2 && [...text].length < characters)
    },
    { by: characters }
  )

/**
 * Holds when a condition on the row's values holds. With the inputs of the step it is typed as a step is, and holds for no
 * row of a step without inputs of these names.
 *
 * **Example** (reviews of lamps go to the cheap model)
 *
 * ```ts
 * import { Router, Source } from "@pipe/core"
 * import { Schema } from "effect"
 *
 * const Review = Schema.Struct({ product: Schema.String, text: Schema.String })
 * const reviews = Source.jsonl("reviews", { path: "reviews.jsonl", schema: Review })
 *
 * export const router = Router.layer({
 *   cheap: "gpt-4o-mini",
 *   strong: "gpt-4o",
 *   when: Router.where({ review: reviews }, ({ review }) => review.product === "lamp")
 * })
 * ```
 */
export const where: {
  <In extends Node.Inputs>(inputs: In, holds: (row: Node.Values<In>) => boolean): RoutingRule
  (holds: (row: RowValues.Values) => boolean): RoutingRule
} = (...given: [Node.Inputs, Condition] | [Condition]): RoutingRule => {
  const [inputs, holds] = given.length === 1 ? [{}, given[0]] : given
  const names = Object.keys(inputs)
  return Object.assign(
    (_: ModelRequest.Completion, row: RowValues.Values) => names.every((name) => name in row) && holdsIn(holds(row)),
    { by: names.length === 0 ? "where" : ["where", names] }
  )
}

type Condition = (row: RowValues.Erased) => boolean

/** Throws for what is neither true nor false: a promise would always hold. */
const holdsIn = (holds: boolean): boolean => {
  if (holds !== true && holds !== false)
    throw new FlowError({
      message: `the rule of a Router returns a value of type ${typeof holds}: return true or false`
    })
  return holds
}

const put = (name: string, rules: ReadonlyArray<RoutingRule>, rule: RoutingRule): RoutingRule =>
  Object.assign((request: ModelRequest.Completion, row: RowValues.Values) => rule(request, row), {
    by: [name, ...rules.map((one) => one.by)]
  })

type Rule = (request: ModelRequest.Completion, row: RowValues.Values) => boolean

/** Each function captures a rule and the rest of them, not their list: so an author's rule is part of the key. */
const every = ([rule, ...rest]: ReadonlyArray<Rule>): Rule => {
  if (rule === undefined) return () => true
  const others = every(rest)
  return (request, row) => rule(request, row) && others(request, row)
}

const some = ([rule, ...rest]: ReadonlyArray<Rule>): Rule => {
  if (rule === undefined) return () => false
  const others = some(rest)
  return (request, row) => rule(request, row) || others(request, row)
}

/** Holds when all rules hold. */
export const all = (...rules: ReadonlyArray<RoutingRule>): RoutingRule => put("all", rules, every(rules))

/** Holds when any of the rules holds. */
export const any = (...rules: ReadonlyArray<RoutingRule>): RoutingRule => put("any", rules, some(rules))

/** Holds when the rule does not. */
export const not = (rule: RoutingRule): RoutingRule => put("not", [rule], (request, row) => !rule(request, row))

/**
 * Calls the cheapest of several models whose context window has room for the request, by the price table. Models
 * without a known price come last; a model without a known window counts as large enough.
 *
 * **Details** The cost of a request is its counted input plus `maxTokens`, or `output` tokens (512). When no window is
 * large enough, the model with the largest is called. Savings are measured against `baseline`, by default the last
 * model.
 *
 * **Example** (long documents go to the model with the large window)
 *
 * ```ts
 * import { Router } from "@pipe/core"
 *
 * export const router = Router.cheapest(["gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1"])
 * ```
 */
export const cheapest = (
  models: readonly [string, ...Array<string>],
  options: { readonly output?: number; readonly baseline?: string } = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const pricing = yield* Pricing.Pricing
      const count = yield* TokenCounter.TokenCounter
      // The prices of the day on which the stack is built: a run does not change its models at midnight.
      const at = yield* Clock.currentTimeMillis
      return choose(
        (request) => {
          const input = TokenCounter.inputTokens(count, request)
          const output = request.settings.maxTokens ?? options.output ?? ExpectedUsage.GUESS.high
          const known = models.map((model) => {
            const price = Option.getOrUndefined(pricing.lookup({ model, at }))
            const cost =
              price === undefined ? undefined : Price.cost(price, { ...Usage.zero, uncachedInput: input, output })
            return { model, cost, window: price?.contextWindow }
          })
          const fits = known.filter(({ window }) => window === undefined || window >= input + output)
          if (fits.length === 0)
            return known.reduce((largest, one) => (one.window! > largest.window! ? one : largest)).model
          return fits.reduce((best, one) =>
            one.cost !== undefined && (best.cost === undefined || one.cost < best.cost) ? one : best
          ).model
        },
        { baseline: options.baseline ?? models[models.length - 1]!, by: ["cheapest", models, options.output] }
      )
    })
  )

/**
 * Uses several providers at the bottom of a stack: each request goes to the first whose `models` (a prefix such as
 * `"claude-"`, or `""` for all) matches its model.
 *
 * **Example** (two vendors in one stack)
 *
 * ```ts
 * import { Router } from "@pipe/core"
 * import { Anthropic, OpenAi } from "@pipe/plugins"
 *
 * export const providers = Router.providers(
 *   { models: "claude-", layer: Anthropic.layer({ model: "claude-haiku-4-5" }) },
 *   { models: "", layer: OpenAi.layer({ model: "gpt-4o-mini" }) }
 * )
 * ```
 */
export const providers = <
  const P extends readonly [ProviderChoice<unknown, unknown>, ...Array<ProviderChoice<unknown, unknown>>]
>(
  ...routes: P
): Layer.Layer<
  ModelClient.ModelClient,
  P[number] extends ProviderChoice<infer E, unknown> ? E : never,
  P[number] extends ProviderChoice<unknown, infer R> ? R : never
> =>
  Layer.effect(
    ModelClient.ModelClient,
    Effect.map(
      Effect.forEach(routes, ({ layer, models }) =>
        Effect.map(Layer.build(Layer.fresh(layer)), (context) => ({
          models,
          client: Context.get(context, ModelClient.ModelClient)
        }))
      ),
      (clients): ModelClient.Service => {
        const fallback = clients[clients.length - 1]!.client
        const clientFor = (request: ModelRequest.ModelRequest) =>
          clients.find(({ models }) => request.model?.startsWith(models))?.client ?? fallback
        const batches = clients.flatMap(({ client }) => client.batch?.all ?? [])
        return {
          ...(clients.every(({ client }) => client.isEdge === true) ? { isEdge: true as const } : undefined),
          ...(batches.length === 0
            ? undefined
            : { batch: { of: (request) => clientFor(request).batch?.of(request), all: batches } }),
          layers: clients.flatMap(({ client, models }) => [
            { name: "providers", answers: models, annotations: Context.make(LayerAnnotations.ModelPrefix, models) },
            ...(client.layers ?? [])
          ]),
          resolve: (request, call) => clientFor(request).resolve(request, call),
          stops: (request, call) => clientFor(request).stops?.(request, call) ?? [],
          send: (request) => clientFor(request).send(request)
        }
      }
    )
  ) as never

/** One of several providers at the bottom of a stack. */
export interface ProviderChoice<E, R> {
  readonly models: string
  readonly layer: Layer.Layer<ModelClient.ModelClient, E, R>
}
