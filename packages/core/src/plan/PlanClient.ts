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
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as PackPrompt from "../pack/PackPrompt.ts"
import * as PackSize from "../pack/PackSize.ts"
import * as Cascade from "../routing/Cascade.ts"
import type * as Store from "../store/Store.ts"
import * as Placeholder from "./Placeholder.ts"
import * as PlanCount from "./PlanCount.ts"

/** What a plan counts with, and where it counts. */
export interface PlanEnvironment {
  readonly store: Store.Service
  readonly counts: Map<string, PlanCount.PlanCounts>
  readonly expected: ExpectedUsage.ExpectedUsage
  readonly useCache: boolean
  readonly closures: Pick<Closure.Closures, "of" | "textOf">
  readonly at: number
}

/** How a request is counted. */
interface Way extends Omit<LayerAnnotations.CascadeRequest, "request"> {
  readonly isCascaded: boolean
  /** Set for what every row would send without the cascade. */
  readonly isStrong: boolean
  readonly isRouted: boolean
}

const WHOLE: Way = { share: 1, isMost: false, isCascaded: false, isStrong: false, isRouted: false }

/** A call outside a tool loop. */
const ONCE = { input: 0, rounds: 1 }

/** A client that counts instead of sending. */
export const make =
  (env: PlanEnvironment) =>
  (client: ModelClient.Service): ModelClient.Service => {
    const layers = client.layers ?? []
    const cascade = Option.getOrUndefined(Cascade.of(layers))
    const asides = asidesOf(layers)
    const routed = LayerAnnotations.find(layers, LayerAnnotations.Routes)
    const waysOf = waysBy(cascade, routed !== undefined)
    const countsOf = finder(env.counts, layers, routed?.baseline ?? cascade?.models.at(-1))
    const known = env.useCache ? cachesOf(client) : undefined
    let number = 0

    const count = counter(env, layers, () => ++number)

    /** Answers from the cache or with a placeholder, which is counted as a share of a call. */
    const ask = <R extends ModelRequest.ModelRequest>(asked: R, way: Way) =>
      Effect.withFiber<ModelResponse.ResponseTo<R>>((fiber) => {
        const call = fiber.getRef(CallContext.CallContext)
        const request = client.resolve(asked, call)
        const step = CallContext.nameOf(call.step, way.purpose ?? "")
        const counts = countsOf(step, request, way.isRouted)
        // A placeholder calls no tool, so a loop ends after its first round. Earlier runs tell how many rounds there
        // are.
        if (request._tag === "Completion" && request.tools.length > 0)
          counts.rounds = env.expected.learned(step, counts.model)?.rounds ?? 0
        if (way.isMost) counts.isMost = true
        if (way.isCascaded) counts.isCascaded = true
        const counted = Effect.suspend(() => count(request, way, counts, fiber))
        if (known === undefined) return counted
        const found = known(asked, call, number + 1)
        if (found.again !== undefined) {
          counts.cached++
          const { expected } = env.expected.of(step, request)
          return Effect.succeed(Placeholder.make(request, Math.round(expected), found.again))
        }
        return Effect.flatMap(found.kept, (kept) => {
          if (kept === undefined) return counted
          counts.cached++
          if (kept.usage !== undefined) counts.cachedUsage = Usage.add(counts.cachedUsage, kept.usage)
          return Effect.succeed(kept as ModelResponse.ResponseTo<R>)
        })
      })

    return {
      ...client,
      send: <R extends ModelRequest.ModelRequest>(asked: R) =>
        Effect.withFiber((fiber) => {
          const call = fiber.getRef(CallContext.CallContext)
          const ways = waysOf(asked, client.resolve(asked, call).model, call.step)
          const sent = Effect.map(
            Effect.forEach(ways, ({ request, way }) => ask(request as R, way)),
            (answers) => answers.at(-1)!
          )
          const own = asides(asked, call).map(({ purpose, request, share = 1 }) =>
            ask(request, { ...WHOLE, share, purpose })
          )
          return own.length === 0 ? sent : Effect.andThen(Effect.all(own, { discard: true }), sent)
        })
    }
  }

/** Counts a request, and answers with a placeholder. */
const counter = (env: PlanEnvironment, layers: ReadonlyArray<ModelClient.LayerInfo>, next: () => number) => {
  const promptOf = prompts(env.store, LayerAnnotations.has(layers, LayerAnnotations.Packs))
  const apartOf = LayerAnnotations.apartBy(layers)
  const reuses = LayerAnnotations.has(layers, LayerAnnotations.ReusesMeaning)
  return <R extends ModelRequest.ModelRequest>(
    request: R,
    way: Way,
    counts: PlanCount.PlanCounts,
    fiber: Fiber.Fiber<unknown, unknown>
  ): Effect.Effect<ModelResponse.ResponseTo<R>> => {
    const learned = env.expected.learned(counts.step, counts.model)
    const output = env.expected.of(counts.step, request)
    const varying = fiber.getRef(Varying.Varying)
    const isLoop = request._tag === "Completion" && request.tools.length > 0
    return Effect.map(
      promptOf(
        request,
        varying,
        counts.step,
        apartOf(fiber.getRef(CallContext.CallContext).values),
        fiber.getRef(TokenCounter.TokenCounter)
      ),
      (prompt) => {
        PlanCount.add(counts, {
          request,
          share: way.share,
          isStrong: way.isStrong,
          isReused: reuses && varying?.reuse !== undefined,
          prompt,
          loop: isLoop && learned !== undefined ? learned : ONCE,
          output
        })
        return Placeholder.make(request, Math.round(output.expected), next())
      }
    )
  }
}

/** The requests that are sent for a request: itself, or those of a cascade, of which the last supplies the answer. */
const waysBy =
  (cascade: LayerAnnotations.Cascades | undefined, hasRouter: boolean) =>
  (
    asked: ModelRequest.ModelRequest,
    /** The model of the request as it will reach the provider. */
    model: string | undefined,
    step: string
  ): ReadonlyArray<{ readonly request: ModelRequest.ModelRequest; readonly way: Way }> =>
    cascade === undefined || model !== cascade.name
      ? [{ request: asked, way: { ...WHOLE, isRouted: asked.model === undefined && hasRouter } }]
      : cascade.requests(asked, step).map(({ request, ...share }, at, all) => ({
          request,
          way: { ...share, isRouted: true, isCascaded: true, isStrong: at === all.length - 1 }
        }))

/** What layers send of their own for a request. */
const asidesOf = (layers: ReadonlyArray<ModelClient.LayerInfo>) => {
  const asking = layers.flatMap((layer) => LayerAnnotations.get(layer, LayerAnnotations.Asks) ?? [])
  return (asked: ModelRequest.ModelRequest, call: CallContext.CallContext) =>
    asking.flatMap((requests) => requests(asked, call))
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
    const key = `${step}\n${model}\n${baseline ?? ""}`
    const known = all.get(key)
    if (known !== undefined) return known
    const provider = ModelClient.providerOf(layers, model)
    const counts = PlanCount.make({ step, provider, model, baseline, isEmbedding: request._tag === "Embedding" })
    all.set(key, counts)
    return counts
  }

/** What the caches of a stack will contain: stored answers, and those of equal requests of this plan. */
const cachesOf = (client: ModelClient.Service) => {
  const { caches } = client
  if (caches === undefined) return undefined
  const seen = new Map<string, number>()
  return (request: ModelRequest.ModelRequest, call: CallContext.CallContext, number: number) => {
    const passed = caches(request, call)
    /** The placeholder number of an equal request; `undefined` for the first, which takes this number. */
    let again: number | undefined
    for (const { key } of passed) {
      again ??= seen.get(key)
      if (!seen.has(key)) seen.set(key, number)
    }
    const kept = passed.reduce(
      (kept: Effect.Effect<ModelResponse.ModelResponse | undefined>, { cached, request }) =>
        Effect.flatMap(kept, (found) =>
          found === undefined && cached.peek !== undefined ? cached.peek(request, call) : Effect.succeed(found)
        ),
      Effect.undefined
    )
    return { again, kept }
  }
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
      const input = TokenCounter.inputTokens(tokens, request) + PlanCount.filesOf(request).tokens
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
