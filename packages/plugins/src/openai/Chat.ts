/**
 * The chat completions API: a request as its body, its answer as a response.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Usage from "@pipe/core/Usage"
import type * as Prompt from "effect/ai/Prompt"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type {
  ChatCompletion,
  ChatCompletionContentPart,
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageParam
} from "openai/resources/chat/completions"
import type { CompletionUsage } from "openai/resources/completions"
import * as Body from "../transport/Body.ts"
import * as Files from "../transport/Files.ts"
import * as Client from "./Client.ts"
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
  return {
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
        }),
    ...(request.providerOptions["openai"] as object | undefined)
  }
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

/** Cached tokens stand inside the prompt's, reasoning inside the completion's. */
export const toUsage = (usage: CompletionUsage): Usage.Usage =>
  Usage.fromInclusive({
    input: usage.prompt_tokens,
    output: usage.completion_tokens,
    cacheRead: usage.prompt_tokens_details?.cached_tokens,
    cacheWrite: usage.prompt_tokens_details?.cache_write_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens
  })

const finishReasons: { readonly [reason: string]: ModelResponse.FinishReason } = {
  stop: "stop",
  length: "length",
  content_filter: "content-filter",
  tool_calls: "tool-calls",
  function_call: "tool-calls"
}

/** The log-probabilities of an answer's tokens. */
export const logprobsOf = (
  tokens: ReadonlyArray<{ readonly logprob: number }> | null | undefined
): { readonly logprobs: ReadonlyArray<number> } | undefined =>
  tokens === null || tokens === undefined || tokens.length === 0
    ? undefined
    : { logprobs: tokens.map(({ logprob }) => logprob) }

/** A class of service other than the ordinary one. */
export const tierOf = (tier: string | null | undefined): { readonly serviceTier: string } | undefined =>
  tier === null || tier === undefined || tier === "default" || tier === "auto" ? undefined : { serviceTier: tier }

export const toResponse = (
  completion: ChatCompletion,
  model: string,
  options: Options
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> => {
  const choice = completion.choices?.[0]
  if (choice?.message === undefined) return Effect.fail(Client.malformed("choices"))
  const { message } = choice
  const reasoning = (message as { readonly reasoning_content?: unknown }).reasoning_content
  return Effect.succeed({
    _tag: "CompletionResponse",
    provider: options.provider,
    model: completion.model || model,
    requestedModel: model,
    id: completion.id,
    ...(completion.usage === undefined || completion.usage === null ? undefined : { usage: toUsage(completion.usage) }),
    ...tierOf(completion.service_tier),
    parts: [
      ...(typeof reasoning === "string" && reasoning !== "" ? [{ type: "reasoning" as const, text: reasoning }] : []),
      ...(typeof message.content === "string" ? [{ type: "text" as const, text: message.content }] : []),
      ...(message.tool_calls ?? []).flatMap((call) =>
        call.type !== "function"
          ? []
          : [
              {
                type: "tool-call" as const,
                id: call.id,
                name: call.function.name,
                params: Body.toolArguments(call.function.arguments)
              }
            ]
      )
    ],
    finishReason: finishReasons[choice.finish_reason] ?? "unknown",
    ...logprobsOf(choice.logprobs?.content),
    ...(typeof message.refusal === "string" && message.refusal !== "" ? { refusal: message.refusal } : undefined),
    origin: "provider"
  })
}

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
