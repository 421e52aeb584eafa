/**
 * Assembles a chat completion from the chunks of its stream (platform.openai.com/docs/api-reference/chat-streaming).
 *
 * **Details** Indexes are names and not positions, and may be missing; a call with the index but not the id of another
 * one is a new call. A role may be missing. The usage may be in a separate chunk, in the chunk that ends the choice, in
 * the choice (Moonshot), or in `x_groq`. Content may be a list of parts (Mistral).
 *
 * @internal
 */
import type * as Events from "../provider/Events.ts"
import * as Fields from "../provider/Fields.ts"

type Mutable = { [name: string]: unknown }

/** Message fields that arrive in pieces of text. */
const TEXTS = ["refusal", "reasoning_content", "reasoning"]

/** Fields of a message or call that arrive whole. */
const EXTRAS = ["extra_content", "provider_specific_fields"]

/** Chunk fields of which the last value counts. */
const LAST = ["id", "model", "service_tier", "object"]

/** Appends a piece of text. Another type is kept as it is, and the whole answer is then refused. */
const append = (to: Mutable, name: string, piece: unknown): void => {
  if (!Fields.isPresent(piece)) return
  const before = to[name]
  if (before === undefined || (typeof before === "string" && typeof piece !== "string")) to[name] = piece
  else if (typeof before === "string") to[name] = before + String(piece)
}

/** Appends a piece of content: text, or parts. */
const appendContent = (message: Mutable, piece: unknown): void => {
  const before = message["content"]
  if (!Array.isArray(piece) && !Array.isArray(before)) append(message, "content", piece)
  else if (Fields.isPresent(piece)) message["content"] = [before ?? [], piece].flat()
}

interface Call {
  readonly call: Mutable
  readonly named: Mutable
}

/** Tests whether a call has a name, and arguments that are JSON. */
const isWhole = (call: Call | undefined): boolean =>
  call !== undefined
  && Fields.words(call.named["name"]) !== undefined
  && typeof call.named["arguments"] === "string"
  && Fields.isRecord(Fields.parse(call.named["arguments"]))

/** Appends pieces of thinking blocks: a block's text continues until its signature. */
const appendBlocks = (message: Mutable, pieces: ReadonlyArray<unknown>): void => {
  const blocks = (message["thinking_blocks"] ??= []) as Array<Mutable>
  for (const value of pieces) {
    const piece = Fields.fields(value)
    const last = blocks.at(-1)
    const goesOn = last !== undefined && last["type"] === piece["type"] && Fields.words(last["signature"]) === undefined
    if (!goesOn || piece["type"] !== "thinking") blocks.push({ ...piece })
    else {
      append(last, "thinking", piece["thinking"])
      if (Fields.isPresent(piece["signature"])) last["signature"] = piece["signature"]
    }
  }
}

/** The tool calls, by what identifies them. */
class Calls {
  private readonly all: Array<Call> = []
  private readonly byIndex = new Map<unknown, Call>()
  private readonly byId = new Map<string, Call>()

  /** Where a piece belongs. A name starts a new call when the previous one is complete. */
  private placeOf(index: unknown, id: string | undefined, name: string | undefined): Call {
    const known = Fields.isPresent(index)
      ? this.byIndex.get(index)
      : id === undefined
        ? this.all.at(-1)
        : this.byId.get(id)
    // Some servers give every call the same index.
    const isOther = id !== undefined && known?.call["id"] !== undefined && known.call["id"] !== id
    const isNext = id === undefined && name !== undefined && isWhole(known)
    const found = isNext ? undefined : isOther ? this.byId.get(id) : known
    if (found !== undefined) return found
    const made: Call = { call: {}, named: {} }
    this.all.push(made)
    if (Fields.isPresent(index)) this.byIndex.set(index, made)
    return made
  }

  add(value: unknown): void {
    const piece = Fields.fields(value)
    const id = Fields.words(piece["id"])
    const made = Fields.fields(piece["function"])
    const place = this.placeOf(piece["index"], id, Fields.words(made["name"]))
    const { call, named } = place
    if (id !== undefined) {
      call["id"] ??= id
      this.byId.set(id, place)
    }
    call["type"] ??= piece["type"] ?? undefined
    for (const name of EXTRAS) if (Fields.isPresent(piece[name])) call[name] = piece[name]
    if (Fields.isRecord(piece["function"])) call["function"] = named
    // Some servers repeat the whole name in each piece.
    if (made["name"] !== named["name"]) append(named, "name", made["name"])
    append(named, "arguments", made["arguments"])
  }

  list(): ReadonlyArray<Mutable> {
    return this.all.map(({ call }) => call)
  }
}

const hasPiece = (delta: Fields.Fields): boolean =>
  [...TEXTS, "content", "tool_calls", "reasoning_details"].some((name) => {
    const value = delta[name]
    return typeof value === "string" ? value !== "" : Array.isArray(value) && value.length > 0
  })

export const make = (): Events.Assembly => {
  const answer: Mutable = {}
  const message: Mutable = {}
  const calls = new Calls()
  const logprobs: Array<unknown> = []
  let hasStarted = false
  let hasOldCall = false
  let finish: unknown
  let error: unknown
  /** Whether a separate usage arrived after the end of the choice: it is the last chunk. */
  let isOver = false

  const addDelta = (delta: Fields.Fields): void => {
    for (const name of TEXTS) append(message, name, delta[name])
    appendContent(message, delta["content"])
    const { function_call: old, reasoning_details: details, tool_calls: pieces } = delta
    if (Array.isArray(pieces)) for (const piece of pieces) calls.add(piece)
    else if (Fields.isPresent(pieces)) message["tool_calls"] = pieces
    if (Fields.isRecord(old) && (hasOldCall ||= Fields.words(old["name"]) !== undefined))
      calls.add({ index: "function_call", function: old })
    for (const name of EXTRAS) if (Fields.isPresent(delta[name])) message[name] = delta[name]
    if (Array.isArray(delta["thinking_blocks"])) appendBlocks(message, delta["thinking_blocks"])
    if (Array.isArray(details)) {
      message["reasoning_details"] = [
        ...((message["reasoning_details"] as Array<unknown> | undefined) ?? []),
        ...details
      ]
    }
  }

  return {
    add: (chunk) => {
      for (const name of LAST) if (Fields.isPresent(chunk[name])) answer[name] = chunk[name]
      // A value that is not a list may have held a piece.
      if (Fields.isPresent(chunk["choices"]) && !Array.isArray(chunk["choices"]))
        message["content"] = { piece: chunk["choices"] }
      const choices = (Fields.list(chunk["choices"]) ?? []).map(Fields.fields)
      // Only the first of several answers was requested.
      const choice = choices.find(({ index }) => typeof index !== "number" || index === 0) ?? {}
      const { delta, message: whole } = choice
      // A few servers send the whole message with each chunk, in addition to the piece or instead of it.
      const piece = Fields.isPresent(delta) ? delta : hasStarted ? undefined : whole
      // A usage followed by more content does not cover everything.
      if (hasPiece(Fields.fields(piece))) delete answer["usage"]
      const counts = [chunk["usage"], choice["usage"], Fields.fields(chunk["x_groq"])["usage"]]
      const usage = counts.find(Fields.isRecord) ?? counts.find(Fields.isPresent)
      if (Fields.isPresent(usage)) answer["usage"] = usage
      isOver ||= Fields.isPresent(finish) && Fields.isRecord(usage) && choices.length === 0
      if (choice["finish_reason"] !== "") finish = choice["finish_reason"] ?? finish
      if (Fields.isPresent(choice["error"])) error = choice["error"]
      if (!Fields.isPresent(piece)) return
      hasStarted = true
      if (Fields.isRecord(piece)) addDelta(piece)
      else message["content"] = { piece }
      logprobs.push(...(Fields.list(Fields.fields(choice["logprobs"])["content"]) ?? []))
    },
    hasStarted: () => hasStarted,
    isOver: () => isOver,
    // A few servers never send a finish reason: an answer with usage has ended.
    isWhole: (isDone) => Fields.isPresent(finish) || (isDone && Fields.isPresent(answer["usage"])),
    body: () => ({
      ...answer,
      ...(hasStarted || Fields.isPresent(error)
        ? {
            choices: [
              {
                ...(Fields.isPresent(error) ? { error } : undefined),
                message: { ...(calls.list().length === 0 ? undefined : { tool_calls: calls.list() }), ...message },
                finish_reason: finish,
                logprobs: { content: logprobs }
              }
            ]
          }
        : undefined)
    })
  }
}
