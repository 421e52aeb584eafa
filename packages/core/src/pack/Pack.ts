/**
 * Packs several short texts into one prompt, so a long instruction is paid for once. It is off for every step that does
 * not enable it with `varies` and `pack`.
 *
 * **Details**
 *
 * - Only requests of one step that are equal except for their text are packed. Each text has a number, and answers are
 *   matched by number. A missing or duplicate answer, or one that does not fit the step's schema, is requested again
 *   alone. A prompt that fails as a whole (wrong JSON, truncated, refused, too long) is split in halves.
 * - Each row has its own answer with its share of the tokens (whole tokens that add up to the usage), which the exact
 *   cache keeps as the answer to the row's own request. The call itself is recorded once, for the first of its rows.
 * - `size: "auto"` sends the first 40 texts alone, then the same texts in prompts of 20, 10 and 5, until the answers
 *   agree in at least `minAgreement`. If none does, texts are sent alone. The store remembers the result.
 * - In a share of the prompts one text is also sent alone, to keep measuring the agreement; the row receives the single
 *   answer. When the agreement is certainly below `minAgreement`, a smaller size is used (`"auto"`), or a warning is
 *   logged.
 * - A request with tools, stop sequences or log-probabilities is sent alone, and so are requests that go in batches.
 *
 * The idea is batch prompting (Cheng, Kasai and Yu, "Batch Prompting", arXiv 2301.08721). Quality falls with the size,
 * depending on task and model, so it is measured.
 *
 * Put it under `Cache` and `SemanticCache`, and above `Retry`.
 *
 * **Example**
 *
 * ```ts
 * import { Cache, Ledger, Pack, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Pack.layer(),
 *   Retry.layer(),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as AiError from "effect/ai/AiError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as RequestResolver from "effect/RequestResolver"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as Lru from "../store/Lru.ts"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Store from "../store/Store.ts"
import * as PackedPrompt from "./PackedPrompt.ts"
import * as PackPrompt from "./PackPrompt.ts"
import * as PackShares from "./PackShares.ts"
import * as PackSize from "./PackSize.ts"

/** The options of `Pack.layer`. */
export interface Options {
  /** How long a prompt waits for more texts. Default: 100 ms. */
  readonly wait?: Duration.Input
  /** The most counted tokens of the texts in one prompt. Default: 8,000. */
  readonly maxTokens?: number
}

/** The most scopes remembered. Where every row has its own, nothing is packed. */
const SCOPES = 10_000

/** Packs the texts of steps that enable `pack`. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Store.Store> => {
  OptionNames.checkNumbers("Pack.layer", options, { maxTokens: OptionNames.COUNT })
  return ModelClient.middlewareEffect((next) => make(next, options), {
    name: "Pack",
    annotations: Context.make(LayerAnnotations.Packs, true)
  })
}

/** A request that may be packed. */
interface Packable {
  readonly request: ModelRequest.Completion
  readonly template: ModelRequest.Completion
  readonly text: string
  readonly pack: Varying.Pack
}

const make = Effect.fnUntraced(function* (next: ModelClient.Service, options: Options) {
  const maxTokens = options.maxTokens ?? 8_000
  const warn = LayerEvent.once()
  const pack = packer({ next, warn }, yield* scopesOf(next), resolversOf({ next, warn }, maxTokens, options.wait))

  const send: ModelClient.Send = (request) =>
    Effect.withFiber((fiber) => {
      const varying = fiber.getRef(Varying.Varying)
      if (varying?.pack === undefined || varying.pack.size === 1 || request._tag !== "Completion")
        return next.send(request)
      const { text } = varying
      if (
        LayerAnnotations.tierOf(next.layers, fiber.getRef(CallContext.CallContext).step) === "batch"
        || text.trim() === ""
        || TokenCounter.estimate(text) > maxTokens / 2
      )
        return next.send(request)
      const completion: ModelRequest.Completion = request
      const template = PackPrompt.template(next.resolve(completion, fiber.getRef(CallContext.CallContext)), text)
      if (template === "not found")
        return Effect.andThen(
          warn(Varying.notFound(fiber.getRef(CallContext.CallContext).step, "every row is sent alone")),
          next.send(request)
        )
      return typeof template === "string"
        ? next.send(request)
        : (pack({ request: completion, text, template, pack: varying.pack }) as Effect.Effect<
            ModelResponse.ResponseTo<typeof request>,
            AiError.AiError
          >)
    })
  return send
})

/** The scopes of a stack, with the sizes that earlier runs have found. */
const scopesOf = Effect.fnUntraced(function* (next: ModelClient.Service) {
  const { packs } = yield* Store.Store
  const { suspension: run } = yield* RunHooks.RunHooks
  const baseline = LayerAnnotations.find(next.layers, LayerAnnotations.Routes)?.baseline
  const apartOf = LayerAnnotations.apartBy(next.layers)
  const scopes = Lru.make<string, PackedPrompt.PackScope>(SCOPES)
  return Effect.fnUntraced(function* (step: string, { pack, template }: Packable) {
    const { values } = yield* CallContext.CallContext
    const key = PackSize.keyOf(step, template, apartOf(values))
    const before = scopes.get(key)
    if (before !== undefined) return before
    const known = yield* Effect.orElseSucceed(packs.ofScope(key), () => [])
    const asker = { run: run?.id ?? 0, flow: run?.flow ?? "", step }
    const scope = scopes.get(key) ?? {
      step,
      size: PackSize.make({ key, step, pack, known, record: (packed) => packs.record(asker, key, packed) }),
      shares: PackShares.make(baseline),
      isAudited: false
    }
    scopes.set(key, scope)
    return scope
  })
})

/** The resolvers that gather the requests of a scope into prompts of a size. */
const resolversOf = (sender: PackedPrompt.Sender, maxTokens: number, wait: Duration.Input = "100 millis") => {
  const resolvers = new Map<number, RequestResolver.RequestResolver<PackedPrompt.PackRequest>>()
  return (size: number) => {
    let resolver = resolvers.get(size)
    if (resolver === undefined) {
      resolver = RequestResolver.makeGrouped<PackedPrompt.PackRequest, string>({
        key: ({ request }) => request.scope.size.key,
        resolver: (entries) =>
          Effect.forEach(cut(entries, maxTokens), (group) => PackedPrompt.send(sender, group, true), {
            concurrency: "unbounded",
            discard: true
          })
      }).pipe(RequestResolver.setDelay(wait), RequestResolver.batchN(size))
      resolvers.set(size, resolver)
    }
    return resolver
  }
}

/** Requests a row's answer: in a prompt of the known size, or as part of finding it. */
const packer =
  (
    sender: PackedPrompt.Sender,
    scopeOf: (step: string, packable: Packable) => Effect.Effect<PackedPrompt.PackScope>,
    resolverOf: (size: number) => RequestResolver.RequestResolver<PackedPrompt.PackRequest>
  ) =>
  (packable: Packable): Effect.Effect<PackedPrompt.Response, AiError.AiError> =>
    Effect.gen(function* () {
      const { request, text } = packable
      const { step } = yield* CallContext.CallContext
      const scope = yield* scopeOf(step, packable)
      // A layer below may act as soon as it is called.
      const alone = Effect.suspend(() =>
        Effect.map(sender.next.send(request), (response) => scope.shares.single(request, response))
      )
      for (;;) {
        const standing = scope.size.state()
        switch (standing._tag) {
          case "Known":
            return standing.size === 1
              ? yield* alone
              : yield* Effect.request(PackedPrompt.PackRequest({ ...packable, scope }), resolverOf(standing.size))
          case "Sample":
            return yield* scope.size.sampled(text, sampled(sender, alone, step, packable.pack))
          case "Trial":
            // A failed trial does not fail the row: it is sent alone, and another row tries again.
            if ((yield* Effect.result(trial(sender, scope, packable)))._tag === "Failure") return yield* alone
        }
      }
    })

const sampled = (
  sender: PackedPrompt.Sender,
  alone: Effect.Effect<PackedPrompt.Response, AiError.AiError>,
  step: string,
  pack: Varying.Pack
) =>
  Effect.flatMap(alone, (response) =>
    Effect.map(PackedPrompt.keyOf(sender, ModelResponse.text(response), step, pack), (key) => ({ response, key }))
  )

/** Tries sizes on the texts of the sample. A failed prompt has no answers. */
const trial = (sender: PackedPrompt.Sender, scope: PackedPrompt.PackScope, { pack, template }: Packable) =>
  scope.size.trial((texts) =>
    PackedPrompt.together(sender, template, texts).pipe(
      Effect.flatMap(({ answers, response }) => {
        scope.shares.waste(response.usage)
        return Effect.forEach(texts, (_, at) =>
          answers?.[at] === undefined ? Effect.undefined : PackedPrompt.keyOf(sender, answers[at], scope.step, pack)
        )
      }),
      Effect.catch((error) =>
        PackedPrompt.isTrouble(error) ? Effect.succeed(texts.map(() => undefined)) : Effect.fail(error)
      )
    )
  )

/** Groups texts within a number of tokens. */
const cut = (
  entries: ReadonlyArray<PackedPrompt.PackedText>,
  maxTokens: number
): ReadonlyArray<ReadonlyArray<PackedPrompt.PackedText>> => {
  const groups: Array<Array<PackedPrompt.PackedText>> = []
  let left = 0
  for (const entry of entries) {
    const tokens = TokenCounter.estimate(entry.request.text)
    if (groups.length === 0 || tokens > left) {
      groups.push([])
      left = maxTokens
    }
    groups.at(-1)!.push(entry)
    left -= tokens
  }
  return groups
}
