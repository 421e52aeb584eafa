/**
 * Calls every model of a cascade for a row and reports each result, for tuning.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as CallContext from "../client/CallContext.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import type * as Trials from "./Trials.ts"
import * as CascadeModels from "./CascadeModels.ts"
import * as Quality from "./Quality.ts"

/** Calls every model and reports each result. */
export const run = (
  asker: CascadeModels.CascadeModels,
  request: CascadeModels.Completion,
  quality: Quality.Quality,
  observe: (trial: Trials.CascadeTrial) => void
): CascadeModels.ModelEffect<CascadeModels.Response> =>
  Effect.gen(function* () {
    const { row: index, step } = yield* CallContext.CallContext
    const row = yield* CascadeModels.rowOf(asker, request, quality, step)
    const label = yield* CascadeModels.call(asker, "label", step, () => quality.label, undefined)
    const isLabelled = label !== undefined
    const reference = yield* CascadeModels.callStrong(asker, request)
    const qualityOf = (response: CascadeModels.Response) =>
      isLabelled
        ? CascadeModels.call(
            asker,
            quality.score === undefined ? "answer" : "score",
            step,
            () => Quality.againstLabel({ ...quality, label }, ModelResponse.text(response)),
            0
          )
        : response === reference
          ? Effect.succeed(1)
          : CascadeModels.agreementOf(asker, quality, step, response, reference)
    const tried = yield* Effect.forEach(
      asker.models.slice(0, -1),
      (model) =>
        Effect.gen(function* () {
          const { calls, judging, response, sample } = yield* CascadeModels.tryModel(
            asker,
            request,
            model,
            row,
            quality,
            step,
            true
          )
          return {
            model,
            calls,
            judging,
            sample,
            isOther: response !== undefined && CascadeModels.isOther(response, model),
            quality: response === undefined || sample === undefined ? 0 : yield* qualityOf(response)
          }
        }),
      { concurrency: "unbounded" }
    )
    const all = [
      ...tried,
      {
        model: asker.strong,
        calls: ModelResponse.toDiscarded(reference),
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
      isSubstituted: CascadeModels.isOther(reference, asker.strong) || tried.some(({ isOther }) => isOther),
      tried: all
    })
    return CascadeModels.withModels(
      asker,
      reference,
      tried.flatMap(({ calls }) => calls)
    )
  })
