/**
 * The providers' wire formats, as the simulator speaks them: OpenAI's chat, responses and embeddings, and Anthropic's
 * messages.
 *
 * @internal
 */
import * as Files from "./Files.ts"
import * as Script from "./Script.ts"

/** A request in any format. */
export interface WireRequest {
  readonly model: string
  /** The full text of the prompt. */
  readonly prompt: string
  readonly schema: { readonly [key: string]: unknown } | undefined
  readonly tool: { readonly name: string; readonly parameters: { readonly [key: string]: unknown } } | undefined
  readonly maxTokens: number | undefined
  readonly reasoning: boolean
  readonly stream: boolean
  /** Whether log-probabilities are requested. */
  readonly logprobs: boolean
  /** What the provider caches of the prompt: found automatically, or up to a mark. */
  readonly marked: "automatic" | string | undefined
  /** The service tier that answers; `undefined` for the standard one. */
  readonly tier: string | undefined
  /** The input tokens of files. */
  readonly files: number
}

/** Tiers that a request may ask for, beside the standard one (developers.openai.com/api/docs/guides/flex-processing). */
const TIERS: ReadonlySet<unknown> = new Set(["flex", "priority"])

/** The service tier that a request asks for; `undefined` for the standard one. */
export const tierOf = ({ service_tier: tier }: WireJson): string | undefined => (TIERS.has(tier) ? tier : undefined)

/** Models that think with every effort but none. */
const thinks = (body: WireJson, effort: unknown): boolean =>
  /^(?:o\d|gpt-[5-9])/.test(body["model"]) && effort !== "none"

export interface WireTokens {
  readonly input: number
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly output: number
  readonly reasoning: number
}

export interface WireAnswer {
  readonly id: string
  readonly text: string
  readonly tool: { readonly name: string; readonly arguments: unknown } | undefined
  readonly truncated: boolean
  /** The probability of each token of the text, from 0 to 1. */
  readonly confidence: number
  readonly tokens: WireTokens
}

/** The log-probabilities of an answer's tokens, one word each. */
const logprobsOf = ({ logprobs }: WireRequest, { confidence, text }: WireAnswer) =>
  logprobs
    ? text.split(/(?<= )/).map((token) => ({ token, logprob: Math.log(confidence), bytes: null, top_logprobs: [] }))
    : undefined

/** The body of a request as it came. */
// oxlint-disable-next-line typescript/no-explicit-any -- read field by field, each with a default: a client may send anything
export type WireJson = { readonly [key: string]: any }

const textOf = (content: unknown): string =>
  typeof content === "string"
    ? content
    : Array.isArray(content)
      ? content
          .map((part: WireJson) => part["text"] ?? part["content"] ?? (part["type"] === "tool_result" ? "" : "[file]"))
          .join("")
      : ""

export const fromChat = (body: WireJson): WireRequest => {
  const tool = body["tools"]?.[0]?.function
  const messages = body["messages"] as ReadonlyArray<WireJson>
  // A tool is called once: when its result is there, the answer is text.
  const calls = body["tool_choice"] !== "none" && messages.at(-1)?.["role"] !== "tool" && tool !== undefined
  return {
    model: body["model"],
    prompt: messages.map((message) => textOf(message["content"])).join("\n"),
    schema: body["response_format"]?.json_schema?.schema,
    tool: calls ? { name: tool.name, parameters: tool.parameters ?? {} } : undefined,
    maxTokens: body["max_completion_tokens"] ?? body["max_tokens"],
    reasoning: thinks(body, body["reasoning_effort"]),
    stream: body["stream"] === true,
    logprobs: body["logprobs"] === true,
    marked: "automatic",
    tier: tierOf(body),
    files: Files.tokensOf(body)
  }
}

export const fromResponses = (body: WireJson): WireRequest => {
  const items: ReadonlyArray<WireJson> =
    typeof body["input"] === "string" ? [{ content: body["input"] }] : body["input"]
  const tool = body["tools"]?.[0]
  const calls =
    tool !== undefined && body["tool_choice"] !== "none" && items.at(-1)?.["type"] !== "function_call_output"
  return {
    model: body["model"],
    prompt: items.map((item) => textOf(item["content"] ?? item["output"])).join("\n"),
    schema: body["text"]?.format?.schema,
    tool: calls ? { name: tool.name, parameters: tool.parameters ?? {} } : undefined,
    maxTokens: body["max_output_tokens"],
    reasoning: thinks(body, body["reasoning"]?.effort),
    stream: false,
    logprobs: (body["include"] ?? []).includes("message.output_text.logprobs"),
    marked: "automatic",
    tier: tierOf(body),
    files: Files.tokensOf(body)
  }
}

export const fromAnthropic = (body: WireJson): WireRequest => {
  const messages = body["messages"] as ReadonlyArray<WireJson>
  const tool = body["tools"]?.[0]
  const last = messages.at(-1)?.["content"]
  const answered = Array.isArray(last) && last.some((block: WireJson) => block["type"] === "tool_result")
  return {
    model: body["model"],
    prompt: [textOf(body["system"]), ...messages.map((message) => textOf(message["content"]))].join("\n"),
    schema: body["output_config"]?.format?.schema,
    tool:
      tool !== undefined && !answered && body["tool_choice"]?.type !== "none"
        ? { name: tool.name, parameters: tool.input_schema ?? {} }
        : undefined,
    maxTokens: body["max_tokens"],
    reasoning: false,
    stream: body["stream"] === true,
    logprobs: false,
    marked: markedIn(body),
    tier: undefined,
    files: Files.tokensOf(body)
  }
}

/** The text up to the last marked block. */
const markedIn = (body: WireJson): string | undefined => {
  const contents = [body["system"], ...body["messages"].map((message: WireJson) => message["content"])]
  const blocks: ReadonlyArray<WireJson> = contents.flatMap((content) =>
    Array.isArray(content) ? content : content === undefined ? [] : [{ text: content }]
  )
  const last = blocks.findLastIndex((block) => block["cache_control"] !== undefined)
  return last < 0 ? undefined : textOf(blocks.slice(0, last + 1))
}

const chatUsage = ({ cacheRead, cacheWrite, input, output, reasoning }: WireTokens) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: { cached_tokens: cacheRead, cache_write_tokens: cacheWrite, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: reasoning, audio_tokens: 0 }
})

const chatMessage = (answer: WireAnswer) => ({
  role: "assistant",
  content: answer.tool === undefined ? answer.text : null,
  refusal: null,
  ...(answer.tool === undefined
    ? undefined
    : {
        tool_calls: [
          {
            id: `call_${answer.id}`,
            type: "function",
            function: { name: answer.tool.name, arguments: JSON.stringify(answer.tool.arguments) }
          }
        ]
      })
})

const chatReason = (answer: WireAnswer) =>
  answer.truncated ? "length" : answer.tool === undefined ? "stop" : "tool_calls"

export const toChat = (asked: WireRequest, answer: WireAnswer) => ({
  id: `chatcmpl-${answer.id}`,
  object: "chat.completion",
  created: 1_764_000_000,
  model: asked.model,
  choices: [
    {
      index: 0,
      message: chatMessage(answer),
      logprobs: asked.logprobs ? { content: logprobsOf(asked, answer), refusal: null } : null,
      finish_reason: chatReason(answer)
    }
  ],
  usage: chatUsage(answer.tokens),
  service_tier: asked.tier ?? "default"
})

/** The events of a streamed chat completion. */
export const toChatChunks = (asked: WireRequest, answer: WireAnswer): ReadonlyArray<string> => {
  const chunk = (choices: ReadonlyArray<unknown>, usage: unknown = null) =>
    `data: ${JSON.stringify({ id: `chatcmpl-${answer.id}`, object: "chat.completion.chunk", created: 1_764_000_000, model: asked.model, choices, usage, service_tier: asked.tier ?? "default" })}\n\n`
  const { content, ...rest } = chatMessage(answer)
  const toolCalls = "tool_calls" in rest ? rest.tool_calls.map((call, index) => ({ ...call, index })) : undefined
  return [
    chunk([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }]),
    ...(content ?? "")
      .split(/(?<= )/)
      .map((delta) => chunk([{ index: 0, delta: { content: delta }, finish_reason: null }])),
    ...(toolCalls === undefined ? [] : [chunk([{ index: 0, delta: { tool_calls: toolCalls }, finish_reason: null }])]),
    chunk([{ index: 0, delta: {}, finish_reason: chatReason(answer) }]),
    chunk([], chatUsage(answer.tokens)),
    "data: [DONE]\n\n"
  ]
}

export const toResponses = (asked: WireRequest, answer: WireAnswer) => ({
  id: `resp_${answer.id}`,
  object: "response",
  created_at: 1_764_000_000,
  status: answer.truncated ? "incomplete" : "completed",
  error: null,
  incomplete_details: answer.truncated ? { reason: "max_output_tokens" } : null,
  model: asked.model,
  output:
    answer.tool === undefined
      ? [
          {
            id: `msg_${answer.id}`,
            type: "message",
            status: "completed",
            role: "assistant",
            content: [
              {
                type: "output_text",
                text: answer.text,
                annotations: [],
                ...(asked.logprobs ? { logprobs: logprobsOf(asked, answer) } : undefined)
              }
            ]
          }
        ]
      : [
          {
            id: `fc_${answer.id}`,
            type: "function_call",
            status: "completed",
            call_id: `call_${answer.id}`,
            name: answer.tool.name,
            arguments: JSON.stringify(answer.tool.arguments)
          }
        ],
  usage: {
    input_tokens: answer.tokens.input,
    input_tokens_details: { cached_tokens: answer.tokens.cacheRead, cache_write_tokens: answer.tokens.cacheWrite },
    output_tokens: answer.tokens.output,
    output_tokens_details: { reasoning_tokens: answer.tokens.reasoning },
    total_tokens: answer.tokens.input + answer.tokens.output
  },
  service_tier: asked.tier ?? "default"
})

const anthropicUsage = ({ cacheRead, cacheWrite, input, output }: WireTokens) => ({
  input_tokens: input - cacheRead - cacheWrite,
  cache_read_input_tokens: cacheRead,
  cache_creation_input_tokens: cacheWrite,
  output_tokens: output,
  service_tier: "standard"
})

const anthropicBlock = (answer: WireAnswer) =>
  answer.tool === undefined
    ? { type: "text", text: answer.text }
    : { type: "tool_use", id: `toolu_${answer.id}`, name: answer.tool.name, input: answer.tool.arguments }

const stopReason = (answer: WireAnswer) =>
  answer.truncated ? "max_tokens" : answer.tool === undefined ? "end_turn" : "tool_use"

export const toAnthropic = (asked: WireRequest, answer: WireAnswer) => ({
  id: `msg_${answer.id}`,
  type: "message",
  role: "assistant",
  model: asked.model,
  content: [anthropicBlock(answer)],
  stop_reason: stopReason(answer),
  stop_sequence: null,
  usage: anthropicUsage(answer.tokens)
})

/** The events of a streamed message. */
export const toAnthropicEvents = (asked: WireRequest, answer: WireAnswer): ReadonlyArray<string> => {
  const event = (type: string, data: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
  const block = anthropicBlock(answer)
  const deltas =
    answer.tool === undefined
      ? answer.text.split(/(?<= )/).map((text) => ({ type: "text_delta", text }))
      : [{ type: "input_json_delta", partial_json: JSON.stringify(answer.tool.arguments) }]
  return [
    event("message_start", {
      message: {
        ...toAnthropic(asked, answer),
        content: [],
        stop_reason: null,
        usage: { ...anthropicUsage(answer.tokens), output_tokens: 1 }
      }
    }),
    event("content_block_start", {
      index: 0,
      content_block: answer.tool === undefined ? { type: "text", text: "" } : { ...block, input: {} }
    }),
    ...deltas.map((delta) => event("content_block_delta", { index: 0, delta })),
    event("content_block_stop", { index: 0 }),
    event("message_delta", {
      delta: { stop_reason: stopReason(answer), stop_sequence: null },
      usage: { output_tokens: answer.tokens.output }
    }),
    event("message_stop", {})
  ]
}

export const toEmbeddings = (body: WireJson, seed: string, count: (text: string) => number) => {
  const inputs: ReadonlyArray<string> = typeof body["input"] === "string" ? [body["input"]] : body["input"]
  const tokens = inputs.reduce((sum, input) => sum + count(input), 0)
  const vectors = inputs.map((input) => Script.vector(input, body["dimensions"] ?? 64, seed))
  return {
    tokens,
    body: {
      object: "list",
      model: body["model"],
      data: vectors.map((vector, index) => ({
        object: "embedding",
        index,
        embedding:
          body["encoding_format"] === "base64"
            ? Buffer.from(new Float32Array(vector).buffer).toString("base64")
            : vector
      })),
      usage: { prompt_tokens: tokens, total_tokens: tokens }
    }
  }
}
