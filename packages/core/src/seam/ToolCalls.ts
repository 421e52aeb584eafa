/**
 * What is wrong with the tool calls of an answer: a tool that the step does not have, or arguments that do not fit it.
 *
 * @internal
 */
import type * as Tool from "effect/ai/Tool"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as ModelResponse from "../data/ModelResponse.ts"

type Call = Extract<ModelResponse.CompletionResponse["parts"][number], { readonly type: "tool-call" }>

const isCall = (part: ModelResponse.CompletionResponse["parts"][number]): part is Call =>
  part.type === "tool-call" && part.providerExecuted !== true

/** What is wrong with the first wrong call of an answer, in words for the model and for people; `undefined`: nothing. */
export const problemOf = (
  response: ModelResponse.CompletionResponse,
  tools: ReadonlyArray<Tool.Any>
): string | undefined => {
  for (const part of response.parts) {
    const problem = isCall(part) ? problemOfCall(part, tools) : undefined
    if (problem !== undefined) return problem
  }
  return undefined
}

const problemOfCall = (call: Call, tools: ReadonlyArray<Tool.Any>): string | undefined => {
  const tool = tools.find(({ name }) => name === call.name)
  if (tool === undefined) {
    const others = tools.length === 0 ? "the request has none" : `there is ${tools.map(({ name }) => name).join(", ")}`
    return `there is no tool ${JSON.stringify(call.name.slice(0, 100))}: ${others}`
  }
  if (typeof call.params === "string") return `the arguments of the tool ${call.name} are not JSON`
  if (!Schema.isSchema(tool.parametersSchema)) return undefined
  const exit = Schema.decodeUnknownExit(tool.parametersSchema as unknown as Schema.Codec<unknown>, {
    errors: "all"
  })(call.params)
  // What needs services or time to be decoded is left to the toolkit.
  const failed = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
  return failed === undefined ? undefined : `the arguments of the tool ${call.name} do not fit: ${failed.error.message}`
}
