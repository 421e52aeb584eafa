/**
 * Assembles a message from the events of its stream (docs.anthropic.com/en/docs/build-with-claude/streaming).
 *
 * **Details** A second `message_start` continues the same answer: a proxy that resumes, or a second message after the
 * provider's own tools. Content is appended, and the last of each figure counts.
 *
 * @internal
 */
import type * as Events from "../provider/Events.ts"
import * as Fields from "../provider/Fields.ts"

type Mutable = { [name: string]: unknown }

/** Pieces of a block by event type: the field they belong to, and the type of the block. */
const PIECES: ReadonlyMap<string, readonly [piece: string, field: string, block: string]> = new Map([
  ["text_delta", ["text", "text", "text"]],
  ["thinking_delta", ["thinking", "thinking", "thinking"]],
  ["signature_delta", ["signature", "signature", "thinking"]],
  ["input_json_delta", ["partial_json", "input", "tool_use"]]
])

/** Fields with a value. */
const said = (fields: Fields.Fields): Fields.Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => Fields.isPresent(value)))

/** Merges later figures of the usage: some servers report zero input at the end. */
const counted = (before: Fields.Fields, after: Fields.Fields): Fields.Fields => {
  const { input_tokens: input, ...rest } = said(after)
  const isLost = input === undefined || (input === 0 && rest["iterations"] === undefined)
  return { ...before, ...rest, input_tokens: isLost ? (before["input_tokens"] ?? input) : input }
}

/** The content of a message as blocks. Some servers send plain text. */
const blocksOf = (content: unknown): ReadonlyArray<unknown> =>
  typeof content === "string" && content !== "" ? [{ type: "text", text: content }] : (Fields.list(content) ?? [])

export const make = (): Events.Assembly => {
  const message: Mutable = {}
  const blocks: Array<Mutable> = []
  let byIndex = new Map<unknown, Mutable>()
  /** Unfinished blocks, and text blocks with a piece that was not understood. */
  const open = new Set<Mutable>()
  const strange = new Set<Mutable>()
  let hasStarted = false
  let isDone = false
  /** Whether an event arrived that may have held a piece of an unknown block. */
  let isBroken = false

  const begin = (index: unknown, block: Mutable): Mutable => {
    hasStarted = true
    blocks.push(block)
    open.add(block)
    byIndex.set(index, block)
    return block
  }

  const addPiece = (event: Fields.Fields): void => {
    const delta = Fields.fields(event["delta"])
    const place = Fields.oneOf(PIECES, delta["type"])
    if (place === undefined) {
      const known = byIndex.get(event["index"])
      if (known !== undefined) strange.add(known)
      isBroken ||= typeof delta["type"] !== "string"
      return
    }
    const [name, field, type] = place
    const block = byIndex.get(event["index"]) ?? begin(event["index"], { type })
    const piece = delta[name]
    const before = block[field]
    // The input of a tool starts as an empty record, and arrives as text.
    if (piece === "" && Fields.isPresent(before)) return
    block[field] = typeof piece === "string" && typeof before === "string" ? before + piece : piece
  }

  const count = (value: unknown): void => {
    if (Fields.isPresent(value)) message["usage"] = counted(Fields.fields(message["usage"]), Fields.fields(value))
  }

  const take: { readonly [type: string]: (event: Fields.Fields) => void } = {
    message_start: (event) => {
      const { content, stop_reason: _, usage, ...rest } = Fields.fields(event["message"])
      Object.assign(message, said(rest))
      byIndex = new Map()
      // An interrupted call is sent again.
      for (const block of open) if (block["type"] === "tool_use") blocks.splice(blocks.indexOf(block), 1)
      open.clear()
      hasStarted = true
      isDone = false
      for (const [index, block] of blocksOf(content).entries()) begin(index, { ...Fields.fields(block) })
      // Interim output figures do not cover the whole output.
      const { output_tokens: __, ...input } = Fields.fields(usage)
      count(input)
    },
    content_block_start: (event) => void begin(event["index"], { ...Fields.fields(event["content_block"]) }),
    content_block_delta: addPiece,
    content_block_stop: (event) => {
      const block = byIndex.get(event["index"])
      if (block !== undefined) open.delete(block)
    },
    message_delta: (event) => {
      Object.assign(message, said(Fields.fields(event["delta"])))
      count(event["usage"])
    },
    message_stop: () => void (isDone = true),
    ping: () => {}
  }

  return {
    add: (event) => {
      const type = event["type"]
      if (typeof type === "string") take[Object.hasOwn(take, type) ? type : "ping"]!(event)
      else isBroken ||= ["message", "content_block", "delta"].some((name) => Fields.isPresent(event[name]))
    },
    hasStarted: () => hasStarted,
    isOver: () => isDone,
    isWhole: () => isDone || Fields.isPresent(message["stop_reason"]),
    body: () => {
      if (!hasStarted || isBroken) return message
      const content = blocks.map((block) =>
        // Nothing of it could be read, so it is not an empty text.
        block["text"] === "" && strange.has(block) ? { ...block, text: undefined } : block
      )
      return { ...message, content }
    }
  }
}
