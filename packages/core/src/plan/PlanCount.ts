/**
 * A stack that counts what would be asked, and asks nobody.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Cache from "../cache/Cache.ts"
import * as CachedTexts from "../cache/CachedTexts.ts"
import * as Caller from "../client/Caller.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as Closure from "../closure/Closure.ts"
import * as Varying from "../flow/Varying.ts"
import type * as LedgerRepo from "../ledger/LedgerRepo.ts"
import * as FileTokens from "../model/FileTokens.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as Pack from "../pack/Pack.ts"
import * as PackPrompt from "../pack/PackPrompt.ts"
import * as PackSize from "../pack/PackSize.ts"
import * as ModelName from "../price/ModelName.ts"
import * as Cascade from "../routing/Cascade.ts"
import * as SemanticCache from "../semantic/SemanticCache.ts"
import type * as Store from "../store/Store.ts"
import * as Placeholder from "./Placeholder.ts"

/** Output of answers of which nothing is known, in tokens. */
export const GUESS = { low: 16, expected: 128, high: 512 }

/** What is counted of the calls of one step to one model. */
export interface Counts {
  readonly step: string
  readonly provider: string
  readonly model: string
  readonly baseline: string | undefined
  /** Answers that are to be paid; shares of them, where a cascade asks a model for some rows only. */
  calls: number
  /** Prompts that they come from: fewer, where several texts are asked in one. */
  prompts: number
  cached: number
  input: number
  /** Input tokens, were each asked alone. */
  alone: number
  /** What the cached answers would cost again. */
  cachedUsage: Usage.Usage
  maxTokens: number
  isEmbedding: boolean
  /** The beginning that all prompts have in common, in characters. */
  prefix: string | undefined
  /** Answers to earlier questions may be reused: how many, only the run shows. */
  isReused: boolean
  /** How many rows a cascade takes on from the models before, only the run shows: all of them are counted. */
  isMost: boolean
  /** Asked by a cascade. */
  isCascaded: boolean
  /** Calls a row of a loop over tools that earlier runs have made; 0 where none has. Absent: it has no tools. */
  rounds: number | undefined
  /** The kind of a file whose tokens nobody knows: none are counted for it. */
  unknownFile: string | undefined
  /** Of its strong model: what all rows would ask of it. */
  unrouted: { calls: number; input: number } | undefined
}

/** Whole prompts: shares of them are added up, and not exactly. */
export const callsOf = ({ prompts }: Counts): number => Math.ceil(prompts - 1e-6)

/** The most tokens of the files of a request, and the kind of one of which nothing is known. */
const filesOf = (request: ModelRequest.ModelRequest): { readonly tokens: number; readonly unknown?: string } => {
  if (request._tag === "Embedding") return { tokens: 0 }
  const types = request.messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.flatMap((part) => (part.type === "file" ? [part.mediaType] : []))
  )
  const sizes = types.map((type) => FileTokens.most(request.model ?? "", type))
  const unknown = types[sizes.indexOf(undefined)]
  return {
    tokens: sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0),
    ...(unknown === undefined ? undefined : { unknown })
  }
}

/** Of a call that is no loop. */
const ONCE = { input: 0, rounds: 1 }

/** What is known of a step's answers by a model; where it has not answered yet, by another. */
export const sampleOf = (samples: ReadonlyArray<LedgerRepo.OutputSample>, step: string, model: string) =>
  samples.find((sample) => sample.step === step && ModelName.isVersionOf(sample.model, model))
  ?? samples.find((sample) => sample.step === step)

/** A stack that counts and does not ask. */
export const counting = (
  client: ModelClient.Service,
  env: {
    readonly store: Store.Service
    readonly counts: Map<string, Counts>
    readonly samples: ReadonlyArray<LedgerRepo.OutputSample>
    readonly useCache: boolean
    readonly closures: Pick<Closure.Closures, "of" | "textOf">
    readonly at: number
  }
): ModelClient.Service => {
  const layers = client.layers ?? []
  const packs = ModelClient.hasLayer(layers, Pack.NAME)
  const reuses = ModelClient.hasLayer(layers, SemanticCache.NAME)
  const at = layers.findIndex(({ name }) => name === "Cache")
  const cache = layers[at]
  const keyOf = Cache.keysOf(cache?.namespace, layers.slice(at + 1), env.closures)
  const cascade = Option.getOrUndefined(Cascade.of(layers))
  const routed = layers.find(({ baseline }) => baseline !== undefined)
  /** The number of the placeholder for each request. */
  const seen = new Map<string, number>()
  let number = 0

  const countsOf = (step: string, request: ModelRequest.ModelRequest, isRouted: boolean): Counts => {
    const model = request.model ?? ""
    const provider = ModelClient.providerOf(layers, model)
    const baseline = isRouted ? (routed?.baseline ?? cascade?.models.at(-1)) : undefined
    const key = `${step}\n${model}\n${baseline ?? ""}`
    let known = env.counts.get(key)
    if (known === undefined) {
      env.counts.set(
        key,
        (known = {
          step,
          provider,
          model,
          baseline,
          calls: 0,
          prompts: 0,
          cached: 0,
          input: 0,
          alone: 0,
          cachedUsage: Usage.zero,
          maxTokens: 0,
          isEmbedding: request._tag === "Embedding",
          prefix: undefined,
          isReused: false,
          isMost: false,
          isCascaded: false,
          rounds: undefined,
          unknownFile: undefined,
          unrouted: undefined
        })
      )
    }
    return known
  }

  /** The sizes of packed prompts that earlier runs have found, and the requests that were counted so far, by scope. */
  const scopes = new Map<string, { readonly size: number | undefined; seen: number }>()

  const scopeOf = (key: string, pack: Varying.Pack) =>
    Effect.gen(function* () {
      const known = scopes.get(key)
      if (known !== undefined) return known
      const packed = pack.size === "auto" ? yield* Effect.orElseSucceed(env.store.reuse.packs(key), () => []) : []
      const scope = scopes.get(key) ?? { size: PackSize.settled(packed, pack), seen: 0 }
      scopes.set(key, scope)
      return scope
    })

  /** The share of a prompt that a request has, and its tokens. */
  const promptOf = (
    request: ModelRequest.ModelRequest,
    varying: Varying.Varying | undefined,
    step: string,
    tokens: TokenCounter.Count,
    files: number
  ) =>
    Effect.gen(function* () {
      const input = TokenCounter.inputTokens(tokens, request) + files
      const alone = { prompts: 1, input, alone: input }
      if (!packs || varying?.pack === undefined || request._tag !== "Completion") return alone
      const template = varying.pack.size === 1 ? "single" : PackPrompt.template(request, varying.text)
      if (typeof template === "string") return alone
      const scope = yield* scopeOf(PackSize.keyOf(step, template), varying.pack)
      const size = scope.size ?? PackSize.SIZES[0]
      if (size === 1) return alone
      const item = tokens(PackPrompt.list([varying.text]))
      const whole = TokenCounter.inputTokens(tokens, PackPrompt.make(template, [varying.text]))
      const share = { prompts: 1 / size, input: (whole - item) / size + item, alone: input }
      if (scope.size !== undefined) return share
      // Some texts are asked alone, and as many again in prompts, to find the size: the largest, if all goes well.
      const seen = scope.seen++
      return seen < PackSize.SAMPLE
        ? alone
        : seen < 2 * PackSize.SAMPLE
          ? { ...share, prompts: 2 * share.prompts, input: 2 * share.input }
          : share
    })

  const count = Effect.fnUntraced(function* (
    counts: Counts,
    request: ModelRequest.ModelRequest,
    varying: Varying.Varying | undefined,
    tokens: TokenCounter.Count,
    part: number,
    isStrong: boolean,
    loop: Pick<LedgerRepo.OutputSample, "input" | "rounds">
  ) {
    const files = filesOf(request)
    const sizes = yield* promptOf(request, varying, counts.step, tokens, files.tokens)
    const { prompts } = sizes
    const [alone, input] = [Math.max(sizes.alone, loop.input), Math.max(sizes.input, loop.input)]
    const share = part * loop.rounds
    counts.unknownFile ??= files.unknown
    counts.calls += share
    counts.prompts += share * prompts
    counts.input += share * input
    counts.alone += share * alone
    if (isStrong) {
      counts.unrouted ??= { calls: 0, input: 0 }
      counts.unrouted.calls++
      counts.unrouted.input += alone
    }
    if (reuses && varying?.reuse !== undefined) counts.isReused = true
    counts.maxTokens = Math.max(counts.maxTokens, request._tag === "Embedding" ? 0 : (request.settings.maxTokens ?? 0))
    const text = ModelRequest.text(request)
    if (counts.prefix === undefined) counts.prefix = text
    else if (counts.prefix !== "" && !text.startsWith(counts.prefix)) {
      let length = 0
      while (length < counts.prefix.length && counts.prefix[length] === text[length]) length++
      counts.prefix = counts.prefix.slice(0, length)
    }
  })

  /** What the cache has for a request; for several texts, where it has all of them. */
  const keptOf = (request: ModelRequest.ModelRequest): Effect.Effect<ModelResponse.ModelResponse | undefined> =>
    request._tag === "Embedding" && request.inputs.length > 1
      ? Effect.map(Effect.forEach(CachedTexts.each(request), keptOf), (parts) =>
          parts.includes(undefined) ? undefined : CachedTexts.join(parts as never)
        )
      : Effect.map(
          Effect.catch(env.store.answers.get(keyOf(request)), () => Effect.undefined),
          (row) =>
            row === undefined || (row.expires_at !== null && Number(row.expires_at) <= env.at)
              ? undefined
              : Option.getOrUndefined(ModelResponse.decode(row.value))
        )

  /** What the cache or a model would answer, the latter counted as a share of a call. */
  const ask = <R extends ModelRequest.ModelRequest>(
    request: R,
    { isCascaded, isMost, isRouted, isStrong, share }: Share
  ) =>
    Effect.withFiber<ModelResponse.ResponseTo<R>>((fiber) => {
      const { step } = fiber.getRef(Caller.Caller)
      const counts = countsOf(step, request, isRouted)
      const sample = sampleOf(env.samples, step, request.model ?? "")
      const expected = Math.round(sample?.mean ?? GUESS.expected)
      const isLoop = request._tag === "Completion" && request.tools.length > 0
      // A placeholder calls no tool, so that a loop ends with its first round: the others are those of earlier runs.
      if (isLoop) counts.rounds = sample?.rounds ?? 0
      const loop = isLoop && sample !== undefined ? sample : ONCE
      if (isMost) counts.isMost = true
      if (isCascaded) counts.isCascaded = true
      const answer = Effect.map(
        count(
          counts,
          request,
          fiber.getRef(Varying.Varying),
          fiber.getRef(TokenCounter.TokenCounter),
          share,
          isStrong,
          loop
        ),
        () => Placeholder.make(request, expected, ++number)
      )
      if (cache === undefined || !env.useCache) return answer
      const key = keyOf(request)
      if (seen.has(key)) {
        counts.cached++
        return Effect.succeed(Placeholder.make(request, expected, seen.get(key)!))
      }
      seen.set(key, number + 1)
      return Effect.flatMap(keptOf(request), (kept) => {
        if (kept === undefined) return answer
        counts.cached++
        if (kept.usage !== undefined) counts.cachedUsage = Usage.add(counts.cachedUsage, kept.usage)
        return Effect.succeed(kept as ModelResponse.ResponseTo<R>)
      })
    })

  return {
    ...client,
    send: <R extends ModelRequest.ModelRequest>(asked: R) =>
      Effect.withFiber((fiber) => {
        const request = client.resolve(asked)
        if (cascade !== undefined && request.model === cascade.name) {
          // The last that is asked answers.
          const all = cascade.requests(request, fiber.getRef(Caller.Caller).step)
          return Effect.map(
            Effect.forEach(all, ({ request, ...share }, at) =>
              ask(request as R, { ...share, isRouted: true, isCascaded: true, isStrong: at === all.length - 1 })
            ),
            (answers) => answers.at(-1)!
          )
        }
        return ask(request, {
          share: 1,
          isMost: false,
          isCascaded: false,
          isStrong: false,
          isRouted: asked.model === undefined && routed !== undefined
        })
      })
  }
}

/** How much of a call is counted. */
interface Share {
  readonly share: number
  readonly isMost: boolean
  readonly isCascaded: boolean
  /** What every row would ask without the cascade. */
  readonly isStrong: boolean
  readonly isRouted: boolean
}
