/** Reads a person's correction of an answer as the step would read the model's. */
import * as AnswerSchema from "@pipe/core/internal/AnswerSchema"
import * as ObjectAnswer from "@pipe/core/internal/ObjectAnswer"
import * as ModelRequest from "@pipe/core/ModelRequest"
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Problem from "./Problem.ts"

const Values = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))
const decodeValues = Schema.decodeUnknownOption(Values)
const decodeQuestions = Schema.decodeUnknownOption(Schema.Array(ModelRequest.Question))

/** What an answer to a question may be. */
const expected = (
  question: ModelRequest.Question
): { readonly words: string; readonly is: Predicate.Predicate<unknown> } => {
  switch (question.type) {
    case "predicate":
      return { words: "true or false", is: Predicate.isBoolean }
    case "choice": {
      const values: ReadonlyArray<unknown> = question.choices.map(({ value }) => value)
      return { words: `one of ${values.join(", ")}`, is: (value) => values.includes(value) }
    }
    case "score":
      return { words: "a number", is: Number.isFinite }
  }
}

/** The values of a decision, as JSON in the order of its questions. */
const decided = (questions: ReadonlyArray<ModelRequest.Question>, text: string) => {
  const values = Option.getOrUndefined(decodeValues(text))
  if (values === undefined)
    return Problem.badRequest(
      `the correction is not JSON with the answers by name, such as {"${questions[0]?.name ?? "name"}": …}`
    )
  const other = Object.keys(values).find((name) => questions.every((question) => question.name !== name))
  if (other !== undefined) return Problem.badRequest(`the step has no question named ${other}`)
  for (const question of questions) {
    const { is, words } = expected(question)
    if (!is(values[question.name])) return Problem.badRequest(`${question.name} is ${words}`)
  }
  return JSON.stringify(Object.fromEntries(questions.map(({ name }) => [name, values[name]])))
}

/** The label that a correction is, in the form of the model's answers. */
export const read = (request: unknown, text: string): Effect.Effect<string, Problem.Problem> => {
  const made = ofRequest(request, text)
  return typeof made === "string" ? Effect.succeed(made) : Effect.fail(made)
}

const ofRequest = (request: unknown, text: string): string | Problem.Problem => {
  if (text.trim() === "") return Problem.badRequest("a correction needs the correct answer")
  if (Predicate.hasProperty(request, "questions")) {
    const questions = Option.getOrElse(decodeQuestions(request.questions), () => [])
    return questions.length === 0 ? text : decided(questions, text)
  }
  const format = Predicate.hasProperty(request, "responseFormat") ? request.responseFormat : undefined
  if (!Predicate.hasProperty(format, "schema") || !Predicate.isObject(format.schema)) return text
  const reading = ObjectAnswer.reader(AnswerSchema.fromJson(format.schema as JsonSchema.JsonSchema))(text)
  return reading._tag === "Fits"
    ? (reading.json ?? text.trim())
    : Problem.badRequest(`the correction does not fit the schema of the step: ${reading.problem}`)
}
