/**
 * Counts the tokens of a text before it is sent, for limits and estimates. Costs never depend on it; they use the
 * provider's own figures.
 *
 * **Details** The default is a rough estimate without tables (4 bytes of UTF-8 per token, 1.5 for scripts without
 * spaces). `Tiktoken.layer` of `@pipe/plugins` counts as OpenAI's models do.
 *
 * **Example**
 *
 * ```ts
 * import { TokenCounter } from "@pipe/core"
 *
 * TokenCounter.estimate("Where is my card?") // => 5
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Utf8 from "../encoding/Utf8.ts"
import * as FileTokens from "./FileTokens.ts"
import * as ModelRequest from "./ModelRequest.ts"

/** Counts the tokens of a text. */
export type Count = (text: string) => number

/**
 * Estimates the tokens of a text: two thirds of a token per Chinese, Japanese or Korean letter, a quarter per byte of
 * other text.
 */
export const estimate: Count = (text) => {
  if (Utf8.byteLength(text) === text.length) return Math.ceil(text.length / 4)
  let wide = 0
  let other = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code >= 0x2e80) wide++
    else other += code < 0x80 ? 1 : 2
  }
  return Math.ceil(wide / 1.5 + other / 4)
}

/** The counter in context. Default: `estimate`. */
export const TokenCounter = Context.Reference<Count>("@pipe/core/TokenCounter", {
  defaultValue: () => estimate
})

/**
 * Tokens that a chat format adds around each message, and around all of them (OpenAI's cookbook on counting tokens).
 */
const PER_MESSAGE = 4
const PER_REQUEST = 3

/**
 * Tokens of a file without a known rule: the largest image of any rule that has a limit (Anthropic's, 2026-11-30). Limits
 * are settled by what the provider counts.
 */
const UNKNOWN_FILE = 4_784

/** The expected tokens of the files in a message. */
const fileTokens = (model: string, { content }: ModelRequest.Message): number => {
  if (typeof content === "string") return 0
  let total = 0
  for (const part of content) if (part.type === "file") total += FileTokens.of(model, part).expected ?? UNKNOWN_FILE
  return total
}

const counted = new WeakMap<Count, WeakMap<object, number>>()

/** The tokens of a value that many requests share, as JSON: tools and schemas. */
const sharedTokens = (count: Count, value: object): number => {
  let known = counted.get(count)
  if (known === undefined) counted.set(count, (known = new WeakMap()))
  let tokens = known.get(value)
  if (tokens === undefined) known.set(value, (tokens = count(JSON.stringify(value))))
  return tokens
}

/** The input tokens of a request: its text, its files, its tools and its answer schema. */
export const inputTokens = (count: Count, request: ModelRequest.ModelRequest): number => {
  if (request._tag === "Embedding") return request.inputs.reduce((sum, input) => sum + count(input), 0)
  if (request._tag === "Decision")
    return (
      PER_REQUEST
      + PER_MESSAGE
      + count(ModelRequest.stateText(request.state))
      + count(JSON.stringify(request.questions))
    )
  let total = PER_REQUEST
  for (const message of request.messages)
    total += PER_MESSAGE + count(ModelRequest.messageText(message)) + fileTokens(request.model ?? "", message)
  if (request.tools.length > 0) total += sharedTokens(count, request.tools)
  if (request.responseFormat.type === "json") {
    const { schema } = request.responseFormat
    total += typeof schema === "object" && schema !== null ? sharedTokens(count, schema) : count(JSON.stringify(schema))
  }
  return total
}
