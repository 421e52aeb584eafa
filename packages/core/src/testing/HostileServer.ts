/**
 * A server that treats every request alike: it answers with refusals, with what is no answer, or not at all.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

/** What happens to a request. */
export type Conduct =
  | { readonly status: number; readonly body: string; readonly headers?: { readonly [name: string]: string } }
  /** The connection ends in the middle of the body. */
  | "cut"
  /** The connection ends before an answer. */
  | "drop"
  /** Nothing comes. */
  | "hang"

/** A running server. */
export interface Running {
  readonly url: string
  /** Requests so far. */
  readonly requests: () => number
  /** The body of the last request. */
  readonly body: () => string
  /** Ends when a client has ended its connection before the answer. */
  readonly left: Promise<void>
}

/** Starts a server, which ends with the scope. */
export const start = (conduct: Conduct): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        let requests = 0
        let body = ""
        let leave = () => {}
        const left = new Promise<void>((resolve) => (leave = resolve))
        const server = createServer((request, response) => {
          requests++
          response.on("close", () => {
            if (!response.writableFinished) leave()
          })
          // A request is read as a whole, as a provider reads it.
          body = ""
          request.setEncoding("utf8")
          request.on("data", (chunk: string) => (body += chunk))
          request.on("end", () => {
            if (conduct === "hang") return
            if (conduct === "drop") return void response.destroy()
            if (conduct === "cut") {
              response.writeHead(200, { "content-type": "application/json", "content-length": "1000" })
              return void response.write('{"', () => response.destroy())
            }
            response.writeHead(conduct.status, { "content-type": "application/json", ...conduct.headers })
            response.end(conduct.body)
          })
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return { server, left, requests: () => requests, body: () => body }
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    ({ body, left, requests, server }) => ({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      left,
      body,
      requests
    })
  )
