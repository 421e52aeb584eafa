/**
 * Encodes a request for the decisions API, and reads its answer.
 *
 * @internal
 */
import * as ModelFacts from "@pipe/core/internal/ModelFacts"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Usage from "@pipe/core/Usage"
import type { DecisionCreateParams } from "openai/resources/decisions"
import * as Body from "../provider/Body.ts"
import * as Fields from "../provider/Fields.ts"
import type * as Reply from "../provider/Reply.ts"
import * as ChatAnswer from "./ChatAnswer.ts"
import * as Client from "./Client.ts"
import * as OpenAiUsage from "./OpenAiUsage.ts"

/** Tests whether the decisions API takes a model. */
export const takes = (model: string): boolean => ModelFacts.of(model)?.decisions === true

export const toBody = (request: ModelRequest.Decision, model: string): DecisionCreateParams =>
  Body.withOptions(
    {
      model,
      input: typeof request.state === "string" ? request.state : JSON.stringify(request.state),
      questions: request.questions.map(toQuestion)
    },
    "openai",
    request.providerOptions["openai"],
    reserved
  )

const reserved: Body.Reserved = { model: Body.ways.model, input: "the step sets it", questions: "the step sets it" }

const toQuestion = (question: ModelRequest.Question): DecisionCreateParams["questions"][number] => {
  switch (question.type) {
    case "predicate":
      return { ...question }
    case "choice":
      return { ...question, choices: question.choices.map((choice) => ({ ...choice })) }
    case "score":
      return { ...question, levels: question.levels.map((level) => ({ ...level })) }
  }
}

const isShare = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1

/** The probabilities of all names; `undefined` when one is missing, or another is there. */
const distribution = (
  list: unknown,
  names: ReadonlyArray<string>,
  key: "value" | "label"
): { readonly [name: string]: number } | undefined => {
  const found: Record<string, number> = Object.create(null)
  for (const item of Fields.list(list) ?? []) {
    const { [key]: name, probability } = Fields.fields(item)
    if (!isShare(probability)) return undefined
    found[String(name)] = probability
  }
  return Object.keys(found).length === names.length && names.every((name) => name in found) ? found : undefined
}

const sure = ({ confidence }: Fields.Fields) => (isShare(confidence) ? { confidence } : undefined)

/** The answer to a question; `undefined` when the question does not allow it. */
const toAnswer = (question: ModelRequest.Question, value: unknown): ModelResponse.Answer | undefined => {
  const answer = Fields.fields(value)
  if (answer["type"] === "refusal") return { type: "refusal" }
  if (answer["type"] !== question.type) return undefined
  switch (question.type) {
    case "predicate": {
      const { probability } = answer
      return isShare(probability) ? { type: "predicate", value: probability >= 0.5, probability } : undefined
    }
    case "choice": {
      const { choice } = answer
      const names = question.choices.map(({ value }) => value)
      const probabilities = distribution(answer["probabilities"], names, "value")
      return typeof choice === "string" && names.includes(choice) && probabilities !== undefined
        ? { type: "choice", value: choice, probabilities, ...sure(answer) }
        : undefined
    }
    case "score": {
      const { score } = answer
      const labels = question.levels.map(({ label }) => label)
      const probabilities = distribution(answer["probabilities"], labels, "label")
      return typeof score === "number" && score >= 0 && score <= labels.length - 1 && probabilities !== undefined
        ? { type: "score", value: score, probabilities, ...sure(answer) }
        : undefined
    }
  }
}

const usageIn = (answer: Fields.Fields): Usage.Usage | undefined =>
  Usage.ofAnswer(OpenAiUsage.make(answer["usage"]), false)

/** The name of the price class of decisions, in place of a service tier: the API has none. */
export const SERVICE = "decision"

export const format = (
  options: ChatAnswer.Options,
  questions: ReadonlyArray<ModelRequest.Question>
): Reply.Format<ModelResponse.DecisionResponse> => ({
  usage: usageIn,
  isAnswer: (answer) => Array.isArray(answer["answers"]),
  read: (answer) => {
    const given = Fields.list(answer["answers"]) ?? []
    if (given.length !== questions.length)
      return Client.malformed(`answer to each of ${questions.length} questions: it has ${given.length}`)
    const answers: Record<string, ModelResponse.Answer> = Object.create(null)
    for (const [at, question] of questions.entries()) {
      const read = toAnswer(question, given[at])
      if (read === undefined) return Client.malformed(`answer to question ${question.name} at answers[${at}]`)
      answers[question.name] = read
    }
    const counted = usageIn(answer)
    return {
      _tag: "DecisionResponse",
      ...ChatAnswer.metadata(answer, options),
      serviceTier: SERVICE,
      ...(counted === undefined ? undefined : { usage: counted }),
      answers,
      origin: "provider"
    }
  }
})
