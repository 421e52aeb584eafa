/**
 * Assembles answers that arrive as server-sent events. Done here because the SDKs do not validate events.
 *
 * @internal
 */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Sse from "effect/encoding/Sse"
import * as Fields from "./Fields.ts"
import * as Refusal from "./Refusal.ts"

/** Assembles an answer from its events. Accepts any event, and never throws. */
export interface Assembly {
  /** Adds the data of an event. */
  readonly add: (data: Fields.Fields) => void
  /** Whether a part of the answer has arrived. */
  readonly hasStarted: () => boolean
  /** Whether the answer is complete. `isDone`: the stream says that it is over. */
  readonly isWhole: (isDone: boolean) => boolean
  /** Whether an event says that nothing follows: some endpoints leave the connection open. */
  readonly isOver?: () => boolean
  /** The answer so far, as it would be without a stream. */
  readonly body: () => Fields.Fields
}

/** The result of a stream. */
export type EventsOutcome =
  | { readonly _tag: "Whole"; readonly body: Fields.Fields }
  /** The provider sent a failure instead of the answer, or in the middle of it. */
  | { readonly _tag: "Failed"; readonly body: Fields.Fields; readonly error: unknown; readonly isFirst: boolean }
  /** There were no events: the content as plain text. */
  | { readonly _tag: "Plain"; readonly text: string }
  /** The stream ended before the answer did. */
  | { readonly _tag: "Cut"; readonly body: Fields.Fields; readonly why: string }

/** Tests whether any part of an answer arrived. */
export const hasBody = (outcome: EventsOutcome): boolean =>
  outcome._tag !== "Plain" && Object.keys(outcome.body).length > 0

/** Tests whether a response is a stream: some endpoints answer a streaming request with a whole answer. */
export const isStream = (contentType: string | null | undefined): boolean =>
  contentType?.includes("event-stream") === true

/** Tests whether a text is a stream with the wrong content type. */
export const looksLike = (text: string): boolean => /^\s*(?::[^\n]*\s+)*(?:data|event|id):/.test(text.slice(0, 1_000))

/** The result of a stream that was read as text. */
export const readText = (text: string, assembly: Assembly): EventsOutcome => {
  const reader = new EventReader(assembly)
  reader.write(new TextEncoder().encode(text))
  return reader.end()
}

/** The failure in an event, if any: `{"error": …}`, `{"type": "error", …}`, or by the name of the event. */
const errorOf = (name: string, data: Fields.Fields): unknown => {
  const { error, type } = data
  if (Refusal.isPresent(error)) return error
  return type === "error" || name === "error" ? data : undefined
}

/** Data of keep-alive events. */
const PING = /^(?:\[?(?:ping|pong|heartbeat|keep-?alive)\]?|null|-?\d+)$/i

/** The most characters kept of what may not be a stream. */
const MOST_PLAIN = 1_000_000

/** Fields of events that carry a part of an answer. */
const OF_ANSWERS = ["choices", "output", "content", "response", "delta", "usage", "item"]

/** A refusal in place of an answer, without an error field. */
const refusalIn = (data: Fields.Fields): Fields.Fields | undefined =>
  typeof data["type"] !== "string"
  && OF_ANSWERS.every((name) => !Fields.isPresent(data[name]))
  && Refusal.hasWords(data)
    ? data
    : undefined

/** Reads the bytes of a stream as they arrive. */
export class EventReader {
  private readonly decoder = new TextDecoder()
  private readonly assembly: Assembly
  private readonly parser: Sse.Parser
  private failed: { readonly error: unknown; readonly isFirst: boolean } | undefined
  private problem: string | undefined
  private isDone = false
  /** What has arrived before the first event. */
  private plain: string | undefined = ""

  constructor(assembly: Assembly) {
    this.assembly = assembly
    this.parser = Sse.makeParser(
      (event) => {
        if (event._tag === "Event") this.take(event.event, event.data)
      },
      // No limit for one event: the size limit of the response applies.
      { maxEventSize: Number.MAX_SAFE_INTEGER }
    )
  }

  private take(name: string, text: string): void {
    const data = text.trim()
    if (data === "" || this.failed !== undefined) return
    this.plain = undefined
    if (data === "[DONE]") {
      this.isDone = true
      return
    }
    const value = Fields.parse(data)
    if (Fields.isRecord(value)) this.takeFields(name, value)
    else if (name === "error" || !PING.test(data)) this.takeOdd(name, data, value)
  }

  private takeFields(name: string, value: Fields.Fields): void {
    const hasStarted = this.assembly.hasStarted()
    const error = errorOf(name, value) ?? (hasStarted ? undefined : refusalIn(value))
    this.assembly.add(error === undefined ? value : { ...value, error: undefined })
    if (error !== undefined) this.failed = { error, isFirst: !hasStarted && !Fields.isRecord(value["usage"]) }
  }

  /** Handles data that is not an object: a failure in an unusual form, or a lost part of the answer. */
  private takeOdd(name: string, data: string, value: unknown): void {
    const isFirst = !this.assembly.hasStarted()
    const isBroken = data.startsWith("{")
    const error = Fields.list(value)
      ?.map((item) => errorOf(name, Fields.fields(item)))
      .find(Refusal.isPresent)
    if (error !== undefined || name === "error" || (isFirst && !isBroken))
      this.failed = { error: error ?? data, isFirst }
    else {
      this.problem ??= isBroken
        ? "an event of the stream is broken JSON"
        : `an event of the stream is not JSON (${SafeText.line(data, 200)})`
    }
  }

  /** Adds bytes; returns whether they complete the answer. */
  write(chunk: Uint8Array): boolean {
    this.feed(this.decoder.decode(chunk, { stream: true }))
    return this.isDone || this.failed !== undefined || this.assembly.isOver?.() === true
  }

  private feed(text: string): void {
    if (this.plain !== undefined && this.plain.length < MOST_PLAIN) this.plain += text
    const problem = this.parser.feed(text)
    if (problem !== undefined) this.problem ??= problem.message
  }

  /** Ends the stream; `broken` is why nothing more arrives. */
  end(broken?: string): EventsOutcome {
    // A last event without its empty line.
    this.feed(`${this.decoder.decode()}\n\n`)
    const plain = this.plain?.trim()
    if (plain !== undefined && plain !== "" && !looksLike(plain)) return this.withoutEvents(plain)
    const body = this.assembly.body()
    if (this.failed !== undefined) return { _tag: "Failed", body, ...this.failed }
    if (this.problem !== undefined) return { _tag: "Cut", body, why: this.problem }
    return this.assembly.isWhole(this.isDone) || !this.assembly.hasStarted()
      ? { _tag: "Whole", body }
      : { _tag: "Cut", body, why: broken ?? "the stream ended in the middle of the answer" }
  }

  /** JSON, or events as lines of JSON, declared as a stream. */
  private withoutEvents(text: string): EventsOutcome {
    const lines = text.split("\n").filter((line) => line.trim() !== "")
    if (lines.length < 2 || !lines.every((line) => Fields.isRecord(Fields.parse(line)))) return { _tag: "Plain", text }
    for (const line of lines) this.take("message", line)
    return this.end()
  }
}
