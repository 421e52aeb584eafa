/**
 * Encodes a request for the responses API.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as Prompt from "effect/ai/Prompt"
import type {
  ResponseCreateParamsNonStreaming,
  ResponseInputContent,
  ResponseInputItem
} from "openai/resources/responses/responses"
import * as Body from "../provider/Body.ts"
import * as Files from "../provider/Files.ts"
import * as StructuredOutput from "../provider/StructuredOutput.ts"
import * as Chat from "./Chat.ts"
import * as SchemaForm from "./SchemaForm.ts"

export const toBody = (
  request: ModelRequest.Completion,
  model: string,
  provider: string,
  mode: StructuredOutput.StructuredOutputMode = "schema"
): ResponseCreateParamsNonStreaming => {
  const { settings, tools } = request
  const without = (["stop", "seed", "presencePenalty", "frequencyPenalty"] as const).filter(
    (name) => settings[name] !== undefined
  )
  if (without.length > 0) {
    throw new Body.Unsupported(`the responses API has no ${without.join(", ")}: remove it, or use the chat API`)
  }
  const body = {
    model,
    ...answerFormat(request, model, provider, mode),
    // Rows are independent: nothing is stored at the provider.
    store: false,
    ...(settings.temperature === undefined ? undefined : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? undefined : { top_p: settings.topP }),
    ...(settings.maxTokens === undefined ? undefined : { max_output_tokens: settings.maxTokens }),
    ...(settings.topLogprobs === undefined ? undefined : { top_logprobs: settings.topLogprobs }),
    ...includes(request, model),
    ...(settings.reasoningEffort === undefined
      ? undefined
      : {
          reasoning: {
            effort: settings.reasoningEffort as NonNullable<
              ResponseCreateParamsNonStreaming["reasoning"]
            >["effort"] & {}
          }
        }),
    ...(tools.length === 0
      ? undefined
      : {
          tools: tools.map((tool) => ({
            type: "function" as const,
            name: tool.name,
            description: tool.description ?? null,
            ...Chat.toolForm(tool, model, provider)
          })),
          tool_choice:
            typeof request.toolChoice === "string"
              ? request.toolChoice
              : { type: "function" as const, name: request.toolChoice.tool },
          ...(settings.parallelToolCalls === undefined
            ? undefined
            : { parallel_tool_calls: settings.parallelToolCalls })
        })
  }
  return Body.withOptions(body, "openai", request.providerOptions["openai"], reserved)
}

/** The input, and the format of the answer. */
const answerFormat = (
  { messages, responseFormat }: ModelRequest.Completion,
  model: string,
  provider: string,
  mode: StructuredOutput.StructuredOutputMode
): Pick<ResponseCreateParamsNonStreaming, "input" | "text"> => {
  const input = messages.flatMap((message) => toItems(message, provider))
  if (responseFormat.type === "text") return { input }
  if (mode === "prompt") {
    const reported = { role: "system" as const, content: StructuredOutput.instruction(responseFormat) }
    return { input: [reported, ...input], text: { format: { type: "json_object" } } }
  }
  const { problem, schema } = SchemaForm.of(StructuredOutput.schemaOf(responseFormat), model, provider)
  const name = SchemaForm.wireName(responseFormat.name)
  return { input, text: { format: { type: "json_schema", name, schema, strict: problem === undefined } } }
}

/** What the answer must include: thinking is sent back with tool results, and is not stored at the provider. */
const includes = ({ settings, tools }: ModelRequest.Completion, model: string) => {
  const include = [
    ...(settings.topLogprobs === undefined ? [] : ["message.output_text.logprobs" as const]),
    ...(tools.length === 0 || !Chat.isReasoning(model) ? [] : ["reasoning.encrypted_content" as const])
  ]
  return include.length === 0 ? undefined : { include }
}

const reserved: Body.Reserved = {
  model: Body.ways.model,
  input: Body.ways.messages,
  instructions: Body.ways.messages,
  max_output_tokens: Body.ways.maxTokens,
  max_tokens: Body.ways.maxTokens,
  max_completion_tokens: Body.ways.maxTokens,
  n: Body.ways.samples,
  best_of: Body.ways.samples,
  temperature: Body.ways.temperature,
  top_p: Body.ways.topP,
  top_logprobs: Body.ways.topLogprobs,
  "reasoning.effort": Body.ways.reasoningEffort,
  "text.format": Body.ways.schema,
  stream: Body.ways.stream,
  background: Body.ways.background
}

/** Whether a conversation has thinking that only this API takes back. */
export const hasThinking = ({ messages }: ModelRequest.Completion, provider: string): boolean =>
  messages.some(
    ({ content, role }) =>
      role === "assistant"
      && typeof content !== "string"
      && content.some((part) => part.type === "reasoning" && Chat.isOfResponses(Chat.cameWith(part, provider)))
  )

/** Thinking as received; `undefined` for that of another provider. */
const toReasoning = (part: Prompt.ReasoningPartEncoded, provider: string): ReadonlyArray<ResponseInputItem> => {
  const { content, encrypted_content: encrypted, id, summary } = Chat.cameWith(part, provider)
  if (typeof encrypted !== "string") return []
  return [
    {
      type: "reasoning",
      id: typeof id === "string" ? id : "",
      encrypted_content: encrypted,
      summary: Array.isArray(summary) ? summary : [],
      ...(Array.isArray(content) ? { content } : undefined)
    }
  ]
}

const toItems = (message: ModelRequest.Message, provider: string): ReadonlyArray<ResponseInputItem> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [
        {
          role: "user",
          content: typeof message.content === "string" ? message.content : message.content.map(toContent)
        }
      ]
    case "assistant":
      return typeof message.content === "string"
        ? [{ role: "assistant", content: message.content }]
        : message.content.flatMap((part): ReadonlyArray<ResponseInputItem> =>
            part.type === "text"
              ? [{ role: "assistant", content: part.text }]
              : part.type === "tool-call"
                ? [{ type: "function_call", call_id: part.id, name: part.name, arguments: Body.text(part.params) }]
                : part.type === "reasoning"
                  ? toReasoning(part, provider)
                  : []
          )
    case "tool":
      return message.content.flatMap((part) =>
        part.type !== "tool-result"
          ? []
          : [{ type: "function_call_output" as const, call_id: part.id, output: Chat.toolResult(part) }]
      )
  }
}

const toContent = (part: Prompt.UserMessagePartEncoded): ResponseInputContent => {
  if (part.type === "text") return { type: "input_text", text: part.text }
  const data = Files.of(part)
  if (part.mediaType.startsWith("image/")) {
    return { type: "input_image", detail: "auto", image_url: Files.toDataUrl(data) }
  }
  if (part.mediaType === "application/pdf") {
    return data._tag === "Url"
      ? { type: "input_file", file_url: data.url }
      : { type: "input_file", file_data: Files.toDataUrl(data), filename: part.fileName ?? "document.pdf" }
  }
  throw new Body.Unsupported(
    `a file of type ${part.mediaType} cannot be sent to the responses API: images and PDF documents can`
  )
}
