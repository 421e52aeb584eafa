/**
 * What is known of a batch on its way to its results, and what its steps have in common.
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
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchRepo from "./BatchRepo.ts"
import type * as BatchResults from "./BatchResults.ts"

/** Back-off of the polls. */
export interface Polling {
  /** Default: 1 second. */
  readonly first?: Duration.Input
  /** Default: 1 minute. */
  readonly most?: Duration.Input
}

export interface BatchJobEnvironment extends BatchResults.ResultsEnvironment {
  readonly provider: BatchProvider.BatchProvider
  readonly store: Store.Service
  readonly fs: FileSystem.FileSystem
  readonly polling: Polling
  /** How often a call of the batch API is tried, in all. Default: 8. */
  readonly attempts?: number | undefined
  /** One file goes up at a time. */
  readonly uploading: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** The lines of few batches are in memory at a time. */
  readonly collecting: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Waits until the account may have so many more tokens waiting. */
  readonly admit: (batch: BatchRepo.StoredBatch) => Effect.Effect<void>
  /** The account refused a batch for its waiting tokens, of which it may have `limit`: whether it is worth waiting for room. */
  readonly refused: (batch: BatchRepo.StoredBatch, limit: number | undefined) => Effect.Effect<boolean>
}

/** A batch on its way. */
export interface JobState {
  readonly env: BatchJobEnvironment
  readonly repo: BatchRepo.BatchRepo
  /** Tries a call again while the network or the provider is in trouble. */
  readonly patiently: <A>(effect: Effect.Effect<A, AiError.AiError>) => Effect.Effect<A, AiError.AiError>
  readonly stored: <A>(effect: Effect.Effect<A, SqlError.SqlError>) => Effect.Effect<A, AiError.AiError>
  /** What is told of the end of each request; empty once it was told, and where an earlier process made the batch. */
  readonly ends: BatchResults.Ends
  batch: BatchRepo.StoredBatch
  /** What the provider said last. */
  status: BatchProvider.BatchStatus | undefined
  /** Whether an earlier process may have gone further than it could note. */
  inherited: boolean
  /** How often it was tried to be created. */
  tries: number
  isCancelled: boolean
  /** Whether this process has created it: a provider may not know at once what it has just made. */
  isMadeHere: boolean
  /** Whether it was seen before anybody cancelled it. */
  wasRunning: boolean
}

/** `own`: what is told of the end of each request; `undefined`: an earlier process made the batch. */
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

/** How often a call of the batch API is tried, in all. */
const ATTEMPTS = 8

/** Longest wait that a provider may ask for between two looks. */
export const MAX_WAIT = Duration.minutes(10)

/** Tries a call again while the network or the provider is in trouble. */
const patience =
  (attempts = ATTEMPTS) =>
  <A>(effect: Effect.Effect<A, AiError.AiError>): Effect.Effect<A, AiError.AiError> =>
    Effect.retry(effect, {
      while: ModelFailure.isRetryable,
      schedule: Schedule.exponential("1 second").pipe(
        Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30)))),
        Schedule.jittered,
        Schedule.setInputType<AiError.AiError>(),
        // A provider that says when it has room again is not called before.
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

/** What nobody has told the end of has no end that costs. */
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
