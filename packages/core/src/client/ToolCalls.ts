/**
 * Tools as a model sees them: the JSON Schema of their arguments, what is wrong with the calls of an answer (an unknown
 * tool, or invalid arguments), and the arguments as `effect/ai` decodes them.
 *
 * @internal
 */
import * as Tool from "effect/ai/Tool"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as JsonSchema from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AnswerSchema from "../answer/AnswerSchema.ts"
import * as AnswerValue from "../answer/AnswerValue.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"

type Call = Extract<ModelResponse.CompletionResponse["parts"][number], { readonly type: "tool-call" }>

const isCall = (part: ModelResponse.CompletionResponse["parts"][number]): part is Call =>
  part.type === "tool-call" && part.providerExecuted !== true

/** Tests whether an answer calls tools. */
export const areIn = (response: ModelResponse.CompletionResponse): boolean =>
  response.parts.some((part) => part.type === "tool-call")

/**
 * What is wrong with the first invalid call of an answer, in words for the model and for display; `undefined` when all
 * are valid.
 */
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
  const { decode } = parametersFor(tool)
  const exit = decode?.(call.params)
  // Arguments that need services or time to decode are left to the toolkit.
  const failed = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
  return failed === undefined ? undefined : `the arguments of the tool ${call.name} do not fit: ${failed.error.message}`
}

interface Parameters {
  readonly jsonSchema: JsonSchema.JsonSchema
  /** Decodes arguments as received; `undefined` for a tool that only has a JSON Schema. */
  readonly decode: ((params: unknown) => Exit.Exit<unknown, Schema.SchemaError>) | undefined
  /** Encodes received arguments as `effect/ai` expects them; `undefined` when they are the same. */
  readonly toEncoded: ((params: unknown) => unknown) | undefined
}

const parameters = new WeakMap<Tool.Any, Parameters>()

const parametersFor = (tool: Tool.Any): Parameters => {
  let made = parameters.get(tool)
  if (made === undefined) parameters.set(tool, (made = makeParameters(tool)))
  return made
}

const makeParameters = (tool: Tool.Any): Parameters => {
  const { parametersSchema } = tool
  if (Tool.isDynamic(tool) || !Schema.isSchema(parametersSchema)) {
    const jsonSchema = Tool.getJsonSchema(tool)
    const toEncoded = (params: unknown) => AnswerValue.read(jsonSchema, params)
    return { jsonSchema, decode: undefined, toEncoded: AnswerValue.isPlain(jsonSchema) ? undefined : toEncoded }
  }
  const { codec, jsonSchema } = AnswerSchema.of(parametersSchema)
  const decodeJson = Schema.decodeUnknownExit(codec, { errors: "all" })
  const encode = Schema.encodeUnknownExit(parametersSchema as unknown as Schema.Codec<unknown>)
  const decode = (params: unknown) => decodeJson(AnswerValue.read(jsonSchema, params))
  const toEncoded = (params: unknown) => {
    const decoded = decode(params)
    const encoded = Exit.isSuccess(decoded) ? encode(decoded.value) : decoded
    return Exit.isSuccess(encoded) ? encoded.value : AnswerValue.read(jsonSchema, params)
  }
  const isSame = codec.ast === parametersSchema.ast && AnswerValue.isPlain(jsonSchema)
  return { jsonSchema, decode, toEncoded: isSame ? undefined : toEncoded }
}

/** The tools of a toolkit that nothing in the context handles. A toolkit with its handlers needs none. */
export const unhandled = (toolkit: unknown, context: Context.Context<never>): ReadonlyArray<string> =>
  Effect.isEffect(toolkit) && Predicate.hasProperty(toolkit, "tools")
    ? Object.values(toolkit.tools as Record<string, Tool.Any>).flatMap((tool) =>
        (Tool.isProviderDefined(tool) && !tool.requiresHandler) || context.mapUnsafe.has(tool.id) ? [] : [tool.name]
      )
    : []

/** The JSON Schema of a tool's arguments. */
export const parametersOf = (tool: Tool.Any): JsonSchema.JsonSchema => parametersFor(tool).jsonSchema

/** The response with the arguments of its calls as `effect/ai` decodes them. */
export const plain = (
  response: ModelResponse.CompletionResponse,
  tools: ReadonlyArray<Tool.Any>
): ModelResponse.CompletionResponse => {
  const parts = response.parts.map((part) => {
    const tool = isCall(part) ? tools.find(({ name }) => name === part.name) : undefined
    const toEncoded = tool === undefined ? undefined : parametersFor(tool).toEncoded
    return toEncoded === undefined || !isCall(part) ? part : { ...part, params: toEncoded(part.params) }
  })
  return parts.every((part, index) => part === response.parts[index]) ? response : { ...response, parts }
}
