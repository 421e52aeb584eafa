/**
 * The responses API: a request as its body, its answer as a response.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Usage from "@pipe/core/Usage"
import type * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Effect from "effect/Effect"
import type {
  ResponseCreateParamsNonStreaming,
  ResponseInputContent,
  ResponseInputItem
} from "openai/resources/responses/responses"
import * as Answer from "../transport/Answer.ts"
import * as Body from "../transport/Body.ts"
import * as Files from "../transport/Files.ts"
import * as Chat from "./Chat.ts"
import * as Client from "./Client.ts"
import * as StrictSchema from "./StrictSchema.ts"

export const toBody = (request: ModelRequest.Completion, model: string): ResponseCreateParamsNonStreaming => {
  const { responseFormat, settings, tools } = request
  const without = (["stop", "seed", "presencePenalty", "frequencyPenalty"] as const).filter(
    (name) => settings[name] !== undefined
  )
  if (without.length > 0) {
    throw new Files.Unsupported(`the responses API has no ${without.join(", ")}: leave it out, or use the chat API`)
  }
  const body = {
    model,
    input: request.messages.flatMap(toItems),
    // Rows are independent of each other: nothing is kept at the provider.
    store: false,
    ...(settings.temperature === undefined ? undefined : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? undefined : { top_p: settings.topP }),
    ...(settings.maxTokens === undefined ? undefined : { max_output_tokens: settings.maxTokens }),
    ...(settings.topLogprobs === undefined
      ? undefined
      : { top_logprobs: settings.topLogprobs, include: ["message.output_text.logprobs" as const] }),
    ...(settings.reasoningEffort === undefined
      ? undefined
      : {
          reasoning: {
            effort: settings.reasoningEffort as NonNullable<
              ResponseCreateParamsNonStreaming["reasoning"]
            >["effort"] & {}
          }
        }),
    ...(responseFormat.type === "text"
      ? undefined
      : {
          text: {
            format: {
              type: "json_schema" as const,
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
            name: tool.name,
            description: tool.description ?? null,
            parameters: tool.parameters as Record<string, unknown>,
            strict: tool.strict ?? StrictSchema.isStrict(tool.parameters)
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

const reserved: Body.Reserved = {
  model: Body.ways.model,
  input: Body.ways.messages,
  instructions: Body.ways.messages,
  max_output_tokens: Body.ways.maxTokens,
  temperature: Body.ways.temperature,
  top_p: Body.ways.topP,
  top_logprobs: Body.ways.topLogprobs,
  "reasoning.effort": Body.ways.reasoningEffort,
  "text.format": Body.ways.schema,
  stream: Body.ways.stream,
  background: Body.ways.background
}

const toItems = (message: ModelRequest.Message): ReadonlyArray<ResponseInputItem> => {
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
                ? [{ type: "function_call", call_id: part.id, name: part.name, arguments: JSON.stringify(part.params) }]
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
  throw new Files.Unsupported(
    `a file of type ${part.mediaType} cannot be sent to the responses API: images and PDF documents can`
  )
}

const toUsage = (value: unknown): Usage.Usage | undefined => {
  const usage = Answer.fields(value)
  const input = Answer.fields(usage["input_tokens_details"])
  return Usage.fromInclusive({
    input: usage["input_tokens"],
    output: usage["output_tokens"],
    total: usage["total_tokens"],
    cacheRead: input["cached_tokens"],
    cacheWrite: input["cache_write_tokens"],
    reasoning: Answer.fields(usage["output_tokens_details"])["reasoning_tokens"]
  })
}

const finishReasonOf = (answer: Answer.Fields, calls: number): ModelResponse.FinishReason => {
  switch (answer["status"]) {
    case "completed":
      return calls > 0 ? "tool-calls" : "stop"
    case "incomplete": {
      const { reason } = Answer.fields(answer["incomplete_details"])
      return reason === "content_filter" ? "content-filter" : "length"
    }
    default:
      return "unknown"
  }
}

/** What the items of an answer give; a text for what one of them should have. */
const readItems = (items: ReadonlyArray<unknown>) => {
  const parts: Array<ModelResponse.Part> = []
  const logprobs: Array<unknown> = []
  let refusal: string | undefined
  for (const [at, value] of items.entries()) {
    const item = Answer.fields(value)
    if (item["type"] === "message") {
      const contents = Answer.list(item["content"])
      if (contents === undefined) return `output[${at}].content`
      for (const value of contents) {
        const content = Answer.fields(value)
        if (content["type"] === "refusal") refusal = Answer.text(content["refusal"]) ?? "no reason was given"
        if (content["type"] !== "output_text") continue
        const text = Answer.text(content["text"])
        if (text === undefined) return `output[${at}].content[].text`
        parts.push({ type: "text", text })
        for (const token of Answer.list(content["logprobs"]) ?? []) logprobs.push(token)
      }
    } else if (item["type"] === "function_call") {
      const [id, name] = [Answer.text(item["call_id"]), Answer.words(item["name"])]
      if (id === undefined || name === undefined) return `output[${at}].name`
      parts.push({ type: "tool-call", id, name, params: Answer.toolArguments(item["arguments"]) })
    } else if (item["type"] === "reasoning") {
      const texts = (Answer.list(item["summary"]) ?? []).flatMap(
        (summary) => Answer.words(Answer.fields(summary)["text"]) ?? []
      )
      if (texts.length > 0) parts.push({ type: "reasoning", text: texts.join("\n") })
    }
  }
  return { parts, logprobs, refusal }
}

/** Reads an answer; what it must have and has not, and an answer that says that it failed, is a failure. */
export const toResponse = (
  value: unknown,
  model: string,
  provider: string
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> =>
  Answer.decode(
    Client.MODULE,
    () => {
      const answer = Answer.fields(value)
      if (answer["status"] === "failed" || answer["status"] === "cancelled") {
        const { code, message } = Answer.fields(answer["error"])
        return Client.failed(Answer.words(message) ?? Answer.words(code) ?? `the answer ${answer["status"]}`)
      }
      if (answer["status"] === "queued" || answer["status"] === "in_progress") {
        return Client.failed(`the answer is not finished: its status is ${answer["status"]}`)
      }
      const items = Answer.list(answer["output"])
      if (items === undefined) return Client.malformed("output")
      const read = readItems(items)
      if (typeof read === "string") return Client.malformed(read)
      const { logprobs, parts, refusal } = read
      return {
        _tag: "CompletionResponse",
        ...Chat.metadata(answer, model, provider, toUsage(answer["usage"])),
        parts,
        finishReason: finishReasonOf(answer, parts.filter((part) => part.type === "tool-call").length),
        ...Chat.logprobsOf(logprobs),
        ...(refusal === undefined ? undefined : { refusal }),
        origin: "provider"
      }
    },
    () => toUsage(Answer.fields(value)["usage"])
  )

/** Asks by the responses API. */
export const send = (
  client: Client.Client,
  request: ModelRequest.Completion,
  model: string,
  provider: string
): Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError> =>
  Body.make(Client.MODULE, () => toBody(request, model)).pipe(
    Effect.flatMap(client.responses),
    Effect.flatMap((response) => toResponse(response, model, provider))
  )
