/**
 * A provider to try flows on without a key and without cost: a real HTTP server on loopback that speaks OpenAI's chat,
 * responses, embeddings, files and batches APIs and Anthropic's messages and message batches APIs.
 *
 * **Details** Answers are deterministic for a seed and fit the schema that is asked for; they say that they are simulated.
 * Usage is counted by a real tokenizer. Latency, rate limits with their headers, 429, 5xx, broken JSON and dropped
 * connections come on demand, deterministic too. It keeps count of what it would have billed: the second opinion in tests.
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
import * as Simulation from "@pipe/core/Simulation"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Tiktoken from "./Tiktoken.ts"
import * as Batches from "./simulator/Batches.ts"
import * as Engine from "./simulator/Engine.ts"
import * as Notes from "./simulator/Notes.ts"
import * as StandIn from "./simulator/StandIn.ts"

/** Shares (0 to 1) of the requests that fail in some way; a request that is sent again may succeed. */
export interface Faults {
  /** 429 with `retry-after-ms`. */
  readonly rateLimit?: number
  /** 500. */
  readonly serverError?: number
  /** 200 whose JSON is cut. */
  readonly brokenJson?: number
  /** The connection ends without an answer. */
  readonly drop?: number
  /** An answer that does not fit the schema that was asked for. It is billed. */
  readonly wrongSchema?: number
}

/** How prompts with several texts go wrong. Shares are from 0 to 1, of the texts where nothing else is said. */
export interface PackFaults {
  /** Texts without an answer. */
  readonly missing?: number
  /** Texts with two answers. */
  readonly doubled?: number
  /** Texts that have the answer of the next one. */
  readonly wrong?: number
  /** Prompts whose answer is none. */
  readonly garbled?: number
}

export interface Options {
  /** Answers and faults depend on it alone. Default: `"pipe"`. */
  readonly seed?: string
  /** Time before an answer. Default: 0. */
  readonly latency?: Duration.Input
  readonly faults?: Faults
  readonly batches?: BatchOptions
  /** Prompts with several texts (`Pack`) are answered text by text. Default: without faults. */
  readonly packs?: PackFaults
  /** Limits that are held and reported in the headers. Default: none. */
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
  /** Answers of one's own; where it returns `undefined` the simulator makes one. */
  readonly answer?: (asked: { readonly model: string; readonly prompt: string }) => string | undefined
  /** How sure of its answer a model is, from 0 to 1, where log-probabilities are asked for. Default: by chance, from 0.5 on. */
  readonly confidence?: (answered: {
    readonly model: string
    readonly prompt: string
    readonly text: string
  }) => number | undefined
  /** Default: any free port. */
  readonly port?: number
}

/** How batches go. Shares are from 0 to 1, of the requests of a batch. */
export interface BatchOptions {
  /** Time from creation to the end. Default: 1 second. */
  readonly latency?: Duration.Input
  /** Requests that are refused (400). */
  readonly errors?: number
  /** Requests that fail for now (500); asked again they may succeed. */
  readonly serverErrors?: number
  /** Requests that are not answered when the batch expires. */
  readonly expired?: number
  /** Requests that have two results. */
  readonly duplicates?: number
  /** Requests that have no result at all. */
  readonly missing?: number
  /** Results in the order of the requests. Default: shuffled. */
  readonly ordered?: boolean
  /** The first batches, so many, fail their validation: their second request is said to be wrong. */
  readonly invalid?: number
  /** Tokens that may wait, of all batches together; what is more is rejected. */
  readonly enqueuedTokens?: number
  /** So many creations are made, and the connection ends without an answer. */
  readonly lostCreations?: number
  /** So many uploads fail (500). */
  readonly failedUploads?: number
  /** So many downloads end in their middle. */
  readonly cutDownloads?: number
  /** Told how far a batch has come, before the client is. */
  readonly onStage?: (stage: BatchStage) => void
}

export type BatchStage = "uploading" | "uploaded" | "creating" | "created" | "polled" | "downloading" | "downloaded"

/** A batch that was created. */
export interface CreatedBatch {
  readonly id: string
  readonly wire: "openai" | "anthropic"
  readonly endpoint: string
  readonly requests: number
  readonly bytes: number
  readonly customIds: ReadonlyArray<string>
  readonly metadata: { readonly [name: string]: string }
  readonly status: string
}

/** What was asked of one model and would have been billed. */
export interface Bill {
  readonly model: string
  /** `undefined`: the ordinary one. */
  readonly serviceTier?: "batch"
  readonly answers: number
  /** Input tokens, those read from the prompt cache or written to it included. */
  readonly input: number
  readonly cacheRead: number
  readonly cacheWrite: number
  /** Output tokens, reasoning included. */
  readonly output: number
  readonly reasoning: number
}

export interface Simulator {
  readonly url: string
  /** Base URL for OpenAI clients. */
  readonly openAiUrl: string
  /** Base URL for Anthropic clients. */
  readonly anthropicUrl: string
  /** Gives a request the number under which the simulator knows its row and the schema of its answer. */
  readonly note: Simulation.Simulation["note"]
  /** Requests that came, faults included. */
  readonly requests: () => number
  /** By model and class of service. */
  readonly bill: () => ReadonlyArray<Bill>
  /** All batches that were created, in their order. */
  readonly batches: () => ReadonlyArray<CreatedBatch>
  /** Ends the batches that run, whatever their latency: all their requests are done. */
  readonly endBatches: () => void
}

const SEED = "pipe"

/** Starts a simulator; it stops with the scope. */
export const start = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Simulator, never, Scope.Scope> {
  const { count } = yield* Tiktoken.make
  const notes = Notes.make(options.seed ?? SEED)
  const engine = Engine.make(options, count, notes)
  const batches = Batches.make(options, engine)
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
 * Has a simulator answer in the place of every provider, whatever the flow's own addresses and keys are: provider plugins send there,
 * and providers of the author's own are replaced.
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
          answer: yield* StandIn.make(openAiUrl)
        })
      )
    })
  ) as Layer.Layer<never>
