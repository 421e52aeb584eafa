/**
 * The provider's batch API: half of the price, for answers within a day. The same requests, keys, cache and books as calls
 * that are made at once.
 *
 * **Details** Requests are gathered by model and API, split by the provider's limits (with a margin) and by the tokens that
 * the account may have waiting, and followed until their results are in the store. While they are away their rows are put
 * down: memory holds a key for each, and a run can be left and gone on with another day. A request that is known is never
 * sent twice, whichever process sent it. What expired, was cancelled or failed for now is sent again in a smaller batch,
 * and asked at once after three batches in vain. After a deadline, what is not back is cancelled and asked at once.
 *
 * It stands above what paces single calls (`RateLimit`, `Concurrency`), which batches do not count against. The command line
 * puts it there: `pipe run flow.ts --batch`.
 *
 * **Example** (batches until two hours have passed)
 *
 * ```ts
 * import { Batch, Cache, Ledger, RateLimit, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Retry.layer(),
 *   Batch.layer({ deadline: "2 hours" }),
 *   RateLimit.layer({ requestsPerMinute: 500 }),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as Scope from "effect/Scope"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Store from "../store/Store.ts"
import type * as BatchJobState from "./BatchJobState.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchQueue from "./BatchQueue.ts"
import * as BatchedCall from "./BatchedCall.ts"

export interface Options {
  /** Only requests of these steps. Default: all. */
  readonly steps?: ReadonlyArray<string>
  /** From the beginning of the run; what is not back then is cancelled and asked at once. Default: none. */
  readonly deadline?: Duration.Input
  /** How often a request is in a batch before it is asked at once. Default: 3. */
  readonly tries?: number
  /** Most requests of a batch. Default: the provider's limit. */
  readonly maxRequests?: number
  /** Most bytes of a batch. Default: the provider's limit, less 2 %. */
  readonly maxBytes?: number
  /** Tokens of one model that the account may have waiting. Default: learned when the provider refuses. */
  readonly enqueuedTokens?: number
  /** How often batches are looked after. Default: after 1 second, then ever slower, up to a minute. */
  readonly polling?: BatchJobState.Polling
  /** How often a call of the batch API (an upload, a look) is tried while the provider is in trouble, in all. Default: 8. */
  readonly attempts?: number
}

/** The layer's name in `ModelClient.LayerInfo`. */
export const NAME = "Batch"

/** What the command line says: `off` asks everything at once, options stand over those of the layer. */
export const Override = Context.Reference<Options | "off" | undefined>("@pipe/core/Batch/Override", {
  defaultValue: () => undefined
})

type Needs = Store.Store | Pricing.Pricing | FileSystem.FileSystem | Path.Path

/** Sends requests in batches, where the provider has them. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, AiError.AiError, ModelClient.ModelClient | Needs> => {
  OptionNames.checkNumbers("Batch.layer", options, {
    tries: OptionNames.COUNT,
    maxRequests: OptionNames.COUNT,
    maxBytes: OptionNames.COUNT,
    enqueuedTokens: OptionNames.COUNT,
    attempts: OptionNames.COUNT
  })
  return ModelClient.middlewareEffect((next) => make(next, options), {
    name: NAME,
    service: { tier: "batch", steps: options.steps }
  })
}

/** The same, put over a client. */
export const make = Effect.fnUntraced(function* (
  next: ModelClient.Service,
  given: Options
): Effect.fn.Return<ModelClient.Service, AiError.AiError, Needs | Scope.Scope> {
  const override = yield* Override
  if (override === "off") return next
  const options = { ...given, ...override }
  const { batch } = next
  if (batch === undefined) {
    return yield* AiError.make({
      module: "Batch",
      method: "layer",
      reason: new AiError.InvalidRequestError({
        description: `${next.layers?.at(-1)?.name ?? "the provider"} has no batch API: leave --batch and Batch.layer out`
      })
    })
  }
  const store = yield* Store.Store
  const pricing = yield* Pricing.Pricing
  const run = yield* Suspension.SuspendedRun
  const deadline =
    options.deadline === undefined
      ? undefined
      : (run?.startedAt ?? (yield* Clock.currentTimeMillis))
        + Duration.toMillis(Duration.fromInputUnsafe(options.deadline))
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const expected = yield* ExpectedUsage.ExpectedUsage
  yield* expected.seeded
  const senders = new Map<BatchProvider.BatchProvider, ModelClient.Send>()
  for (const provider of batch.all) {
    const queue = yield* BatchQueue.make({
      provider,
      store,
      pricing,
      fs,
      path,
      run,
      limits: { requests: options.maxRequests, bytes: options.maxBytes },
      enqueuedTokens: options.enqueuedTokens,
      polling: options.polling ?? {},
      attempts: options.attempts,
      deadline
    })
    run?.register(queue)
    senders.set(
      provider,
      BatchedCall.make({
        next,
        queue,
        provider,
        pricing,
        run,
        expected,
        steps: options.steps,
        tries: options.tries ?? 3
      })
    )
  }
  return {
    ...next,
    send: (request) => {
      const provider = batch.of(next.resolve(request))
      return (provider === undefined ? undefined : senders.get(provider))?.(request) ?? next.send(request)
    }
  }
})
