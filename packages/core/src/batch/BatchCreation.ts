/**
 * Sends a batch to its provider: uploads its file and creates it, exactly once, whatever an earlier process or call has
 * done already.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ModelFailure from "../model/ModelFailure.ts"
import { finish, type JobState, MAX_WAIT, update } from "./BatchJobState.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchRepo from "./BatchRepo.ts"
import * as BatchResults from "./BatchResults.ts"

/** Attempts to create a batch while the network or the provider is failing. */
const TRIES = 6

/** How often a batch is polled that another process sends, or may have sent. */
export const LOOK = "5 seconds"

/** How long a provider may take to list a batch that was created while a process died. */
const SETTLE = "3 seconds"

/** Batches created this many milliseconds earlier cannot be the same batch. */
const SIBLINGS = 60 * 60_000

/** Represents a batch whose file is gone. */
const gone: BatchProvider.BatchStatus = { id: "", state: "rejected", answered: 0, failed: 0, files: [] }

const toJob = (job: JobState): BatchProvider.Job => ({
  name: job.batch.name,
  file: job.batch.file,
  endpoint: job.batch.endpoint,
  model: job.batch.model,
  requests: job.batch.requests,
  at: job.batch.createdAt,
  uploaded: job.batch.uploaded
})

const upload = (job: JobState) =>
  Effect.gen(function* () {
    if (job.env.provider.upload === undefined || job.batch.uploaded !== undefined) return
    const { findUpload, upload } = job.env.provider
    const known = job.inherited && findUpload !== undefined ? yield* job.patiently(findUpload(toJob(job))) : undefined
    if (known === undefined && !(yield* Effect.orElseSucceed(job.env.fs.exists(job.batch.file), () => false))) {
      // Another machine wrote the file, or it was deleted: its rows are gathered again.
      return yield* drop(job)
    }
    yield* update(job, { uploaded: known ?? (yield* job.patiently(upload(toJob(job)))) })
  })

/** Nothing was sent: its rows send their requests again. */
export const drop = (job: JobState) =>
  Effect.gen(function* () {
    yield* job.stored(job.repo.release(job.batch.id, "uncounted"))
    yield* update(job, { state: "rejected", endedAt: yield* Clock.currentTimeMillis, message: "it was not sent" })
    yield* finish(job)
  })

/** The batch that an earlier process or call may have created before it ended. */
const find = (job: JobState): Effect.Effect<BatchProvider.BatchStatus | undefined, AiError.AiError> =>
  Effect.gen(function* () {
    for (;;) {
      const others = yield* job.stored(job.repo.remotes(job.batch.provider, job.batch.createdAt - SIBLINGS))
      const found = yield* job.patiently(job.env.provider.find({ ...toJob(job), others }))
      if (found !== "undecided") return found
      yield* Effect.sleep(LOOK)
    }
  })

/** A batch is created again only after two searches for it. */
const findTwice = (job: JobState) =>
  Effect.flatMap(find(job), (found) =>
    found !== undefined ? Effect.succeed(found) : Effect.andThen(Effect.sleep(SETTLE), find(job))
  )

const create = (job: JobState): Effect.Effect<BatchProvider.BatchStatus, AiError.AiError> =>
  Effect.gen(function* () {
    if (job.batch.state === "creating" && job.inherited) {
      yield* Effect.sleep(SETTLE)
      const found = yield* findTwice(job)
      if (found !== undefined) return found
    }
    if (
      job.env.provider.upload === undefined
      && !(yield* Effect.orElseSucceed(job.env.fs.exists(job.batch.file), () => false))
    ) {
      return gone
    }
    yield* update(job, { state: "creating" })
    return yield* Effect.catch(job.env.provider.create(toJob(job)), (error) =>
      Effect.gen(function* () {
        if (!ModelFailure.isRetryable(error) || ++job.tries > TRIES) return yield* error
        // It may exist all the same, and be listed late.
        yield* Effect.sleep(Duration.min(ModelFailure.retryAfter(error) ?? Duration.fromInputUnsafe(SETTLE), MAX_WAIT))
        if (ModelFailure.kind(error) === "rate") return yield* Effect.suspend(() => create(job))
        return (yield* findTwice(job)) ?? (yield* Effect.suspend(() => create(job)))
      })
    )
  })

/** Continues what an earlier process has left, unless another one does. */
const claim = (job: JobState): Effect.Effect<void, AiError.AiError> =>
  Effect.gen(function* () {
    for (;;) {
      const claimed = yield* job.stored(job.repo.claim(job.batch.id))
      job.batch = claimed.batch ?? job.batch
      if (claimed.isMine || !BatchRepo.isUnsent(job.batch)) return
      yield* Effect.sleep(LOOK)
    }
  })

/** Sends a batch to the provider, unless it has been sent. */
export const send = (job: JobState): Effect.Effect<void, AiError.AiError> =>
  Effect.gen(function* () {
    if (job.inherited && BatchRepo.isUnsent(job.batch)) yield* claim(job)
    if (!BatchRepo.isUnsent(job.batch)) return
    yield* job.env.uploading(upload(job))
    if (!BatchRepo.isUnsent(job.batch)) return
    yield* job.env.admit(job.batch)
    if (!BatchRepo.isUnsent(job.batch)) return
    const made = yield* create(job)
    if (made === gone) return yield* drop(job)
    job.inherited = false
    job.isMadeHere = true
    job.status = made
    if (made.state === "rejected") return yield* reject(job, made)
    yield* update(job, { state: "sent", remote: made.id, sentAt: yield* Clock.currentTimeMillis })
    if (job.isCancelled) yield* job.patiently(job.env.provider.cancel(made.id))
  })

/** The provider rejected the batch: requests at fault fail with the reason, and the others are sent again. */
export const reject = (job: JobState, made: BatchProvider.BatchStatus): Effect.Effect<void, AiError.AiError> =>
  Effect.gen(function* () {
    const { kind, limit, lines, message } = made.rejection!
    if (kind === "quota" && (yield* job.env.refused(job.batch, limit))) {
      // The file still exists: the same batch is created again when there is room.
      yield* update(job, { state: "ready", message })
      return yield* send(job)
    }
    if (kind === "invalid") yield* BatchResults.refuse(job.batch, { lines, message }, job.env)
    yield* job.stored(
      job.repo.release(job.batch.id, kind === "quota" && job.batch.requests === 1 ? "counted" : "uncounted")
    )
    yield* update(job, {
      state: "rejected",
      remote: made.id === "" ? undefined : made.id,
      endedAt: yield* Clock.currentTimeMillis,
      message
    })
    if (kind === "invalid") yield* Effect.logWarning(`batch ${job.batch.name} was rejected: ${message}`)
    yield* finish(job)
  })
