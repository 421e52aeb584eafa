/** A server of a test's own, and one call through a plugin. */
import { RunHooks, Ledger, ModelClient, ModelRequest, type ModelResponse, Retry, type Flow } from "@pipe/core"
import type * as LedgerEntry from "../../core/src/ledger/LedgerEntry.ts"
import * as RunTotals from "../../core/src/ledger/RunTotals.ts"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer, type Scope } from "effect"
import type { AiError } from "effect/ai"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"

export interface Reply {
  readonly status?: number
  readonly body?: string | object
  /** The body as it goes out, in place of `body`. */
  readonly bytes?: Uint8Array
  readonly headers?: Record<string, string>
  /** Sends headers and the beginning of a body, and then nothing. */
  readonly stall?: boolean
  /** Ends the connection after the body, in the middle of the answer. */
  readonly cut?: boolean
  readonly drop?: boolean
}

export interface Served {
  readonly url: string
  readonly seen: Array<{ readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string }>
  /** Requests whose connection the client ended. */
  readonly aborted: () => number
}

/** Serves what a function replies; ends with the scope. */
export const serve = (reply: (body: string, index: number) => Reply): Effect.Effect<Served, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const seen: Served["seen"] = []
        let aborted = 0
        const server = createServer((request, response) => {
          let body = ""
          request.on("data", (chunk) => (body += chunk))
          response.on("close", () => {
            if (!response.writableFinished) aborted++
          })
          request.on("end", () => {
            seen.push({ path: request.url ?? "", headers: request.headers, body })
            const { body: out = {}, bytes, cut, drop, headers, stall, status = 200 } = reply(body, seen.length - 1)
            if (drop === true) return response.destroy()
            response.writeHead(status, { "content-type": "application/json", ...headers })
            if (stall === true) return response.write("{")
            if (cut === true) return response.write(String(out), () => response.destroy())
            response.end(bytes ?? (typeof out === "string" ? out : JSON.stringify(out)))
          })
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return { server, seen, aborted: () => aborted }
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    ),
    ({ aborted, seen, server }) => ({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      seen,
      aborted
    })
  )

export const question = (content: string, fields: Partial<Omit<ModelRequest.Completion, "_tag">> = {}) =>
  ModelRequest.completion({ messages: [{ role: "user", content }], ...fields })

export interface Outcome<A> {
  readonly value: A | undefined
  readonly error: AiError.AiError | undefined
  readonly sums: LedgerEntry.LedgerTotals
}

/** Runs an effect over a provider with ledger and retries; how it ends, and what was recorded. */
export const over = <A>(
  provider: Layer.Layer<ModelClient.ModelClient, AiError.AiError, Flow.Host>,
  effect: Effect.Effect<A, AiError.AiError, ModelClient.ModelClient>,
  retry: Retry.Options = { attempts: 1 }
): Effect.Effect<Outcome<A>> =>
  Effect.suspend(() => {
    const totals = RunTotals.make()
    return effect.pipe(
      Effect.provide(Layer.provide(Ledger.layer, Layer.provide(Retry.layer({ base: 1, ...retry }), provider))),
      RunHooks.provide({ onEntry: totals.record }),
      Effect.provide(NodeHost.layerMemory),
      Effect.result,
      Effect.map((result) => ({
        value: result._tag === "Success" ? result.success : undefined,
        error: result._tag === "Failure" ? result.failure : undefined,
        sums: totals.total()
      }))
    )
  })

/** One completion through a provider. */
export const ask = (
  provider: Layer.Layer<ModelClient.ModelClient, AiError.AiError, Flow.Host>,
  request: ModelRequest.Completion,
  retry?: Retry.Options
): Effect.Effect<Outcome<ModelResponse.CompletionResponse>> => over(provider, ModelClient.send(request), retry)
