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
 * - A request with tools, stop sequences or log-probabilities is sent alone.
 * - Packed prompts go in batches. The calls that find the size of `"auto"` are single ones, so it is known at once.
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
import type * as PackGroup from "./PackGroup.ts"
import * as PackGroups from "./PackGroups.ts"
import * as PackPrompt from "./PackPrompt.ts"
import type * as PackRepo from "./PackRepo.ts"
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
    // A step's own `pack` is part of its identity.
    answers: false,
    annotations: Context.make(LayerAnnotations.Packs, true)
  })
}

/** The layer's parts. */
interface Parts {
  readonly sender: PackedPrompt.Sender
  readonly groups: PackGroups.PackGroups
  readonly scopeOf: (asked: Asked) => Effect.Effect<PackGroup.PackScope>
}

/** A request that may be packed. */
type Asked = Omit<PackGroups.Packable, "scope">

const make = Effect.fnUntraced(function* (next: ModelClient.Service, options: Options) {
  const { maxTokens = 8_000, wait = "100 millis" } = options
  const { packs: repo } = yield* Store.Store
  const { suspension: run } = yield* RunHooks.RunHooks
  const warn = LayerEvent.once()
  const sender = { next, warn }
  const groups = PackGroups.make({ sender, repo, run: run?.id ?? 0, maxTokens, wait })
  const parts: Parts = { sender, groups, scopeOf: scopesOf(next, repo, run) }

  const send: ModelClient.Send = (request) =>
    Effect.withFiber((fiber) => {
      const varying = fiber.getRef(Varying.Varying)
      if (varying?.pack === undefined || varying.pack.size === 1 || request._tag !== "Completion")
        return next.send(request)
      const { text } = varying
      if (text.trim() === "" || TokenCounter.estimate(text) > maxTokens / 2) return next.send(request)
      const completion: ModelRequest.Completion = request
      const template = PackPrompt.template(next.resolve(completion, fiber.getRef(CallContext.CallContext)), text)
      if (template === "not found")
        return Effect.andThen(
          warn(Varying.notFound(fiber.getRef(CallContext.CallContext).step, "every row is sent alone")),
          next.send(request)
        )
      return typeof template === "string"
        ? next.send(request)
        : (pack(parts, { request: completion, text, template, pack: varying.pack }) as Effect.Effect<
            ModelResponse.ResponseTo<typeof request>,
            AiError.AiError
          >)
    })
  return send
})

/** The scopes of a stack, with the sizes that earlier runs have found. */
const scopesOf = (
  next: ModelClient.Service,
  repo: PackRepo.PackRepo,
  run: { readonly id: number; readonly flow: string } | undefined
): Parts["scopeOf"] => {
  const baseline = LayerAnnotations.find(next.layers, LayerAnnotations.Routes)?.baseline
  const apartOf = LayerAnnotations.apartBy(next.layers)
  const scopes = Lru.make<string, PackGroup.PackScope>(SCOPES)
  return Effect.fnUntraced(function* ({ pack, template }) {
    const { step, values } = yield* CallContext.CallContext
    const key = PackSize.keyOf(step, template, apartOf(values))
    const before = scopes.get(key)
    if (before !== undefined) return before
    const known = yield* Effect.orElseSucceed(repo.ofScope(key), () => [])
    const asker = { run: run?.id ?? 0, flow: run?.flow ?? "", step }
    const scope = scopes.get(key) ?? {
      step,
      size: PackSize.make({ key, step, pack, known, record: (packed) => repo.record(asker, key, packed) }),
      shares: PackShares.make(baseline),
      isAudited: false
    }
    scopes.set(key, scope)
    return scope
  })
}

/** Requests a row's answer: in a prompt of the known size, or as part of finding it. */
const pack = (
  { groups, scopeOf, sender }: Parts,
  asked: Asked
): Effect.Effect<PackedPrompt.Response, AiError.AiError> =>
  Effect.gen(function* () {
    const { request, text } = asked
    const { row, step } = yield* CallContext.CallContext
    const packable: PackGroups.Packable = { ...asked, scope: yield* scopeOf(asked) }
    const { scope } = packable
    // A layer below may act as soon as it is called.
    const alone = Effect.suspend(() =>
      Effect.map(sender.next.send(request), (response) => scope.shares.single(request, response))
    )
    const isBatched = LayerAnnotations.tierOf(sender.next.layers, step, request.model ?? "") === "batch"
    for (;;) {
      const standing = scope.size.state()
      switch (standing._tag) {
        case "Known":
          return standing.size === 1
            ? yield* alone
            : yield* take(sender, packable, yield* groups.placeOf(packable, standing.size, isBatched), alone, row)
        case "Sample":
          // In batches, the size would be known a day later.
          return yield* scope.size.sampled(text, sampled(sender, packable, now(alone)))
        case "Trial":
          // A failed trial does not fail the row: it is sent alone, and another row tries again.
          if ((yield* Effect.result(trial(sender, packable)))._tag === "Failure") return yield* alone
      }
    }
  })

/** Sends single calls, where others go in batches. */
const now = CallContext.provideState({ single: "kept" })

/** Takes the answer of a text's place, or sends the text alone. */
const take = Effect.fnUntraced(function* (
  sender: PackedPrompt.Sender,
  { pack, scope }: PackGroups.Packable,
  place: PackGroups.Place,
  alone: Effect.Effect<PackedPrompt.Response, AiError.AiError>,
  row: number
) {
  const answer = yield* place.answer
  if (answer._tag === "Failed") return yield* Effect.failCause(answer.cause)
  if (answer._tag === "Alone") return yield* alone
  const { response } = answer
  const giveBack = place.take(row)
  if (giveBack === undefined) return ModelResponse.again(response, "shared")
  const { accept } = yield* CallContext.CallContext
  if (accept(response) !== undefined) {
    // Another process has grouped the row, without its check. A replayed row comes here again until its answer is there.
    const single = yield* alone
    scope.shares.waste(response.usage)
    if (answer._tag === "Audited") yield* answer.note({ compared: 0, agreed: 0 })
    return single
  }
  if (answer._tag === "Share") return response
  // The row receives the single answer. While it waits for that, another row may take its place.
  const single = yield* Effect.result(Effect.onInterrupt(alone, () => Effect.sync(giveBack)))
  if (single._tag === "Failure") {
    yield* answer.note({ compared: 0, agreed: 0 })
    return response
  }
  scope.shares.waste(response.usage)
  const keyOf = (response: PackedPrompt.Response) =>
    PackedPrompt.keyOf(sender, ModelResponse.text(response), scope.step, pack)
  const agrees = (yield* keyOf(single.success)) === (yield* keyOf(response))
  yield* answer.note({ compared: 1, agreed: agrees ? 1 : 0 })
  return single.success
})

const sampled = (
  sender: PackedPrompt.Sender,
  { pack, scope }: PackGroups.Packable,
  alone: Effect.Effect<PackedPrompt.Response, AiError.AiError>
) =>
  Effect.flatMap(alone, (response) =>
    Effect.map(PackedPrompt.keyOf(sender, ModelResponse.text(response), scope.step, pack), (key) => ({ response, key }))
  )

/** Tries sizes on the texts of the sample. A failed prompt has no answers. */
const trial = (sender: PackedPrompt.Sender, { pack, scope, template }: PackGroups.Packable) => {
  const send = ModelClient.aside("trial", sender.next.send)
  return CallContext.provideState({ single: "passing" })(
    scope.size.trial((texts) =>
      PackedPrompt.together(send, template, texts).pipe(
        Effect.flatMap(({ answers }) =>
          Effect.forEach(texts, (_, at) =>
            answers?.[at] === undefined ? Effect.undefined : PackedPrompt.keyOf(sender, answers[at], scope.step, pack)
          )
        ),
        Effect.catch((error) =>
          PackedPrompt.isTrouble(error) ? Effect.succeed(texts.map(() => undefined)) : Effect.fail(error)
        )
      )
    )
  )
}
