/**
 * A `fetch` for SDKs and files of hundreds of megabytes. The global one keeps a second copy of a streamed body in
 * memory, in case it is sent again; this one sends it as it is read. Without `undici`, the global one is used.
 *
 * @internal
 */
import { Readable } from "node:stream"
import type { ReadableStream } from "node:stream/web"
import type * as Undici from "undici"
import * as Compression from "./Compression.ts"
import * as Connections from "./Connections.ts"

export const make = (baseUrl: string, timeout: number) => {
  let loaded: Promise<{ readonly undici: typeof Undici; readonly agent: Undici.Dispatcher } | undefined> | undefined
  return async (input: string | URL | Request, init: Init = {}): Promise<Response> => {
    const found = await (loaded ??= import("undici").then(
      (undici) => ({
        undici,
        // Files take long. The SDK's own signal ends them.
        agent: Connections.dispatcher(undici, { baseUrl, timeout })
      }),
      () => undefined
    ))
    if (found === undefined) {
      const { body } = init
      return fetch(
        input,
        body instanceof Readable ? { ...init, body: await wholeOf(body) } : { ...init, body: body ?? null }
      )
    }
    const { agent, undici } = found
    const url = input instanceof Request ? input.url : String(input)
    const { body, headers, statusCode } = await undici.request(url, {
      dispatcher: agent,
      method: (init.method ?? "GET") as Undici.Dispatcher.HttpMethod,
      headers: Object.fromEntries(new Headers(init.headers)),
      body: toBody(init.body),
      ...(init.signal === undefined || init.signal === null ? undefined : { signal: init.signal })
    })
    const given = new Headers()
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) given.set(name, Array.isArray(value) ? value.join(", ") : value)
    }
    const empty = statusCode === 204 || statusCode === 304
    const unpacked = Compression.unpackStream(body, given.get("content-encoding") ?? "identity")
    given.delete("content-encoding")
    given.delete("content-length")
    return new Response(empty ? null : webStream(unpacked), {
      status: statusCode,
      headers: given
    })
  }
}

/** A stream that may be cancelled at any time: one of `Readable.toWeb` then throws outside of every caller. */
const webStream = (body: Readable): globalThis.ReadableStream => {
  const chunks = body.iterator() as NodeJS.AsyncIterator<Uint8Array>
  return new globalThis.ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    cancel: async () => {
      body.destroy()
    }
  })
}

/** What is sent: also a stream of Node, which may be cut off at any time. */
export interface Init extends Omit<RequestInit, "body"> {
  readonly body?: RequestInit["body"] | Readable
}

const wholeOf = async (body: Readable): Promise<Uint8Array<ArrayBuffer>> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of body) chunks.push(Buffer.from(chunk as Uint8Array))
  return new Uint8Array(Buffer.concat(chunks))
}

const toBody = (body: Init["body"]): string | Uint8Array | Readable | null => {
  if (body === undefined || body === null) return null
  if (typeof body === "string" || body instanceof Uint8Array || body instanceof Readable) return body
  if (body instanceof globalThis.ReadableStream) return Readable.fromWeb(body as ReadableStream)
  throw new TypeError("batches do not send a body of this kind")
}
