/**
 * Reuse by meaning: the answer to an earlier question stands for the answer to a new one that means the same, within an error
 * rate that the author names. Off for every step that does not ask for it by its options `varies` and `reuse`.
 *
 * **Details**
 *
 * - Only the text that varies is compared. Everything else is equal to the letter: model, system prompt, template, earlier
 *   turns, tools, format, settings, files, sample, step, namespace and embedder.
 * - No threshold: `ErrorBound` decides by evidence, after `Gate` has found nothing that differs (numbers, names, negations
 *   and so on). Until there is evidence the model is asked; where answers differ from question to question it always is.
 * - A share of the answers that could be reused is audited: the model is asked, and its answer is the row's. The report shows the
 *   error with its interval; a step whose error is certain to be over its bound reuses nothing more, and says so.
 * - A text that the embedder would cut, or whose language it does not know, is not compared: the model is asked.
 * - A reused answer is not kept in the exact cache, and serves as no evidence itself.
 *
 * Put it under `Cache`. A step that is off pays nothing: no vector is made. When the store fails, the run goes on without it
 * after one warning.
 *
 * **Example** (with vectors made on this machine)
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
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Option from "effect/Option"
import * as CacheStore from "../cache/CacheStore.ts"
import * as Caller from "../client/Caller.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ToEmbeddingModel from "../client/ToEmbeddingModel.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as Share from "../encoding/Share.ts"
import * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Store from "../store/Store.ts"
import * as Embedder from "./Embedder.ts"
import * as ErrorBound from "./ErrorBound.ts"
import type * as ReuseRepo from "./ReuseRepo.ts"
import * as ReuseScope from "./ReuseScope.ts"
import * as VectorIndex from "./VectorIndex.ts"
import * as EquivalenceGuard from "./guard/EquivalenceGuard.ts"

export interface Options {
  /** Answers are reused only inside a namespace, such as a tenant's. Default: none. */
  readonly namespace?: string
  /** How long an answer may be reused. Default: for ever. */
  readonly timeToLive?: Duration.Input
}

/** The layer's name in `ModelClient.LayerInfo`. */
export const NAME = "SemanticCache"

/** Share of answers that could be reused for which the model is asked nevertheless, where a step does not say. */
export const AUDIT = 0.02

/** Scopes that are open at once. */
const SCOPES = 256

/** In the place of the text that varies. */
const PLACE = "\u0000varying\u0000"

const infoOf = ({ namespace }: Options): ModelClient.LayerInfo => ({
  name: NAME,
  ...(namespace === undefined ? undefined : { namespace })
})

/** Reuses by the vectors of the `Embedder` in context. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Store.Store | Embedder.Embedder> =>
  ModelClient.middlewareEffect(
    (next) => Effect.flatMap(Embedder.Embedder, (embedder) => make(next, embedder, options)),
    infoOf(options)
  )

/**
 * Reuses by the vectors of an embedding model that the stack below asks: they go through its layers, and their cost is in the
 * books. `window`: most tokens that the model reads. Default: 8,191.
 */
export const layerModel = (
  options: Options & { readonly model: string; readonly dimensions?: number; readonly window?: number }
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Store.Store> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.flatMap(ToEmbeddingModel.make(next), (model) => {
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
                  Effect.provideService(Suspension.AtOnce, true)
                )
          },
          options
        )
      }),
    infoOf(options)
  )

/** How the audits of a step stand. */
interface Audits {
  audited: number
  wrong: number
}

const isOff = ({ audited, wrong }: Audits, { maxErrorRate }: Varying.Reuse): boolean =>
  ErrorBound.interval(wrong, audited)[0] > maxErrorRate

const make = Effect.fnUntraced(function* (
  next: ModelClient.Service,
  embedder: Embedder.Service,
  options: Options
): Effect.fn.Return<ModelClient.Send, never, Store.Store | Scope.Scope> {
  const store = yield* Store.Store
  const indexes = yield* VectorIndex.VectorIndex
  const run = yield* Suspension.Run
  const repo = store.reuse
  const timeToLive = Duration.fromInputUnsafe(options.timeToLive ?? Duration.infinity)
  const scopes = yield* openScopes(({ dimensions, maxErrorRate, scope }) =>
    ReuseScope.make({ scope, maxErrorRate, dimensions, folder: store.folder, repo, indexes })
  )
  const audits = new Map<string, Audits>()
  /** Requests that were sent and are waited for in another pass over the rows, and whether as audits: they are not looked up again. */
  const sent = new Map<string, boolean>()
  let isBroken = false

  const warn = LayerEvent.once()

  /** What the store or the index cannot do is gone without. */
  const goOn = <A>(effect: Effect.Effect<A, { readonly message: string }>): Effect.Effect<A | undefined> =>
    isBroken
      ? Effect.undefined
      : Effect.catch(effect, (error) => {
          isBroken = true
          return Effect.as(
            warn(`the semantic cache failed: ${Store.messageOf(error)}; the run goes on without it`),
            undefined
          )
        })

  const auditsOf = (step: string) =>
    Effect.suspend(() => {
      const known = audits.get(step)
      if (known !== undefined) return Effect.succeed(known)
      return Effect.map(repo.audits(run?.flow ?? "", step), (found): Audits => {
        const read = audits.get(step) ?? { ...found }
        audits.set(step, read)
        return read
      })
    })

  /** The vector of a text: from the store, or made and kept. */
  const vectorOf = (text: string) =>
    Effect.gen(function* () {
      const key = ContentHash.make(RequestKey.canonical([embedder.name, text]))
      const known = yield* goOn(repo.vector(key))
      if (known !== undefined || isBroken) return known
      const vector = yield* Effect.catch(embedder.embed(text), (error: AiError.AiError) =>
        Effect.as(warn(`no vector was made for the semantic cache, so the model is asked: ${error.message}`), undefined)
      )
      const row = vector === undefined ? undefined : yield* goOn(repo.keepVector(key, vector))
      return vector === undefined || row === undefined ? undefined : { row, vector }
    })

  /** Where answers are kept that may stand for one another. */
  const scopeOf = (
    step: string,
    text: string,
    template: ModelRequest.Completion,
    model: string | undefined
  ): string => {
    const endpoint = ModelClient.endpointOf(next.layers, model ?? "")
    return ContentHash.make(
      RequestKey.canonical([
        step,
        embedder.name,
        RequestKey.content(template, options.namespace),
        ...(endpoint === "" ? [] : [endpoint]),
        // What is learned of questions that the gate can read says nothing of others.
        ...(EquivalenceGuard.signature(text).isEnglish ? [] : ["another language"])
      ])
    )
  }

  const compare = <R extends ModelRequest.Completion>(
    request: R,
    {
      resolved,
      reuse,
      template,
      text
    }: {
      readonly resolved: R
      readonly template: ModelRequest.Completion
      readonly text: string
      readonly reuse: Varying.Reuse
    }
  ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
    Effect.gen(function* () {
      const { step } = yield* Caller.Caller
      const audited = yield* goOn(auditsOf(step))
      if (audited === undefined || isOff(audited, reuse)) return yield* next.send(request)
      const embedded = yield* vectorOf(text)
      if (embedded === undefined) return yield* next.send(request)
      const name = scopeOf(step, text, template, resolved.model)
      const opened = yield* goOn(
        scopes.get({ scope: name, maxErrorRate: reuse.maxErrorRate, dimensions: embedded.vector.length })
      )
      const looked = opened === undefined ? undefined : yield* goOn(opened.look(text, embedded.vector))
      if (opened === undefined || looked === undefined) return yield* next.send(request)

      const asker = { run: run?.id ?? 0, flow: run?.flow ?? "", step, maxErrorRate: reuse.maxErrorRate }
      const { found } = looked
      const content =
        (yield* Suspension.Row) === undefined ? undefined : ContentHash.make(RequestKey.content(resolved)).slice(0, 16)
      const waitedFor = content === undefined ? undefined : sent.get(content)
      const kept =
        found === undefined || waitedFor !== undefined || !opened.bound.allows(found.candidate)
          ? undefined
          : yield* responseOf<R>(found.entry)
      const isAudit = waitedFor ?? (kept !== undefined && (yield* Random.next) < (reuse.audit ?? AUDIT))
      if (found !== undefined && kept !== undefined && !isAudit) {
        opened.bound.observe({ features: found.candidate.features, right: undefined })
        repo.record(asker, name, { outcome: "reused", features: found.candidate.features })
        return kept
      }

      if (content !== undefined) sent.set(content, isAudit)
      const response = yield* next.send(request)
      if (
        !ModelResponse.isComplete(response)
        || response.origin === "shared"
        || (yield* ModelClient.Accept)(response) !== undefined
      ) {
        return response
      }
      let failure: unknown
      const answer = answerOf(response, reuse, (error) => (failure = error))
      if (failure !== undefined) yield* warn(Varying.answerFailed(step, "reuse", failure), `answer ${step}`)
      if (found === undefined) repo.record(asker, name, { outcome: "alone", features: undefined })
      else {
        const { features } = found.candidate
        const right = found.candidate.answer === answer
        opened.bound.observe({ features, right })
        repo.record(
          asker,
          name,
          { outcome: isAudit ? (right ? "auditedRight" : "auditedWrong") : right ? "right" : "wrong", features },
          found.entry.id
        )
        if (isAudit) yield* count(step, audited, right, reuse)
      }
      if (!looked.same.includes(answer)) {
        const now = yield* Clock.currentTimeMillis
        yield* goOn(
          Effect.andThen(
            repo.add({
              scope: name,
              vector: embedded.row,
              text,
              answer,
              value: JSON.stringify(response),
              model: response.model,
              createdAt: now,
              expiresAt: Duration.isFinite(timeToLive) ? now + Duration.toMillis(timeToLive) : undefined
            }),
            opened.follow
          )
        )
      }
      return response
    })

  const count = (step: string, standing: Audits, right: boolean, reuse: Varying.Reuse) =>
    Effect.suspend(() => {
      standing.audited++
      if (!right) standing.wrong++
      if (!isOff(standing, reuse)) return Effect.void
      const [low, high] = ErrorBound.interval(standing.wrong, standing.audited)
      return warn(
        `step ${step} reuses nothing more: of ${standing.audited} answers that were audited ${standing.wrong} were wrong (${Share.format(low)} to ${Share.format(high)}), which is over its maxErrorRate of ${Share.format(reuse.maxErrorRate)}. Compare less (another \`varies\`), allow more, or leave \`reuse\` out`
      )
    })

  return (request) =>
    Effect.withFiber((fiber) => {
      const varying = fiber.getRef(Varying.Varying)
      if (
        varying?.reuse === undefined
        || request._tag !== "Completion"
        || isBroken
        || fiber.getRef(CacheStore.Mode) === "off"
      ) {
        return next.send(request)
      }
      const { reuse, text } = varying
      if (text.trim() === "" || embedder.unfit(text) !== undefined) return next.send(request)
      const resolved = next.resolve(request)
      const template = Varying.replace(resolved as ModelRequest.Completion, text, PLACE)
      if (template === undefined) {
        return Effect.andThen(
          warn(Varying.notFound(fiber.getRef(Caller.Caller).step, "no answer is reused")),
          next.send(request)
        )
      }
      return compare(request as typeof request & ModelRequest.Completion, {
        resolved: resolved as typeof request & ModelRequest.Completion,
        template,
        text,
        reuse
      })
    })
})

/** What an answer says, as it is compared. */
const answerOf = (
  response: ModelResponse.CompletionResponse,
  reuse: Varying.Reuse,
  failed: (error: unknown) => void
): string => {
  const calls = response.parts.filter((part) => part.type === "tool-call").map(({ name, params }) => [name, params])
  const text = Varying.answerKey(ModelResponse.text(response), reuse.answer, RequestKey.canonical, failed)
  return ContentHash.make(calls.length === 0 ? text : RequestKey.canonical([text, calls]))
}

/** The answer of an entry, if the caller takes it. */
const responseOf = <R extends ModelRequest.Completion>(
  entry: ReuseRepo.Entry
): Effect.Effect<ModelResponse.ResponseTo<R> | undefined> =>
  Effect.map(ModelClient.Accept, (check) => {
    const kept = ModelResponse.decode(entry.value)
    if (Option.isNone(kept)) return undefined
    const response = ModelResponse.again(kept.value, "semantic")
    return check(response) === undefined ? (response as ModelResponse.ResponseTo<R>) : undefined
  })

interface Opening {
  readonly scope: string
  readonly maxErrorRate: number
  readonly dimensions: number
}

/** The scopes that are open: each is opened once, and the one that was not used for longest is closed when there are too many. */
const openScopes = Effect.fnUntraced(function* <E>(
  open: (opening: Opening) => Effect.Effect<ReuseScope.ReuseScope, E, Scope.Scope>
) {
  const parent = yield* Effect.scope
  const opened = new Map<
    string,
    { readonly get: Effect.Effect<ReuseScope.ReuseScope, E>; readonly scope: Scope.Closeable }
  >()
  return {
    get: (opening: Opening): Effect.Effect<ReuseScope.ReuseScope, E> =>
      Effect.gen(function* () {
        const key = `${opening.scope}/${opening.maxErrorRate}`
        const known = opened.get(key)
        if (known !== undefined) {
          opened.delete(key)
          opened.set(key, known)
          return yield* known.get
        }
        const scope = Scope.forkUnsafe(parent)
        const get = yield* Effect.cached(Scope.provide(open(opening), scope))
        opened.set(key, { get, scope })
        const [oldest] = opened
        if (opened.size > SCOPES && oldest !== undefined) {
          opened.delete(oldest[0])
          yield* Scope.close(oldest[1].scope, Exit.void)
        }
        return yield* get
      })
  }
})
