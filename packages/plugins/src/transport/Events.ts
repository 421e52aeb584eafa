/**
 * Answers that come as server-sent events: put together here, since the SDKs take each event for what it should be.
 *
 * @internal
 */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Sse from "effect/encoding/Sse"
import * as Fields from "./Fields.ts"
import * as Refusal from "./Refusal.ts"

/** Puts an answer together from its events. It takes whatever comes, and never throws. */
export interface Assembly {
  /** Takes the data of an event. */
  readonly add: (data: Fields.Fields) => void
  /** Whether something of the answer has come. */
  readonly hasStarted: () => boolean
  /** Whether its end has come; `isDone`: the stream says that it is over. */
  readonly isWhole: (isDone: boolean) => boolean
  /** Whether nothing more comes, by an event of its own: some endpoints leave the connection open. */
  readonly isOver?: () => boolean
  /** The answer as it comes without a stream, as far as it has come. */
  readonly body: () => Fields.Fields
}

/** What came of a stream. */
export type EventsOutcome =
  | { readonly _tag: "Whole"; readonly body: Fields.Fields }
  /** The provider has sent a failure in place of the answer, or in its middle. */
  | { readonly _tag: "Failed"; readonly body: Fields.Fields; readonly error: unknown; readonly isFirst: boolean }
  /** It had no event: what it was in place of a stream. */
  | { readonly _tag: "Plain"; readonly text: string }
  /** The stream ended, and the answer has not. */
  | { readonly _tag: "Cut"; readonly body: Fields.Fields; readonly why: string }

/** Whether anything of an answer came. */
export const hasBody = (outcome: EventsOutcome): boolean =>
  outcome._tag !== "Plain" && Object.keys(outcome.body).length > 0

/** Whether an answer is a stream: some endpoints answer a request for one as a whole. */
export const isStream = (contentType: string | null | undefined): boolean =>
  contentType?.includes("event-stream") === true

/** Whether a text is a stream that came under another name. */
export const looksLike = (text: string): boolean => /^\s*(?::[^\n]*\s+)*(?:data|event|id):/.test(text.slice(0, 1_000))

/** What came of a stream that was read as a text. */
export const readText = (text: string, assembly: Assembly): EventsOutcome => {
  const reader = new EventReader(assembly)
  reader.write(new TextEncoder().encode(text))
  return reader.end()
}

/** The failure that an event tells of, if it does: `{"error": …}`, `{"type": "error", …}`, or the name of the event. */
const errorOf = (name: string, data: Fields.Fields): unknown => {
  const { error, type } = data
  if (Refusal.isPresent(error)) return error
  return type === "error" || name === "error" ? data : undefined
}

/** Data of events that keep a connection alive, and say nothing. */
const PING = /^(?:\[?(?:ping|pong|heartbeat|keep-?alive)\]?|null|-?\d+)$/i

/** Characters that are kept of what may be no stream. */
const MOST_PLAIN = 1_000_000

/** Fields of events that bring something of an answer. */
const OF_ANSWERS = ["choices", "output", "content", "response", "delta", "usage", "item"]

/** A refusal that came in place of an answer, and says so in no field of its own. */
const refusalIn = (data: Fields.Fields): Fields.Fields | undefined =>
  typeof data["type"] !== "string"
  && OF_ANSWERS.every((name) => !Fields.isPresent(data[name]))
  && Refusal.hasWords(data)
    ? data
    : undefined

/** Reads the bytes of a stream as they come. */
export class EventReader {
  private readonly decoder = new TextDecoder()
  private readonly assembly: Assembly
  private readonly parser: Sse.Parser
  private failed: { readonly error: unknown; readonly isFirst: boolean } | undefined
  private problem: string | undefined
  private isDone = false
  /** What has come, until there is an event. */
  private plain: string | undefined = ""

  constructor(assembly: Assembly) {
    this.assembly = assembly
    this.parser = Sse.makeParser(
      (event) => {
        if (event._tag === "Event") this.take(event.event, event.data)
      },
      // No limit for one event: the limit on the size of the whole response holds.
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
    const hasBegun = this.assembly.hasStarted()
    const error = errorOf(name, value) ?? (hasBegun ? undefined : refusalIn(value))
    this.assembly.add(error === undefined ? value : { ...value, error: undefined })
    if (error !== undefined) this.failed = { error, isFirst: !hasBegun && !Fields.isRecord(value["usage"]) }
  }

  /** Takes data that is no object: a failure in its own form, or a piece of the answer that is lost. */
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
        : `an event of the stream is no JSON (${SafeText.line(data, 200)})`
    }
  }

  /** Takes bytes; whether the end of the answer is among them. */
  write(chunk: Uint8Array): boolean {
    this.feed(this.decoder.decode(chunk, { stream: true }))
    return this.isDone || this.failed !== undefined || this.assembly.isOver?.() === true
  }

  private feed(text: string): void {
    if (this.plain !== undefined && this.plain.length < MOST_PLAIN) this.plain += text
    const problem = this.parser.feed(text)
    if (problem !== undefined) this.problem ??= problem.message
  }

  /** What came; `broken`: why no more comes. */
  end(broken?: string): EventsOutcome {
    // A last event without the empty line that ends it.
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

  /** JSON, or events as lines of JSON, under the name of a stream. */
  private withoutEvents(text: string): EventsOutcome {
    const lines = text.split("\n").filter((line) => line.trim() !== "")
    if (lines.length < 2 || !lines.every((line) => Fields.isRecord(Fields.parse(line)))) return { _tag: "Plain", text }
    for (const line of lines) this.take("message", line)
    return this.end()
  }
}
