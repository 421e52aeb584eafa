/**
 * Reads an answer of the messages API.
 *
 * **Details** Thinking keeps its signature and its encrypted parts: both must be sent back unchanged with the results
 * of tools (docs.anthropic.com/en/docs/build-with-claude/extended-thinking, *Preserving thinking blocks*).
 *
 * @internal
 */
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Fields from "../provider/Fields.ts"
import * as FinishReason from "../provider/FinishReason.ts"
import type * as Reply from "../provider/Reply.ts"
import * as Thinking from "../provider/Thinking.ts"
import * as Client from "./Client.ts"
import * as MessageStream from "./MessageStream.ts"
import * as MessageUsage from "./MessageUsage.ts"

const finishReasonOf = (value: unknown, hasCalls: boolean): ModelResponse.FinishReason => {
  const reason = FinishReason.of(value)
  return reason === "unknown" && hasCalls ? "tool-calls" : reason
}

/** A block of an answer; `undefined` when it lacks what its type requires. */
const toPart = (value: unknown, at: number): ReadonlyArray<ModelResponse.Part> | undefined => {
  const block = Fields.fields(value)
  switch (block["type"]) {
    case "text": {
      const text = Fields.text(block["text"])
      return text === undefined ? undefined : Thinking.partsOf(text)
    }
    case "thinking": {
      const text = Fields.text(block["thinking"]) ?? ""
      const signature = Fields.words(block["signature"])
      return text === "" && signature === undefined
        ? []
        : [
            {
              type: "reasoning",
              text,
              ...(signature === undefined ? undefined : { metadata: { anthropic: { signature } } })
            }
          ]
    }
    case "redacted_thinking": {
      const data = Fields.words(block["data"])
      return data === undefined ? [] : [{ type: "reasoning", text: "", metadata: { anthropic: { redacted: data } } }]
    }
    case "tool_use": {
      const name = Fields.words(block["name"])
      const id = Fields.words(block["id"]) ?? `toolu_${at}`
      return name === undefined
        ? undefined
        : [{ type: "tool-call", id, name, params: Fields.toolArguments(block["input"] ?? "") }]
    }
    default:
      return typeof block["type"] === "string" ? [] : undefined
  }
}

/** The billed service tiers: a tier, a region, a speed. */
const tiersOf = (value: unknown): { readonly serviceTier: string } | undefined => {
  const usage = Fields.fields(value)
  const tier = Fields.name(usage["service_tier"])
  const [region, speed] = [Fields.name(usage["inference_geo"]), Fields.name(usage["speed"])]
  const tiers = [
    ...(tier === undefined || tier === "standard" ? [] : [tier]),
    ...(region === undefined || region === "global" || region === "not_available" ? [] : [region]),
    ...(speed === undefined || speed === "standard" ? [] : [speed])
  ]
  return tiers.length === 0 ? undefined : { serviceTier: tiers.join("+") }
}

const contentOf = (content: unknown): ReadonlyArray<unknown> | undefined =>
  typeof content === "string" ? [{ type: "text", text: content }] : content === null ? [] : Fields.list(content)

export const format = (model: string): Reply.Format<ModelResponse.CompletionResponse> => ({
  answered: (message) => ({ model: Fields.name(message["model"]) ?? model, ...tiersOf(message["usage"]) }),
  usage: (message) => MessageUsage.make(message["usage"], message["model"]),
  assembly: MessageStream.make,
  isAnswer: (message) => Array.isArray(message["content"]),
  read: (message) => {
    const parts = contentOf(message["content"])?.map(toPart)
    if (parts === undefined || parts.some((part) => part === undefined)) {
      return Fields.malformed(Client.MODULE, "content")
    }
    const usage = MessageUsage.make(message["usage"], message["model"])
    const id = Fields.words(message["id"])
    const { stop_details: details, stop_reason: reason } = message
    const all = parts.flatMap((part) => part ?? [])
    return {
      _tag: "CompletionResponse",
      provider: "anthropic",
      model: Fields.name(message["model"]) ?? model,
      requestedModel: model,
      ...(id === undefined ? undefined : { id }),
      ...(usage === undefined ? undefined : { usage }),
      ...tiersOf(message["usage"]),
      parts: all,
      finishReason: finishReasonOf(
        reason,
        all.some(({ type }) => type === "tool-call")
      ),
      ...(reason === "refusal"
        ? { refusal: Fields.words(Fields.fields(details)["explanation"]) ?? "no reason was given" }
        : undefined),
      origin: "provider"
    }
  }
})
