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
  /** The mark at the end of the events, where the API has one. */
  readonly done?: () => void
  /** The answer as it comes without a stream; throws a `Cut` where its end has not come. */
  readonly body: () => unknown
}

/** The provider has sent a failure in place of an answer, or in its middle. */
export class ErrorEvent extends Error {
  readonly error: unknown
  /** Whether nothing of an answer had come. */
  readonly isFirst: boolean
  constructor(error: unknown, isFirst: boolean) {
    super("the provider sent an error in its stream")
    this.error = error
    this.isFirst = isFirst
  }
}

/** The events ended, and the answer has not. */
export class Cut extends Error {
  constructor() {
    super("the stream ended in the middle of the answer")
  }
}

/** Whether an answer is a stream: some endpoints answer a request for one as a whole. */
export const isStream = (response: Response): boolean =>
  response.headers.get("content-type")?.includes("event-stream") === true

/** Reads all events into an answer. */
export const read = async (response: Response, assembly: Assembly): Promise<unknown> => {
  const decoder = new TextDecoder()
  const parser = Sse.makeParser(
    (event) => {
      if (event._tag !== "Event" || event.data === "") return
      if (event.data.trim() === "[DONE]") assembly.done?.()
      else assembly.add(JSON.parse(event.data))
      // What is too large is told by the whole answer.
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
    }
  }
  // A last event without the empty line that ends it.
  feed("\n\n")
  return assembly.body()
}
