/**
 * The provider's batch API: half the price for answers within a day, with the same requests, keys, cache and ledger as
 * single calls.
 *
 * **Details** Requests are grouped by model and API, split by the provider's limits (with a margin) and by the tokens
 * that the account may have enqueued, and followed until their results are in the store. Their rows are suspended in
 * the meantime: memory holds a key for each, and the run can be left and resumed on another day. A known request is
 * never sent twice, whichever process sent it. A request that expired, was cancelled or failed temporarily is sent
 * again in a smaller batch, and as a single call after three batches. After a deadline, what has no result is cancelled
 * and sent as single calls.
 *
 * Put it above layers that pace single calls (`RateLimit`, `Concurrency`); batches do not count against them. The
 * command line adds it with `pipe run flow.ts --batch`.
 *
 * **Example** (batches for at most two hours)
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

/** The options of `Batch.layer`. */
export interface Options {
  /** Uses batches for these steps only. Default: all. */
  readonly steps?: ReadonlyArray<string>
  /**
   * Counted from the start of the run. What has no result by then is cancelled and sent as single calls. Default: none.
   */
  readonly deadline?: Duration.Input
  /** How many batches a request is put in before it is sent as a single call. Default: 3. */
  readonly tries?: number
  /** The most requests in a batch. Default: the provider's limit. */
  readonly maxRequests?: number
  /** The most bytes in a batch. Default: the provider's limit, less 2 %. */
  readonly maxBytes?: number
  /** The tokens of one model that the account may have enqueued. Default: learned when the provider refuses. */
  readonly enqueuedTokens?: number
  /** How often batches are polled. Default: after 1 second, then at growing intervals up to a minute. */
  readonly polling?: BatchJobState.Polling
  /** Attempts of a batch API call (an upload, a poll) while the provider is failing. Default: 8. */
  readonly attempts?: number
}

/** The name of the layer in `ModelClient.LayerInfo`. */
export const NAME = "Batch"

/** Set by the command line: `off` sends everything as single calls; options override those of the layer. */
export const Override = Context.Reference<Options | "off" | undefined>("@pipe/core/Batch/Override", {
  defaultValue: () => undefined
})

type Needs = Store.Store | Pricing.Pricing | FileSystem.FileSystem | Path.Path

/** Sends requests in batches where the provider supports them. */
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

/** The same, over a client. */
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
        description: `${next.layers?.at(-1)?.name ?? "the provider"} has no batch API: omit --batch and Batch.layer`
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
