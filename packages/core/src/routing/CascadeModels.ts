/**
 * Calls the models of a cascade, and collects what is known of their answers: the row's features, the step's check, and
 * the judges.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as CallContext from "../client/CallContext.ts"
import type * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as ModelName from "../model/ModelName.ts"
import * as CascadeRequests from "./CascadeRequests.ts"
import * as Features from "./Features.ts"
import * as Judge from "./Judge.ts"
import * as Quality from "./Quality.ts"

export type Completion = ModelRequest.Completion
export type Response = ModelResponse.CompletionResponse
export type ModelEffect<A> = Effect.Effect<A, AiError.AiError>

/** What makes the calls: the stack below, the judges, and the names of the models. */
export interface CascadeModels extends CascadeRequests.CascadeDefinition {
  readonly next: ModelClient.Service
  readonly strong: string
  /** Replaces a model's name: layers above see that no single model is called. */
  readonly all: string
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** A model's answer, and what is known of it. */
export interface JudgedResponse {
  readonly response: Response | undefined
  /** The answer, and the calls of its judges, with their costs. */
  readonly calls: ReadonlyArray<ModelResponse.Discarded>
  readonly judging: ReadonlyArray<ModelResponse.Discarded>
  readonly sample: Features.Sample | undefined
  /** Whether it is accepted without tuning. */
  readonly isGood: boolean
}

/** Calls an author's function. An exception is reported once. */
export const call = <A>(
  { warn }: CascadeModels,
  what: string,
  step: string,
  f: () => A,
  otherwise: A
): Effect.Effect<A> =>
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

/** Calls a judge. A judge that fails yields nothing, unless the budget is spent. */
const consult = <A>({ warn }: CascadeModels, judge: Judge.Judge, facts: ModelEffect<A>, otherwise: A): ModelEffect<A> =>
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
      warn(`the judge ${judge.name} failed, so answers are doubtful: ${why}`, `judge ${judge.name}`),
      otherwise
    )
  })

/** What is known of a row before any model is called. */
export const rowOf = (
  asker: CascadeModels,
  request: Completion,
  quality: Quality.Quality,
  step: string
): ModelEffect<Features.Sample> =>
  Effect.flatMap(
    call(asker, "features", step, () => quality.features, undefined),
    (features) => {
      const own: Features.Sample = {
        features: {
          "prompt length": Math.log1p(TokenCounter.estimate(ModelRequest.text(request, "user"))),
          ...features
        }
      }
      return Effect.reduce(
        asker.judges,
        () => own,
        (sample, judge) =>
          judge.row === undefined
            ? Effect.succeed(sample)
            : Effect.map(consult(asker, judge, judge.row(request), Features.empty), (more) =>
                Features.merge(sample, more)
              )
      )
    }
  )

/** Calls one of the cheaper models, and its judges. */
export const tryModel = (
  asker: CascadeModels,
  asked: Completion,
  model: string,
  row: Features.Sample,
  quality: Quality.Quality,
  step: string,
  isJudged: boolean
): ModelEffect<JudgedResponse> =>
  Effect.gen(function* () {
    const request = CascadeRequests.prepared(asker.judges, ModelRequest.withModel(asked, model))
    const judging: Array<ModelResponse.Discarded> = []
    const ask = ModelClient.aside("judge", asker.next.send)
    const send: ModelClient.Send = (request) =>
      Effect.tap(ask(request), (response) => Effect.sync(() => judging.push(...ModelResponse.toDiscarded(response))))
    const response = yield* Effect.catch(asker.next.send(request), (error) =>
      isBeyond(error) ? Effect.undefined : Effect.fail(error)
    )
    const paid = response === undefined ? [] : ModelResponse.toDiscarded(response)
    const doubtful: JudgedResponse = { response, calls: paid, judging, sample: undefined, isGood: false }
    // An answer of another model (a fallback) says nothing about this one.
    if (
      response === undefined
      || isOther(response, model)
      || !ModelResponse.isComplete(response)
      || (yield* CallContext.CallContext).accept(response) !== undefined
    )
      return doubtful
    const text = ModelResponse.text(response)
    const { check } = quality
    const verdict =
      check === undefined ? undefined : yield* call(asker, "check", step, () => check(text), false as Quality.Verdict)
    if (verdict === false) return doubtful
    if (!isJudged) return { response, calls: paid, judging, sample: row, isGood: true }
    const own: Features.Features = {
      "answer length": Math.log1p(TokenCounter.estimate(text)),
      ...(verdict === undefined ? undefined : Quality.factsOf(verdict))
    }
    const facts = yield* Effect.reduce(
      asker.judges,
      () => own,
      (facts, judge) =>
        judge.answer === undefined
          ? Effect.succeed(facts)
          : Effect.map(
              consult(asker, judge, judge.answer({ request, response, text, send, keyOf: keyOfAnswer(quality) }), {}),
              (more) => ({ ...facts, ...more })
            )
    )
    return {
      response,
      calls: paid,
      judging,
      sample: Features.merge(row, { features: facts }),
      isGood: Judge.isAccepted(asker.judges, facts, verdict)
    }
  })

/** An answer of the cascade, with the calls that were discarded. */
export const withModels = (
  { all, strong }: CascadeModels,
  response: Response,
  discarded: ReadonlyArray<ModelResponse.Discarded>
): Response => ({
  ...response,
  // A cache above finds it under the requested name; `model` says which model answered.
  requestedModel: all,
  baselineModel: strong,
  ...(discarded.length === 0 ? undefined : { discarded: [...discarded, ...(response.discarded ?? [])] })
})

export const callStrong = ({ next, strong }: CascadeModels, request: Completion): ModelEffect<Response> =>
  next.send(ModelRequest.withModel(request, strong))

/** How far two answers agree, from 0 to 1. */
export const agreementOf = (
  asker: CascadeModels,
  quality: Quality.Quality,
  step: string,
  response: Response,
  other: Response
) =>
  call(
    asker,
    quality.score === undefined ? "answer" : "score",
    step,
    () => Quality.agreement(quality, ModelResponse.text(response), ModelResponse.text(other)),
    0
  )

/** Equal for answers with the same content. An answer that the author's function cannot read equals no other. */
const keyOfAnswer =
  (quality: Quality.Quality) =>
  (text: string): string => {
    try {
      return Quality.keyOf(quality, text)
    } catch {
      return `\u0000${text}`
    }
  }

/** Tests whether a stronger model may succeed with a request. */
const isBeyond = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind === "overflow" || kind === "refused" || kind === "output"
}

/** Tests whether another model than the requested one answered. */
export const isOther = (response: Response, model: string): boolean =>
  response.requestedModel !== model && !ModelName.isVersionOf(response.requestedModel, model)
