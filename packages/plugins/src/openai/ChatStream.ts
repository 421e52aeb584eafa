/**
 * A chat completion from the chunks of its stream (platform.openai.com/docs/api-reference/chat-streaming).
 *
 * @internal
 */
import * as Answer from "../transport/Answer.ts"
import * as Events from "../transport/Events.ts"

type Mutable = { [name: string]: unknown }

/** Fields of a message that come in pieces. */
const TEXTS = ["content", "refusal", "reasoning_content"]

/** Fields of a chunk of which the last one said counts. */
const LAST = ["id", "model", "service_tier"]

/** Adds a piece of text; what is none is kept as it is, and then refused with the whole answer. */
const append = (to: Mutable, name: string, piece: unknown): void => {
  if (piece === undefined || piece === null) return
  const before = to[name]
  to[name] = typeof piece === "string" && typeof before === "string" ? before + piece : (before ?? piece)
}

const isSaid = (value: unknown): boolean => value !== undefined && value !== null

export const make = (): Events.Assembly => {
  const answer: Mutable = {}
  const message: Mutable = {}
  const calls = new Map<unknown, { readonly call: Mutable; readonly named: Mutable }>()
  const logprobs: Array<unknown> = []
  let hasBegun = false
  let finish: unknown

  const addCall = (value: unknown): void => {
    const piece = Answer.fields(value)
    let known = calls.get(piece["index"])
    if (known === undefined) calls.set(piece["index"], (known = { call: {}, named: {} }))
    const { call, named } = known
    const made = Answer.fields(piece["function"])
    call["id"] ??= piece["id"] ?? undefined
    call["type"] ??= piece["type"] ?? undefined
    append(named, "name", made["name"])
    append(named, "arguments", made["arguments"])
  }

  return {
    add: (data) => {
      const chunk = Answer.fields(data)
      const { error, usage } = chunk
      if (error !== undefined && error !== null) {
        throw new Events.ErrorEvent(error, !hasBegun && !isSaid(usage), {
          ...answer,
          ...(isSaid(usage) ? { usage } : {})
        })
      }
      for (const name of LAST) if (chunk[name] !== undefined && chunk[name] !== null) answer[name] = chunk[name]
      const choices = (Answer.list(chunk["choices"]) ?? []).map(Answer.fields)
      // Of several only the first was asked for.
      const choice = choices.find(({ index = 0 }) => index === 0) ?? Answer.fields(undefined)
      // A count that more follows is not that of the whole.
      if (choice["delta"] !== undefined) delete answer["usage"]
      if (isSaid(usage)) answer["usage"] = usage
      if (choice["delta"] === undefined) return
      hasBegun = true
      const delta = Answer.fields(choice["delta"])
      if (!Answer.isRecord(choice["delta"])) message["content"] = choice["delta"]
      for (const name of TEXTS) append(message, name, delta[name])
      const pieces = delta["tool_calls"]
      if (Array.isArray(pieces)) pieces.forEach(addCall)
      else if (pieces !== undefined && pieces !== null) message["tool_calls"] = pieces
      logprobs.push(...(Answer.list(Answer.fields(choice["logprobs"])["content"]) ?? []))
      finish = choice["finish_reason"] ?? finish
    },
    body: () => {
      if (hasBegun && finish === undefined) throw new Events.Cut(answer)
      return {
        ...answer,
        choices: hasBegun
          ? [
              {
                message: {
                  ...(calls.size === 0
                    ? undefined
                    : { tool_calls: Array.from(calls.values(), ({ call, named }) => ({ ...call, function: named })) }),
                  ...message
                },
                finish_reason: finish,
                logprobs: { content: logprobs }
              }
            ]
          : []
      }
    }
  }
}
