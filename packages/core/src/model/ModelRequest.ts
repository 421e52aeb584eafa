/**
 * A model request as plain data: it can be hashed (cache key), sent (batch file, worker), stored (journal) and shown
 * (report).
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"

/** The schema of settings. */
export const Settings = Schema.Struct({
  temperature: Schema.optionalKey(Schema.Finite),
  topP: Schema.optionalKey(Schema.Finite),
  maxTokens: Schema.optionalKey(Schema.Int),
  stop: Schema.optionalKey(Schema.Array(Schema.String)),
  seed: Schema.optionalKey(Schema.Int),
  presencePenalty: Schema.optionalKey(Schema.Finite),
  frequencyPenalty: Schema.optionalKey(Schema.Finite),
  reasoningEffort: Schema.optionalKey(Schema.String),
  parallelToolCalls: Schema.optionalKey(Schema.Boolean),
  topLogprobs: Schema.optionalKey(Schema.Int)
})

/** Settings that change an answer. Each is part of the cache key. */
export interface Settings {
  /** 0 makes answers the most predictable; higher values make them more varied. */
  readonly temperature?: number
  readonly topP?: number
  /** The most output tokens, including reasoning. */
  readonly maxTokens?: number
  readonly stop?: ReadonlyArray<string>
  readonly seed?: number
  readonly presencePenalty?: number
  readonly frequencyPenalty?: number
  /** How long a reasoning model thinks: `"low"`, `"medium"`, `"high"`, or a value of the provider. */
  readonly reasoningEffort?: string
  readonly parallelToolCalls?: boolean
  /** The number of most likely tokens per position whose log-probabilities are returned. */
  readonly topLogprobs?: number
}

/** The schema of a tool. */
export const Tool = Schema.Struct({
  name: Schema.String,
  description: Schema.optionalKey(Schema.String),
  parameters: Schema.Json,
  strict: Schema.optionalKey(Schema.Boolean)
})

/** A tool that the model may call. */
export interface Tool {
  readonly name: string
  readonly description?: string
  /** A JSON Schema. */
  readonly parameters: Schema.Json
  /** Whether the provider enforces the schema, where it can. */
  readonly strict?: boolean
}

/** Whether the model may or must call tools, or one tool by name. */
export const ToolChoice = Schema.Union([
  Schema.Literals(["auto", "none", "required"]),
  Schema.Struct({ tool: Schema.String })
])

export type ToolChoice = typeof ToolChoice.Type

/** Plain text, or JSON of a schema. */
export const ResponseFormat = Schema.Union([
  Schema.Struct({ type: Schema.Literal("text") }),
  Schema.Struct({ type: Schema.Literal("json"), name: Schema.String, schema: Schema.Json })
])

export type ResponseFormat = typeof ResponseFormat.Type

/** A message of the prompt, encoded as `effect/ai` encodes its `Prompt`. */
export type Message = Prompt.MessageEncoded

const Message: Schema.Codec<Message> = Schema.Any

/** The schema of a completion request. */
export const Completion = Schema.TaggedStruct("Completion", {
  model: Schema.optionalKey(Schema.String),
  messages: Schema.Array(Message),
  tools: Schema.Array(Tool),
  toolChoice: ToolChoice,
  responseFormat: ResponseFormat,
  settings: Settings,
  leftOut: Schema.optional(Settings),
  providerOptions: Schema.Record(Schema.String, Schema.Json),
  sample: Schema.Int
})

/** A completion request: a conversation, and everything that shapes the answer. */
export interface Completion {
  readonly _tag: "Completion"
  /** The model to call. Without it, the stack below decides (a `Router`, or the provider's default). */
  readonly model?: string
  readonly messages: ReadonlyArray<Message>
  readonly tools: ReadonlyArray<Tool>
  readonly toolChoice: ToolChoice
  readonly responseFormat: ResponseFormat
  readonly settings: Settings
  /**
   * Settings that were asked for and that the model is known to refuse: part of the cache key, never sent. A provider moves
   * them here.
   */
  readonly leftOut?: Settings | undefined
  /** Options that only one provider knows, passed on unchanged: `{ openai: { service_tier: "flex" } }`. */
  readonly providerOptions: { readonly [provider: string]: Schema.Json }
  /** The number of the sample, from 0. Part of the cache key, never sent. */
  readonly sample: number
}

/** The schema of an embedding request. */
export const Embedding = Schema.TaggedStruct("Embedding", {
  model: Schema.optionalKey(Schema.String),
  inputs: Schema.Array(Schema.String),
  dimensions: Schema.optionalKey(Schema.Int),
  providerOptions: Schema.Record(Schema.String, Schema.Json)
})

/** An embedding request: texts to embed, all with one model. */
export interface Embedding {
  readonly _tag: "Embedding"
  /** The model to call. Without it, the stack below decides. */
  readonly model?: string
  readonly inputs: ReadonlyArray<string>
  /** The length of the vectors, where the model can shorten them. */
  readonly dimensions?: number
  /** Options that only one provider knows, passed on unchanged. */
  readonly providerOptions: { readonly [provider: string]: Schema.Json }
}

/** The schema of a question. */
export const Question = Schema.Union([
  Schema.Struct({
    type: Schema.Literal("predicate"),
    name: Schema.String,
    instructions: Schema.String
  }),
  Schema.Struct({
    type: Schema.Literal("choice"),
    name: Schema.String,
    instructions: Schema.String,
    choices: Schema.Array(Schema.Struct({ value: Schema.String, description: Schema.optionalKey(Schema.String) }))
  }),
  Schema.Struct({
    type: Schema.Literal("score"),
    name: Schema.String,
    instructions: Schema.String,
    levels: Schema.Array(Schema.Struct({ label: Schema.String, description: Schema.optionalKey(Schema.String) }))
  })
])

/**
 * A question about an input: whether a statement holds (`predicate`), which of some values it is (`choice`), or where on
 * a scale it is (`score`, with levels from the lowest to the highest).
 */
export type Question = typeof Question.Type

/** The schema of a decision request. */
export const Decision = Schema.TaggedStruct("Decision", {
  model: Schema.optionalKey(Schema.String),
  state: Schema.Json,
  questions: Schema.Array(Question),
  settings: Settings,
  providerOptions: Schema.Record(Schema.String, Schema.Json)
})

/** A decision request: questions about one input, which are answered together. */
export interface Decision {
  readonly _tag: "Decision"
  /** The model to call. Without it, the stack below decides. */
  readonly model?: string
  /** What the questions are about: a text, or JSON. */
  readonly state: Schema.Json
  /** 1 to 200. Their names differ. */
  readonly questions: ReadonlyArray<Question>
  /** Settings of a completion, for a provider that answers decisions by one. */
  readonly settings: Settings
  /** Options that only one provider knows, passed on unchanged. */
  readonly providerOptions: { readonly [provider: string]: Schema.Json }
}

/** A request for a completion, for embeddings, or for decisions. */
export const ModelRequest = Schema.Union([Completion, Embedding, Decision])

export type ModelRequest = typeof ModelRequest.Type

/** Makes a completion request with defaults. */
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

/** Makes an embedding request with defaults. */
export const embedding = (
  fields: Pick<Embedding, "inputs"> & Partial<Omit<Embedding, "_tag" | "inputs">>
): Embedding => ({ _tag: "Embedding", providerOptions: {}, ...fields })

/** Makes a decision request with defaults. */
export const decision = (
  fields: Pick<Decision, "state" | "questions"> & Partial<Omit<Decision, "_tag" | "state" | "questions">>
): Decision => ({ _tag: "Decision", settings: {}, providerOptions: {}, ...fields })

/** Moves settings of a request to what is left out of it. */
export const leaveOut = (request: Completion, names: ReadonlyArray<keyof Settings>): Completion => {
  if (names.length === 0) return request
  const settings = { ...request.settings }
  const leftOut: { -readonly [K in keyof Settings]: unknown } = { ...request.leftOut }
  for (const name of names) {
    leftOut[name] = settings[name]
    delete settings[name]
  }
  return { ...request, settings, leftOut: leftOut as Settings }
}

/** Replaces the model of a request. */
export const withModel = <R extends ModelRequest>(request: R, model: string): R =>
  request.model === model ? request : { ...request, model }

/** The text of a message, without its files. */
export const messageText = (message: Message): string =>
  typeof message.content === "string"
    ? message.content
    : message.content.map((part) => (part.type === "text" || part.type === "reasoning" ? part.text : "")).join("")

/**
 * The text of a request, or of one role only. Messages are separated by line breaks. In a decision, the input is the
 * user's, and the questions are the system's.
 */
export const text = (request: ModelRequest, role?: Message["role"]): string => {
  switch (request._tag) {
    case "Embedding":
      return request.inputs.join("\n")
    case "Decision":
      return [
        ...(role === undefined || role === "system" ? request.questions.map(questionText) : []),
        ...(role === undefined || role === "user" ? [stateText(request.state)] : [])
      ].join("\n")
    case "Completion":
      return request.messages
        .filter((message) => role === undefined || message.role === role)
        .map(messageText)
        .join("\n")
  }
}

/** The input of a decision as text. */
export const stateText = (state: Schema.Json): string => (typeof state === "string" ? state : JSON.stringify(state))

/** A question as text: its instructions, and the answers to choose from. */
export const questionText = (question: Question): string => {
  const described = (name: string, description: string | undefined) =>
    description === undefined ? `- ${name}` : `- ${name}: ${description}`
  switch (question.type) {
    case "predicate":
      return question.instructions
    case "choice":
      return [question.instructions, ...question.choices.map((one) => described(one.value, one.description))].join("\n")
    case "score":
      return [question.instructions, ...question.levels.map((one) => described(one.label, one.description))].join("\n")
  }
}

/**
 * Changes the texts of a request: those of its messages, the inputs of an embedding, or the texts in the input of a
 * decision. Files, tool calls, tool results and questions stay the same.
 *
 * **Example** (masks card numbers)
 *
 * ```ts
 * import { ModelClient, ModelRequest } from "@pipe/core"
 *
 * export const masked = ModelClient.mapRequest((request) =>
 *   ModelRequest.mapText(request, (text) => text.replace(/\b\d{16}\b/g, "[card]"))
 * )
 * ```
 */
export const mapText = <R extends ModelRequest>(request: R, f: (text: string, role: Message["role"]) => string): R => {
  switch (request._tag) {
    case "Embedding":
      return { ...request, inputs: request.inputs.map((input) => f(input, "user")) }
    case "Decision":
      return { ...request, state: mapJson(request.state, (text) => f(text, "user")) }
    case "Completion":
      return { ...request, messages: request.messages.map((message) => mapMessage(message, f)) }
  }
}

const mapJson = (json: Schema.Json, f: (text: string) => string): Schema.Json => {
  if (typeof json === "string") return f(json)
  if (typeof json !== "object" || json === null) return json
  if (Array.isArray(json)) return (json as ReadonlyArray<Schema.Json>).map((item) => mapJson(item, f))
  return Object.fromEntries(Object.entries(json).map(([name, item]) => [name, mapJson(item as Schema.Json, f)]))
}

const mapMessage = (message: Message, f: (text: string, role: Message["role"]) => string): Message => {
  const { content, role } = message
  if (typeof content === "string") return { ...message, content: f(content, role) } as Message
  const parts = content.map((part) =>
    part.type === "text" || part.type === "reasoning" ? { ...part, text: f(part.text, role) } : part
  )
  return { ...message, content: parts } as Message
}
