/**
 * A provider for trying flows without a key and without cost: an HTTP server on loopback that speaks OpenAI's chat,
 * responses, embeddings, files and batches APIs, and Anthropic's messages and message batches APIs.
 *
 * **Details** Answers are deterministic for a seed, fit the requested schema, and say that they are simulated. Usage is
 * counted by a real tokenizer. Latency, rate limits with their headers, 429, 5xx, broken JSON and dropped connections
 * can be configured, and are deterministic too. The simulator keeps its own bill, as a second opinion in tests.
 *
 * **Example** (a simulator for a test)
 *
 * ```ts
 * import { Simulator } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const simulator = yield* Simulator.start({ seed: "a", faults: { serverError: 0.1 } })
 *   return simulator.openAiUrl // the base URL for an OpenAI client
 * })
 *
 * await Effect.runPromise(Effect.scoped(program)) // => "http://127.0.0.1:…/v1"
 * ```
 *
 * @since 0.1.0
 */
import * as Endpoint from "@pipe/core/Endpoint"
import * as Simulation from "@pipe/core/internal/Simulation"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { AddressInfo } from "node:net"
import * as Tiktoken from "./Tiktoken.ts"
import * as Batches from "./simulator/Batches.ts"
import * as Engine from "./simulator/Engine.ts"
import * as RequestNotes from "./simulator/RequestNotes.ts"
import type { Options, Simulator } from "./simulator/Options.ts"
import * as StandIn from "./simulator/StandIn.ts"

export type {
  BatchOptions,
  BatchStage,
  Bill,
  CreatedBatch,
  Faults,
  Options,
  PackFaults,
  Simulator
} from "./simulator/Options.ts"

const SEED = "pipe"

/** Starts a simulator. It stops with the scope. */
export const start = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Simulator, never, Scope.Scope> {
  const { count } = yield* Tiktoken.make
  const notes = RequestNotes.make(options.seed ?? SEED)
  const engine = Engine.make(options, count, notes)
  const batches = Batches.make(options, engine)
  // Node's HTTP server takes a while to load, and a flow that imports this may not use it.
  const { createServer } = yield* Effect.promise(() => import("node:http"))
  const server = createServer(
    (request, response) => batches.handle(request, response) || engine.handle(request, response)
  )
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(options.port ?? 0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    openAiUrl: `${url}/v1`,
    anthropicUrl: url,
    note: notes.note,
    requests: engine.requests,
    bill: engine.bill,
    batches: batches.log,
    endBatches: batches.end
  }
})

/**
 * Replaces every provider with a simulator, whatever the flow's own addresses and keys are: provider plugins send to
 * it, and an author's own providers are replaced.
 */
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { anthropicUrl, note, openAiUrl } = yield* start(options)
      const { seed = SEED } = options
      return Context.make(Endpoint.Overrides, {
        openai: { baseUrl: openAiUrl, apiKey: "no-key-needed" },
        anthropic: { baseUrl: anthropicUrl, apiKey: "no-key-needed" }
      }).pipe(
        Context.add(Simulation.Simulation, {
          identity: seed,
          note,
          ...(yield* StandIn.make(openAiUrl))
        })
      )
    })
  ) as Layer.Layer<never>
