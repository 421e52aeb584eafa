/**
 * Limits the size of answers: one that never ends would fill the memory of the process and fail every other row.
 *
 * @internal
 */

const MEBIBYTE = 1024 * 1024

/** The most bytes of an answer. Vectors of thousands of texts are long lists of numbers. */
export const limitOf = (path: string): number => (path.endsWith("/embeddings") ? 256 : 32) * MEBIBYTE

/** The answer exceeds the limit and was not read to its end. */
export class TooLarge extends Error {
  constructor(limit: number) {
    super(`the answer has more than ${limit / MEBIBYTE} MiB: it is not read any further`)
  }
}

/** The response of a `fetch` whose body fails when it is too large. */
export const within = (input: string | URL | Request, response: Response): Response => {
  if (response.body === null) return response
  const limit = limitOf(new URL(input instanceof Request ? input.url : input).pathname)
  let received = 0
  const body = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        received += chunk.byteLength
        if (received > limit) controller.error(new TooLarge(limit))
        else controller.enqueue(chunk)
      }
    })
  )
  const { headers, status, statusText, url } = response
  return Object.defineProperty(new Response(body, { headers, status, statusText }), "url", { value: url })
}
