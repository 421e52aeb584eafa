/**
 * Answers that come as server-sent events: read here, and not by the SDKs, which take each event for what it should be.
 *
 * @internal
 */
import * as Sse from "effect/encoding/Sse"

/** Puts an answer together from its events. */
export interface Assembly {
  /** Takes the data of an event; throws an `ErrorEvent` where the provider says that it failed. */
  readonly add: (data: unknown) => void
  /** The answer as it comes without a stream; throws a `Cut` where its end has not come. */
  readonly body: () => unknown
}

/** The provider has sent a failure in place of an answer, or in its middle. */
export class ErrorEvent extends Error {
  readonly error: unknown
  /** Whether nothing of an answer had come. */
  readonly isFirst: boolean
  /** What had come of the answer, its count perhaps among it. */
  readonly answer: unknown
  constructor(error: unknown, isFirst: boolean, answer?: unknown) {
    super("the provider sent an error in its stream")
    this.error = error
    this.isFirst = isFirst
    this.answer = answer
  }
}

/** The events ended, and the answer has not. */
export class Cut extends Error {
  /** What had come of the answer. */
  readonly answer: unknown
  constructor(answer?: unknown) {
    super("the stream ended in the middle of the answer")
    this.answer = answer
  }
}

/** Whether an answer is a stream: some endpoints answer a request for one as a whole. */
export const isStream = (response: Response): boolean =>
  response.headers.get("content-type")?.includes("event-stream") === true

/** The data of an event named `error`, in the form that both APIs have for one. */
const errorOf = (data: unknown): unknown =>
  typeof data === "object" && data !== null && "error" in data
    ? { type: "error", ...data }
    : { type: "error", error: data }

/** Reads all events into an answer. */
export const read = async (response: Response, assembly: Assembly): Promise<unknown> => {
  const decoder = new TextDecoder()
  let isDone = false
  const parser = Sse.makeParser(
    (event) => {
      if (event._tag !== "Event" || event.data === "") return
      if (event.data.trim() === "[DONE]") isDone = true
      else if (event.event === "error") assembly.add(errorOf(JSON.parse(event.data)))
      else assembly.add(JSON.parse(event.data))
      // No limit for one event: the limit on the size of the whole response holds.
    },
    { maxEventSize: Number.MAX_SAFE_INTEGER }
  )
  const feed = (text: string) => {
    const problem = parser.feed(text)
    if (problem !== undefined) throw problem
  }
  if (response.body !== null) {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      feed(decoder.decode(chunk, { stream: true }))
      // Some endpoints leave the connection open after their last event.
      if (isDone) break
    }
  }
  // A last event without the empty line that ends it.
  feed("\n\n")
  return assembly.body()
}
