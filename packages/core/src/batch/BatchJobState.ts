/**
 * The state of a batch, and what the steps of its processing share.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Schedule from "effect/Schedule"
import type * as SqlError from "effect/sql/SqlError"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import type { Polling } from "./BatchOptions.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchRepo from "./BatchRepo.ts"
import type * as BatchResults from "./BatchResults.ts"

export interface BatchJobEnvironment extends BatchResults.ResultsEnvironment {
  readonly provider: BatchProvider.BatchProvider
  readonly store: Store.Service
  readonly fs: FileSystem.FileSystem
  readonly polling: Polling
  /** Attempts of a batch API call. Default: 8. */
  readonly attempts?: number | undefined
  /** Uploads one file at a time. */
  readonly uploading: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Limits how many batches have their lines in memory. */
  readonly collecting: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Waits until the account has room for this many more enqueued tokens. */
  readonly admit: (batch: BatchRepo.StoredBatch) => Effect.Effect<void>
  /**
   * The account refused a batch because of its enqueued tokens, of which it may have `limit`. Returns whether to wait
   * for room.
   */
  readonly refused: (batch: BatchRepo.StoredBatch, limit: number | undefined) => Effect.Effect<boolean>
}

/** A batch in progress. */
export interface JobState {
  readonly env: BatchJobEnvironment
  readonly repo: BatchRepo.BatchRepo
  /** Retries a call while the network or the provider is failing. */
  readonly patiently: <A>(effect: Effect.Effect<A, AiError.AiError>) => Effect.Effect<A, AiError.AiError>
  readonly stored: <A>(effect: Effect.Effect<A, SqlError.SqlError>) => Effect.Effect<A, AiError.AiError>
  /**
   * The callbacks for the end of each request. Empty once they were called, and when an earlier process made the batch.
   */
  readonly ends: BatchResults.Ends
  batch: BatchRepo.StoredBatch
  /** The provider's last status. */
  status: BatchProvider.BatchStatus | undefined
  /** Whether an earlier process may have gone further than it recorded. */
  inherited: boolean
  /** Attempts to create it. */
  tries: number
  isCancelled: boolean
  /** Whether this process created it: a provider may not list a new batch at once. */
  isMadeHere: boolean
  /** Whether it was seen running before it was cancelled. */
  wasRunning: boolean
}

/** `own` has the callbacks for the end of each request; `undefined` when an earlier process made the batch. */
export const make = (
  batch: BatchRepo.StoredBatch,
  env: BatchJobEnvironment,
  own: BatchResults.Ends | undefined
): JobState => ({
  env,
  repo: env.store.batches,
  patiently: patience(env.attempts),
  stored: (effect) => BatchFailure.stored(env.store, effect),
  ends: own ?? [],
  batch,
  status: undefined,
  inherited: own === undefined,
  tries: 0,
  isCancelled: false,
  isMadeHere: false,
  wasRunning: false
})

/** The attempts of a batch API call. */
const ATTEMPTS = 8

/** The longest wait between two polls that a provider may ask for. */
export const MAX_WAIT = Duration.minutes(10)

/** Retries a call while the network or the provider is failing. */
const patience =
  (attempts = ATTEMPTS) =>
  <A>(effect: Effect.Effect<A, AiError.AiError>): Effect.Effect<A, AiError.AiError> =>
    Effect.retry(effect, {
      while: ModelFailure.isRetryable,
      schedule: Schedule.exponential("1 second").pipe(
        Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30)))),
        Schedule.jittered,
        Schedule.setInputType<AiError.AiError>(),
        // When the provider names the time of its next capacity, it is not called before.
        Schedule.modifyDelay(({ duration, input }) =>
          Effect.succeed(
            Duration.max(duration, Duration.min(ModelFailure.retryAfter(input) ?? Duration.zero, MAX_WAIT))
          )
        ),
        Schedule.upTo({ times: attempts - 1 })
      )
    })

/** Changes the batch, in the store first. */
export const update = (job: JobState, changes: Parameters<BatchRepo.BatchRepo["update"]>[1]) =>
  Effect.map(job.stored(job.repo.update(job.batch.id, changes)), () => {
    job.batch = { ...job.batch, ...changes }
  })

/** Requests without a reported end have cost nothing. */
export const finish = (job: JobState) =>
  Effect.suspend(() => {
    for (const end of job.ends) end?.({ billed: "no" })
    job.ends.length = 0
    job.env.onOver(job.batch)
    const { file, uploaded } = job.batch
    const removed =
      uploaded === undefined || job.env.provider.removeUpload === undefined
        ? Effect.void
        : job.env.provider.removeUpload(uploaded)
    return Effect.andThen(Effect.ignore(job.env.fs.remove(file)), Effect.ignore(removed))
  })
