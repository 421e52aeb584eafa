/**
 * A batch from its file on disk to its results in the store. It continues from whatever an earlier process has done: a
 * batch is never created twice.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as BatchPolling from "./BatchPolling.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchJobState from "./BatchJobState.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchRepo from "./BatchRepo.ts"
import type * as BatchResults from "./BatchResults.ts"
import * as BatchCreation from "./BatchCreation.ts"

export interface BatchJob {
  readonly batch: () => BatchRepo.StoredBatch
  /** The provider's last status. */
  readonly status: () => BatchProvider.BatchStatus | undefined
  readonly isSent: () => boolean
  /** Ends when its results are in the store, or there will be none. */
  readonly done: Effect.Effect<void, AiError.AiError>
  readonly cancel: Effect.Effect<void, AiError.AiError>
}

/** A batch to bring to its end. Nothing happens before `done` runs. */
export const make = (
  batch: BatchRepo.StoredBatch,
  env: BatchJobState.BatchJobEnvironment,
  /** The callbacks for the end of each request; `undefined` when an earlier process made the batch. */
  own: BatchResults.Ends | undefined
): BatchJob => {
  const job = BatchJobState.make(batch, env, own)
  return {
    batch: () => job.batch,
    status: () => job.status,
    isSent: () => ["sent", "collected", "rejected", "gone"].includes(job.batch.state),
    done: Effect.andThen(
      Effect.suspend(() => BatchCreation.send(job)),
      Effect.suspend(() => BatchPolling.collect(job))
    ),
    cancel: Effect.suspend(() => {
      job.isCancelled = true
      // A process that is about to send it does not check again.
      if (job.batch.state === "ready") {
        return Effect.flatMap(job.stored(job.repo.claim(job.batch.id)), ({ isMine }) =>
          isMine ? BatchCreation.drop(job) : Effect.fail(BatchFailure.busy(job.batch))
        )
      }
      return job.batch.state === "sent" ? job.patiently(env.provider.cancel(job.batch.remote!)) : Effect.void
    })
  }
}
