/**
 * Coalesces requests that arrive within a short window, and sends them together.
 *
 * **Details** Embedding requests of a window with the same model and settings become one request with all their texts;
 * a text that is refused fails alone. Completions are sent as a group of up to `size`, with `concurrency` calls at a
 * time.
 *
 * **Example** (groups of 10, five calls at a time)
 *
 * ```ts
 * import { Coalesce } from "@pipe/core"
 *
 * export const batches = Coalesce.layer({ size: 10, concurrency: 5 })
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import type * as Duration from "effect/Duration"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import * as Semaphore from "effect/Semaphore"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as EmbeddingParts from "../client/EmbeddingParts.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Usage from "../model/Usage.ts"

/** The options of `Coalesce.layer`. */
export interface Options {
  /** The most requests in a window. Default: 100. */
  readonly size?: number
  /** How long a window stays open. Default: 10 ms. */
  readonly wait?: Duration.Input
  /** Calls in flight, over all windows. Default: all requests of a window. */
  readonly concurrency?: number
}

/** A request in a window. Without an answer from there, its caller sends it when the window closes. */
interface Waiting extends Request.Request<ModelResponse.ModelResponse | undefined, AiError.AiError> {
  readonly _tag: "Waiting"
  readonly request: ModelRequest.ModelRequest
}

const Waiting = Request.tagged<Waiting>("Waiting")

/** Gathers requests and sends them by window. */
export const layer = (options: Options = {}): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> => {
  OptionNames.checkNumbers("Coalesce.layer", options, { size: OptionNames.COUNT, concurrency: OptionNames.COUNT })
  return ModelClient.middlewareEffect(
    (next) =>
      Effect.map(Effect.scope, (scope): ModelClient.Send => {
        const limit = options.concurrency === undefined ? undefined : Semaphore.makeUnsafe(options.concurrency)
        const call: ModelClient.Send =
          limit === undefined ? next.send : (request) => limit.withPermit(next.send(request))
        const accepted: EmbeddingParts.Accepted = { most: Number.POSITIVE_INFINITY }
        const together = (entries: Entries) => {
          const [first] = entries
          return EmbeddingParts.together(
            entries,
            // Texts of one step only: the call belongs to that step's budget and ledger entries.
            (some) => Effect.provideContext(call(merge(some.map(embeddingOf))), first.context),
            (some, exit) => {
              const requests = some.map(embeddingOf)
              const usages = Exit.isSuccess(exit) ? usagesOf(exit.value, requests) : undefined
              let from = 0
              for (const [index, entry] of some.entries()) {
                const count = requests[index]!.inputs.length
                const part = from
                from += count
                entry.completeUnsafe(Exit.map(exit, (response) => share(response, part, count, usages?.[index])))
              }
            },
            accepted
          )
        }
        const resolver = RequestResolver.makeGrouped<Waiting, string>({
          key: ({ context, request }) => groupOf(request.request, Context.get(context, CallContext.CallContext).step),
          resolver: (entries) =>
            entries.length > 1 && entries.every(({ request }) => request.request._tag === "Embedding")
              ? // A call for several callers ends with the run, and not with one of them.
                Effect.flatMap(Effect.forkIn(together(entries), scope), Fiber.join)
              : Effect.sync(() => {
                  for (const entry of entries) entry.completeUnsafe(Exit.succeed(undefined))
                })
        }).pipe(RequestResolver.setDelay(options.wait ?? "10 millis"), RequestResolver.batchN(options.size ?? 100))
        const send = (request: ModelRequest.ModelRequest) =>
          Effect.flatMap(Effect.request(Waiting({ request }), resolver), (response) =>
            response === undefined ? call(request) : Effect.succeed(response)
          )
        return send as ModelClient.Send
      }),
    { name: "Coalesce", annotations: Context.make(LayerAnnotations.Paces, true) }
  )
}

type Entries = readonly [Request.Entry<Waiting>, ...Array<Request.Entry<Waiting>>]

const embeddingOf = ({ request }: Request.Entry<Waiting>): ModelRequest.Embedding =>
  request.request as ModelRequest.Embedding

const groupOf = (request: ModelRequest.ModelRequest, step: string): string =>
  request._tag === "Completion" ? "Completion" : RequestKey.canonical([step, { ...request, inputs: [] }])

const merge = (requests: ReadonlyArray<ModelRequest.Embedding>): ModelRequest.Embedding => ({
  ...requests[0]!,
  inputs: requests.flatMap((request) => request.inputs)
})

/** The vectors of one caller, with its share of the tokens. */
const share = (
  response: ModelResponse.EmbeddingResponse,
  from: number,
  count: number,
  usage: Usage.Usage | undefined
): ModelResponse.EmbeddingResponse => ({
  ...response,
  vectors: response.vectors.slice(from, from + count),
  ...(usage === undefined ? undefined : { usage })
})

/** The tokens of each caller, in proportion to its texts: whole tokens that add up to the total. */
const usagesOf = (
  { usage }: ModelResponse.EmbeddingResponse,
  requests: ReadonlyArray<ModelRequest.Embedding>
): ReadonlyArray<Usage.Usage> | undefined =>
  usage === undefined
    ? undefined
    : Usage.split(
        { ...Usage.zero, uncachedInput: Usage.inputTokens(usage) },
        requests.map(({ inputs }) => ({ input: inputs.length, output: 0 }))
      )
