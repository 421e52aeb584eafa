/**
 * Decides whether a batch may be sent yet: an account may have only a limited number of tokens of a model enqueued, and the
 * provider names the limit when it refuses.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as BatchJob from "./BatchJob.ts"
import type * as BatchOptions from "./BatchOptions.ts"
import type * as BatchRepo from "./BatchRepo.ts"

export interface BatchCapacity {
  /** The tokens of a model that may be enqueued: configured, or learned from a refusal; `undefined` when not known. */
  readonly quotaOf: (model: string) => number | undefined
  /** Whether the account has room for a batch beside those that are enqueued. A single batch is always tried. */
  readonly has: (batch: BatchRepo.StoredBatch) => boolean
  /** Waits until there is room. */
  readonly admit: (batch: BatchRepo.StoredBatch) => Effect.Effect<void>
  /**
   * Learns from a refusal, and waits until another batch has ended, or for a while. Returns `false` when waiting is
   * pointless.
   */
  readonly refused: (batch: BatchRepo.StoredBatch, limit: number | undefined) => Effect.Effect<boolean>
  readonly wasRefused: (batch: BatchRepo.StoredBatch) => boolean
  /** A batch has ended: waiting batches try again. */
  readonly free: () => void
}

export const make = (options: {
  /** The tokens of one model that the account may have enqueued, when known. */
  readonly enqueuedTokens: number | undefined
  readonly polling: BatchOptions.Polling
  /** The batches that have not ended. */
  readonly open: () => ReadonlyArray<BatchJob.BatchJob>
}): BatchCapacity => {
  const quotas = new Map<string, number>()
  const refusals = new Map<number, number>()
  let room: Deferred.Deferred<void> = Deferred.makeUnsafe()

  const quotaOf = (model: string) => quotas.get(model) ?? options.enqueuedTokens
  const atProvider = (model: string) =>
    options.open().filter((job) => job.batch().model === model && job.batch().state === "sent")

  const has = (batch: BatchRepo.StoredBatch): boolean => {
    const quota = quotaOf(batch.model)
    const waiting = atProvider(batch.model)
    return (
      quota === undefined
      || waiting.length === 0
      || waiting.reduce((sum, job) => sum + job.batch().tokens, 0) + batch.tokens <= quota
    )
  }

  const admit = (batch: BatchRepo.StoredBatch): Effect.Effect<void> =>
    Effect.suspend(() => (has(batch) ? Effect.void : Effect.andThen(Deferred.await(room), admit(batch))))

  const refused = Effect.fnUntraced(function* (batch: BatchRepo.StoredBatch, limit: number | undefined) {
    const others = atProvider(batch.model)
    const count = (refusals.get(batch.id) ?? 0) + 1
    refusals.set(batch.id, count)
    const learned = [
      ...(limit !== undefined && limit > 0 ? [limit] : []),
      // It is alone and still refused: the provider counts more tokens than we do.
      ...(others.length === 0 && count > 2 ? [Math.max(1, Math.floor(batch.tokens / 2))] : [])
    ]
    if (learned.length > 0)
      quotas.set(batch.model, Math.min(quotaOf(batch.model) ?? Number.POSITIVE_INFINITY, ...learned))
    const quota = quotaOf(batch.model)
    if (quota !== undefined && batch.tokens > quota && batch.requests > 1) {
      yield* Effect.logWarning(
        `batch ${batch.name}: the account may have ${quota} tokens of ${batch.model} enqueued, and this batch has ${batch.tokens}: it is split`
      )
      return false
    }
    // A single request that never has room cannot go in a batch.
    if (batch.requests === 1 && others.length === 0 && count > 3) return false
    // The provider may still count a batch that has just ended.
    const pause = Duration.times(Duration.fromInputUnsafe(options.polling.first ?? "1 second"), 5 * count)
    yield* others.length > 0 ? Deferred.await(room) : Effect.sleep(Duration.min(pause, Duration.minutes(1)))
    return true
  })

  return {
    quotaOf,
    has,
    admit,
    refused,
    wasRefused: ({ id }) => refusals.has(id),
    free: () => {
      const before = room
      room = Deferred.makeUnsafe()
      Deferred.doneUnsafe(before, Effect.void)
    }
  }
}
