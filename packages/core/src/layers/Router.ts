/**
 * Chooses the model of a request by a rule.
 *
 * **Details** A request that already names its model (a step's `model`) passes untouched. The answer carries the model
 * that would have been asked without the router (the strong one), so the books know what routing saved.
 *
 * **Example** (short prompts to the cheap model)
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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ModelRequest from "../data/ModelRequest.ts"
import type * as ModelResponse from "../data/ModelResponse.ts"
import * as ModelClient from "../seam/ModelClient.ts"

/** Whether a request is one for the cheap model. */
export interface Rule {
  (request: ModelRequest.Completion): boolean
  /** What the rule goes by, where its source does not show it. */
  readonly by?: unknown
}

/** Asks `cheap` when the rule holds, and `strong` otherwise. */
export const layer = (options: {
  readonly cheap: string
  readonly strong: string
  readonly when: Rule
}): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  choose((request) => options.when(request) ? options.cheap : options.strong, {
    baseline: options.strong,
    by: [options.cheap, options.strong, options.when.toString(), options.when.by]
  })

/**
 * Asks the model that a function names. `baseline` is the model that would be asked without routing; `by` is what the
 * function goes by, where its source does not show it: results that were made with another are not taken over.
 */
export const choose = (
  model: (request: ModelRequest.Completion) => string,
  options: { readonly baseline: string; readonly by?: unknown }
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> => {
  const route: ModelClient.Resolve = (request) =>
    request._tag === "Completion" && request.model === undefined
      ? ModelRequest.withModel(request, model(request))
      : request
  return ModelClient.middlewareEffect((next) =>
    Effect.succeed<ModelClient.Service>({
      resolve: (request) => next.resolve(route(request)),
      send: (request) => {
        const routed = route(request)
        return routed === request
          ? next.send(request)
          : Effect.map(next.send(routed), (response) =>
            ({ ...response, baselineModel: options.baseline }) as ModelResponse.ResponseTo<typeof request>)
      }
    }), { name: "Router", answers: options.by ?? model.toString(), baseline: options.baseline })
}

/** Holds when the text of the user's messages has fewer than `characters` characters (code points). */
export const promptShorterThan = (characters: number): Rule =>
  Object.assign((request: ModelRequest.Completion) => {
    const text = ModelRequest.text(request, "user")
    // A code point has one or two UTF-16 units: most prompts are decided without counting.
    return text.length < characters || (text.length < characters * 2 && [...text].length < characters)
  }, { by: characters })

/**
 * A bottom of several providers: each request goes to the first whose `models` (a prefix such as `"claude-"`, or `""` for
 * all) fits its model.
 *
 * **Example** (two vendors in one stack)
 *
 * ```ts
 * import { Router } from "@pipe/core"
 * import { Anthropic, OpenAi } from "@pipe/plugins"
 *
 * export const providers = Router.providers(
 *   { models: "claude-", layer: Anthropic.layer() },
 *   { models: "", layer: OpenAi.layer() }
 * )
 * ```
 */
export const providers = <const P extends readonly [Provider<any, any>, ...Array<Provider<any, any>>]>(
  ...routes: P
): Layer.Layer<
  ModelClient.ModelClient,
  P[number] extends Provider<infer E, any> ? E : never,
  P[number] extends Provider<any, infer R> ? R : never
> =>
  Layer.effect(
    ModelClient.ModelClient,
    Effect.map(
      Effect.forEach(routes, ({ layer, models }) =>
        Effect.map(
          Layer.build(Layer.fresh(layer)),
          (context) => ({ models, client: Context.get(context, ModelClient.ModelClient) })
        )),
      (clients): ModelClient.Service => {
        const fallback = clients[clients.length - 1]!.client
        const clientFor = (request: ModelRequest.ModelRequest) =>
          clients.find(({ models }) => request.model?.startsWith(models))?.client ?? fallback
        const batches = clients.flatMap(({ client }) => client.batch?.all ?? [])
        return {
          ...(clients.every(({ client }) => client.isEdge === true) ? { isEdge: true as const } : undefined),
          ...(batches.length === 0 ? undefined : { batch: { of: (request) => clientFor(request).batch?.of(request), all: batches } }),
          layers: clients.flatMap(({ client, models }) => [{ name: ModelClient.PROVIDERS, answers: models }, ...(client.layers ?? [])]),
          resolve: (request) => clientFor(request).resolve(request),
          send: (request) => clientFor(request).send(request)
        }
      }
    )
  ) as never

/** One of several providers at the bottom of a stack. */
export interface Provider<E, R> {
  readonly models: string
  readonly layer: Layer.Layer<ModelClient.ModelClient, E, R>
}
