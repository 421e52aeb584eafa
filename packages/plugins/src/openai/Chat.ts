/**
 * The chat completions API: a request as its body, its answer as a response.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as Usage from "@pipe/core/Usage"
import type * as Prompt from "effect/ai/Prompt"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type {
  ChatCompletionContentPart,
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageParam
} from "openai/resources/chat/completions"
import * as Answer from "../transport/Answer.ts"
import * as Body from "../transport/Body.ts"
import * as Files from "../transport/Files.ts"
import * as Client from "./Client.ts"
import * as ChatUsage from "./ChatUsage.ts"
import * as StrictSchema from "./StrictSchema.ts"

export interface Options {
  readonly provider: string
  /** OpenAI's own API takes `max_completion_tokens`; older compatible servers know `max_tokens` alone. */
  readonly maxTokensField: "max_completion_tokens" | "max_tokens"
}

export const toBody = (
  request: ModelRequest.Completion,
  model: string,
  options: Options
): ChatCompletionCreateParamsNonStreaming => {
  const { responseFormat, settings, tools } = request
  const body = {
    model,
    messages: request.messages.flatMap(toMessages),
    ...(settings.temperature === undefined ? undefined : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? undefined : { top_p: settings.topP }),
    ...(settings.maxTokens === undefined ? undefined : { [options.maxTokensField]: settings.maxTokens }),
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
    ...(responseFormat.type === "text"
      ? undefined
      : {
          response_format: {
            type: "json_schema" as const,
            json_schema: {
              name: responseFormat.name,
              schema: responseFormat.schema as Record<string, unknown>,
              strict: StrictSchema.isStrict(responseFormat.schema)
            }
          }
        }),
    ...(tools.length === 0
      ? undefined
      : {
          tools: tools.map((tool) => ({
            type: "function" as const,
            function: {
              name: tool.name,
              ...(tool.description === undefined ? undefined : { description: tool.description }),
              parameters: tool.parameters as Record<string, unknown>,
              strict: tool.strict ?? StrictSchema.isStrict(tool.parameters)
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

const reserved: Body.Reserved = {
  model: Body.ways.model,
  messages: Body.ways.messages,
  max_tokens: Body.ways.maxTokens,
  max_completion_tokens: Body.ways.maxTokens,
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

const toMessages = (message: ModelRequest.Message): ReadonlyArray<ChatCompletionMessageParam> => {
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
                function: { name: part.name, arguments: JSON.stringify(part.params) }
              }
            ]
      )
      return [
        {
          role: "assistant",
          content: text === "" ? null : text,
          ...(calls.length === 0 ? undefined : { tool_calls: calls })
        }
      ]
    }
    case "tool":
      return message.content.flatMap((part) =>
        part.type !== "tool-result" ? [] : [{ role: "tool" as const, tool_call_id: part.id, content: toolResult(part) }]
      )
  }
}

/** What a tool gave back, as text. */
export const toolResult = (part: Prompt.ToolResultPartEncoded): string =>
  typeof part.result === "string" ? part.result : (JSON.stringify(part.result) ?? "null")

const toContentPart = (part: Prompt.UserMessagePartEncoded): ChatCompletionContentPart => {
  if (part.type === "text") return { type: "text", text: part.text }
  const data = Files.of(part)
  if (part.mediaType.startsWith("image/")) return { type: "image_url", image_url: { url: Files.toDataUrl(data) } }
  if (part.mediaType === "application/pdf" && data._tag === "Base64") {
    return { type: "file", file: { file_data: Files.toDataUrl(data), filename: part.fileName ?? "document.pdf" } }
  }
  throw new Files.Unsupported(
    `a file of type ${part.mediaType} cannot be sent to the chat API: images and PDF documents can`
  )
}

const finishReasons: ReadonlyMap<string, ModelResponse.FinishReason> = new Map([
  ["stop", "stop"],
  ["length", "length"],
  ["content_filter", "content-filter"],
  ["error", "error"],
  ["tool_calls", "tool-calls"],
  ["function_call", "tool-calls"]
])

/** The log-probabilities of an answer's tokens; none where one is no number. */
export const logprobsOf = (tokens: unknown): { readonly logprobs: ReadonlyArray<number> } | undefined => {
  const list = Answer.list(tokens) ?? []
  const logprobs = list.map((token) => Answer.fields(token)["logprob"])
  return logprobs.length > 0 && logprobs.every((value) => typeof value === "number") ? { logprobs } : undefined
}

/** A class of service other than the ordinary one. */
export const tierOf = (value: unknown): { readonly serviceTier: string } | undefined => {
  const tier = Answer.name(value)
  return tier === undefined || tier === "default" || tier === "auto" ? undefined : { serviceTier: tier }
}

/** What an answer says of itself, beside its content. */
export const metadata = (answer: Answer.Fields, model: string, provider: string, usage: Usage.Usage | undefined) => {
  const id = Answer.words(answer["id"])
  return {
    provider,
    model: Answer.name(answer["model"]) ?? model,
    requestedModel: model,
    ...(id === undefined ? undefined : { id }),
    ...(usage === undefined ? undefined : { usage }),
    ...tierOf(answer["service_tier"])
  }
}

/** The text of a message: as it is, or in parts. `undefined` for anything else. */
const contentOf = (content: unknown): ReadonlyArray<ModelResponse.Part> | undefined => {
  if (content === null || content === undefined) return []
  if (typeof content === "string") return [{ type: "text", text: content }]
  const texts = Answer.list(content)?.map((part) => Answer.text(Answer.fields(part)["text"]))
  return texts === undefined || texts.length === 0 || texts.some((text) => text === undefined)
    ? undefined
    : [{ type: "text", text: texts.join("") }]
}

const toToolCall = (value: unknown): ReadonlyArray<ModelResponse.Part> | undefined => {
  const call = Answer.fields(value)
  if (call["type"] !== undefined && call["type"] !== "function") return []
  const { arguments: params, name } = Answer.fields(call["function"])
  const id = Answer.text(call["id"])
  return id === undefined || Answer.words(name) === undefined
    ? undefined
    : [{ type: "tool-call", id, name: String(name), params: Answer.toolArguments(params) }]
}

/** Reads an answer; what it must have and has not is a failure. */
export const toResponse = (
  value: unknown,
  model: string,
  options: Options
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> =>
  Answer.decode(
    Client.MODULE,
    () => {
      const answer = Answer.fields(value)
      const choice = Answer.fields(Answer.list(answer["choices"])?.[0])
      // Gateways say so in the middle of an answer.
      if (Answer.isRecord(choice["error"])) {
        return Client.failed(Answer.words(choice["error"]["message"]) ?? "the answer broke off with an error")
      }
      if (!Answer.isRecord(choice["message"])) return Client.malformed("choices[0].message")
      const { message } = choice
      const content = contentOf(message["content"])
      if (content === undefined) return Client.malformed("choices[0].message.content")
      const calls = (message["tool_calls"] === null ? [] : Answer.list(message["tool_calls"] ?? []))?.map(toToolCall)
      if (calls === undefined || calls.some((call) => call === undefined)) {
        return Client.malformed("choices[0].message.tool_calls")
      }
      const reasoning = Answer.words(message["reasoning_content"])
      const refusal = Answer.words(message["refusal"])
      return {
        _tag: "CompletionResponse",
        ...metadata(answer, model, options.provider, ChatUsage.make(answer["usage"])),
        parts: [
          ...(reasoning === undefined ? [] : [{ type: "reasoning" as const, text: reasoning }]),
          ...content,
          ...calls.flatMap((call) => call ?? [])
        ],
        finishReason: Answer.oneOf(finishReasons, choice["finish_reason"]) ?? "unknown",
        ...logprobsOf(Answer.fields(choice["logprobs"])["content"]),
        ...(refusal === undefined ? undefined : { refusal }),
        origin: "provider"
      }
    },
    () => ChatUsage.make(Answer.fields(value)["usage"])
  )

/** Asks by chat completions. */
export const send = (
  client: Client.Client,
  request: ModelRequest.Completion,
  model: string,
  options: Options
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> =>
  Body.make(Client.MODULE, () => toBody(request, model, options)).pipe(
    Effect.flatMap(client.chat),
    Effect.flatMap((completion) => toResponse(completion, model, options))
  )
