/**
 * Reads a chat completion of OpenAI's, and of the many endpoints that follow its API in their own ways.
 *
 * **Details** Content is text, `null`, or a list of parts (Mistral): text is joined, thinking becomes reasoning.
 * Thinking is in `reasoning_content` (DeepSeek), `reasoning` (OpenRouter, vLLM, Groq), `reasoning_details`
 * (OpenRouter), or in `<think>` before the text. A tool call is recognised by its `function`: its type and id may be
 * missing (Mistral, Ollama). Data that must be sent back with a call (signatures, thoughts) is in the metadata of the
 * parts, under the provider's name.
 *
 * @internal
 */
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as AiError from "effect/ai/AiError"
import * as Fields from "../provider/Fields.ts"
import * as FinishReason from "../provider/FinishReason.ts"
import type * as Reply from "../provider/Reply.ts"
import * as Thinking from "../provider/Thinking.ts"
import * as ChatStream from "./ChatStream.ts"
import * as Client from "./Client.ts"
import * as OpenAiUsage from "./OpenAiUsage.ts"
import * as ServiceTiers from "./ServiceTiers.ts"

export interface Options {
  readonly provider: string
  /** The requested model. */
  readonly model: string
}

/** The log-probabilities of an answer's tokens; none when one is not a number. */
export const logprobsOf = (tokens: unknown): { readonly logprobs: ReadonlyArray<number> } | undefined => {
  const list = Fields.list(tokens) ?? []
  const logprobs = list.map((token) => Fields.fields(token)["logprob"])
  return logprobs.length > 0 && logprobs.every((value) => typeof value === "number") ? { logprobs } : undefined
}

/** The service tier, unless it is the standard one. */
export const tierOf = (value: unknown): { readonly serviceTier: string } | undefined => {
  const tier = ServiceTiers.named(value)
  return tier === undefined || tier === "default" ? undefined : { serviceTier: tier }
}

/** The metadata of an answer. */
export const metadata = (answer: Fields.Fields, { model, provider }: Options, usage: unknown = answer["usage"]) => {
  const id = Fields.words(answer["id"])
  return {
    provider,
    model: Fields.name(answer["model"]) ?? model,
    requestedModel: model,
    ...(id === undefined ? undefined : { id }),
    ...tierOf(answer["service_tier"]),
    ...OpenAiUsage.reportedCost(usage)
  }
}

interface Content {
  readonly text: ReadonlyArray<string>
  readonly reasoning: ReadonlyArray<string>
  readonly refusal?: string
}

/** Types of parts that annotate the text and are not content. */
const ASIDE = new Set(["reference", "tool_reference", "citation", "annotation"])

/** The text of a list of parts, or plain text. */
const textIn = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  const parts = Fields.list(value)?.map((part) =>
    typeof part === "string" ? part : (Fields.text(Fields.fields(part)["text"]) ?? "")
  )
  return parts?.join("")
}

/** The content of a message; `undefined` when a part is not understood. */
const contentOf = (content: unknown): Content | undefined => {
  if (content === null || content === undefined) return { text: [], reasoning: [] }
  if (typeof content === "string") return { text: [content], reasoning: [] }
  const list = Fields.list(content)
  if (list === undefined) return undefined
  const text: Array<string> = []
  const reasoning: Array<string> = []
  let refusal: string | undefined
  for (const value of list) {
    if (typeof value === "string") {
      text.push(value)
      continue
    }
    const part = Fields.fields(value)
    const type = part["type"]
    const said = Fields.text(part["text"])
    if (type === "thinking" || type === "reasoning") {
      const thought = textIn(part["thinking"] ?? part["reasoning"] ?? said ?? null)
      if (thought === undefined) return undefined
      reasoning.push(thought)
    } else if (type === "refusal") refusal = Fields.words(part["refusal"]) ?? "no reason was given"
    else if (said !== undefined && (type === undefined || type === "text" || type === "output_text")) text.push(said)
    else if (typeof type !== "string" || !ASIDE.has(type)) return undefined
  }
  return { text, reasoning, ...(refusal === undefined ? undefined : { refusal }) }
}

/** The message fields for thinking. */
export const REASONING = ["reasoning_content", "reasoning"] as const

const detailsText = (details: unknown): string =>
  (Fields.list(details) ?? [])
    .map((value) => {
      const { summary, text } = Fields.fields(value)
      return Fields.text(text) ?? Fields.text(summary) ?? ""
    })
    .join("")

/** The thinking of the model, with what must be sent back with a tool call. */
const reasoningOf = (
  message: Fields.Fields,
  content: ReadonlyArray<string>,
  provider: string
): ReadonlyArray<ModelResponse.Part> => {
  const field = REASONING.find((name) => Fields.words(message[name]) !== undefined)
  const details = Fields.list(message["reasoning_details"])
  const said = field === undefined ? undefined : Fields.words(message[field])
  const text = said ?? (content.length > 0 ? content.join("") : detailsText(details))
  // Some servers refuse a returned call without the field, even if it was empty.
  const hasCalls = (Fields.list(message["tool_calls"])?.length ?? 0) > 0
  const named = field ?? (hasCalls ? REASONING.find((name) => message[name] === "") : undefined)
  const back = {
    ...(named === undefined ? undefined : { field: named }),
    ...(details === undefined || details.length === 0 ? undefined : { details }),
    ...extrasOf(message)
  }
  if (text === "" && Object.keys(back).length === 0) return []
  return [
    {
      type: "reasoning",
      text,
      ...(Object.keys(back).length === 0 ? undefined : { metadata: { [provider]: back as never } })
    }
  ]
}

const toToolCall = (value: unknown, at: number, provider: string): ReadonlyArray<ModelResponse.Part> | undefined => {
  const call = Fields.fields(value)
  if (!Fields.isRecord(call["function"])) {
    // Calls of the provider's own tools are not ours to execute.
    return typeof call["type"] === "string" && call["type"] !== "function" ? [] : undefined
  }
  const { arguments: params, name } = call["function"]
  if (Fields.words(name) === undefined) return undefined
  const extras = extrasOf(call)
  return [
    {
      type: "tool-call",
      id: Fields.words(call["id"]) ?? `call_${at}`,
      name: String(name),
      params: Fields.toolArguments(params ?? ""),
      ...(Object.keys(extras).length === 0 ? undefined : { metadata: { [provider]: extras as never } })
    }
  ]
}

/** The tool calls of a message; `undefined` when one is not understood. */
const toolCallsOf = (message: Fields.Fields, provider: string): ReadonlyArray<ModelResponse.Part> | undefined => {
  const { function_call: old, tool_calls: calls } = message
  const list = calls === undefined || calls === null ? [] : Fields.list(calls)
  if (list === undefined) return undefined
  // Some servers send every field, including empty ones.
  const hasOld = Fields.words(Fields.fields(old)["name"]) !== undefined && list.length === 0
  const all = [...list, ...(hasOld ? [{ function: old }] : [])].map((call, at) => toToolCall(call, at, provider))
  return all.every((call) => call !== undefined) ? all.flat() : undefined
}

/** Other data of a message or call that must be sent back (Gemini, LiteLLM). */
const EXTRAS = ["extra_content", "provider_specific_fields", "thinking_blocks"] as const

const extrasOf = (fields: Fields.Fields): { readonly [name: string]: unknown } => {
  const extras: { [name: string]: unknown } = {}
  for (const name of EXTRAS) {
    const value = fields[name]
    if (Fields.isRecord(value) || (Array.isArray(value) && value.length > 0)) extras[name] = value
  }
  return extras
}

const usageOf = (answer: Fields.Fields): unknown =>
  [answer["usage"], Fields.fields(answer["x_groq"])["usage"], Fields.fields(firstOf(answer))["usage"]].find(
    Fields.isRecord
  )

/** Only the first of several answers was requested. */
const firstOf = (answer: Fields.Fields): unknown => {
  const choices = Fields.list(answer["choices"])
  return choices?.find((choice) => Fields.fields(choice)["index"] === 0) ?? choices?.[0]
}

/** Models that search once per answer without counting it. */
const SEARCHES = /-search-(?:preview|api)/

export const format = (options: Options): Reply.Format<ModelResponse.CompletionResponse> => {
  const usage = (answer: Fields.Fields) =>
    OpenAiUsage.make(usageOf(answer), SEARCHES.test(Fields.text(answer["model"]) ?? options.model) ? 1 : 0)
  const read = (answer: Fields.Fields): ModelResponse.CompletionResponse | AiError.AiError => {
    const choice = Fields.fields(firstOf(answer))
    // Gateways report errors in the middle of an answer.
    if (Fields.isRecord(choice["error"])) {
      return Client.failed(
        Fields.words(choice["error"]["message"]) ?? "the answer was interrupted by an error",
        choice["error"]
      )
    }
    const finishReason = FinishReason.of(choice["finish_reason"])
    const message = Fields.isRecord(choice["message"])
      ? choice["message"]
      : typeof choice["text"] === "string"
        ? { content: choice["text"] }
        : // Some servers send no message with filtered content.
          finishReason === "content-filter"
          ? {}
          : undefined
    if (message === undefined) return Client.malformed("choices[0].message")
    const content = contentOf(message["content"])
    if (content === undefined) return Client.malformed("choices[0].message.content")
    const calls = toolCallsOf(message, options.provider)
    if (calls === undefined) return Client.malformed("choices[0].message.tool_calls")
    const [thinking, text] = Thinking.split(content.text.join(""))
    const reasoning = reasoningOf(
      message,
      thinking === undefined ? content.reasoning : [...content.reasoning, thinking],
      options.provider
    )
    const refusal = Fields.words(message["refusal"]) ?? content.refusal
    const counted = usage(answer)
    return {
      _tag: "CompletionResponse",
      ...metadata(answer, options, usageOf(answer)),
      ...(counted === undefined ? undefined : { usage: counted }),
      parts: [...reasoning, ...(content.text.length === 0 ? [] : [{ type: "text" as const, text }]), ...calls],
      finishReason: finishReason === "unknown" && calls.length > 0 ? "tool-calls" : finishReason,
      ...logprobsOf(Fields.fields(choice["logprobs"])["content"]),
      ...(refusal === undefined ? undefined : { refusal }),
      origin: "provider"
    }
  }
  return {
    read,
    usage,
    answered: (answer) => metadata(answer, options, usageOf(answer)),
    assembly: ChatStream.make,
    isAnswer: (answer) => Fields.isRecord(Fields.fields(firstOf(answer))["message"])
  }
}
