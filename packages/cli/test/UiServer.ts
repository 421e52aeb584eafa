/** The server of the page over the stores of a folder, and requests to it. */
import { Effect, Exit, Scope } from "effect"
import { request } from "node:http"
import { join } from "node:path"
import * as Server from "../src/ui/Server.ts"

export interface Reply {
  readonly status: number
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  readonly text: string
  readonly bytes: Buffer
  readonly json: () => any
}

export interface Asked {
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: unknown
  readonly isChunked?: boolean
}

export interface UiServer {
  readonly served: Server.Served
  readonly origin: string
  /** Sends exactly these headers. */
  readonly raw: (path: string, asked?: Asked) => Promise<Reply>
  /** As the page does: with the cookie. */
  readonly get: (path: string) => Promise<Reply>
  readonly post: (path: string, body: unknown) => Promise<Reply>
  /** Does not say how long the body is. */
  readonly chunked: (path: string, body: unknown) => Promise<Reply>
  readonly close: () => Promise<void>
}

export const bin = join(import.meta.dirname, "../src/bin.ts")

export const start = async (stores: ReadonlyArray<string>): Promise<UiServer> => {
  const scope = Effect.runSync(Scope.make())
  const served = await Effect.runPromise(
    Scope.provide(Server.serve({ stores, port: 0, self: { command: process.execPath, args: [bin] } }), scope)
  )
  const origin = `http://127.0.0.1:${served.port}`
  const raw = (path: string, { body, headers = {}, isChunked = false, method = "GET" }: Asked = {}) =>
    new Promise<Reply>((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const sent = request(
        {
          host: "127.0.0.1",
          port: served.port,
          path,
          method,
          headers: {
            ...headers,
            ...(text && { "content-type": "application/json" }),
            ...(text && !isChunked && { "content-length": String(Buffer.byteLength(text)) })
          }
        },
        (response) => {
          const chunks: Array<Buffer> = []
          response.on("data", (chunk: Buffer) => chunks.push(chunk))
          response.on("end", () => {
            const bytes = Buffer.concat(chunks)
            const text = bytes.toString("utf8")
            const { headers, statusCode = 0 } = response
            resolve({ status: statusCode, headers, text, bytes, json: () => JSON.parse(text) })
          })
        }
      )
      sent.on("error", reject)
      sent.end(text)
    })
  const first = await raw(new URL(served.address()).pathname + new URL(served.address()).search)
  const cookie = String((first.headers["set-cookie"] as ReadonlyArray<string>)[0]).split(";")[0]!
  return {
    served,
    origin,
    raw,
    get: (path) => raw(path, { headers: { cookie } }),
    post: (path, body) => raw(path, { method: "POST", headers: { cookie, origin }, body }),
    chunked: (path, body) => raw(path, { method: "POST", headers: { cookie, origin }, body, isChunked: true }),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
