/**
 * Encodes a request for the messages API.
 *
 * @internal
 */
import type {
  ContentBlockParam,
  MessageCreateParamsNonStreaming,
  MessageParam,
  TextBlockParam
} from "@anthropic-ai/sdk/resources/messages/messages"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import * as StrictSchema from "@pipe/core/internal/StrictSchema"
import type * as Prompt from "effect/ai/Prompt"
import type * as JsonSchema from "effect/JsonSchema"
import * as Body from "../provider/Body.ts"
import * as Files from "../provider/Files.ts"
import * as StructuredOutput from "../provider/StructuredOutput.ts"
import * as SchemaForm from "./SchemaForm.ts"

/** Settings that the messages API does not have. */
const unknownSettings = ["seed", "presencePenalty", "frequencyPenalty", "topLogprobs"] as const

export interface Options {
  readonly defaultMaxTokens: number
  readonly structuredOutput: StructuredOutput.StructuredOutputMode
}

export const toBody = (
  request: ModelRequest.Completion,
  model: string,
  { defaultMaxTokens, structuredOutput }: Options
): MessageCreateParamsNonStreaming => {
  const { responseFormat, settings, tools } = request
  const without = unknownSettings.filter((name) => settings[name] !== undefined)
  if (without.length > 0) {
    throw new Body.Unsupported(`Anthropic's API has no ${without.join(", ")}: remove it for this model`)
  }
  const system = request.messages.flatMap((message): Array<TextBlockParam> =>
    message.role === "system" ? [{ type: "text", text: message.content, ...cacheControl(message.options) }] : []
  )
  const isPrompted = responseFormat.type === "json" && structuredOutput === "prompt"
  if (isPrompted) system.push({ type: "text", text: StructuredOutput.instruction(responseFormat) })
  const outputConfig = {
    ...(responseFormat.type === "text" || isPrompted
      ? undefined
      : {
          format: { type: "json_schema" as const, schema: SchemaForm.of(StructuredOutput.schemaOf(responseFormat)) }
        }),
    ...(settings.reasoningEffort === undefined ? undefined : { effort: settings.reasoningEffort })
  }
  const body = {
    model,
    max_tokens: settings.maxTokens ?? defaultMaxTokens,
    messages: toMessages(request.messages),
    ...(system.length === 0 ? undefined : { system }),
    // Models from before 2026 accept these; the SDK's types only list what the newest do.
    ...(settings.temperature === undefined ? undefined : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? undefined : { top_p: settings.topP }),
    ...(settings.stop === undefined ? undefined : { stop_sequences: [...settings.stop] }),
    ...(Object.keys(outputConfig).length === 0
      ? undefined
      : { output_config: outputConfig as NonNullable<MessageCreateParamsNonStreaming["output_config"]> }),
    ...(tools.length === 0
      ? undefined
      : {
          tools: tools.map((tool) => ({
            name: tool.name,
            ...(tool.description === undefined ? undefined : { description: tool.description }),
            input_schema: { type: "object" as const, ...parametersOf(tool) },
            ...(tool.strict === undefined ? undefined : { strict: tool.strict })
          })),
          tool_choice: toToolChoice(request)
        })
  }
  return Body.withOptions(body, "anthropic", request.providerOptions["anthropic"], reserved)
}

/** The arguments of a tool: enforced when the author asks for it, otherwise as a hint. */
const parametersOf = ({ parameters, strict }: ModelRequest.Tool): JsonSchema.JsonSchema => {
  const schema = StrictSchema.withObjectRoot(parameters as JsonSchema.JsonSchema)
  return strict === true ? SchemaForm.of(schema) : schema
}

const reserved: Body.Reserved = {
  model: Body.ways.model,
  messages: Body.ways.messages,
  system: Body.ways.messages,
  max_tokens: Body.ways.maxTokens,
  temperature: Body.ways.temperature,
  top_p: Body.ways.topP,
  stop_sequences: Body.ways.stop,
  "output_config.format": Body.ways.schema,
  "output_config.effort": Body.ways.reasoningEffort,
  stream: Body.ways.stream
}

const toToolChoice = ({ settings, toolChoice }: ModelRequest.Completion) => {
  const parallel = settings.parallelToolCalls === false ? { disable_parallel_tool_use: true } : undefined
  if (typeof toolChoice !== "string") return { type: "tool" as const, name: toolChoice.tool, ...parallel }
  switch (toolChoice) {
    case "auto":
      return { type: "auto" as const, ...parallel }
    case "required":
      return { type: "any" as const, ...parallel }
    case "none":
      return { type: "none" as const }
  }
}

/**
 * A breakpoint of the prompt cache set by the author: `options: { anthropic: { cacheControl: { type: "ephemeral" } }
 * }`.
 */
const cacheControl = (options: Prompt.ProviderOptions | undefined) => {
  const own = options?.["anthropic"] as { readonly cacheControl?: { readonly type: "ephemeral" } } | null | undefined
  return own?.cacheControl === undefined ? undefined : { cache_control: own.cacheControl }
}

/** Messages in turns of user and assistant. Tool results belong to the user. */
const toMessages = (messages: ModelRequest.Completion["messages"]): Array<MessageParam> => {
  const turns: Array<{ readonly role: "user" | "assistant"; readonly content: Array<ContentBlockParam> }> = []
  for (const message of messages) {
    if (message.role === "system") continue
    const role = message.role === "assistant" ? "assistant" : "user"
    const content =
      typeof message.content === "string" ? toText(message.content, message.options) : message.content.flatMap(toBlocks)
    if (content.length === 0) continue
    const last = turns.at(-1)
    if (last?.role === role) last.content.push(...content)
    else turns.push({ role, content: [...content] })
  }
  return turns
}

/** A text block. A blank one would be refused, and says nothing. */
const toText = (text: string, options: Prompt.ProviderOptions | undefined): ReadonlyArray<TextBlockParam> =>
  text.trim() === "" ? [] : [{ type: "text", text, ...cacheControl(options) }]

/** Thinking as received. It is only accepted with its signature. */
const toThinking = ({ options, text }: Prompt.ReasoningPartEncoded): ReadonlyArray<ContentBlockParam> => {
  const { redacted, signature } = (options?.["anthropic"] ?? {}) as {
    readonly redacted?: unknown
    readonly signature?: unknown
  }
  return typeof redacted === "string"
    ? [{ type: "redacted_thinking", data: redacted }]
    : typeof signature === "string"
      ? [{ type: "thinking", thinking: text, signature }]
      : []
}

const toBlocks = (part: Prompt.PartEncoded): ReadonlyArray<ContentBlockParam> => {
  switch (part.type) {
    case "text":
      return toText(part.text, part.options)
    case "reasoning":
      return toThinking(part)
    case "file":
      return [toFileBlock(part)]
    case "tool-call":
      return [{ type: "tool_use", id: part.id, name: part.name, input: part.params }]
    case "tool-result":
      return [
        {
          type: "tool_result",
          tool_use_id: part.id,
          content: typeof part.result === "string" ? part.result : (JSON.stringify(part.result) ?? "null"),
          is_error: part.isFailure
        }
      ]
    default:
      return []
  }
}

const toFileBlock = (part: Prompt.FilePartEncoded): ContentBlockParam => {
  const data = Files.of(part)
  const source =
    data._tag === "Url"
      ? { type: "url" as const, url: data.url }
      : { type: "base64" as const, data: data.base64, media_type: Files.mediaTypeOf(data.mediaType) as "image/png" }
  if (part.mediaType.startsWith("image/")) return { type: "image", source, ...cacheControl(part.options) }
  if (part.mediaType === "application/pdf") {
    return { type: "document", source: source as { type: "url"; url: string }, ...cacheControl(part.options) }
  }
  throw new Body.Unsupported(
    `a file of type ${part.mediaType} cannot be sent to Anthropic: images and PDF documents can`
  )
}
