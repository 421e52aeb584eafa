/**
 * Calls every model of a cascade for a row and reports each result, for tuning.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import type * as Trials from "./Trials.ts"
import * as CascadeModels from "./CascadeModels.ts"
import * as Quality from "./Quality.ts"

const measured = (quality: number): Pick<Trials.ModelTrial, "quality" | "unreviewed"> => ({ quality })

/** Calls every model and reports each result. */
export const run = (
  asker: CascadeModels.CascadeModels,
  request: CascadeModels.Completion,
  quality: Quality.Quality,
  observe: (trial: Trials.CascadeTrial) => void
): CascadeModels.ModelEffect<CascadeModels.Response> =>
  Effect.gen(function* () {
    const { row: index, rows, step, values } = yield* CallContext.CallContext
    const row = yield* CascadeModels.rowOf(asker, request, quality, step)
    const label = yield* CascadeModels.call(asker, "label", step, () => quality.label, undefined)
    const isLabelled = label !== undefined
    const known = isLabelled || rows.length > 1 ? undefined : (yield* RunHooks.RunHooks).reviewed?.(step, values)
    const reviewed = known === undefined ? undefined : yield* usable(asker, request, quality, step, known)
    const reference = yield* CascadeModels.callStrong(asker, request)
    const asked = (compared: () => number) =>
      CascadeModels.call(asker, quality.score === undefined ? "answer" : "score", step, compared, 0)
    const qualityOf = (response: CascadeModels.Response) => {
      const text = ModelResponse.text(response)
      if (isLabelled)
        return Effect.map(
          asked(() => Quality.againstLabel({ ...quality, label }, text)),
          measured
        )
      const agreement =
        response === reference
          ? Effect.succeed(1)
          : CascadeModels.agreementOf(asker, quality, step, response, reference)
      return reviewed === undefined
        ? Effect.map(agreement, measured)
        : Effect.all({ quality: asked(() => Quality.agreement(quality, text, reviewed)), unreviewed: agreement })
    }
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
            ...(response === undefined || sample === undefined ? measured(0) : yield* qualityOf(response))
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
        ...(yield* qualityOf(reference))
      }
    ]
    observe({
      step,
      index,
      row,
      isLabelled,
      isReviewed: reviewed !== undefined,
      isSubstituted: CascadeModels.isOther(reference, asker.strong) || tried.some(({ isOther }) => isOther),
      tried: all
    })
    return CascadeModels.withModels(
      asker,
      reference,
      tried.flatMap(({ calls }) => calls)
    )
  })

/** The most characters of a text that is a label: of longer ones, two good ones differ. */
const LONGEST_LABEL = 60

/** A reviewed answer, where another answer can be compared with it; `undefined` where it cannot. */
const usable = (
  { warn }: CascadeModels.CascadeModels,
  request: CascadeModels.Completion,
  quality: Quality.Quality,
  step: string,
  reviewed: string
): Effect.Effect<string | undefined> => {
  const unused = (why: string) => Effect.as(warn(`step ${step}: ${why}`, `reviewed ${step}`), undefined)
  // A good text is not the only good one; a label is.
  const isText = reviewed.length > LONGEST_LABEL || reviewed.trim().includes("\n")
  if (isText && request.responseFormat.type === "text" && quality.answer === undefined && quality.score === undefined)
    return unused(
      "reviewed answers of more than 60 characters are not used, because two good texts differ: declare `quality.score` or `quality.answer` to compare them"
    )
  try {
    Quality.answerOf(quality, reviewed)
    return Effect.succeed(reviewed)
  } catch (error) {
    return unused(
      `\`quality.answer\` cannot read a reviewed answer, which is not used (${error instanceof Error ? error.message : String(error)}): correct it in pipe ui`
    )
  }
}
