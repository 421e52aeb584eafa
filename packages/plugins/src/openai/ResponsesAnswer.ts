/**
 * Reads an answer of the responses API.
 *
 * @internal
 */
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as SafeText from "@pipe/core/internal/SafeText"
import type * as AiError from "effect/ai/AiError"
import * as Fields from "../provider/Fields.ts"
import type * as Reply from "../provider/Reply.ts"
import * as Thinking from "../provider/Thinking.ts"
import * as ChatAnswer from "./ChatAnswer.ts"
import * as Client from "./Client.ts"
import * as OpenAiUsage from "./OpenAiUsage.ts"
import * as ResponsesStream from "./ResponsesStream.ts"

const FAILED: ReadonlySet<string> = new Set(["failed", "cancelled", "error", "expired"])

const finishReasonOf = (answer: Fields.Fields, calls: number): ModelResponse.FinishReason => {
  switch (answer["status"]) {
    case "completed":
      return calls > 0 ? "tool-calls" : "stop"
    case "incomplete": {
      const { reason } = Fields.fields(answer["incomplete_details"])
      return reason === "content_filter" ? "content-filter" : "length"
    }
    case undefined:
    case null:
      return Fields.isRecord(answer["incomplete_details"]) ? "length" : calls > 0 ? "tool-calls" : "unknown"
    default:
      return "other"
  }
}

/** Tests whether an item was interrupted, whatever the status of the answer. */
const isBroken = (output: ReadonlyArray<unknown>): boolean =>
  output.some((item) => Fields.fields(item)["status"] === "incomplete")

/** The parts from the items of an answer, or a text that describes what one of them lacks. */
class Items {
  readonly parts: Array<ModelResponse.Part> = []
  readonly logprobs: Array<unknown> = []
  /** Types of items without a part. */
  readonly others: Array<string> = []
  private readonly provider: string
  refusal: string | undefined

  constructor(provider: string) {
    this.provider = provider
  }

  add(value: unknown, at: number): string | undefined {
    const item = Fields.fields(value)
    switch (item["type"]) {
      case "message":
        return this.message(item, at)
      case "function_call":
        return this.call(item, at)
      case "reasoning":
        this.reasoning(item)
        return undefined
      default:
        // The provider's own tools, and future types.
        if (typeof item["type"] !== "string") return `output[${at}].type`
        this.others.push(item["type"])
        return undefined
    }
  }

  private message({ content }: Fields.Fields, at: number): string | undefined {
    const contents = typeof content === "string" ? [{ type: "output_text", text: content }] : Fields.list(content)
    if (contents === undefined) return `output[${at}].content`
    for (const value of contents) {
      const part = Fields.fields(value)
      if (part["type"] === "refusal") this.refusal = Fields.words(part["refusal"]) ?? "no reason was given"
      else if (part["type"] === "output_text" || part["type"] === "text") {
        const text = Fields.text(part["text"])
        if (text === undefined) return `output[${at}].content[].text`
        this.parts.push(...Thinking.partsOf(text))
        this.logprobs.push(...(Fields.list(part["logprobs"]) ?? []))
      } else if (typeof part["type"] !== "string") return `output[${at}].content[].type`
    }
    return undefined
  }

  private call(item: Fields.Fields, at: number): string | undefined {
    const name = Fields.words(item["name"])
    if (name === undefined) return `output[${at}].name`
    const id = Fields.words(item["call_id"]) ?? Fields.words(item["id"]) ?? `call_${at}`
    this.parts.push({ type: "tool-call", id, name, params: Fields.toolArguments(item["arguments"] ?? "") })
    return undefined
  }

  /** Includes what must be sent back with a tool call, because it is not stored at the provider. */
  private reasoning(item: Fields.Fields): void {
    const texts = (name: string) =>
      (Fields.list(item[name]) ?? []).flatMap((value) => Fields.words(Fields.fields(value)["text"]) ?? [])
    const summary = texts("summary")
    const text = (summary.length > 0 ? summary : texts("content")).join("\n")
    const encrypted = Fields.words(item["encrypted_content"])
    const id = Fields.words(item["id"])
    if (text === "" && encrypted === undefined) return
    this.parts.push({
      type: "reasoning",
      text,
      ...(encrypted === undefined
        ? undefined
        : {
            metadata: {
              [this.provider]: {
                encrypted_content: encrypted,
                ...(id === undefined ? undefined : { id }),
                ...lists(item)
              }
            }
          })
    })
  }
}

/** The lists of a thought, as received. */
const lists = (item: Fields.Fields): { readonly [name: string]: never } =>
  Object.fromEntries(
    ["summary", "content"].flatMap((name) => (Array.isArray(item[name]) ? [[name, item[name] as never]] : []))
  )

/** The web searches that the provider made for an answer. */
const searchesOf = (answer: Fields.Fields): number =>
  (Fields.list(answer["output"]) ?? []).filter((item) => {
    const { action, type } = Fields.fields(item)
    // Opening a found page is not a search.
    const kind = Fields.fields(action)["type"]
    return type === "web_search_call" && (kind === undefined || kind === "search")
  }).length

/** The provider's own tools with a fee that no figure reports. */
const PAID = new Set(["file_search_call", "code_interpreter_call", "image_generation_call", "computer_call"])

const usage = (answer: Fields.Fields) => {
  const counted = OpenAiUsage.make(answer["usage"], searchesOf(answer))
  const paid = (Fields.list(answer["output"]) ?? []).map((item) => Fields.text(Fields.fields(item)["type"]) ?? "")
  const tool = paid.find((type) => PAID.has(type))
  return counted === undefined || tool === undefined
    ? counted
    : { ...counted, inconsistent: `the answer used ${tool}, whose fee is not reported`, unpriceable: true as const }
}

export const format = (options: ChatAnswer.Options): Reply.Format<ModelResponse.CompletionResponse> => {
  const read = (answer: Fields.Fields): ModelResponse.CompletionResponse | AiError.AiError => {
    const { error, status } = answer
    if (typeof status === "string" && FAILED.has(status)) {
      const { code, message } = Fields.fields(error)
      return Client.failed(Fields.words(message) ?? Fields.words(code) ?? `the answer ${status}`, error)
    }
    if (status === "queued" || status === "in_progress") {
      return Client.failed(`the answer is not finished: its status is ${status}`)
    }
    const output = Fields.list(answer["output"])
    if (output === undefined) return Client.malformed("output")
    const items = new Items(options.provider)
    for (const [at, item] of output.entries()) {
      const problem = items.add(item, at)
      if (problem !== undefined) return Client.malformed(problem)
    }
    const { logprobs, others, parts, refusal } = items
    if (parts.length === 0 && refusal === undefined && others.length > 0 && status === "completed") {
      return Client.malformed(`message: it has only items of type ${SafeText.line(others.join(", "), 200)}`)
    }
    const counted = usage(answer)
    const finishReason = finishReasonOf(answer, parts.filter((part) => part.type === "tool-call").length)
    return {
      _tag: "CompletionResponse",
      ...ChatAnswer.metadata(answer, options),
      ...(counted === undefined ? undefined : { usage: counted }),
      parts,
      finishReason:
        isBroken(output) && (finishReason === "stop" || finishReason === "unknown") ? "length" : finishReason,
      ...ChatAnswer.logprobsOf(logprobs),
      ...(refusal === undefined ? undefined : { refusal }),
      origin: "provider"
    }
  }
  const answered = (answer: Fields.Fields) => ChatAnswer.metadata(answer, options)
  return {
    read,
    usage,
    answered,
    assembly: ResponsesStream.make,
    isAnswer: (answer) => Array.isArray(answer["output"])
  }
}
