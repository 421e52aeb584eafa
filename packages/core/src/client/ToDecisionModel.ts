/**
 * `effect/ai`'s `DecisionModel` on top of a `ModelClient`. Choose the model with `ModelSettings`, or with the `model` of
 * a step or flow.
 *
 * **Details** An answer without probabilities, which a completion has given, is unanswered there: `decideSettled` says so
 * by question. `Flow.decide` takes it.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Decision from "effect/ai/Decision"
import * as DecisionModel from "effect/ai/DecisionModel"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import type * as ModelClient from "./ModelClient.ts"
import * as ModelSettings from "./ModelSettings.ts"

const descriptionText = (description: Decision.Description): string =>
  typeof description === "string" ? description : JSON.stringify(description)

const described = (description: Decision.Description | null) =>
  description === null ? undefined : { description: descriptionText(description) }

/** A decision of `effect/ai` as a question. */
const toQuestion = (name: string, decision: Exclude<Decision.Any, Decision.Locate>): ModelRequest.Question => {
  const instructions = descriptionText(decision.instructions)
  switch (decision._tag) {
    case "Probability": {
      const { criteria } = decision
      const outcomes =
        criteria === undefined
          ? []
          : [`True: ${descriptionText(criteria.true)}`, `False: ${descriptionText(criteria.false)}`]
      return { type: "predicate", name, instructions: [instructions, ...outcomes].join("\n") }
    }
    case "Classify":
      return {
        type: "choice",
        name,
        instructions,
        choices: Object.entries(decision.criteria).map(([value, description]) => ({
          value,
          ...described(description)
        }))
      }
    case "Rate":
      return {
        type: "score",
        name,
        instructions,
        levels: decision.criteria.map(({ description, label }) => ({ label, ...described(description) }))
      }
  }
}

const distributionOf = ({
  confidence,
  probabilities
}: Extract<ModelResponse.Answer, { readonly type: "choice" | "score" }>) => ({
  ...(probabilities === undefined ? undefined : { probabilities }),
  ...(confidence === undefined ? undefined : { confidence })
})

/** An answer as `effect/ai` takes it. */
const toProviderAnswer = (answer: ModelResponse.Answer | undefined): DecisionModel.ProviderAnswer | undefined => {
  if (answer === undefined) return undefined
  switch (answer.type) {
    case "refusal":
      return { _tag: "Refusal" }
    case "predicate":
      return answer.probability === undefined ? undefined : { _tag: "Probability", probability: answer.probability }
    case "choice":
      return { _tag: "Classify", label: answer.value, ...distributionOf(answer) }
    case "score":
      return { _tag: "Rate", rating: answer.value, ...distributionOf(answer) }
  }
}

/** The `DecisionModel` of a client. */
export const make = (client: ModelClient.Service): Effect.Effect<DecisionModel.DecisionModel> =>
  DecisionModel.make({
    probabilityPrecision: 6,
    decide: ({ decisions, state }) =>
      Effect.withFiber<DecisionModel.ProviderResponse, AiError.AiError>((fiber) =>
        Effect.map(
          client.send(
            requestOf(
              state,
              Object.entries(decisions).map(([name, decision]) => toQuestion(name, decision)),
              fiber.getRef(ModelSettings.ModelSettings)
            )
          ),
          ({ answers, id, model, usage }) => ({
            answers: Object.fromEntries(
              Object.keys(decisions).flatMap((name) => {
                const answer = toProviderAnswer(answers[name])
                return answer === undefined ? [] : [[name, answer]]
              })
            ),
            usage: {
              inputTokens: usage === undefined ? undefined : Usage.inputTokens(usage),
              outputTokens: usage === undefined ? undefined : Usage.outputTokens(usage)
            },
            ...(id === undefined ? undefined : { id }),
            modelId: model
          })
        )
      )
  })

/** The request of some questions about an input, with the settings of the caller. */
export const requestOf = (
  state: Schema.Json,
  questions: ReadonlyArray<ModelRequest.Question>,
  {
    dimensions: _,
    model,
    providerOptions = {},
    sample: _sample,
    truncated: _truncated,
    ...settings
  }: ModelSettings.ModelSettings
): ModelRequest.Decision =>
  ModelRequest.decision({
    state,
    questions,
    settings,
    providerOptions,
    ...(model === undefined ? undefined : { model })
  })
