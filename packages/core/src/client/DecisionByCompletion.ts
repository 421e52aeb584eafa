/**
 * Answers decisions by a completion with a JSON answer, for providers without decisions. It has no probabilities: a
 * number that a model writes about itself is not one.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as JsonText from "../answer/JsonText.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import type { SendCompletion, SendDecision } from "./Send.ts"

/** The completion that asks the same. */
export const toCompletion = (request: ModelRequest.Decision): ModelRequest.Completion => {
  const { providerOptions, questions, settings, state } = request
  return ModelRequest.completion({
    ...(request.model === undefined ? undefined : { model: request.model }),
    messages: [
      {
        role: "system",
        content: [
          "Answer each question about the user's input, in the field of its name.",
          ...questions.map((question) => `${question.name}: ${ModelRequest.questionText(question)}`)
        ].join("\n\n")
      },
      { role: "user", content: ModelRequest.stateText(state) }
    ],
    responseFormat: {
      type: "json",
      name: "decision",
      schema: {
        type: "object",
        properties: Object.fromEntries(questions.map((question) => [question.name, schemaOf(question)])),
        required: questions.map(({ name }) => name),
        additionalProperties: false
      }
    },
    settings,
    providerOptions
  })
}

const schemaOf = (question: ModelRequest.Question) => {
  switch (question.type) {
    case "predicate":
      return { type: "boolean" }
    case "choice":
      return { type: "string", enum: question.choices.map(({ value }) => value) }
    case "score":
      return { type: "string", enum: question.levels.map(({ label }) => label) }
  }
}

/** The answer in a field of the completion; `undefined` when the question does not allow it. */
const answerIn = (question: ModelRequest.Question, value: unknown): ModelResponse.Answer | undefined => {
  switch (question.type) {
    case "predicate":
      return typeof value === "boolean" ? { type: "predicate", value } : undefined
    case "choice":
      return question.choices.some((choice) => choice.value === value)
        ? { type: "choice", value: value as string }
        : undefined
    case "score": {
      const level = question.levels.findIndex(({ label }) => label === value)
      return level === -1 ? undefined : { type: "score", value: level }
    }
  }
}

const isRecord = (value: unknown): value is { readonly [name: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The answers of a completion. */
const toAnswers = (
  request: ModelRequest.Decision,
  response: ModelResponse.CompletionResponse
): Effect.Effect<ModelResponse.DecisionResponse, AiError.AiError> => {
  const text = ModelResponse.text(response)
  const found = JsonText.find(text, isRecord)
  const value = found._tag === "Found" && isRecord(found.value) ? found.value : {}
  const answers: Record<string, ModelResponse.Answer> = Object.create(null)
  for (const question of request.questions) {
    const answer = Object.hasOwn(value, question.name) ? answerIn(question, value[question.name]) : undefined
    if (answer === undefined) return Effect.fail(paid(unfit(question, response), response))
    answers[question.name] = answer
  }
  const { finishReason: _, logprobs: _logprobs, parts: _parts, refusal: _refusal, ...common } = response
  return Effect.succeed({ ...common, _tag: "DecisionResponse", answers, by: "completion" })
}

const unfit = ({ name }: ModelRequest.Question, response: ModelResponse.CompletionResponse): AiError.AiError => {
  const error = AiError.make({
    module: response.provider,
    method: "send",
    reason: new AiError.InvalidResponseError({
      description: `the answer has none of the answers that question ${name} allows`
    })
  })
  return ModelFailure.withAnswer(error, ModelResponse.shown(response))
}

/** A completion that cannot be used is paid for all the same. */
const paid = (error: AiError.AiError, response: ModelResponse.CompletionResponse): AiError.AiError =>
  ModelFailure.withUsage(error, response.usage, response)

/** Answers decisions by completions. */
export const over =
  (send: SendCompletion): SendDecision =>
  (request) =>
    Effect.flatMap(send(toCompletion(request)), (response) => {
      const refused = ModelFailure.refusal(response)
      return refused === undefined ? toAnswers(request, response) : Effect.fail(paid(refused, response))
    })
