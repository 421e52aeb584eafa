/**
 * Batches of detached runs: polled, collected, cancelled and abandoned, without running their flows.
 *
 * **Example** (collects available results)
 *
 * ```ts
 * import { Batches, Flow, Ledger, Sink, Source, Stack } from "@pipe/core"
 * import { NodeHost, OpenAi } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * export const collectAll = Effect.fnUntraced(function*(flow: Flow.Any) {
 *   const batches = yield* Batches.open(flow)
 *   return yield* Effect.forEach(yield* batches.list, (batch) => batches.collect(batch))
 * })
 *
 * const flow = Flow.make("letters", {
 *   outputs: [Sink.lines("letters.txt", Source.fromIterable("letters", ["a", "b"]))],
 *   stack: Stack.make(Ledger.layer, OpenAi.layer({ model: "gpt-4o-mini" }))
 * })
 * await Effect.runPromise(Effect.scoped(collectAll(flow)).pipe(Effect.provide(NodeHost.layerMemory))) // => []
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import type * as Flow from "../flow/Flow.ts"
import * as Usage from "../model/Usage.ts"
import * as Pricing from "../price/Pricing.ts"
import * as FlowContext from "../run/FlowContext.ts"
import * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchJob from "./BatchJob.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchRepo from "./BatchRepo.ts"

/** The batches of a flow's providers. */
export interface Batches {
  readonly providers: ReadonlyArray<BatchProvider.BatchProvider>
  /** Batches without results. */
  readonly list: Effect.Effect<ReadonlyArray<BatchRepo.StoredBatch>, AiError.AiError>
  /** Collects the results of a batch. Returns the updated batch, and the provider's status while it has not ended. */
  readonly collect: (batch: BatchRepo.StoredBatch) => Effect.Effect<Collected, AiError.AiError>
  /** Cancels a batch. What is answered by then can be collected. */
  readonly cancel: (batch: BatchRepo.StoredBatch) => Effect.Effect<void, AiError.AiError>
}

/** What collecting a batch has stored. */
export interface Collected {
  readonly batch: BatchRepo.StoredBatch
  readonly status: BatchProvider.BatchStatus | undefined
}

/**
 * Abandons a batch: its requests are sent again when the run is resumed. The provider may still answer and bill them,
 * so they are recorded at their maximum possible cost. Fails while the run is active, because it would keep waiting for
 * the batch.
 */
export const forget = Effect.fnUntraced(function* (
  store: Store.Service,
  batch: BatchRepo.StoredBatch
): Effect.fn.Return<void, AiError.AiError> {
  const { runName } = batch
  const run = runName === undefined ? undefined : yield* Effect.orElseSucceed(store.runs.find(runName), () => undefined)
  if (run?.status === "running") return yield* BatchFailure.busy(batch)
  const at = yield* Clock.currentTimeMillis
  const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
  for (const { most, row, state, step } of lines) {
    if (batch.run === undefined || batch.state === "ready" || state !== "waiting") continue
    store.ledger.append(batch.run, {
      _tag: "Attempt",
      caller: { run: runName ?? "", step, row },
      at: batch.sentAt ?? batch.createdAt,
      milliseconds: 0,
      provider: batch.provider,
      model: batch.model,
      serviceTier: "batch",
      usage: { ...Usage.zero, uncachedInput: most.input, output: most.output },
      ...(most.cost === undefined ? { cost: undefined, unknown: "price" } : { cost: most.cost }),
      estimated: true,
      error: "its batch was abandoned: the provider may bill it"
    })
  }
  yield* BatchFailure.stored(store, store.commit)
  yield* BatchFailure.stored(store, store.batches.forget(batch.id, at))
})

/** Opens the providers at the bottom of a flow's stack. */
export const open = Effect.fnUntraced(function* (
  flow: Flow.Any
): Effect.fn.Return<Batches, AiError.AiError | Pricing.PriceError, Flow.Host | Scope.Scope> {
  const store = yield* Store.Store
  const fs = yield* FileSystem.FileSystem
  const pricing = yield* Pricing.override(yield* Pricing.Pricing, flow.prices)
  const { client } = yield* Effect.mapError(
    Effect.provideService(FlowContext.services(flow, { batch: "off" }), Pricing.Pricing, pricing),
    (error) => error as AiError.AiError
  )
  const providers = client?.batch?.all ?? []
  if (providers.length === 0) {
    return yield* AiError.make({
      module: "Batches",
      method: "open",
      reason: new AiError.InvalidRequestError({ description: `flow ${flow.name}: its provider has no batch API` })
    })
  }
  const providerOf = (batch: BatchRepo.StoredBatch): Effect.Effect<BatchProvider.BatchProvider, AiError.AiError> => {
    const named = providers.filter(({ name }) => name === batch.provider)
    const provider = named.find(({ account }) => account.id === batch.account) ?? named[0]
    return provider === undefined
      ? Effect.fail(
          BatchFailure.invalid(
            `batch ${batch.name} was sent to ${batch.provider}, which flow ${flow.name} no longer uses`
          )
        )
      : Effect.succeed(provider)
  }
  const job = (batch: BatchRepo.StoredBatch, provider: BatchProvider.BatchProvider) =>
    BatchJob.make(
      batch,
      {
        provider,
        store,
        pricing,
        fs,
        polling: {},
        uploading: (effect) => effect,
        collecting: (effect) => effect,
        admit: () => Effect.void,
        refused: () => Effect.succeed(false),
        count: () => {},
        onTaken: () => {},
        onOver: () => {}
      },
      undefined
    )
  /** A batch whose process died while creating it: found at the provider, and never created here. */
  const adopt = Effect.fnUntraced(function* (batch: BatchRepo.StoredBatch, provider: BatchProvider.BatchProvider) {
    const others = yield* BatchFailure.stored(store, store.batches.remotes(batch.provider, 0))
    const found = yield* provider.find({ ...batch, at: batch.createdAt, others })
    if (found === undefined || found === "undecided") return { batch, status: undefined }
    const changes = { state: "sent" as const, remote: found.id, sentAt: batch.createdAt }
    yield* BatchFailure.stored(store, store.batches.update(batch.id, changes))
    if (found.state !== "ended" && found.state !== "rejected") return { batch: { ...batch, ...changes }, status: found }
    const one = job({ ...batch, ...changes }, provider)
    yield* one.done
    return { batch: one.batch(), status: found }
  })

  return {
    providers,
    list: Effect.map(BatchFailure.stored(store, store.batches.open(undefined)), (all) =>
      all.filter((batch) => providers.some(({ name }) => name === batch.provider))
    ),
    collect: (batch) =>
      Effect.gen(function* () {
        if (batch.state !== "sent" && batch.state !== "gone" && batch.state !== "creating")
          return { batch, status: undefined }
        const provider = yield* providerOf(batch)
        if (batch.state === "creating") return yield* adopt(batch, provider)
        const status = yield* provider.status(batch.remote!)
        // The job also reports a batch that the provider no longer knows.
        if (status !== undefined && status.state !== "ended" && status.state !== "rejected") return { batch, status }
        const one = job(batch, provider)
        yield* one.done
        return { batch: one.batch(), status }
      }),
    cancel: (batch) => Effect.flatMap(providerOf(batch), (provider) => job(batch, provider).cancel)
  }
})
