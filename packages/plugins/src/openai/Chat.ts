/**
 * Encodes a request for the chat completions API.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import * as StrictSchema from "@pipe/core/internal/StrictSchema"
import type * as Prompt from "effect/ai/Prompt"
import type * as JsonSchema from "effect/JsonSchema"
import type {
  ChatCompletionContentPart,
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageParam
} from "openai/resources/chat/completions"
import * as Body from "../provider/Body.ts"
import * as Fields from "../provider/Fields.ts"
import * as Files from "../provider/Files.ts"
import * as StructuredOutput from "../provider/StructuredOutput.ts"
import * as SchemaForm from "./SchemaForm.ts"

export interface Options {
  readonly provider: string
  /**
   * Whether this is OpenAI's own API, which accepts `max_completion_tokens`. Older compatible servers only accept
   * `max_tokens`.
   */
  readonly isOfficial: boolean
  /** Whether decisions go to their own API. Default: by the model. */
  readonly decisions?: boolean | undefined
}

/** OpenAI's models that only accept `max_completion_tokens`, wherever they run. */
const REASONING_MODEL = /^(?:gpt-[5-9]|o\d)/

/** Tests whether a model reasons, by name. A gateway prefixes the maker. */
export const isReasoning = (model: string): boolean => REASONING_MODEL.test(model.slice(model.lastIndexOf("/") + 1))

/** The name of the output limit. The model decides it, not the server in front. */
const maxTokensField = (model: string, { isOfficial }: Options): "max_completion_tokens" | "max_tokens" =>
  isOfficial || isReasoning(model) ? "max_completion_tokens" : "max_tokens"

export const toBody = (
  request: ModelRequest.Completion,
  model: string,
  options: Options,
  mode: StructuredOutput.StructuredOutputMode = "schema"
): ChatCompletionCreateParamsNonStreaming => {
  const { settings, tools } = request
  const { provider } = options
  const messages = request.messages.flatMap((message) => toMessages(message, provider))
  const body = {
    model,
    ...answerFormat(request, model, provider, mode, messages),
    ...(settings.temperature === undefined ? undefined : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? undefined : { top_p: settings.topP }),
    ...(settings.maxTokens === undefined ? undefined : { [maxTokensField(model, options)]: settings.maxTokens }),
    ...(settings.stop === undefined ? undefined : { stop: [...settings.stop] }),
    ...(settings.seed === undefined ? undefined : { seed: settings.seed }),
    ...(settings.presencePenalty === undefined ? undefined : { presence_penalty: settings.presencePenalty }),
    ...(settings.frequencyPenalty === undefined ? undefined : { frequency_penalty: settings.frequencyPenalty }),
    ...(settings.reasoningEffort === undefined
      ? undefined
      : {
          reasoning_effort: settings.reasoningEffort as NonNullable<
            ChatCompletionCreateParamsNonStreaming["reasoning_effort"]
          >
        }),
    ...(settings.topLogprobs === undefined ? undefined : { logprobs: true, top_logprobs: settings.topLogprobs }),
    ...(tools.length === 0
      ? undefined
      : {
          tools: tools.map((tool) => ({
            type: "function" as const,
            function: {
              name: tool.name,
              ...(tool.description === undefined ? undefined : { description: tool.description }),
              ...toolForm(tool, model, provider)
            }
          })),
          tool_choice:
            typeof request.toolChoice === "string"
              ? request.toolChoice
              : { type: "function" as const, function: { name: request.toolChoice.tool } },
          ...(settings.parallelToolCalls === undefined
            ? undefined
            : { parallel_tool_calls: settings.parallelToolCalls })
        })
  }
  return Body.withOptions(body, "openai", request.providerOptions["openai"], reserved)
}

/** The messages, and the format of the answer. */
const answerFormat = (
  { responseFormat }: ModelRequest.Completion,
  model: string,
  provider: string,
  mode: StructuredOutput.StructuredOutputMode,
  messages: Array<ChatCompletionMessageParam>
): Pick<ChatCompletionCreateParamsNonStreaming, "messages" | "response_format"> => {
  if (responseFormat.type === "text") return { messages }
  if (mode === "prompt") {
    return {
      messages: [{ role: "system", content: StructuredOutput.instruction(responseFormat) }, ...messages],
      response_format: { type: "json_object" }
    }
  }
  const { problem, schema } = SchemaForm.of(StructuredOutput.schemaOf(responseFormat), model, provider)
  const name = SchemaForm.wireName(responseFormat.name)
  return {
    messages,
    response_format: { type: "json_schema", json_schema: { name, schema, strict: problem === undefined } }
  }
}

/** The arguments of a tool: enforced when possible, unless the author says otherwise. */
export const toolForm = (
  tool: ModelRequest.Tool,
  model: string,
  provider: string
): { readonly parameters: Record<string, unknown>; readonly strict: boolean } => {
  const parameters = tool.parameters as JsonSchema.JsonSchema
  if (tool.strict === false) return { parameters: StrictSchema.withObjectRoot(parameters), strict: false }
  const { problem, schema } = SchemaForm.of(parameters, model, provider)
  return { parameters: schema, strict: problem === undefined }
}

/** Why OpenAI will not enforce an answer or the calls of a tool; `undefined` when it will. */
export const looseness = (
  { responseFormat, tools }: ModelRequest.Completion,
  model: string,
  provider: string
): string | undefined => {
  const answer =
    responseFormat.type === "text"
      ? undefined
      : SchemaForm.of(StructuredOutput.schemaOf(responseFormat), model, provider).problem
  if (answer !== undefined) return `the schema of ${(responseFormat as StructuredOutput.JsonFormat).name}: ${answer}`
  for (const tool of tools) {
    const problem =
      tool.strict === false
        ? undefined
        : SchemaForm.of(tool.parameters as JsonSchema.JsonSchema, model, provider).problem
    if (problem !== undefined) return `the arguments of the tool ${tool.name}: ${problem}`
  }
  return undefined
}

const reserved: Body.Reserved = {
  model: Body.ways.model,
  messages: Body.ways.messages,
  max_tokens: Body.ways.maxTokens,
  max_completion_tokens: Body.ways.maxTokens,
  max_output_tokens: Body.ways.maxTokens,
  temperature: Body.ways.temperature,
  top_p: Body.ways.topP,
  stop: Body.ways.stop,
  seed: Body.ways.seed,
  presence_penalty: Body.ways.presencePenalty,
  frequency_penalty: Body.ways.frequencyPenalty,
  reasoning_effort: Body.ways.reasoningEffort,
  logprobs: Body.ways.topLogprobs,
  top_logprobs: Body.ways.topLogprobs,
  response_format: Body.ways.schema,
  n: Body.ways.samples,
  best_of: Body.ways.samples,
  stream: Body.ways.stream
}

/** Metadata of an answer's part, for the provider that sent it. */
export const cameWith = (part: Prompt.PartEncoded, provider: string): Fields.Fields =>
  Fields.fields(part.options?.[provider])

/** Tests whether thinking came from the responses API. */
export const isOfResponses = (came: Fields.Fields): boolean => "encrypted_content" in came

/** The thinking before tool calls, in its original fields: some servers refuse tool results without it. */
const thinkingOf = (parts: ReadonlyArray<Prompt.PartEncoded>, provider: string): object | undefined => {
  const thinking: { [name: string]: unknown } = {}
  for (const part of parts) {
    if (part.type !== "reasoning") continue
    const came = cameWith(part, provider)
    if (isOfResponses(came)) continue
    const { details, field, ...extras } = came
    if (typeof field === "string") thinking[field] = part.text
    if (details !== undefined) thinking["reasoning_details"] = details
    Object.assign(thinking, extras)
  }
  return Object.keys(thinking).length === 0 ? undefined : thinking
}

const toMessages = (message: ModelRequest.Message, provider: string): ReadonlyArray<ChatCompletionMessageParam> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [
        {
          role: "user",
          content: typeof message.content === "string" ? message.content : message.content.map(toContentPart)
        }
      ]
    case "assistant": {
      if (typeof message.content === "string") return [{ role: "assistant", content: message.content }]
      const text = message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
      const calls = message.content.flatMap((part) =>
        part.type !== "tool-call"
          ? []
          : [
              {
                id: part.id,
                type: "function" as const,
                function: { name: part.name, arguments: Body.text(part.params) },
                ...extraOf(part, provider)
              }
            ]
      )
      return [
        {
          role: "assistant",
          content: text === "" ? null : text,
          ...(calls.length === 0 ? undefined : { tool_calls: calls, ...thinkingOf(message.content, provider) })
        }
      ]
    }
    case "tool":
      return message.content.flatMap((part) =>
        part.type !== "tool-result" ? [] : [{ role: "tool" as const, tool_call_id: part.id, content: toolResult(part) }]
      )
  }
}

/** Data that must be sent back with a call, such as a signature. */
const extraOf = (part: Prompt.PartEncoded, provider: string): object | undefined => {
  const came = cameWith(part, provider)
  return Object.keys(came).length === 0 ? undefined : came
}

/** The result of a tool, as text. */
export const toolResult = (part: Prompt.ToolResultPartEncoded): string =>
  typeof part.result === "string" ? part.result : Body.text(part.result)

/** The formats of audio that the chat API takes (openai 7.57, `ChatCompletionContentPartInputAudio`). */
const AUDIO: ReadonlyMap<string, "wav" | "mp3"> = new Map([
  ["audio/wav", "wav"],
  ["audio/x-wav", "wav"],
  ["audio/wave", "wav"],
  ["audio/mpeg", "mp3"],
  ["audio/mp3", "mp3"]
])

const toContentPart = (part: Prompt.UserMessagePartEncoded): ChatCompletionContentPart => {
  if (part.type === "text") return { type: "text", text: part.text }
  const data = Files.of(part)
  if (part.mediaType.startsWith("image/")) return { type: "image_url", image_url: { url: Files.toDataUrl(data) } }
  if (part.mediaType === "application/pdf" && data._tag === "Base64") {
    return { type: "file", file: { file_data: Files.toDataUrl(data), filename: part.fileName ?? "document.pdf" } }
  }
  const format = AUDIO.get(part.mediaType)
  if (format !== undefined && data._tag === "Base64")
    return { type: "input_audio", input_audio: { data: data.base64, format } }
  throw new Body.Unsupported(
    `a file of type ${part.mediaType} cannot be sent to the chat API: images, PDF documents, and WAV and MP3 audio can`
  )
}
