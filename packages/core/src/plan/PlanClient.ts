/**
 * A client that counts what would be sent, and sends nothing.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as Closure from "../closure/Closure.ts"
import * as Varying from "../flow/Varying.ts"
import type * as ExpectedUsage from "../model/ExpectedUsage.ts"
import type * as PlanStop from "../client/PlanStop.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as PackPrompt from "../pack/PackPrompt.ts"
import * as PackSize from "../pack/PackSize.ts"
import * as Cascade from "../routing/Cascade.ts"
import type * as Store from "../store/Store.ts"
import * as Placeholder from "./Placeholder.ts"
import * as PlanCount from "./PlanCount.ts"
import * as PlanLimits from "./PlanLimits.ts"

/** What a plan counts with, and where it counts. */
export interface PlanEnvironment {
  readonly store: Store.Service
  readonly counts: Map<string, PlanCount.PlanCounts>
  readonly expected: ExpectedUsage.ExpectedUsage
  readonly useCache: boolean
  readonly closures: Pick<Closure.Closures, "of" | "textOf">
  readonly at: number
  /** The load of limits by keys. */
  readonly keyed: PlanLimits.Keyed
  readonly callers: Callers
}

/** The rows that have called, by step: a row that fails after a call may have failed on its placeholder. */
export type Callers = Map<string, Set<number>>

const noteCaller = (callers: Callers, { row, step }: CallContext.CallContext): void => {
  const rows = callers.get(step)
  if (rows === undefined) callers.set(step, new Set([row]))
  else rows.add(row)
}

/** How a request is counted. */
interface Way extends Omit<PlanStop.CascadeRequest, "request"> {
  readonly isCascaded: boolean
  /** Set for what every row would send without the cascade. */
  readonly isStrong: boolean
  readonly isRouted: boolean
}

const WHOLE: Way = { share: 1, isMost: false, isCascaded: false, isStrong: false, isRouted: false }

/** A call outside a tool loop. */
const ONCE = { input: 0, rounds: 1 }

/** What a request is sent without, in sentences. */
const leftOut = (
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  asked: ModelRequest.ModelRequest,
  request: ModelRequest.ModelRequest
): ReadonlyArray<string> =>
  asked._tag === "Completion" && request._tag === "Completion" && asked.settings !== request.settings
    ? ModelClient.leftOut(layers, ModelRequest.withModel(asked, request.model ?? ""))
    : []

/** A client that counts instead of sending: it follows each request past the stops of the stack. */
export const make =
  (env: PlanEnvironment) =>
  (client: ModelClient.Service): ModelClient.Service => {
    const layers = client.layers ?? []
    const cascade = Option.getOrUndefined(Cascade.of(layers))
    const routed = LayerAnnotations.find(layers, LayerAnnotations.Routes)
    const countsOf = finder(env.counts, layers, routed?.baseline ?? cascade?.models.at(-1))
    const count = counter(env, layers)
    const firstOf = placeholders()
    let number = 0

    const follow = <R extends ModelRequest.ModelRequest>(
      from: PlanStop.Below,
      asked: R,
      way: Way
    ): Effect.Effect<ModelResponse.ResponseTo<R>> =>
      Effect.withFiber((fiber) => {
        const call = fiber.getRef(CallContext.CallContext)
        noteCaller(env.callers, call)
        const resolved = from.resolve(asked, call)
        const request =
          cascade !== undefined && resolved.model === cascade.name
            ? ModelRequest.withModel(resolved, cascade.models.at(-1)!)
            : resolved
        const step = CallContext.nameOf(call.step, way.purpose ?? "")
        const counts = () => PlanCount.called(countsOf(step, request, way.isRouted), call.state)
        for (const text of leftOut(layers, asked, request)) counts().leftOut.add(text)
        const own = ++number
        const stops = from.stops?.(asked, call) ?? []

        const passing = (at: number): Effect.Effect<ModelResponse.ModelResponse> => {
          const stop = stops[at]
          const further = Effect.suspend(() => passing(at + 1))
          switch (stop?._tag) {
            case undefined:
              return count(request, way, counts(), own, fiber)
            case "Asides":
              return Effect.andThen(
                Effect.forEach(stop.asked, ({ purpose, request, share = 1 }) =>
                  follow(stop.next, request, { ...WHOLE, share: share * way.share, purpose }).pipe(
                    // As in `ModelClient.aside`.
                    Effect.provideService(Varying.Varying, undefined)
                  )
                ),
                further
              )
            case "Cascade":
              return Effect.map(
                Effect.forEach(stop.requests, ({ request, ...stage }, at) =>
                  follow(stop.next, request, {
                    ...way,
                    ...stage,
                    share: stage.share * way.share,
                    isRouted: true,
                    isCascaded: true,
                    isStrong: at === stop.requests.length - 1
                  })
                ),
                (answers) => answers.at(-1)!
              )
            case "Cache": {
              if (!env.useCache) return further
              const again = firstOf(stop, own)
              if (again !== undefined) {
                counts().cached++
                return Effect.succeed(placeholder(request, Math.round(env.expected.of(step, request).expected), again))
              }
              return Effect.flatMap(stop.cached.peek?.(stop.request, call) ?? Effect.undefined, (kept) => {
                if (kept === undefined) return further
                addCached(counts(), kept)
                return Effect.succeed(kept)
              })
            }
          }
        }
        return passing(0) as Effect.Effect<ModelResponse.ResponseTo<R>>
      })

    return {
      ...client,
      send: (request) =>
        follow(client, request, { ...WHOLE, isRouted: request.model === undefined && routed !== undefined })
    }
  }

type CacheStop = Extract<PlanStop.PlanStop, { readonly _tag: "Cache" }>

/** For each cache, the placeholder of the first request with a key; `undefined` for that request itself. */
const placeholders = () => {
  const caches = new Map<PlanStop.Cached, Map<string, number>>()
  return ({ cached, key }: CacheStop, own: number): number | undefined => {
    const seen = caches.get(cached) ?? new Map<string, number>()
    caches.set(cached, seen)
    const first = seen.get(key)
    if (first === undefined) seen.set(key, own)
    return first
  }
}

const addCached = (counts: PlanCount.PlanCounts, { usage }: ModelResponse.ModelResponse): void => {
  counts.cached++
  if (usage !== undefined) counts.cachedUsage = Usage.add(counts.cachedUsage, usage)
}

const placeholder = (request: ModelRequest.ModelRequest, tokens: number, number: number): ModelResponse.ModelResponse =>
  Placeholder.make(request, tokens, number)

/** Counts a request, and answers with a placeholder. */
const counter = (env: PlanEnvironment, layers: ReadonlyArray<ModelClient.LayerInfo>) => {
  const promptOf = prompts(env.store, LayerAnnotations.has(layers, LayerAnnotations.Packs))
  const apartOf = LayerAnnotations.apartBy(layers)
  const reuses = LayerAnnotations.has(layers, LayerAnnotations.ReusesMeaning)
  return (
    request: ModelRequest.ModelRequest,
    way: Way,
    counts: PlanCount.PlanCounts,
    number: number,
    fiber: Fiber.Fiber<unknown, unknown>
  ): Effect.Effect<ModelResponse.ModelResponse> => {
    const learned = env.expected.learned(counts.step, counts.model)
    const output = env.expected.of(counts.step, request)
    const varying = fiber.getRef(Varying.Varying)
    const isLoop = request._tag === "Completion" && request.tools.length > 0
    counts.bounds = CallContext.stateOf(fiber).loop ?? counts.bounds
    if (way.isMost) counts.isMost = true
    if (way.isCascaded) counts.isCascaded = true
    const { position } = fiber.getRef(CallContext.CallContext)
    // A placeholder calls no tool, so a loop ends after its first round. Earlier runs tell how many rounds there are.
    if (isLoop) counts.rounds = learned?.rounds ?? 0
    return Effect.map(
      promptOf(
        request,
        varying,
        counts.step,
        apartOf(fiber.getRef(CallContext.CallContext).values),
        fiber.getRef(TokenCounter.TokenCounter)
      ),
      (prompt) => {
        counts.first ??= { request, position, tokens: prompt.alone }
        PlanCount.add(counts, {
          request,
          share: way.share,
          isStrong: way.isStrong,
          isReused: reuses && varying?.reuse !== undefined,
          prompt,
          loop: isLoop && learned !== undefined ? learned : ONCE,
          output
        })
        // Batches do not count against the limits of single calls.
        if (LayerAnnotations.tierOf(layers, counts.step, counts.model) !== "batch") {
          const calls = way.share * prompt.prompts
          PlanLimits.add(env.keyed, layers, fiber.getRef(CallContext.CallContext), {
            calls,
            tokens: way.share * (prompt.input + output.expected)
          })
        }
        return placeholder(request, Math.round(learned?.text ?? output.expected), number)
      }
    )
  }
}

/** Finds the counts of a step's requests to a model. */
const finder =
  (
    all: Map<string, PlanCount.PlanCounts>,
    layers: ReadonlyArray<ModelClient.LayerInfo>,
    baselineOfRouted: string | undefined
  ) =>
  (step: string, request: ModelRequest.ModelRequest, isRouted: boolean): PlanCount.PlanCounts => {
    const model = request.model ?? ""
    const baseline = isRouted ? baselineOfRouted : undefined
    const asked = ModelClient.tierAsked(layers, request)
    const tier = asked === "default" ? undefined : asked
    const key = `${step}\n${model}\n${baseline ?? ""}\n${tier ?? ""}`
    const known = all.get(key)
    if (known !== undefined) return known
    const provider = ModelClient.providerOf(layers, model)
    const counts = PlanCount.make({ step, provider, model, baseline, isEmbedding: request._tag === "Embedding", tier })
    all.set(key, counts)
    return counts
  }

/** A request's share of a prompt, and its tokens: a whole prompt, or one text of a packed prompt. */
const prompts = (store: Store.Service, packs: boolean) => {
  /** The sizes of packed prompts found by earlier runs, and the requests counted so far, by scope. */
  const scopes = new Map<string, { readonly size: number | undefined; seen: number }>()

  const scopeOf = (key: string, pack: Varying.Pack) =>
    Effect.gen(function* () {
      const known = scopes.get(key)
      if (known !== undefined) return known
      const packed = pack.size === "auto" ? yield* Effect.orElseSucceed(store.packs.ofScope(key), () => []) : []
      const scope = scopes.get(key) ?? { size: PackSize.settled(packed, pack), seen: 0 }
      scopes.set(key, scope)
      return scope
    })

  return (
    request: ModelRequest.ModelRequest,
    varying: Varying.Varying | undefined,
    step: string,
    apart: string,
    tokens: TokenCounter.Count
  ): Effect.Effect<PlanCount.PlannedCall["prompt"]> =>
    Effect.gen(function* () {
      const input = TokenCounter.inputTokens(tokens, request)
      const alone = { prompts: 1, input, alone: input }
      if (!packs || varying?.pack === undefined || request._tag !== "Completion") return alone
      const template = varying.pack.size === 1 ? "single" : PackPrompt.template(request, varying.text)
      if (typeof template === "string") return alone
      const scope = yield* scopeOf(PackSize.keyOf(step, template, apart), varying.pack)
      const size = scope.size ?? PackSize.SIZES[0]
      if (size === 1) return alone
      const item = tokens(PackPrompt.list([varying.text]))
      const whole = TokenCounter.inputTokens(tokens, PackPrompt.make(template, [varying.text]))
      const share = { prompts: 1 / size, input: (whole - item) / size + item, alone: input }
      if (scope.size !== undefined) return share
      // Some texts are sent alone, and as many again in prompts, to find the size. In the best case it is the largest.
      const seen = scope.seen++
      return seen < PackSize.SAMPLE
        ? alone
        : seen < 2 * PackSize.SAMPLE
          ? { ...share, prompts: 2 * share.prompts, input: 2 * share.input }
          : share
    })
}
