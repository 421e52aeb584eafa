/**
 * A message from the events of its stream (docs.anthropic.com/en/docs/build-with-claude/streaming).
 *
 * @internal
 */
import * as Answer from "../transport/Answer.ts"
import * as Events from "../transport/Events.ts"

type Mutable = { [name: string]: unknown }

/** Pieces of a block by the kind of the event that brings them: the field that they belong to. */
const PIECES: ReadonlyMap<string, readonly [piece: string, field: string]> = new Map([
  ["text_delta", ["text", "text"]],
  ["thinking_delta", ["thinking", "thinking"]],
  ["input_json_delta", ["partial_json", "input"]]
])

/** Fields that say something. */
const said = (fields: Answer.Fields): Answer.Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))

export const make = (): Events.Assembly => {
  let message: Mutable | undefined
  const blocks = new Map<unknown, Mutable>()
  let isDone = false

  const addPiece = (event: Answer.Fields): void => {
    const block = blocks.get(event["index"])
    const delta = Answer.fields(event["delta"])
    const place = Answer.oneOf(PIECES, delta["type"])
    if (block === undefined || place === undefined) return
    const [name, field] = place
    const piece = delta[name]
    const before = block[field]
    // The input of a tool begins as an empty record, and comes as text.
    block[field] = typeof piece === "string" && typeof before === "string" ? before + piece : piece
  }

  const take: { readonly [type: string]: (event: Answer.Fields) => void } = {
    message_start: (event) => {
      message = { ...Answer.fields(event["message"]) }
      // What is counted of the output so far says nothing of all of it.
      const { output_tokens: _, ...usage } = Answer.fields(message["usage"])
      if (message["usage"] !== undefined) message["usage"] = usage
    },
    content_block_start: (event) => {
      blocks.set(event["index"], { ...Answer.fields(event["content_block"]) })
    },
    content_block_delta: addPiece,
    message_delta: (event) => {
      if (message === undefined) return
      const usage = { ...Answer.fields(message["usage"]), ...said(Answer.fields(event["usage"])) }
      Object.assign(message, said(Answer.fields(event["delta"])), { usage })
    },
    message_stop: () => {
      isDone = true
    }
  }

  return {
    add: (data) => {
      const event = Answer.fields(data)
      const type = event["type"]
      if (type === "error") throw new Events.ErrorEvent(event["error"], message === undefined, message)
      if (typeof type === "string" && Object.hasOwn(take, type)) take[type]!(event)
    },
    body: () => {
      if (message !== undefined && !isDone) throw new Events.Cut(message)
      return message === undefined
        ? {}
        : { ...message, ...(blocks.size === 0 ? undefined : { content: [...blocks.values()] }) }
    }
  }
}
