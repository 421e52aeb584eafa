/**
 * Asks the cheapest model first, judges its answer, and asks the next one where it is in doubt: the strong model answers what the
 * others cannot.
 *
 * **Details** By hand, an answer stands if it fits its schema, the step's own check (`quality.check`) lets it, and so does every judge. With a
 * `routing` file, which `pipe tune` writes, trained scores decide, with a certified promise: the share of the strong model's quality that is kept. Without
 * that file, and for a step that it does not certify (none was found, the step has changed since), the strong model is asked, and that is said once.
 *
 * - A request that names its model (a step's `model`) passes untouched.
 * - An answer that is cut, refused, unfit after its re-asks, or too long for the model goes on to the next. What is down or limited fails, so that trouble of a
 *   cheap provider does not become a bill of the dear one: put `Fallback` below.
 * - Everything that was asked for a row is in its cost. What routing saved is the strong model's price less all of it.
 * - A share of the answers that stand is audited: the strong model is asked too, its answer is the row's, and the report shows how far they agree. An audit that a budget refuses is left out.
 *
 * Put it above `Cache`: each model's answer is kept by itself, so that tuning anew costs little.
 *
 * **Example** (sure answers of a small model stand)
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
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Caller from "../client/Caller.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as ModelName from "../price/ModelName.ts"
import * as Store from "../store/Store.ts"
import * as CascadeHooks from "./CascadeHooks.ts"
import * as CascadeRequests from "./CascadeRequests.ts"
import * as Features from "./Features.ts"
import * as Judge from "./Judge.ts"
import * as Quality from "./Quality.ts"
import * as Routing from "./Routing.ts"
import * as RoutingFile from "./RoutingFile.ts"

export interface Options<R = never> {
  /** From the cheapest to the strong one. */
  readonly models: readonly [string, string, ...Array<string>]
  /** What tells whether an answer may stand, beside its schema and the step's check. Default: nothing. */
  readonly judges?: ReadonlyArray<Judge.Judge<R>>
  /** The file that `pipe tune` writes; it may not be there yet. A path is taken from the working folder, so give `new URL("./flow.routing.json", import.meta.url)`. */
  readonly routing?: string | URL
  /** Share of the answers that stand for which the strong model is asked too. Default: 0.02 with a routing file, else 0. */
  readonly audit?: number
}

export { CascadeError } from "./RoutingFile.ts"

/** The layer's name in `ModelClient.LayerInfo`. */
export const NAME = "Cascade"

const AUDIT = 0.02

type Completion = ModelRequest.Completion
type Response = ModelResponse.CompletionResponse
type Asking<A> = Effect.Effect<A, AiError.AiError>

/** Asks model after model. */
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
      // What a judge needs is here: its effects need nothing more.
      const judges = yield* Effect.forEach(options.judges ?? [], (judge) =>
        Effect.map(RoutingFile.identityOf(judge), (identity): RoutingFile.Known => {
          const { answer, identify: _, row, ...rest } = judge
          return {
            ...rest,
            key: ContentHash.make(identity).slice(0, 12),
            ...(row === undefined
              ? undefined
              : {
                  row: (request) =>
                    Effect.provideContext(
                      Effect.suspend(() => row(request)),
                      context
                    )
                }),
            ...(answer === undefined
              ? undefined
              : {
                  answer: (asked) =>
                    Effect.provideContext(
                      Effect.suspend(() => answer(asked)),
                      context
                    )
                })
          }
        })
      )
      const file = options.routing === undefined ? undefined : yield* RoutingFile.fileOf(options.routing)
      // What is tuned anew may be of no use as it is.
      const isTuned = (yield* CascadeHooks.Trials) !== undefined
      const found = file === undefined ? Effect.undefined : RoutingFile.read(file, options.models, judges)
      const routing = isTuned ? yield* Effect.orElseSucceed(found, () => undefined) : yield* found
      const { models } = options
      const rate = options.audit ?? (file === undefined ? 0 : AUDIT)
      return ModelClient.middlewareEffect((next) => make(next, { models, judges, file, routing, rate }), {
        name: NAME,
        answers: [
          models,
          judges.map(({ atLeast, key, name }) => [name, key, atLeast]),
          file === undefined ? "by hand" : routing === undefined ? "untuned" : JSON.parse(Routing.encode(routing)).steps
        ],
        cascade: {
          name: nameOf(models),
          models,
          judges: judges.map(({ key, name }) => ({ name, key })),
          file,
          routing,
          requests: (request, step) =>
            request._tag === "Completion"
              ? CascadeRequests.requestsOf({ models, judges, file, routing, rate }, request, step)
              : []
        }
      })
    })
  )

/** What cannot be meant. */
const check = ({ audit = 0, judges = [], models }: Options<unknown>): Effect.Effect<void, RoutingFile.CascadeError> => {
  const double = (names: ReadonlyArray<string>) => names.find((name, at) => names.indexOf(name) !== at)
  const [model, judge] = [double(models), double(judges.map(({ name }) => name))]
  const problem =
    model !== undefined
      ? `has the model ${model} twice`
      : judge !== undefined
        ? `has two judges of the name ${judge}: give one another name`
        : !(audit >= 0 && audit <= 1)
          ? `has an \`audit\` between 0 and 1, not ${audit}`
          : undefined
  return problem === undefined
    ? Effect.void
    : Effect.fail(new RoutingFile.CascadeError({ message: `a cascade ${problem}` }))
}

/** A model's answer, and what is known of it. */
interface Judged {
  readonly response: Response | undefined
  /** The answer, and what its judges asked, for what they cost. */
  readonly asked: ReadonlyArray<ModelResponse.Discarded>
  readonly judging: ReadonlyArray<ModelResponse.Discarded>
  readonly sample: Features.Sample | undefined
  /** Whether it may stand where nothing is tuned. */
  readonly isGood: boolean
}

const make = Effect.fnUntraced(function* (
  next: ModelClient.Service,
  { file, judges, models, rate, routing }: CascadeRequests.Made
) {
  const store = yield* Store.Store
  const run = yield* Suspension.Run
  const keyOf = yield* CascadeHooks.StepKeys
  const strong = models[models.length - 1]!
  /** In the place of a model's name: those who look from above see that no single model is asked. */
  const all = nameOf(models)
  const warn = LayerEvent.once()

  const isOurs = (request: ModelRequest.ModelRequest): request is Completion =>
    request._tag === "Completion" && (request.model === undefined || request.model === all)

  /** What the author's own function gives; what it throws is said once. */
  const ask = <A>(what: string, step: string, f: () => A, otherwise: A): Effect.Effect<A> =>
    Effect.suspend(() => {
      try {
        return Effect.succeed(f())
      } catch (error) {
        return Effect.as(
          warn(
            `step ${step}: \`quality.${what}\` failed (${error instanceof Error ? error.message : String(error)}): the answer counts as doubtful`,
            `${what} ${step}`
          ),
          otherwise
        )
      }
    })

  /** What a judge gives; one that fails, in whatever way, gives nothing, unless nothing more may be spent. */
  const consult = <A>(judge: Judge.Judge, facts: Asking<A>, otherwise: A): Asking<A> =>
    Effect.catchCause(facts, (cause) => {
      const failed = cause.reasons.find(Cause.isFailReason)
      if (Cause.hasInterruptsOnly(cause) || (failed !== undefined && ModelFailure.kind(failed.error) === "budget"))
        return Effect.failCause(cause)
      const defect = Cause.squash(cause)
      const why =
        failed !== undefined
          ? ModelFailure.message(failed.error)
          : defect instanceof Error
            ? defect.message
            : String(defect)
      return Effect.as(
        warn(`the judge ${judge.name} failed, so answers are doubted: ${why}`, `judge ${judge.name}`),
        otherwise
      )
    })

  const rowOf = (request: Completion, quality: Quality.Quality, step: string): Asking<Features.Sample> =>
    Effect.flatMap(
      ask("features", step, () => quality.features, undefined),
      (features) => {
        const own: Features.Sample = {
          features: {
            "prompt length": Math.log1p(TokenCounter.estimate(ModelRequest.text(request, "user"))),
            ...features
          }
        }
        return Effect.reduce(
          judges,
          () => own,
          (sample, judge) =>
            judge.row === undefined
              ? Effect.succeed(sample)
              : Effect.map(consult(judge, judge.row(request), Features.empty), (more) => Features.merge(sample, more))
        )
      }
    )

  /** Asks one of the cheaper models, and its judges. */
  const tryModel = (
    asked: Completion,
    model: string,
    row: Features.Sample,
    quality: Quality.Quality,
    step: string,
    isJudged: boolean
  ): Asking<Judged> =>
    Effect.gen(function* () {
      const request = CascadeRequests.prepared(judges, ModelRequest.withModel(asked, model))
      const judging: Array<ModelResponse.Discarded> = []
      const send: ModelClient.Send = (request) =>
        Effect.tap(next.send(request), (response) =>
          Effect.sync(() => judging.push(...ModelResponse.toDiscarded(response)))
        )
      const response = yield* Effect.catch(next.send(request), (error) =>
        isBeyond(error) ? Effect.undefined : Effect.fail(error)
      )
      const paid = response === undefined ? [] : ModelResponse.toDiscarded(response)
      const doubtful: Judged = { response, asked: paid, judging, sample: undefined, isGood: false }
      // What another model answered in its place (a fallback) tells nothing of this one.
      if (
        response === undefined
        || isOther(response, model)
        || !ModelResponse.isComplete(response)
        || (yield* ModelClient.Accept)(response) !== undefined
      )
        return doubtful
      const text = ModelResponse.text(response)
      const { check } = quality
      const verdict =
        check === undefined ? undefined : yield* ask("check", step, () => check(text), false as Quality.Verdict)
      if (verdict === false) return doubtful
      if (!isJudged) return { response, asked: paid, judging, sample: row, isGood: true }
      const own: Features.Features = {
        "answer length": Math.log1p(TokenCounter.estimate(text)),
        ...(verdict === undefined ? undefined : Quality.factsOf(verdict))
      }
      const facts = yield* Effect.reduce(
        judges,
        () => own,
        (facts, judge) =>
          judge.answer === undefined
            ? Effect.succeed(facts)
            : Effect.map(
                consult(judge, judge.answer({ request, response, text, send, keyOf: keyOfAnswer(quality) }), {}),
                (more) => ({ ...facts, ...more })
              )
      )
      return {
        response,
        asked: paid,
        judging,
        sample: Features.merge(row, { features: facts }),
        isGood: Judge.isAccepted(judges, facts, verdict)
      }
    })

  const withModels = (response: Response, discarded: ReadonlyArray<ModelResponse.Discarded>): Response => ({
    ...response,
    // A cache above finds it again under what was asked there; `model` says who answered.
    requestedModel: all,
    baselineModel: strong,
    ...(discarded.length === 0 ? undefined : { discarded: [...discarded, ...(response.discarded ?? [])] })
  })

  /** The policy of a step, where one is certified for the step as it is. */
  const policyOf = (step: string): Effect.Effect<Routing.Policy | undefined> => {
    const route = routing?.steps[step]
    const why =
      routing === undefined
        ? `${file} is not there yet`
        : route === undefined
          ? `${file} has nothing for it`
          : route.policy === undefined || route.certificate === undefined
            ? `nothing is certified for it (${route.refused ?? "no policy"})`
            : (keyOf(step) ?? route.key) !== route.key
              ? "it has changed since it was tuned, so its certificate does not hold"
              : undefined
    return why === undefined
      ? Effect.succeed(route?.policy)
      : Effect.as(
          warn(
            `step ${step}: ${strong} is asked for every row, since ${why}: pipe tune finds a cheaper routing`,
            `policy ${step}`
          ),
          undefined
        )
  }

  /** The cheaper models, whether they are asked for a row, and whether an answer stands. */
  const rungsOf = (policy: Routing.Policy | undefined, row: Features.Sample) =>
    policy === undefined
      ? models
          .slice(0, -1)
          .map((model) => ({ model, isLeftOut: false, isJudged: true, stands: ({ isGood }: Judged) => isGood }))
      : policy.rungs.map((rung) => ({
          model: rung.model,
          isLeftOut: policy.by === "row" && !Routing.accepts(policy, rung, row),
          isJudged: policy.by === "answer",
          stands: ({ sample }: Judged) =>
            sample !== undefined && (policy.by === "row" || Routing.accepts(policy, rung, sample))
        }))

  const askStrong = (request: Completion): Asking<Response> => next.send(ModelRequest.withModel(request, strong))

  /** Whether a request is one of the share that is audited: always the same ones, so that a row that is begun anew is treated alike. */
  const isAudited = (key: string): boolean =>
    rate > 0 && Number.parseInt(ContentHash.make(`audit\n${key}`).slice(0, 8), 16) / 2 ** 32 < rate

  const agreementOf = (quality: Quality.Quality, step: string, response: Response, other: Response) =>
    ask(
      quality.score === undefined ? "answer" : "score",
      step,
      () => Quality.agreement(quality, ModelResponse.text(response), ModelResponse.text(other)),
      0
    )

  const cascade = (request: Completion, quality: Quality.Quality): Asking<Response> =>
    Effect.gen(function* () {
      const { row: index, step } = yield* Caller.Caller
      const policy = file === undefined ? undefined : yield* policyOf(step)
      if (file !== undefined && policy === undefined) return withModels(yield* askStrong(request), [])
      const key = ContentHash.make(RequestKey.content(request))
      const record = (model: string, agreement: number | undefined, isSubstituted = false): void =>
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
      const row = yield* rowOf(request, quality, step)
      const discarded: Array<ModelResponse.Discarded> = []
      for (const { isJudged, isLeftOut, model, stands } of rungsOf(policy, row)) {
        if (isLeftOut) continue
        const tried = yield* tryModel(request, model, row, quality, step, isJudged)
        const { response } = tried
        if (response === undefined || !stands(tried)) {
          discarded.push(...tried.asked, ...tried.judging)
          continue
        }
        const audited = isAudited(key) ? yield* Effect.catch(askStrong(request), () => Effect.undefined) : undefined
        if (audited === undefined || isOther(audited, strong)) {
          record(model, undefined)
          return withModels(response, [
            ...discarded,
            ...tried.judging,
            ...(audited === undefined ? [] : ModelResponse.toDiscarded(audited))
          ])
        }
        record(model, yield* agreementOf(quality, step, response, audited))
        return withModels(audited, [...discarded, ...tried.asked, ...tried.judging])
      }
      const response = yield* askStrong(request)
      record(strong, undefined, isOther(response, strong))
      return withModels(response, discarded)
    })

  /** Asks every model, and tells how each fared. */
  const trial = (
    request: Completion,
    quality: Quality.Quality,
    observe: (trial: CascadeHooks.Trial) => void
  ): Asking<Response> =>
    Effect.gen(function* () {
      const { row: index, step } = yield* Caller.Caller
      const row = yield* rowOf(request, quality, step)
      const label = yield* ask("label", step, () => quality.label, undefined)
      const isLabelled = label !== undefined
      const reference = yield* askStrong(request)
      const qualityOf = (response: Response) =>
        isLabelled
          ? ask(
              quality.score === undefined ? "answer" : "score",
              step,
              () => Quality.againstLabel({ ...quality, label }, ModelResponse.text(response)),
              0
            )
          : response === reference
            ? Effect.succeed(1)
            : agreementOf(quality, step, response, reference)
      const tried = yield* Effect.forEach(
        models.slice(0, -1),
        (model) =>
          Effect.gen(function* () {
            const { asked, judging, response, sample } = yield* tryModel(request, model, row, quality, step, true)
            return {
              model,
              asked,
              judging,
              sample,
              isOther: response !== undefined && isOther(response, model),
              quality: response === undefined || sample === undefined ? 0 : yield* qualityOf(response)
            }
          }),
        { concurrency: "unbounded" }
      )
      const all = [
        ...tried,
        {
          model: strong,
          asked: ModelResponse.toDiscarded(reference),
          judging: [],
          sample: row,
          quality: yield* qualityOf(reference)
        }
      ]
      observe({
        step,
        index,
        row,
        isLabelled,
        isSubstituted: isOther(reference, strong) || tried.some(({ isOther }) => isOther),
        tried: all
      })
      return withModels(
        reference,
        tried.flatMap(({ asked, judging }) => [...asked, ...judging])
      )
    })

  return {
    resolve: (request) =>
      isOurs(request) ? ModelRequest.withModel(next.resolve(request), all) : next.resolve(request),
    send: (request) =>
      Effect.withFiber((fiber) => {
        if (!isOurs(request)) return next.send(request)
        const { model: _, ...own } = request
        const quality = fiber.getRef(Quality.Quality) ?? {}
        const observe = fiber.getRef(CascadeHooks.Trials)
        return (observe === undefined ? cascade(own, quality) : trial(own, quality, observe)) as Asking<
          ModelResponse.ResponseTo<typeof request>
        >
      })
  } satisfies ModelClient.Service
})

/** Equal for answers that say the same; one that the author's function cannot read says what no other does. */
const keyOfAnswer =
  (quality: Quality.Quality) =>
  (text: string): string => {
    try {
      return Quality.keyOf(quality, text)
    } catch {
      return `\u0000${text}`
    }
  }

/** Whether a stronger model may do better with a request. */
const isBeyond = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind === "overflow" || kind === "refused" || kind === "output"
}

const nameOf = (models: ReadonlyArray<string>): string => models.join(" > ")

/** Whether another model than the one that was asked has answered. */
const isOther = (response: Response, model: string): boolean =>
  response.requestedModel !== model && !ModelName.isVersionOf(response.requestedModel, model)

/** The cascade of a stack, as its layers tell. */
export const of = (
  layers: ReadonlyArray<ModelClient.LayerInfo> = []
): Option.Option<NonNullable<ModelClient.LayerInfo["cascade"]>> =>
  Option.fromNullishOr(layers.find(({ cascade }) => cascade !== undefined)?.cascade)
