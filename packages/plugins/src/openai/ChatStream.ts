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
const LAST = ["id", "model", "service_tier", "usage"]

/** Adds a piece of text; what is none is kept as it is, and then refused with the whole answer. */
const append = (to: Mutable, name: string, piece: unknown): void => {
  if (piece === undefined || piece === null) return
  const before = to[name]
  to[name] = typeof piece === "string" && typeof before === "string" ? before + piece : (before ?? piece)
}

export const make = (): Events.Assembly => {
  const answer: Mutable = {}
  const message: Mutable = {}
  const calls = new Map<unknown, { readonly call: Mutable; readonly named: Mutable }>()
  const logprobs: Array<unknown> = []
  let hasBegun = false
  let finish: unknown
  let isDone = false

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
      const failure = chunk["error"]
      if (failure !== undefined && failure !== null) throw new Events.ErrorEvent(failure, !hasBegun)
      for (const name of LAST) if (chunk[name] !== undefined && chunk[name] !== null) answer[name] = chunk[name]
      const choice = Answer.fields(Answer.list(chunk["choices"])?.[0])
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
    done: () => {
      isDone = true
    },
    body: () => {
      if (hasBegun && !isDone && finish === undefined) throw new Events.Cut()
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
