/**
 * Polls a batch until it has ended, and reads its results until all are there.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as BatchFailure from "./BatchFailure.ts"
import { finish, type JobState, update } from "./BatchJobState.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchResults from "./BatchResults.ts"
import * as BatchCreation from "./BatchCreation.ts"

/** How long a provider may not know a new batch, in milliseconds. */
const FRESH = 60_000

/**
 * How often results with fewer answers than the provider counts are read again: about two minutes at the usual
 * interval.
 */
const LOOKS = 10

/** Each pause is longer than the one before by this factor: results are seen within a fifth of the time they took. */
const SLOWER = 1.2

const poll = (job: JobState): Effect.Effect<BatchProvider.BatchStatus | undefined, AiError.AiError> =>
  Effect.gen(function* () {
    const first = Duration.fromInputUnsafe(job.env.polling.first ?? "1 second")
    let pause = first
    const most = Duration.fromInputUnsafe(job.env.polling.most ?? "1 minute")
    for (;;) {
      const now = yield* job.patiently(job.env.provider.status(job.batch.remote!))
      if (now === undefined) {
        const isFresh = job.isMadeHere && (yield* Clock.currentTimeMillis) - (job.batch.sentAt ?? 0) < FRESH
        if (!isFresh) return undefined
        yield* Effect.sleep(pause)
        continue
      }
      job.status = now
      job.wasRunning ||= now.state === "running"
      if (job.batch.state === "gone") yield* update(job, { state: "sent", endedAt: undefined })
      if (now.state === "ended" || now.state === "rejected") return now
      yield* Effect.sleep(Duration.min(pause, Duration.max(first, soonest(job, now, yield* Clock.currentTimeMillis))))
      pause = Duration.min(Duration.times(pause, SLOWER), most)
    }
  })

/** A third of the time that a batch needs at its pace so far: a batch that is nearly done is polled more often. */
const soonest = (
  { batch }: JobState,
  { answered, failed }: BatchProvider.BatchStatus,
  now: number
): Duration.Duration => {
  const ended = answered + failed
  // Where all are counted, the provider is at something else.
  return ended === 0 || ended >= batch.requests || batch.sentAt === undefined
    ? Duration.infinity
    : Duration.millis((((now - batch.sentAt) / ended) * (batch.requests - ended)) / 3)
}

/**
 * Reads the results until every answer that the provider counts is there. Answers that it counts but does not return
 * stop the batch.
 */
const reconcile = Effect.fnUntraced(function* (job: JobState, first: BatchProvider.BatchStatus) {
  let pause = Duration.fromInputUnsafe(job.env.polling.first ?? "1 second")
  let ended = first
  for (let look = 1; ; look++) {
    // A cancelled batch ends for everyone who waits for it. What is left is sent again on the next run.
    const unanswered =
      ended.isCancelled === true && (job.wasRunning || job.isMadeHere) && !job.isCancelled
        ? BatchFailure.cancelled(job.batch)
        : undefined
    const sums = yield* job.env.collecting(
      job.patiently(BatchResults.collect(job.batch, ended, job.env, job.ends, unanswered))
    )
    if (sums.owed === 0) return sums
    // Unreadable lines do not become readable: a second read is enough.
    if (look >= LOOKS || (sums.unreadable.length >= sums.owed && look > 1)) {
      if (sums.unreadable.length < sums.owed) return yield* BatchFailure.incomplete(job.batch, sums.owed)
      const given = yield* BatchResults.giveUp(job.batch, sums.unreadable, job.env, job.ends)
      return { ...sums, failed: sums.failed + given, owed: 0 }
    }
    yield* Effect.sleep(pause)
    pause = Duration.times(pause, 1.5)
    const now = yield* job.patiently(job.env.provider.status(job.batch.remote!))
    if (now?.state === "ended") job.status = ended = now
  }
})

/** Stores the results of a batch that was sent. */
export const collect = (job: JobState): Effect.Effect<void, AiError.AiError> =>
  Effect.gen(function* () {
    // A batch that was not found is looked up again: the key may be the right one now.
    if (job.batch.state !== "sent" && job.batch.state !== "gone") return
    const ended = yield* poll(job)
    if (ended === undefined) {
      yield* update(job, { state: "gone", endedAt: yield* Clock.currentTimeMillis })
      return yield* BatchFailure.gone(job.batch, job.env.provider.account)
    }
    if (ended.state === "rejected") {
      yield* BatchCreation.reject(job, ended)
      return yield* collect(job)
    }
    const sums = yield* reconcile(job, ended)
    yield* update(job, {
      state: "collected",
      endedAt: yield* Clock.currentTimeMillis,
      answered: sums.answered,
      failed: sums.failed
    })
    yield* finish(job)
  })
