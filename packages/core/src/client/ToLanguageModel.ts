/**
 * `effect/ai`'s `LanguageModel` on top of a `ModelClient`: the service that steps call.
 *
 * **Details** Text, objects, tools and streams work as with any provider of `effect/ai`. `streamText` emits when the
 * answer is complete: steps process rows, not chats. For objects, the answer is checked against the schema below the
 * stack's `Retry`, so an invalid one is requested again there, and the row pays for it.
 *
 * **Example** (a stack outside a flow)
 *
 * ```ts
 * import { Cache, CacheStore, ToLanguageModel } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const model = ToLanguageModel.layer.pipe(
 *   Layer.provide(Cache.layer()),
 *   Layer.provide([OpenAi.layer({ model: "gpt-4o-mini" }), CacheStore.layerMemory()])
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Telemetry from "effect/ai/Telemetry"
import * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as CallContext from "./CallContext.ts"
import * as AnswerCheck from "../answer/AnswerCheck.ts"
import * as AnswerSchema from "../answer/AnswerSchema.ts"
import * as ObjectCheck from "../answer/ObjectCheck.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Usage from "../model/Usage.ts"
import * as CallOutcome from "./CallOutcome.ts"
import * as ModelClient from "./ModelClient.ts"
import * as LayerFault from "./LayerFault.ts"
import * as ModelSettings from "./ModelSettings.ts"
import * as Simulation from "./Simulation.ts"
import * as ToolCalls from "./ToolCalls.ts"

/** Provides `LanguageModel` from the `ModelClient` in context. */
export const layer: Layer.Layer<LanguageModel.LanguageModel, never, ModelClient.ModelClient> = Layer.effect(
  LanguageModel.LanguageModel,
  Effect.flatMap(ModelClient.ModelClient, (client) => make(client))
)

/**
 * The `LanguageModel` of a client.
 *
 * **Details** Calls without tools are answered here, and not through `effect/ai`'s decoding of each part, which builds
 * a schema for every call and costs more than the whole ledger: the parts come from our own providers and are decoded
 * already. Calls with tools, streams, and everything under a tracer use the full path.
 */
export const make = (client: ModelClient.Service): Effect.Effect<LanguageModel.LanguageModel> =>
  Effect.map(
    LanguageModel.make({
      codecTransformer,
      generateText: (options) => Effect.map(send(client, options.prompt, options), toParts),
      streamText: (options) =>
        Stream.unwrap(Effect.map(send(client, options.prompt, options), (r) => Stream.fromIterable(toStreamParts(r))))
    }),
    (whole): LanguageModel.LanguageModel => ({
      ...whole,
      generateText: ((options: LanguageModel.GenerateTextOptions<{}>) =>
        Effect.withFiber((fiber) =>
          isPlain(fiber, options)
            ? Effect.map(
                send(client, options.prompt, plainText),
                (response) => new LanguageModel.GenerateTextResponse(decodedParts(response))
              )
            : (withoutHandlers(fiber, options) ?? whole.generateText(options as never))
        )) as unknown as LanguageModel.LanguageModel["generateText"],
      generateObject: ((options: LanguageModel.GenerateObjectOptions<{}, Schema.Top>) =>
        Effect.withFiber((fiber) => {
          if (!isPlain(fiber, options)) return withoutHandlers(fiber, options) ?? whole.generateObject(options as never)
          const { schema } = options
          return Effect.flatMap(
            send(client, options.prompt, {
              ...plain,
              responseFormat: { type: "json", objectName: objectName(options), schema }
            }),
            (response) =>
              Effect.map(
                decodeObject(schema, response),
                (value) => new LanguageModel.GenerateObjectResponse(value, decodedParts(response))
              )
          )
        })) as unknown as LanguageModel.LanguageModel["generateObject"]
    })
  )

const plain = { tools: [], toolChoice: "none" as const }
const plainText = { ...plain, responseFormat: { type: "text" as const } }

/** Tests whether a call needs nothing that `effect/ai` adds: no tools, no tracer spans. */
const isPlain = (
  fiber: Fiber.Fiber<unknown, unknown>,
  options: { readonly toolkit?: unknown; readonly prompt: Prompt.RawInput }
): boolean =>
  options.toolkit === undefined
  && Context.getOrUndefined(fiber.context, Tracer.Tracer) === undefined
  && Context.getOrUndefined(fiber.context, Telemetry.CurrentSpanTransformer) === undefined

/** Refuses a call whose tools could not run: its answer would be paid for in vain. The types reject it, but a flow may not have been checked. */
const withoutHandlers = (
  fiber: Fiber.Fiber<unknown, unknown>,
  options: LanguageModel.GenerateTextOptions<{}>
): Effect.Effect<never, AiError.AiError> | undefined => {
  const names = options.disableToolCallResolution === true ? [] : ToolCalls.unhandled(options.toolkit, fiber.context)
  return names.length === 0
    ? undefined
    : Effect.fail(
        AiError.make({
          module: "LanguageModel",
          method: "generateText",
          reason: new AiError.InvalidRequestError({
            description: `nothing handles the tool ${names.join(", ")}, so nothing was sent: provide the toolkit's layer to the step, Effect.provide(toolkit.toLayer({ ${names[0]}: … }))`,
            constraint: ModelFailure.setUp
          })
        })
      )
}

/** The name of an object, as `effect/ai` derives it. It is part of the cache key. */
const objectName = ({ objectName, schema }: LanguageModel.GenerateObjectOptions<{}, Schema.Top>): string =>
  objectName
  ?? ("identifier" in schema && typeof schema.identifier === "string"
    ? schema.identifier
    : (SchemaAST.resolveIdentifier(schema.ast) ?? "generateObject"))

/** The usage as an instance of `effect/ai`'s class. Its figures are counts already, which the class would check again. */
const usageOf = ({ usage }: ModelResponse.CompletionResponse): Response.Usage =>
  Object.assign(Object.create(Response.Usage.prototype) as Response.Usage, Usage.toAi(usage))

/** The response as `effect/ai` decodes it. */
const decodedParts = (response: ModelResponse.CompletionResponse): Array<Response.Part<{}>> => [
  Response.makePart("response-metadata", {
    id: response.id,
    modelId: response.model,
    timestamp: undefined
  }),
  ...response.parts.map((part): Response.Part<{}> => Response.makePart(part.type as "text", part as Response.TextPart)),
  Response.makePart("finish", {
    reason: response.finishReason,
    usage: usageOf(response),
    response: undefined
  })
]

const decoders = new WeakMap<Schema.Top, (text: string) => Effect.Effect<unknown, Schema.SchemaError, unknown>>()

/** The value of an answer that was checked before. It was decoded then, unless decoding needs services or time. */
const decodeObject = (
  schema: Schema.Top,
  response: ModelResponse.CompletionResponse
): Effect.Effect<unknown, AiError.AiError, unknown> => {
  const decoded = ObjectCheck.of(schema).take(response)
  if (decoded !== undefined) return Effect.succeed(decoded.value)
  const text = ModelResponse.text(response)
  let decode = decoders.get(schema)
  if (decode === undefined) {
    decode = Schema.decodeEffect(Schema.fromJsonString(AnswerSchema.of(schema).codec))
    decoders.set(schema, decode)
  }
  return Effect.mapError(decode(text), (error) =>
    AiError.make({
      module: "LanguageModel",
      method: "generateObject",
      reason: AiError.StructuredOutputError.fromSchemaError(error, text)
    })
  )
}

/** The part of a call that is sent to the client. */
type CallOptions = Pick<LanguageModel.ProviderOptions, "tools" | "toolChoice" | "responseFormat">

const send = (
  client: ModelClient.Service,
  prompt: Prompt.RawInput,
  options: CallOptions
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> =>
  Effect.withFiber((fiber) => {
    const settings = fiber.getRef(ModelSettings.ModelSettings)
    let request: ModelRequest.Completion
    try {
      request = toRequest(prompt, options, settings)
    } catch (error) {
      return Effect.fail(error instanceof AnswerSchema.Unsupported ? unsupported(error) : invalidInput(error))
    }
    const asked =
      options.responseFormat.type === "text"
        ? sendForText(client, request, options.tools, settings.truncated === "keep", fiber)
        : sendForObject(client, request, options.tools, options.responseFormat.schema, fiber)
    return options.tools.length === 0
      ? asked
      : Effect.map(Effect.provideService(asked, Simulation.Tools, options.tools), (response) =>
          ToolCalls.plain(response, options.tools)
        )
  })

/** Sends, and fails on an answer that is not complete. */
const sendForText = (
  client: ModelClient.Service,
  request: ModelRequest.Completion,
  tools: ReadonlyArray<Tool.Any>,
  keepsAll: boolean,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> => {
  const check = withOwn(fiber, tools.length === 0 ? noCalls : withTools(undefined, tools))
  const sent = client.send(request)
  return Effect.flatMap(check === noCalls ? sent : CallContext.provide({ accept: check })(sent), (response) => {
    const isWhole = ModelResponse.isComplete(response)
    const problem = isWhole ? check(response) : undefined
    if (problem === undefined && (keepsAll || isWhole)) return Effect.succeed(response)
    CallOutcome.failed(fiber, request)
    if (problem !== undefined) return Effect.fail(unfit(problem, response, "generateText"))
    const reason = new AiError.InvalidOutputError({ description: broken(response) })
    const error = AiError.make({ module: "LanguageModel", method: "generateText", reason })
    return Effect.fail(ModelFailure.withAnswer(error, ModelResponse.text(response)))
  })
}

/** Why a text answer is not complete, and how to accept it anyway. */
const broken = (response: ModelResponse.CompletionResponse): string =>
  ModelResponse.isTruncated(response)
    ? `${ObjectCheck.truncated(response)}, or accept it: truncated: "keep"`
    : ModelResponse.hasContent(response)
      ? 'the provider gives an unknown finish reason, so the answer may be incomplete. To accept it: truncated: "keep"'
      : 'the answer is empty. To accept empty answers: truncated: "keep"'

/** A check that replaces another one with the same schema. */
const withSchemaOf = (
  check: CallContext.Accept | undefined,
  accept: (response: ModelResponse.ModelResponse) => string | undefined
): CallContext.Accept => (check?.schema === undefined ? accept : Object.assign(accept, { schema: check.schema }))

/** Checks the tool calls of an answer, then the rest. */
const withTools = (check: CallContext.Accept | undefined, tools: ReadonlyArray<Tool.Any>): CallContext.Accept => {
  const accept = (response: ModelResponse.ModelResponse): string | undefined =>
    response._tag === "CompletionResponse" && ToolCalls.areIn(response)
      ? ToolCalls.problemOf(response, tools)
      : check?.(response)
  return withSchemaOf(check, accept)
}

/** Runs a check, then the step's own check if it has one. A tool call is not an answer yet. */
const withOwn = (
  fiber: Fiber.Fiber<unknown, unknown>,
  check: CallContext.Accept,
  text: (response: ModelResponse.CompletionResponse) => string = ModelResponse.text
): CallContext.Accept => {
  const own = CallContext.stateOf(fiber).check
  // Simulated answers know only the schema, not the author's own rules.
  if (own === undefined || fiber.getRef(Simulation.Simulation) !== undefined) return check
  const accept = (response: ModelResponse.ModelResponse): string | undefined =>
    check(response)
    ?? (response._tag !== "CompletionResponse" || ToolCalls.areIn(response)
      ? undefined
      : LayerFault.notOfLayer(() => AnswerCheck.problemOf(own, text(response))))
  return withSchemaOf(check, accept)
}

/** What is wrong with an answer to a request without tools. The cache sees that from the request. */
const noCalls = withTools(undefined, [])

/** Sends with a check against the schema, and fails on an answer that no layer could fix. */
const sendForObject = (
  client: ModelClient.Service,
  request: ModelRequest.Completion,
  tools: ReadonlyArray<Tool.Any>,
  schema: Schema.Top,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> => {
  const check = ObjectCheck.of(schema)
  const accept = withOwn(fiber, tools.length === 0 ? check.accept : withTools(check.accept, tools), check.text)
  return Effect.flatMap(CallContext.provide({ accept })(client.send(request)), (response) => {
    const problem = accept(response)
    if (problem !== undefined) {
      CallOutcome.failed(fiber, request)
      return Effect.fail(unfit(problem, response))
    }
    return Effect.succeed(check.plain(response))
  })
}

const unfit = (
  problem: string,
  response: ModelResponse.CompletionResponse,
  method = "generateObject"
): AiError.AiError =>
  AiError.make({
    module: "LanguageModel",
    method,
    reason: new AiError.StructuredOutputError({ description: problem, responseText: ModelResponse.shown(response) })
  })

const invalidInput = (error: unknown): AiError.AiError =>
  AiError.make({
    module: "LanguageModel",
    method: "generateText",
    reason: new AiError.InvalidUserInputError({ description: error instanceof Error ? error.message : String(error) })
  })

/** Every row would fail in the same way. */
const unsupported = ({ message }: AnswerSchema.Unsupported): AiError.AiError =>
  AiError.make({
    module: "LanguageModel",
    method: "generateObject",
    reason: new AiError.UnsupportedSchemaError({ description: message })
  })

/** How `effect/ai` wants the values of a schema in JSON: a date as text, and so on. */
const codecTransformer = ((schema: Schema.Top) => AnswerSchema.of(schema)) as unknown as LanguageModel.CodecTransformer

/** The messages of a prompt: a text is one of the user. */
const messagesOf = (prompt: Prompt.RawInput): ReadonlyArray<ModelRequest.Message> =>
  typeof prompt === "string" ? [{ role: "user", content: prompt }] : Prompt.make(prompt).content.map(encodeMessage)

const toRequest = (
  prompt: Prompt.RawInput,
  options: CallOptions,
  { dimensions: _, model, providerOptions, sample, truncated: __, ...settings }: ModelSettings.ModelSettings
): ModelRequest.Completion => ({
  _tag: "Completion",
  ...(model === undefined ? undefined : { model }),
  messages: messagesOf(prompt),
  tools: options.tools.map(toTool),
  toolChoice: toToolChoice(options.toolChoice),
  responseFormat:
    options.responseFormat.type === "text"
      ? { type: "text" }
      : {
          type: "json",
          name: options.responseFormat.objectName,
          schema: RequestKey.constant(AnswerSchema.of(options.responseFormat.schema).jsonSchema) as Schema.Json
        },
  settings,
  providerOptions: providerOptions ?? {},
  sample: sample ?? 0
})

const toToolChoice = (choice: LanguageModel.ToolChoice<string>): ModelRequest.ToolChoice =>
  typeof choice === "string" ? choice : "tool" in choice ? { tool: choice.tool } : (choice.mode ?? "auto")

const tools = new WeakMap<Tool.Any, ModelRequest.Tool>()

const toTool = (tool: Tool.Any): ModelRequest.Tool => {
  const known = tools.get(tool)
  if (known !== undefined) return known
  if (Tool.isProviderDefined(tool)) {
    throw new Error(`tool ${tool.name} is a provider's own tool: pass it in providerOptions instead`)
  }
  const description = Tool.getDescription(tool)
  const strict = Tool.getStrictMode(tool)
  const made: ModelRequest.Tool = {
    name: tool.name,
    ...(description === undefined ? undefined : { description }),
    parameters: ToolCalls.parametersOf(tool) as Schema.Json,
    ...(strict === undefined ? undefined : { strict })
  }
  tools.set(tool, made)
  return made
}

/**
 * The encoded form without `effect/ai`'s type marks. Written by hand, because a schema would cost more than the ledger.
 */
const encodeMessage = (message: Prompt.Message): ModelRequest.Message => {
  const options = Object.keys(message.options).length === 0 ? undefined : { options: message.options }
  if (message.role === "system") return { role: "system", content: message.content, ...options }
  const [first] = message.content
  if (
    message.role === "user"
    && message.content.length === 1
    && first?.type === "text"
    && Object.keys(first.options).length === 0
  ) {
    return { role: "user", content: first.text, ...options }
  }
  return { role: message.role, content: message.content.map(encodePart), ...options } as ModelRequest.Message
}

const encodePart = (part: Prompt.Part): Prompt.PartEncoded => {
  const encoded: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(part)) {
    if (name.startsWith("~") || value === undefined) continue
    if (name === "options" && Object.keys(value as object).length === 0) continue
    encoded[name] = name === "data" ? encodeData(value as string | Uint8Array | URL) : value
  }
  return encoded as unknown as Prompt.PartEncoded
}

const encodeData = (data: string | Uint8Array | URL): Prompt.FilePartEncoded["data"] =>
  typeof data === "string"
    ? data
    : data instanceof URL
      ? { _tag: "URL", href: data.href }
      : { _tag: "Uint8Array", base64: Base64.encode(data) }

const finish = (response: ModelResponse.CompletionResponse): Response.FinishPartEncoded => ({
  type: "finish",
  reason: response.finishReason,
  usage: Usage.toAi(response.usage)
})

const metadata = (response: ModelResponse.CompletionResponse): Response.ResponseMetadataPartEncoded => ({
  type: "response-metadata",
  ...(response.id === undefined ? undefined : { id: response.id }),
  modelId: response.model
})

const toParts = (response: ModelResponse.CompletionResponse): Array<Response.PartEncoded> => [
  metadata(response),
  ...response.parts,
  finish(response)
]

const toStreamParts = (response: ModelResponse.CompletionResponse): Array<Response.StreamPartEncoded> => [
  metadata(response),
  ...response.parts.flatMap((part, index): Array<Response.StreamPartEncoded> => {
    const id = String(index)
    switch (part.type) {
      case "text":
        return [
          { type: "text-start", id },
          { type: "text-delta", id, delta: part.text },
          { type: "text-end", id }
        ]
      case "reasoning":
        return [
          { type: "reasoning-start", id },
          { type: "reasoning-delta", id, delta: part.text },
          { type: "reasoning-end", id }
        ]
      default:
        return [part]
    }
  }),
  finish(response)
]
