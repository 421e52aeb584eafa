/**
 * Calls the cheapest model first, judges its answer, and calls the next one when in doubt: the strong model answers
 * what the others cannot.
 *
 * **Details** With manual rules, an answer is accepted if it fits its schema and passes the step's own check
 * (`quality.check`) and every judge. With a `routing` file, written by `pipe tune`, trained scores decide, and a
 * certificate states which share of the strong model's quality is kept. Without that file, and for a step that it does
 * not certify (no policy was found, or the step has changed since), the strong model is called, with one warning.
 *
 * - A request that names its model (a step's `model`) passes unchanged.
 * - An answer that is truncated, refused, invalid after its re-asks, or too long for the model goes to the next model.
 *   A model that is down or rate limited fails the call, so that an outage of a cheap provider does not become a bill
 *   of the expensive one: put `Fallback` below.
 * - The row pays for all its calls. The savings of routing are the strong model's price less all of them.
 * - A share of the accepted answers is audited: the strong model is called too, its answer is used for the row, and the
 *   report shows how far they agree. An audit that a budget refuses is skipped.
 *
 * Put it above `Cache`: each model's answer is cached separately, so tuning again is cheap. `Router` chooses one model
 * *before* the call, by a rule of yours; `Cascade` decides *after* seeing an answer.
 *
 * **Example** (confident answers of a small model are accepted)
 *
 * ```ts
 * import { Cache, Cascade, Judge, Ledger, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"], judges: [Judge.logprobs({ atLeast: 0.95 })] }),
 *   Cache.layer(),
 *   Retry.layer(),
 *   OpenAi.layer()
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Store from "../store/Store.ts"
import * as CascadeModels from "./CascadeModels.ts"
import * as CascadeRequests from "./CascadeRequests.ts"
import * as CascadeTrial from "./CascadeTrial.ts"
import type * as Features from "./Features.ts"
import type * as Judge from "./Judge.ts"
import * as Quality from "./Quality.ts"
import * as Routing from "./Routing.ts"
import * as RoutingFile from "./RoutingFile.ts"

/** The options of `Cascade.layer`. */
export interface Options<R = never> {
  /** From the cheapest to the strong model. */
  readonly models: readonly [string, string, ...Array<string>]
  /**
   * Judges that decide whether an answer is accepted, in addition to its schema and the step's check. Default: none.
   */
  readonly judges?: ReadonlyArray<Judge.Judge<R>>
  /**
   * The file that `pipe tune` writes. It may not exist yet. A path is relative to the working directory, so pass `new
   * URL("./flow.routing.json", import.meta.url)`.
   */
  readonly routing?: string | URL
  /**
   * The share of accepted answers for which the strong model is called too. Default: 0.02 with a routing file,
   * otherwise 0.
   */
  readonly audit?: number
}

export { CascadeError } from "./RoutingFile.ts"

const AUDIT = 0.02

/** Calls one model after the other. */
export const layer = <R = never>(
  options: Options<R>
): Layer.Layer<
  ModelClient.ModelClient,
  RoutingFile.CascadeError,
  ModelClient.ModelClient | Store.Store | FileSystem.FileSystem | Path.Path | R
> =>
  Layer.unwrap(
    Effect.gen(function* () {
      yield* check(options)
      const context = yield* Effect.context<R>()
      // The services of the judges are provided here.
      const judges = yield* Effect.forEach(options.judges ?? [], (judge) => knownOf(judge, context))
      const file = options.routing === undefined ? undefined : yield* RoutingFile.fileOf(options.routing)
      // A file that is being tuned again may be unusable.
      const isTuned = (yield* RunHooks.RunHooks).onTrial !== undefined
      const found = file === undefined ? Effect.undefined : RoutingFile.read(file, options.models, judges)
      const routing = isTuned ? yield* Effect.orElseSucceed(found, () => undefined) : yield* found
      const { models } = options
      const rate = options.audit ?? (file === undefined ? 0 : AUDIT)
      return ModelClient.layerOf((next) => make(next, { models, judges, file, routing, rate }), {
        name: "Cascade",
        answers: [
          models,
          judges.map(({ atLeast, key, name }) => [name, key, atLeast]),
          file === undefined ? "by hand" : routing === undefined ? "untuned" : JSON.parse(Routing.encode(routing)).steps
        ],
        annotations: Context.make(LayerAnnotations.Cascades, {
          name: nameOf(models),
          models,
          judges: judges.map(({ key, name, needs }) => ({
            name,
            key,
            ...(needs === undefined ? undefined : { needs })
          })),
          file,
          routing,
          requests: (request, step) =>
            request._tag === "Completion"
              ? CascadeRequests.requestsOf({ models, judges, file, routing, rate }, request, step)
              : []
        }).pipe(
          Context.add(LayerAnnotations.Order, {
            above: [
              {
                key: LayerAnnotations.ChangesAnswers,
                because: "the cascade would judge answers that are not what the row receives"
              }
            ]
          })
        )
      })
    })
  )

/** A judge with its services provided, and with its identity. */
const knownOf = <R>(judge: Judge.Judge<R>, context: Context.Context<R>) =>
  Effect.map(RoutingFile.identityOf(judge), (identity): RoutingFile.KnownJudge => {
    const { answer, identify: _, row, ...rest } = judge
    // The call's own context comes first: the ledger, the budget and the row are in it.
    const provided = <A, E>(effect: () => Effect.Effect<A, E, R>) =>
      Effect.updateContext(Effect.suspend(effect), (call: Context.Context<never>) => Context.merge(context, call))
    return {
      ...rest,
      key: ContentHash.make(identity).slice(0, 12),
      ...(row === undefined ? undefined : { row: (request) => provided(() => row(request)) }),
      ...(answer === undefined ? undefined : { answer: (asked) => provided(() => answer(asked)) })
    }
  })

/** Rejects contradictory options. */
const check = ({ audit = 0, judges = [], models }: Options<unknown>): Effect.Effect<void, RoutingFile.CascadeError> => {
  const double = (names: ReadonlyArray<string>) => names.find((name, at) => names.indexOf(name) !== at)
  const [model, judge] = [double(models), double(judges.map(({ name }) => name))]
  const problem =
    model !== undefined
      ? `lists the model ${model} twice`
      : judge !== undefined
        ? `has two judges named ${judge}: rename one`
        : !(audit >= 0 && audit <= 1)
          ? `needs an \`audit\` between 0 and 1, not ${audit}`
          : undefined
  return problem === undefined
    ? Effect.void
    : Effect.fail(new RoutingFile.CascadeError({ message: `a cascade ${problem}` }))
}

/** A cascade in a run. */
interface Run extends CascadeModels.CascadeModels {
  readonly store: Store.Service
  readonly run: Suspension.SuspendedRun | undefined
  /** The key of each step. */
  readonly keyOf: (step: string) => string | undefined
}

const make = Effect.fnUntraced(function* (next: ModelClient.Service, made: CascadeRequests.CascadeDefinition) {
  const { stepKey, suspension } = yield* RunHooks.RunHooks
  const run: Run = {
    ...made,
    next,
    strong: made.models[made.models.length - 1]!,
    all: nameOf(made.models),
    warn: LayerEvent.once(),
    store: yield* Store.Store,
    run: suspension,
    keyOf: stepKey
  }
  const isOurs = (request: ModelRequest.ModelRequest): request is CascadeModels.Completion =>
    request._tag === "Completion" && (request.model === undefined || request.model === run.all)
  return {
    resolve: (request, call) => {
      const resolved = next.resolve(request, call)
      return isOurs(request) ? ModelRequest.withModel(resolved, run.all) : resolved
    },
    send: (request) =>
      Effect.withFiber((fiber) => {
        if (!isOurs(request)) return next.send(request)
        const { model: _, ...own } = request
        const quality = fiber.getRef(Quality.Quality) ?? {}
        const observe = fiber.getRef(RunHooks.RunHooks).onTrial
        return (
          observe === undefined ? cascade(run, own, quality) : CascadeTrial.run(run, own, quality, observe)
        ) as Effect.Effect<ModelResponse.ResponseTo<typeof request>, AiError.AiError>
      })
  } satisfies ModelClient.Service
})

/** Calls one model after the other until an answer is accepted. */
const cascade = (
  cascade: Run,
  request: CascadeModels.Completion,
  quality: Quality.Quality
): CascadeModels.ModelEffect<CascadeModels.Response> =>
  Effect.gen(function* () {
    const { row: index, step } = yield* CallContext.CallContext
    const policy = cascade.file === undefined ? undefined : yield* policyOf(cascade, step)
    if (cascade.file !== undefined && policy === undefined)
      return CascadeModels.withModels(cascade, yield* CascadeModels.callStrong(cascade, request), [])
    const key = ContentHash.make(RequestKey.content(request))
    const record = recorder(cascade, { step, index, key })
    const row = yield* CascadeModels.rowOf(cascade, request, quality, step)
    const discarded: Array<ModelResponse.Discarded> = []
    for (const { isJudged, isLeftOut, model, stands } of stagesOf(cascade, policy, row)) {
      if (isLeftOut) continue
      const tried = yield* CascadeModels.tryModel(cascade, request, model, row, quality, step, isJudged)
      const { response } = tried
      if (response === undefined || !stands(tried)) {
        discarded.push(...tried.calls)
        continue
      }
      const audited = isAudited(cascade, key)
        ? yield* Effect.catch(CascadeModels.callStrong(cascade, request), () => Effect.undefined)
        : undefined
      if (audited === undefined || CascadeModels.isOther(audited, cascade.strong)) {
        record(model, undefined)
        return CascadeModels.withModels(cascade, response, [
          ...discarded,
          ...(audited === undefined ? [] : ModelResponse.toDiscarded(audited))
        ])
      }
      record(model, yield* CascadeModels.agreementOf(cascade, quality, step, response, audited))
      return CascadeModels.withModels(cascade, audited, [...discarded, ...tried.calls])
    }
    const response = yield* CascadeModels.callStrong(cascade, request)
    record(cascade.strong, undefined, CascadeModels.isOther(response, cascade.strong))
    return CascadeModels.withModels(cascade, response, discarded)
  })

/** Records which model answered a row, and how far an audit agrees. */
const recorder =
  (
    { run, store, strong }: Run,
    { index, key, step }: { readonly step: string; readonly index: number; readonly key: string }
  ) =>
  (model: string, agreement: number | undefined, isSubstituted = false): void =>
    run === undefined
      ? undefined
      : store.routes.record(run.id, {
          step,
          row: index,
          key: key.slice(0, 16),
          model,
          isStrong: model === strong,
          isSubstituted,
          agreement
        })

/** The policy of a step, when one is certified for the step as it is. */
const policyOf = (
  { file, keyOf, routing, strong, warn }: Run,
  step: string
): Effect.Effect<Routing.RoutingPolicy | undefined> => {
  const route = routing?.steps[step]
  const why =
    routing === undefined
      ? `${file} does not exist yet`
      : route === undefined
        ? `${file} has no entry for it`
        : route.policy === undefined || route.certificate === undefined
          ? `nothing is certified for it (${route.refused ?? "no policy"})`
          : (keyOf(step) ?? route.key) !== route.key
            ? "it has changed since it was tuned, so its certificate is not valid"
            : undefined
  return why === undefined
    ? Effect.succeed(route?.policy)
    : Effect.as(
        warn(
          `step ${step}: ${strong} is called for every row, because ${why}: pipe tune finds a cheaper routing`,
          `policy ${step}`
        ),
        undefined
      )
}

/** The cheaper models: whether they are called for a row, and whether an answer is accepted. */
const stagesOf = ({ models }: Run, policy: Routing.RoutingPolicy | undefined, row: Features.Sample) =>
  policy === undefined
    ? models.slice(0, -1).map((model) => ({
        model,
        isLeftOut: false,
        isJudged: true,
        stands: ({ isGood }: CascadeModels.JudgedResponse) => isGood
      }))
    : policy.rungs.map((stage) => ({
        model: stage.model,
        isLeftOut: policy.by === "row" && !Routing.accepts(policy, stage, row),
        isJudged: policy.by === "answer",
        stands: ({ sample }: CascadeModels.JudgedResponse) =>
          sample !== undefined && (policy.by === "row" || Routing.accepts(policy, stage, sample))
      }))

/** Tests whether a request belongs to the audited share. The choice is stable, so a replayed row is treated alike. */
const isAudited = ({ rate }: Run, key: string): boolean =>
  rate > 0 && Number.parseInt(ContentHash.make(`audit\n${key}`).slice(0, 8), 16) / 2 ** 32 < rate

const nameOf = (models: ReadonlyArray<string>): string => models.join(" > ")

/** The cascade of a stack, according to its layers. */
export const of = (layers: ReadonlyArray<ModelClient.LayerInfo> = []): Option.Option<LayerAnnotations.Cascades> =>
  Option.fromNullishOr(LayerAnnotations.find(layers, LayerAnnotations.Cascades))
