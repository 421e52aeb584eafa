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
import * as Context from "effect/Context"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as Scope from "effect/Scope"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import type { Options } from "./BatchOptions.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Store from "../store/Store.ts"
import * as BatchProvider from "./BatchProvider.ts"
import * as BatchQueue from "./BatchQueue.ts"
import * as BatchedCall from "./BatchedCall.ts"

export type { Options } from "./BatchOptions.ts"

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
  return ModelClient.layerOf(
    (next) =>
      Effect.gen(function* () {
        const { batch, isPlan } = yield* RunHooks.RunHooks
        if (batch === "off") return next
        const steps = batch?.steps ?? options.steps
        return {
          ...(isPlan === true ? next : yield* make(next, options)),
          annotations: Context.make(LayerAnnotations.ServiceTier, { tier: "batch", steps })
        }
      }),
    {
      name: "Batch",
      annotations: Context.make(LayerAnnotations.Order, {
        leaves: "requests of batches leave the stack here, and would bypass it"
      })
    }
  )
}

/** The same, over a client. */
export const make = Effect.fnUntraced(function* (
  next: ModelClient.Service,
  given: Options
): Effect.fn.Return<ModelClient.Service, AiError.AiError, Needs | Scope.Scope> {
  const { batch: override, standIn, suspension: run } = yield* RunHooks.RunHooks
  const options = { ...given, ...(override === "off" ? undefined : override) }
  const batch =
    standIn === undefined || next.batch === undefined
      ? next.batch
      : BatchProvider.replace(next.batch, (batch) =>
          batch.name === standIn.spares ? batch : standIn.batch(batch.name)
        )
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
    send: (request) =>
      Effect.withFiber((fiber) => {
        const provider = batch.of(next.resolve(request, fiber.getRef(CallContext.CallContext)))
        return (provider === undefined ? undefined : senders.get(provider))?.(request) ?? next.send(request)
      })
  }
})
