/**
 * Checks an object answer against its schema, and keeps the value that it read.
 *
 * **Details** Retry, cache and step look at the same answer: it is read and decoded for the first of them.
 *
 * @internal
 */
import type * as Schema from "effect/Schema"
import type * as CallContext from "../client/CallContext.ts"
import * as ToolCalls from "../client/ToolCalls.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as AnswerSchema from "./AnswerSchema.ts"
import * as ObjectAnswer from "./ObjectAnswer.ts"

/** The problem of a truncated answer. `Retry` knows that another request would only cost more. */
export const truncated = (response: ModelResponse.CompletionResponse): string =>
  `the answer was truncated at its output limit (${
    response.usage === undefined ? "length" : `${Usage.outputTokens(response.usage)} tokens`
  }): raise maxTokens`

/** A check of answers against a schema, and what it has read. */
export interface ObjectCheck {
  readonly accept: CallContext.Accept
  /** The JSON alone, in the form of the schema. */
  readonly text: (response: ModelResponse.CompletionResponse) => string
  /** The response with only the JSON as its text, in the form of the schema. */
  readonly plain: (response: ModelResponse.CompletionResponse) => ModelResponse.CompletionResponse
  /**
   * The value of a response of `plain`. It is returned once, because rows may share a response and change their value.
   */
  readonly take: (response: ModelResponse.CompletionResponse) => { readonly value: unknown } | undefined
}

const checks = new WeakMap<Schema.Top, ObjectCheck>()

/** The check of a schema, made once. */
export const of = (schema: Schema.Top): ObjectCheck => {
  const known = checks.get(schema)
  if (known !== undefined) return known
  const read = ObjectAnswer.reader(schema)
  const readings = new WeakMap<ModelResponse.ModelResponse, ObjectAnswer.ObjectReading>()
  const values = new WeakMap<ModelResponse.ModelResponse, { readonly value: unknown }>()
  const readingOf = (response: ModelResponse.CompletionResponse): ObjectAnswer.ObjectReading => {
    let reading = readings.get(response)
    if (reading === undefined) readings.set(response, (reading = read(ModelResponse.text(response))))
    return reading
  }
  const accept = (response: ModelResponse.ModelResponse): string | undefined => {
    if (response._tag !== "CompletionResponse") return undefined
    if (ModelResponse.isTruncated(response)) return truncated(response)
    if (ToolCalls.areIn(response)) return ToolCalls.problemOf(response, [])
    const reading = readingOf(response)
    return reading._tag === "Fits" ? undefined : reading.problem
  }
  const made: ObjectCheck = {
    accept: Object.assign(accept, { schema: AnswerSchema.of(schema).codec }),
    text: (response) => {
      const reading = readingOf(response)
      return (reading._tag === "Fits" ? reading.json : undefined) ?? ModelResponse.text(response)
    },
    plain: (response) => {
      if (ToolCalls.areIn(response)) return response
      const reading = readingOf(response)
      if (reading._tag === "Wrong") return response
      const plain =
        reading.json === undefined
          ? response
          : {
              ...response,
              parts: [
                ...response.parts.filter((part) => part.type !== "text"),
                { type: "text" as const, text: reading.json }
              ]
            }
      if (reading.value !== undefined) {
        values.set(plain, { value: reading.value.decoded })
        readings.delete(response)
      }
      return plain
    },
    take: (response) => {
      const taken = values.get(response)
      values.delete(response)
      return taken
    }
  }
  checks.set(schema, made)
  return made
}
