/**
 * Reuses an answer for a question that means the same, within an error rate that you set. It is off for every step that
 * does not enable it with `varies` and `reuse`.
 *
 * **Details**
 *
 * - Only the text that varies is compared. Everything else must be identical: model, system prompt, template, earlier
 *   turns, tools, format, settings, files, sample, step, namespace and embedder.
 * - There is no similarity threshold: `ErrorBound` decides by evidence, after `EquivalenceGuard` has found no
 *   difference in numbers, names, negations and so on. Without evidence the model is called. A step whose answers
 *   differ from question to question never reuses any.
 * - A share of the reusable answers is audited: the model is called, and its answer is used for the row. The report
 *   shows the error with its interval. A step whose error certainly exceeds its bound stops reusing, and reports it.
 * - A text that the embedder would truncate, or whose language it does not know, is not compared: the model is called.
 * - A reused answer is not stored in the exact cache, and is not evidence.
 *
 * Put it under `Cache`, which answers identical requests without an error. A step that does not enable it pays nothing:
 * no vector is computed. When the store fails, the run continues without it after one warning.
 *
 * **Example** (with vectors computed on this machine)
 *
 * ```ts
 * import { Cache, Ledger, Retry, SemanticCache, Stack } from "@pipe/core"
 * import { LocalEmbedder, OpenAi, Usearch } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   SemanticCache.layer().pipe(Layer.provide([LocalEmbedder.layer, Usearch.layer])),
 *   Retry.layer(),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as ToEmbeddingModel from "../client/ToEmbeddingModel.ts"
import * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Store from "../store/Store.ts"
import * as Embedder from "./Embedder.ts"
import * as OpenScopes from "./OpenScopes.ts"
import * as ReuseLookup from "./ReuseLookup.ts"
import * as ReuseScope from "./ReuseScope.ts"
import * as VectorIndex from "./VectorIndex.ts"

/** The options of `SemanticCache.layer`. */
export interface Options {
  /** Answers are reused within a namespace only, for example a tenant's. Default: none. */
  readonly namespace?: string
  /** How long an answer may be reused. Default: unlimited. */
  readonly timeToLive?: Duration.Input
}

/** Replaces the text that varies. */
const PLACE = "\u0000varying\u0000"

const infoOf = ({ namespace }: Options): ModelClient.LayerInfo => ({
  name: "SemanticCache",
  // A step's own `reuse` is part of its identity.
  answers: false,
  annotations: Context.make(LayerAnnotations.ReusesMeaning, true).pipe(
    Context.add(LayerAnnotations.Namespace, namespace),
    Context.add(LayerAnnotations.Order, {
      below: [
        {
          key: LayerAnnotations.ChangesAnswers,
          because: "an answer that was changed for one row would be reused for another"
        }
      ]
    })
  )
})

/** Compares texts with the `Embedder` in context. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Store.Store | Embedder.Embedder> =>
  ModelClient.middlewareEffect(
    (next) => Effect.flatMap(Embedder.Embedder, (embedder) => make(next, embedder, options)),
    infoOf(options)
  )

/**
 * Compares texts with an embedding model called through the stack below: requests pass its layers, and the ledger has
 * their cost. `window` is the most tokens that the model reads. Default: 8,191.
 */
export const layerModel = (
  options: Options & { readonly model: string; readonly dimensions?: number; readonly window?: number }
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Store.Store> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.flatMap(ToEmbeddingModel.make({ ...next, send: ModelClient.aside("embedding", next.send) }), (model) => {
        const settings = {
          model: options.model,
          ...(options.dimensions === undefined ? undefined : { dimensions: options.dimensions })
        }
        const window = options.window ?? 8_191
        const embedder = Embedder.make(model, {
          name: RequestKey.canonical(settings),
          unfit: (text) =>
            TokenCounter.estimate(text) > window
              ? `it is longer than the ${window} tokens that ${options.model} reads`
              : undefined
        })
        return make(
          next,
          {
            ...embedder,
            embed: (text) =>
              embedder
                .embed(text)
                .pipe(
                  Effect.provideService(ModelSettings.ModelSettings, settings),
                  CallContext.provideState({ single: "passing" })
                )
          },
          options
        )
      }),
    infoOf(options)
  )

const make = Effect.fnUntraced(function* (
  next: ModelClient.Service,
  embedder: Embedder.Service,
  options: Options
): Effect.fn.Return<ModelClient.Send, never, Store.Store | Scope.Scope> {
  const store = yield* Store.Store
  const indexes = yield* VectorIndex.VectorIndex
  const warn = LayerEvent.once()
  const reuse = ReuseLookup.make({
    next,
    embedder,
    namespace: options.namespace,
    timeToLive: Duration.fromInputUnsafe(options.timeToLive ?? Duration.infinity),
    repo: store.reuse,
    scopes: yield* OpenScopes.make(({ dimensions, maxErrorRate, scope }) =>
      ReuseScope.make({ scope, maxErrorRate, dimensions, folder: store.folder, repo: store.reuse, indexes })
    ),
    run: (yield* RunHooks.RunHooks).suspension,
    warn
  })
  return (request) =>
    Effect.withFiber((fiber) => {
      const varying = fiber.getRef(Varying.Varying)
      if (
        varying?.reuse === undefined
        || request._tag !== "Completion"
        || reuse.isBroken
        || fiber.getRef(CallContext.CallContext).cache === "off"
      ) {
        return next.send(request)
      }
      const { text } = varying
      if (text.trim() === "" || embedder.unfit(text) !== undefined) return next.send(request)
      const resolved = next.resolve(request, fiber.getRef(CallContext.CallContext))
      const template = Varying.replace(resolved as ModelRequest.Completion, text, PLACE)
      if (template === undefined) {
        return Effect.andThen(
          warn(Varying.notFound(fiber.getRef(CallContext.CallContext).step, "no answer is reused")),
          next.send(request)
        )
      }
      type Request = typeof request & ModelRequest.Completion
      return ReuseLookup.answer<Request>(reuse, {
        request: request as Request,
        resolved: resolved as Request,
        template,
        text,
        reuse: varying.reuse
      })
    })
})
