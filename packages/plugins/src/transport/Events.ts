/**
 * Answers that come as server-sent events: put together here, since the SDKs take each event for what it should be.
 *
 * @internal
 */
import * as Sse from "effect/encoding/Sse"
import * as Answer from "./Answer.ts"

/** Puts an answer together from its events. It takes whatever comes, and never throws. */
export interface Assembly {
  /** Takes the data of an event. */
  readonly add: (data: Answer.Fields) => void
  /** Whether something of the answer has come. */
  readonly hasBegun: () => boolean
  /** Whether its end has come; `isDone`: the stream says that it is over. */
  readonly isWhole: (isDone: boolean) => boolean
  /** The answer as it comes without a stream, as far as it has come. */
  readonly body: () => Answer.Fields
}

/** What came of a stream. */
export type Outcome =
  | { readonly _tag: "Whole"; readonly body: Answer.Fields }
  /** The provider has sent a failure in place of the answer, or in its middle. */
  | { readonly _tag: "Failed"; readonly body: Answer.Fields; readonly error: unknown; readonly isFirst: boolean }
  /** The stream ended, and the answer has not. */
  | { readonly _tag: "Cut"; readonly body: Answer.Fields; readonly why: string }

/** Whether an answer is a stream: some endpoints answer a request for one as a whole. */
export const isStream = (contentType: string | null | undefined): boolean =>
  contentType?.includes("event-stream") === true

/** Whether a text is a stream that came under another name. */
export const looksLike = (text: string): boolean => /^\s*(?::[^\n]*\s+)*(?:data|event|id):/.test(text.slice(0, 1_000))

/** What came of a stream that was read as a text. */
export const readText = (text: string, assembly: Assembly): Outcome => {
  const reader = new Reader(assembly)
  reader.write(new TextEncoder().encode(text))
  return reader.end()
}

/** The failure that an event tells of, if it does: `{"error": …}`, `{"type": "error", …}`, or the name of the event. */
const errorOf = (name: string, data: Answer.Fields): unknown => {
  const { error, type } = data
  if (error !== undefined && error !== null) return error
  return type === "error" || name === "error" ? data : undefined
}

/** Reads the bytes of a stream as they come. */
export class Reader {
  private readonly decoder = new TextDecoder()
  private readonly assembly: Assembly
  private readonly parser: Sse.Parser
  private failed: { readonly error: unknown; readonly isFirst: boolean } | undefined
  private problem: string | undefined
  private isDone = false

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
    if (data === "[DONE]") {
      this.isDone = true
      return
    }
    const value = Answer.parse(data)
    if (!Answer.isRecord(value)) {
      if (name === "error") this.failed = { error: data, isFirst: !this.assembly.hasBegun() }
      // A piece of the answer may be lost; a ping is no piece.
      else if (data.startsWith("{")) this.problem ??= "an event of the stream is broken JSON"
      return
    }
    const error = errorOf(name, value)
    if (error === undefined) {
      this.assembly.add(value)
      return
    }
    const isFirst = !this.assembly.hasBegun() && !Answer.isRecord(value["usage"])
    this.assembly.add({ ...value, error: undefined })
    this.failed = { error, isFirst }
  }

  /** Takes bytes; whether the end of the answer is among them. */
  write(chunk: Uint8Array): boolean {
    this.feed(this.decoder.decode(chunk, { stream: true }))
    return this.isDone || this.failed !== undefined
  }

  private feed(text: string): void {
    const problem = this.parser.feed(text)
    if (problem !== undefined) this.problem ??= problem.message
  }

  /** What came; `broken`: why no more comes. */
  end(broken?: string): Outcome {
    // A last event without the empty line that ends it.
    this.feed(`${this.decoder.decode()}\n\n`)
    const body = this.assembly.body()
    if (this.failed !== undefined) return { _tag: "Failed", body, ...this.failed }
    if (this.problem !== undefined) return { _tag: "Cut", body, why: this.problem }
    return this.assembly.isWhole(this.isDone) || !this.assembly.hasBegun()
      ? { _tag: "Whole", body }
      : { _tag: "Cut", body, why: broken ?? "the stream ended in the middle of the answer" }
  }
}
