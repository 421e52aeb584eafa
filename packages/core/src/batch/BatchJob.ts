/**
 * One batch from its file on disk to its results in the store. Whatever was done by an earlier process is found again and
 * gone on with: a batch is never created twice.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Schedule from "effect/Schedule"
import type * as SqlError from "effect/sql/SqlError"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchRepo from "./BatchRepo.ts"
import * as BatchResults from "./BatchResults.ts"

/** Back-off of the polls. */
export interface Polling {
  /** Default: 1 second. */
  readonly first?: Duration.Input
  /** Default: 1 minute. */
  readonly most?: Duration.Input
}

export interface Environment extends BatchResults.Environment {
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
  readonly admit: (batch: BatchRepo.Batch) => Effect.Effect<void>
  /** The account refused a batch for its waiting tokens: whether it is worth waiting for room. */
  readonly refused: (batch: BatchRepo.Batch, message: string) => Effect.Effect<boolean>
}

export interface BatchJob {
  readonly batch: () => BatchRepo.Batch
  /** What the provider said last. */
  readonly status: () => BatchProvider.Status | undefined
  readonly isSent: () => boolean
  /** Ends when its results are in the store, or there will be none. */
  readonly done: Effect.Effect<void, AiError.AiError>
  readonly cancel: Effect.Effect<void, AiError.AiError>
}

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

/** How often a call of the batch API is tried, in all. */
const ATTEMPTS = 8

/** Longest wait that a provider may ask for between two looks. */
const MAX_WAIT = Duration.minutes(10)

/** How often a batch is tried to be created while the network or the provider is in trouble. */
const TRIES = 6

/** How often it is looked what has become of a batch that somebody else sends, or may have sent. */
export const LOOK = "5 seconds"

/** How long a provider may take to show what was created while a process died. */
const SETTLE = "3 seconds"

/** Batches that were made so long before, in milliseconds, cannot be taken for one. */
const SIBLINGS = 60 * 60_000

/** How long a provider may not know what was just made, in milliseconds. */
const FRESH = 60_000

/** How often results are read again that have less than the provider counts: about two minutes at the usual pace. */
const LOOKS = 10

/** A batch that is to be brought to its end; nothing is done before `done` is run. */
export const make = (
  initial: BatchRepo.Batch,
  env: Environment,
  /** What is told of the end of each request; `undefined`: an earlier process made the batch. */
  own: BatchResults.Ends | undefined
): BatchJob => {
  const { provider, store } = env
  const repo = store.batches
  const patiently = patience(env.attempts)
  let batch = initial
  let status: BatchProvider.Status | undefined
  const ends = own ?? []
  /** Whether an earlier process may have gone further than it could note. */
  let inherited = own === undefined
  let tries = 0
  let isCancelled = false
  /** Whether this process has created it: a provider may not know at once what it has just made. */
  let isMadeHere = false
  /** Whether it was seen before anybody cancelled it. */
  let wasRunning = false

  const stored = <A>(effect: Effect.Effect<A, SqlError.SqlError>) => BatchFailure.stored(store, effect)
  const update = (changes: Parameters<BatchRepo.BatchRepo["update"]>[1]) =>
    Effect.map(stored(repo.update(batch.id, changes)), () => {
      batch = { ...batch, ...changes }
    })

  const toJob = (): BatchProvider.Job => ({
    name: batch.name,
    file: batch.file,
    endpoint: batch.endpoint,
    model: batch.model,
    requests: batch.requests,
    at: batch.createdAt,
    uploaded: batch.uploaded
  })

  const upload = Effect.gen(function* () {
    if (provider.upload === undefined || batch.uploaded !== undefined) return
    const { findUpload, upload } = provider
    const known = inherited && findUpload !== undefined ? yield* patiently(findUpload(toJob())) : undefined
    if (known === undefined && !(yield* Effect.orElseSucceed(env.fs.exists(batch.file), () => false))) {
      // Another machine wrote it, or it was cleared away: its rows are gathered anew.
      return yield* drop
    }
    yield* update({ uploaded: known ?? (yield* patiently(upload(toJob()))) })
  })

  /** Nothing was sent: its rows are asked again. */
  const drop = Effect.gen(function* () {
    yield* stored(repo.release(batch.id, "uncounted"))
    yield* update({ state: "rejected", endedAt: yield* Clock.currentTimeMillis, message: "it was not sent" })
    yield* finish
  })

  /** What was created while an earlier process, or an earlier call, ended without a word. */
  const find: Effect.Effect<BatchProvider.Status | undefined, AiError.AiError> = Effect.gen(function* () {
    for (;;) {
      const others = yield* stored(repo.remotes(batch.provider, batch.createdAt - SIBLINGS))
      const found = yield* patiently(provider.find({ ...toJob(), others }))
      if (found !== "undecided") return found
      yield* Effect.sleep(LOOK)
    }
  })

  /** Nothing is created again before it was looked for twice. */
  const findTwice = Effect.flatMap(find, (found) =>
    found !== undefined ? Effect.succeed(found) : Effect.andThen(Effect.sleep(SETTLE), find)
  )

  const create: Effect.Effect<BatchProvider.Status, AiError.AiError> = Effect.gen(function* () {
    if (batch.state === "creating" && inherited) {
      yield* Effect.sleep(SETTLE)
      const found = yield* findTwice
      if (found !== undefined) return found
    }
    if (provider.upload === undefined && !(yield* Effect.orElseSucceed(env.fs.exists(batch.file), () => false))) {
      return gone
    }
    yield* update({ state: "creating" })
    return yield* Effect.catch(provider.create(toJob()), (error) =>
      Effect.gen(function* () {
        if (BatchFailure.isQuota(error)) {
          return {
            id: "",
            state: "rejected",
            answered: 0,
            failed: 0,
            files: [],
            rejection: { kind: "quota", message: ModelFailure.message(error), lines: [] }
          } as const
        }
        if (!ModelFailure.isRetryable(error) || ++tries > TRIES) return yield* error
        // It may have been created all the same, and be shown late.
        yield* Effect.sleep(Duration.min(ModelFailure.retryAfter(error) ?? Duration.fromInputUnsafe(SETTLE), MAX_WAIT))
        if (ModelFailure.kind(error) === "rate") return yield* Effect.suspend(() => create)
        return (yield* findTwice) ?? (yield* Effect.suspend(() => create))
      })
    )
  })

  /** Goes on with what an earlier process has left, when no other does. */
  const claim: Effect.Effect<void, AiError.AiError> = Effect.gen(function* () {
    for (;;) {
      const claimed = yield* stored(repo.claim(batch.id))
      batch = claimed.batch ?? batch
      if (claimed.isMine || !BatchRepo.isUnsent(batch)) return
      yield* Effect.sleep(LOOK)
    }
  })

  const send: Effect.Effect<void, AiError.AiError> = Effect.gen(function* () {
    if (inherited && BatchRepo.isUnsent(batch)) yield* claim
    if (!BatchRepo.isUnsent(batch)) return
    yield* env.uploading(upload)
    if (!BatchRepo.isUnsent(batch)) return
    yield* env.admit(batch)
    if (!BatchRepo.isUnsent(batch)) return
    const made = yield* create
    if (made === gone) return yield* drop
    inherited = false
    isMadeHere = true
    status = made
    if (made.state === "rejected") return yield* reject(made)
    yield* update({ state: "sent", remote: made.id, sentAt: yield* Clock.currentTimeMillis })
    if (isCancelled) yield* patiently(provider.cancel(made.id))
  })

  const isOver = () => batch.state === "collected" || batch.state === "rejected" || batch.state === "gone"

  const reject = (made: BatchProvider.Status): Effect.Effect<void, AiError.AiError> =>
    Effect.gen(function* () {
      const { kind, lines, message } = made.rejection!
      if (kind === "quota" && (yield* env.refused(batch, message))) {
        // The file is still there: the same batch is created anew when there is room.
        yield* update({ state: "ready", message })
        return yield* send
      }
      if (kind === "invalid") yield* BatchResults.refuse(batch, { lines, message }, env)
      yield* stored(repo.release(batch.id, kind === "quota" && batch.requests === 1 ? "counted" : "uncounted"))
      yield* update({
        state: "rejected",
        remote: made.id === "" ? undefined : made.id,
        endedAt: yield* Clock.currentTimeMillis,
        message
      })
      if (kind === "invalid") yield* Effect.logWarning(`batch ${batch.name} was rejected: ${message}`)
      yield* finish
    })

  /** What nobody has told the end of has no end that costs. */
  const finish = Effect.suspend(() => {
    for (const end of ends) end?.({ billed: "no" })
    ends.length = 0
    env.onOver(batch)
    const { file, uploaded } = batch
    const removed =
      uploaded === undefined || provider.removeUpload === undefined ? Effect.void : provider.removeUpload(uploaded)
    return Effect.andThen(Effect.ignore(env.fs.remove(file)), Effect.ignore(removed))
  })

  const poll: Effect.Effect<BatchProvider.Status | undefined, AiError.AiError> = Effect.gen(function* () {
    let pause = Duration.fromInputUnsafe(env.polling.first ?? "1 second")
    const most = Duration.fromInputUnsafe(env.polling.most ?? "1 minute")
    for (;;) {
      const now = yield* patiently(provider.status(batch.remote!))
      if (now === undefined) {
        const isFresh = isMadeHere && (yield* Clock.currentTimeMillis) - (batch.sentAt ?? 0) < FRESH
        if (!isFresh) return undefined
        yield* Effect.sleep(pause)
        continue
      }
      status = now
      wasRunning ||= now.state === "running"
      if (batch.state === "gone") yield* update({ state: "sent", endedAt: undefined })
      if (now.state === "ended" || now.state === "rejected") return now
      yield* Effect.sleep(pause)
      pause = Duration.min(Duration.times(pause, 1.5), most)
    }
  })

  /** Reads the results until all that the provider counts is there; what it counts and does not give stops it. */
  const reconcile = Effect.fnUntraced(function* (first: BatchProvider.Status) {
    let pause = Duration.fromInputUnsafe(env.polling.first ?? "1 second")
    let ended = first
    for (let look = 1; ; look++) {
      // Who waits for it takes the word of whoever cancelled it: what is left is sent again when it is asked for anew.
      const unanswered =
        ended.isCancelled === true && (wasRunning || isMadeHere) && !isCancelled
          ? BatchFailure.cancelled(batch)
          : undefined
      const sums = yield* env.collecting(patiently(BatchResults.collect(batch, ended, env, ends, unanswered)))
      if (sums.owed === 0) return sums
      // Lines that cannot be read do not become readable: a second look is enough.
      if (look >= LOOKS || (sums.unreadable.length >= sums.owed && look > 1)) {
        if (sums.unreadable.length < sums.owed) return yield* BatchFailure.incomplete(batch, sums.owed)
        const given = yield* BatchResults.giveUp(batch, sums.unreadable, env, ends)
        return { ...sums, failed: sums.failed + given, owed: 0 }
      }
      yield* Effect.sleep(pause)
      pause = Duration.times(pause, 1.5)
      const now = yield* patiently(provider.status(batch.remote!))
      if (now?.state === "ended") status = ended = now
    }
  })

  const collect: Effect.Effect<void, AiError.AiError> = Effect.gen(function* () {
    // One that was not found is looked for again: the key may be the right one now.
    if (batch.state !== "sent" && batch.state !== "gone") return
    const ended = yield* poll
    if (ended === undefined) {
      yield* update({ state: "gone", endedAt: yield* Clock.currentTimeMillis })
      return yield* BatchFailure.gone(batch, provider.account)
    }
    if (ended.state === "rejected") {
      yield* reject(ended)
      return yield* collect
    }
    const sums = yield* reconcile(ended)
    yield* update({
      state: "collected",
      endedAt: yield* Clock.currentTimeMillis,
      answered: sums.answered,
      failed: sums.failed
    })
    yield* finish
  })

  return {
    batch: () => batch,
    status: () => status,
    isSent: () => batch.state === "sent" || isOver(),
    done: Effect.andThen(
      Effect.suspend(() => send),
      collect
    ),
    cancel: Effect.suspend(() => {
      isCancelled = true
      // Another process that is about to send it does not look again.
      if (batch.state === "ready") {
        return Effect.flatMap(stored(repo.claim(batch.id)), ({ isMine }) =>
          isMine ? drop : Effect.fail(BatchFailure.busy(batch))
        )
      }
      return batch.state === "sent" ? patiently(provider.cancel(batch.remote!)) : Effect.void
    })
  }
}

/** Stands for a batch whose file is gone. */
const gone: BatchProvider.Status = { id: "", state: "rejected", answered: 0, failed: 0, files: [] }
