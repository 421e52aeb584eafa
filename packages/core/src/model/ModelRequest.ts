/**
 * What is asked of a model, as plain data: it can be hashed (cache key), sent (batch file, worker), stored (journal) and
 * shown (report).
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"

/** Settings that change an answer. Every one of them is part of the cache key. */
export const Settings = Schema.Struct({
  /** 0 gives the most likely answer; higher is more varied. */
  temperature: Schema.optionalKey(Schema.Finite),
  topP: Schema.optionalKey(Schema.Finite),
  /** Most output tokens, reasoning included. */
  maxTokens: Schema.optionalKey(Schema.Int),
  stop: Schema.optionalKey(Schema.Array(Schema.String)),
  seed: Schema.optionalKey(Schema.Int),
  presencePenalty: Schema.optionalKey(Schema.Finite),
  frequencyPenalty: Schema.optionalKey(Schema.Finite),
  /** How long a reasoning model thinks: `"low"`, `"medium"`, `"high"`, or what the provider adds. */
  reasoningEffort: Schema.optionalKey(Schema.String),
  parallelToolCalls: Schema.optionalKey(Schema.Boolean),
  /** Log-probabilities of the most likely tokens at each place. */
  topLogprobs: Schema.optionalKey(Schema.Int)
})

export interface Settings extends Schema.Schema.Type<typeof Settings> {}

/** A tool that the model may call; its parameters are a JSON Schema. */
export const Tool = Schema.Struct({
  name: Schema.String,
  description: Schema.optionalKey(Schema.String),
  parameters: Schema.Json,
  strict: Schema.optionalKey(Schema.Boolean)
})

export interface Tool extends Schema.Schema.Type<typeof Tool> {}

export const ToolChoice = Schema.Union([
  Schema.Literals(["auto", "none", "required"]),
  Schema.Struct({ tool: Schema.String })
])

export type ToolChoice = typeof ToolChoice.Type

export const ResponseFormat = Schema.Union([
  Schema.Struct({ type: Schema.Literal("text") }),
  Schema.Struct({ type: Schema.Literal("json"), name: Schema.String, schema: Schema.Json })
])

export type ResponseFormat = typeof ResponseFormat.Type

/** A message of the prompt, encoded as `effect/ai` encodes its `Prompt`. */
export type Message = Prompt.MessageEncoded

const Message: Schema.Codec<Message> = Schema.Any

/** One completion: a conversation and all that shapes the answer. */
export const Completion = Schema.TaggedStruct("Completion", {
  /** The model asked for; left out, the stack below decides (a `Router`, or the provider's default). */
  model: Schema.optionalKey(Schema.String),
  messages: Schema.Array(Message),
  tools: Schema.Array(Tool),
  toolChoice: ToolChoice,
  responseFormat: ResponseFormat,
  settings: Settings,
  /** What only one provider knows, passed on to it as it is: `{ openai: { service_tier: "flex" } }`. */
  providerOptions: Schema.Record(Schema.String, Schema.Json),
  /** Number of the sample, from 0: part of the cache key, never sent. */
  sample: Schema.Int
})

export interface Completion extends Schema.Schema.Type<typeof Completion> {}

/** Vectors for some texts, all by one model. */
export const Embedding = Schema.TaggedStruct("Embedding", {
  model: Schema.optionalKey(Schema.String),
  inputs: Schema.Array(Schema.String),
  dimensions: Schema.optionalKey(Schema.Int),
  providerOptions: Schema.Record(Schema.String, Schema.Json)
})

export interface Embedding extends Schema.Schema.Type<typeof Embedding> {}

export const ModelRequest = Schema.Union([Completion, Embedding])

export type ModelRequest = typeof ModelRequest.Type

/** A completion with defaults for all that is left out. */
export const completion = (
  fields: Pick<Completion, "messages"> & Partial<Omit<Completion, "_tag" | "messages">>
): Completion => ({
  _tag: "Completion",
  tools: [],
  toolChoice: "auto",
  responseFormat: { type: "text" },
  settings: {},
  providerOptions: {},
  sample: 0,
  ...fields
})

/** An embedding request with defaults for all that is left out. */
export const embedding = (
  fields: Pick<Embedding, "inputs"> & Partial<Omit<Embedding, "_tag" | "inputs">>
): Embedding => ({ _tag: "Embedding", providerOptions: {}, ...fields })

/** The same request asked of another model. */
export const withModel = <R extends ModelRequest>(request: R, model: string): R =>
  request.model === model ? request : { ...request, model }

/** The text of a message without its files: what a rule or a counter looks at. */
export const messageText = (message: Message): string =>
  typeof message.content === "string"
    ? message.content
    : message.content.map((part) => (part.type === "text" || part.type === "reasoning" ? part.text : "")).join("")

/** All text of a request, or that of one role only, messages separated by line ends. */
export const text = (request: ModelRequest, role?: Message["role"]): string =>
  request._tag === "Embedding"
    ? request.inputs.join("\n")
    : request.messages
        .filter((message) => role === undefined || message.role === role)
        .map(messageText)
        .join("\n")

/**
 * The same request with other texts: those of its messages, or the inputs of an embedding. Files, tool calls and their results stay as
 * they are.
 *
 * **Example** (numbers of cards are masked)
 *
 * ```ts
 * import { ModelClient, ModelRequest } from "@pipe/core"
 *
 * export const masked = ModelClient.mapRequest((request) =>
 *   ModelRequest.mapText(request, (text) => text.replace(/\b\d{16}\b/g, "[card]"))
 * )
 * ```
 */
export const mapText = <R extends ModelRequest>(request: R, f: (text: string, role: Message["role"]) => string): R =>
  request._tag === "Embedding"
    ? { ...request, inputs: request.inputs.map((input) => f(input, "user")) }
    : { ...request, messages: request.messages.map((message) => mapMessage(message, f)) }

const mapMessage = (message: Message, f: (text: string, role: Message["role"]) => string): Message => {
  const { content, role } = message
  if (typeof content === "string") return { ...message, content: f(content, role) } as Message
  const parts = content.map((part) =>
    part.type === "text" || part.type === "reasoning" ? { ...part, text: f(part.text, role) } : part
  )
  return { ...message, content: parts } as Message
}
