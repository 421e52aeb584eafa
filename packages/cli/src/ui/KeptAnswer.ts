/** The answer of a stored exchange: its text as a person corrects it, and how certain it is. */
import * as ModelResponse from "@pipe/core/ModelResponse"
import * as Quality from "@pipe/core/Quality"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as ExchangeText from "../view/ExchangeText.ts"

const decodeAnswers = Schema.decodeUnknownOption(Schema.Record(Schema.String, ModelResponse.Answer))

const answersOf = (answer: unknown) =>
  Predicate.hasProperty(answer, "answers") ? decodeAnswers(answer.answers) : Option.none()

/** The lowest probability of an answer, from 0 to 1; `undefined` where none is known. */
export const certainty = (answer: unknown): number | undefined => {
  const own = Predicate.hasProperty(answer, "certainty") ? answer.certainty : undefined
  if (typeof own === "number") return own
  const known = Object.values(Option.getOrElse(answersOf(answer), () => ({}))).flatMap(
    (one) => ModelResponse.certainty(one) ?? []
  )
  return known.length === 0 ? undefined : Math.min(...known)
}

/** What the answer says, in the form of a label: the text of a completion, the values of a decision as JSON. */
export const text = (answer: unknown): string => {
  const decided = answersOf(answer)
  if (Option.isSome(decided))
    return JSON.stringify(
      Object.fromEntries(
        Object.entries(decided.value).map(([name, one]) => [name, one.type === "refusal" ? null : one.value])
      )
    )
  return ExchangeText.answerText(answer)
}

const isList = (value: unknown): value is ReadonlyArray<unknown> => Array.isArray(value)

/** The values that an answer is chosen from, by the names of the questions; empty where it is free. */
export const choices = (request: unknown): { readonly [question: string]: ReadonlyArray<string | boolean> } => {
  const questions = Predicate.hasProperty(request, "questions") && isList(request.questions) ? request.questions : []
  return Object.fromEntries(
    questions.flatMap((question) => {
      if (!Predicate.hasProperty(question, "name")) return []
      const listed = Predicate.hasProperty(question, "choices") && isList(question.choices) ? question.choices : []
      const values = listed.flatMap((one) =>
        Predicate.hasProperty(one, "value") && typeof one.value === "string" ? [one.value] : []
      )
      const isPredicate = Predicate.hasProperty(question, "type") && question.type === "predicate"
      return values.length > 0 || isPredicate ? [[String(question.name), isPredicate ? [true, false] : values]] : []
    })
  )
}

/** Whether two answers say the same: the order of fields does not count. */
export const isSame = (one: string, other: string): boolean => Quality.keyOf({}, one) === Quality.keyOf({}, other)
