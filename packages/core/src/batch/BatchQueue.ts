/**
 * All batches that the rows of a run wait for: gathers requests, follows their batches to their ends, and knows the
 * state of each request.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import type * as Scope from "effect/Scope"
import type * as Suspension from "../client/Suspension.ts"
import * as Money from "../price/Money.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import type * as BatchFileWriter from "./BatchFileWriter.ts"
import * as BatchBuilder from "./BatchBuilder.ts"
import * as ActiveBatches from "./ActiveBatches.ts"
import type * as BatchJob from "./BatchJob.ts"
import type * as BatchOptions from "./BatchOptions.ts"
import type * as BatchLine from "./BatchLine.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchRepo from "./BatchRepo.ts"
import * as BatchCapacity from "./BatchCapacity.ts"
import type * as BatchSplit from "./BatchSplit.ts"

export interface Options {
  readonly provider: BatchProvider.BatchProvider
  readonly store: Store.Service
  readonly pricing: Pricing.Service
  readonly fs: FileSystem.FileSystem
  readonly path: Path.Path
  /** The run whose rows wait; `undefined` when fibers wait. */
  readonly run: Suspension.SuspendedRun | undefined
  /** Limits below the provider's. */
  readonly limits: { readonly requests?: number | undefined; readonly bytes?: number | undefined }
  /** The tokens of one model that the account may have enqueued, when known. */
  readonly enqueuedTokens: number | undefined
  readonly polling: BatchOptions.Polling
  readonly attempts: number | undefined
  /** When results are no longer waited for, in milliseconds since 1970. */
  readonly deadline: number | undefined
}

/** The state of a request. */
export type QueuedRequest = { readonly state: "waiting" } | BatchLine.BatchLine

export interface BatchQueue extends Suspension.Holder {
  readonly find: (key: string) => Effect.Effect<QueuedRequest | undefined, AiError.AiError>
  /** Adds a request to the next batch. */
  readonly add: BatchBuilder.BatchBuilder["add"]
  /** Ends when a request is no longer waited for; for fibers that wait themselves. */
  readonly back: (key: string) => Effect.Effect<void, AiError.AiError>
  /** Keeps an answer that came from a single call, for a row that will be replayed. */
  readonly keep: (line: BatchLine.New & { readonly value: string }) => Effect.Effect<void, AiError.AiError>
  /**
   * Fails for an answer that is damaged in the store: it was paid for, and is sent again when the failed rows are
   * retried.
   */
  readonly spoiled: (line: BatchLine.BatchLine) => Effect.Effect<never, AiError.AiError>
  /** Whether this run uses no more batches. */
  readonly isOver: () => boolean
}

/**
 * How long cancelled batches may take to return their answers after a deadline: a quarter of the time they had, within
 * these bounds. OpenAI says 10 minutes at most.
 */
const CANCELLING = { least: 10_000, most: 15 * 60_000 }

/** After this long without a new request, the requests that fibers wait for are sent. */
const IDLE = "500 millis"

/** What the parts of a queue share. */
interface Parts {
  readonly options: Options
  readonly builder: BatchBuilder.BatchBuilder
  readonly jobs: ActiveBatches.ActiveBatches
  readonly capacity: BatchCapacity.BatchCapacity
}

export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<BatchQueue, AiError.AiError, Scope.Scope> {
  const { provider, run, store } = options
  const openedAt = yield* Clock.currentTimeMillis
  const folder = yield* folderOf(options)
  const capacity: BatchCapacity.BatchCapacity = BatchCapacity.make({ ...options, open: () => jobs.open() })
  const jobs: ActiveBatches.ActiveBatches = ActiveBatches.make({ ...options, capacity, scope: yield* Effect.scope })
  const builder = BatchBuilder.make({
    ...options,
    folder,
    limits: (model) => limitsOf(options, capacity.quotaOf(model)),
    seal: sealing(options, jobs)
  })
  const parts: Parts = { options, builder, jobs, capacity }
  if (run !== undefined) {
    for (const batch of yield* BatchFailure.stored(store, store.batches.open(run.id)))
      if (batch.provider === provider.name) yield* jobs.takeUp(batch, run.hold(batch.held))
  }
  yield* Effect.forkIn(flushingWhenIdle(parts), yield* Effect.scope)
  // Requests that were not sent are gathered again when the run is resumed.
  yield* Effect.addFinalizer(() => builder.dropAtOnce)

  let over = false
  const find = finder(parts)
  return {
    find,
    add: builder.add,
    back: (key) =>
      Effect.suspend(() => {
        const waiter = jobs.waiter(key)
        // It may have ended before anyone listened.
        return Effect.flatMap(find(key), (known) => (known?.state === "waiting" ? Deferred.await(waiter) : Effect.void))
      }),
    keep: (line) => (run === undefined ? Effect.void : BatchFailure.stored(store, store.batches.keep(run.id, line))),
    spoiled: (line) => {
      const error = BatchFailure.invalid("the batch's answer is damaged in the store: retry the failed rows")
      return Effect.andThen(
        BatchFailure.stored(store, store.batches.fail(line, BatchFailure.encode(error))),
        Effect.fail(error)
      )
    },
    isOver: () => over,
    send: sending(parts),
    settle: settling(parts, openedAt, () => {
      over = true
    }),
    status: () => statusOf(parts)
  }
})

/** The folder of batch files: next to the store, or a temporary folder of the process. */
const folderOf = ({ fs, path, store }: Options) =>
  store.inMemory
    ? Effect.mapError(fs.makeTempDirectoryScoped({ prefix: "pipe-batches-" }), (error) =>
        BatchFailure.unwritable("a temporary folder", error)
      )
    : Effect.succeed(path.join(store.folder ?? ".pipe", "batches"))

const limitsOf = ({ limits, provider }: Options, tokens: number | undefined): BatchSplit.SplitLimits => ({
  ...provider.limits,
  requests: Math.min(provider.limits.requests, limits.requests ?? Number.POSITIVE_INFINITY),
  bytes: Math.min(provider.limits.bytes, limits.bytes ?? Number.POSITIVE_INFINITY),
  tokens
})

/** Adds a closed file to the store as a batch, and starts it. */
const sealing = ({ provider, run, store }: Options, jobs: ActiveBatches.ActiveBatches) =>
  Effect.fnUntraced(function* (writer: BatchFileWriter.BatchFileWriter) {
    yield* Effect.mapError(writer.finish, (error) => BatchFailure.unwritable(writer.file, error))
    const fill = writer.fill()
    const batch = yield* BatchFailure.stored(
      store,
      store.batches.create(
        {
          name: writer.name,
          run: run?.id,
          provider: provider.name,
          account: provider.account.id,
          endpoint: writer.endpoint,
          model: writer.model,
          file: writer.file,
          requests: fill.requests,
          bytes: fill.bytes,
          tokens: fill.tokens,
          expected: writer.expected(),
          held: {
            money: Money.sum(writer.entries.map(({ admission }) => admission.held?.money ?? Money.zero)),
            tokens: writer.entries.reduce((sum, { admission }) => sum + (admission.held?.tokens ?? 0), 0)
          },
          createdAt: yield* Clock.currentTimeMillis
        },
        writer.entries.map((entry) => ({ ...entry, limited: entry.admission.limited }))
      )
    )
    yield* jobs.start(
      batch,
      writer.entries.map(({ admission }) => admission.end)
    )
  })

/** Looks up a request: in this process, in the store, or in a batch that another process follows. */
const finder =
  ({ builder, jobs, options: { store } }: Parts): BatchQueue["find"] =>
  (key) =>
    Effect.gen(function* () {
      if (builder.has(key)) return { state: "waiting" } as const
      const line = yield* BatchFailure.stored(store, store.batches.find(key))
      if (line?.state !== "waiting" || jobs.has(line.batch)) return line
      const batch = yield* BatchFailure.stored(store, store.batches.get(line.batch))
      if (batch === undefined || batch.state === "rejected" || batch.state === "collected")
        return { ...line, state: "again" as const }
      yield* jobs.follow(batch)
      return line
    })

/** Where fibers wait themselves, their requests are sent when no more arrive for a moment. */
const flushingWhenIdle = ({ builder, jobs }: Parts) =>
  Effect.forever(
    Effect.gen(function* () {
      const before = builder.size()
      yield* Effect.sleep(IDLE)
      if (jobs.hasWaiters() && before > 0 && builder.size() === before) yield* builder.flush
    })
  )

/** Sends what is gathered. Batches without capacity at the provider stay on disk, and the next process sends them. */
const sending = ({ builder, jobs, capacity }: Parts): BatchQueue["send"] =>
  Effect.andThen(
    builder.flush,
    Effect.gen(function* () {
      const isGoing = (job: BatchJob.BatchJob) =>
        !job.isSent() && !capacity.wasRefused(job.batch()) && capacity.has(job.batch())
      while (jobs.open().some(isGoing)) {
        yield* jobs.failure
        yield* Effect.sleep("50 millis")
      }
    })
  )

/**
 * Waits for all batches. After the deadline, those without results are cancelled, and abandoned if they do not end.
 */
const settling = ({ builder, jobs, options }: Parts, openedAt: number, onOver: () => void): BatchQueue["settle"] =>
  Effect.gen(function* () {
    const { deadline } = options
    if (deadline === undefined) return yield* Effect.andThen(builder.flush, jobs.allBack)
    const left = deadline - (yield* Clock.currentTimeMillis)
    if (left > 0) yield* builder.flush
    const isBack = yield* Effect.raceFirst(
      Effect.as(jobs.allBack, true),
      Effect.as(Effect.sleep(Math.max(0, left)), false)
    )
    if (isBack && left > 0) return
    onOver()
    yield* builder.drop
    const count = jobs.open().length
    if (count > 0) {
      yield* Effect.logWarning(
        `the deadline is reached: ${count} ${count === 1 ? "batch is" : "batches are"} cancelled, and unanswered requests are sent as single calls`
      )
    }
    const within = Math.min(CANCELLING.most, Math.max(CANCELLING.least, (deadline - openedAt) / 4))
    const isCancelled = yield* Effect.raceFirst(
      Effect.as(Effect.andThen(jobs.cancelAll, jobs.allBack), true),
      Effect.as(Effect.sleep(within), false)
    )
    if (!isCancelled) yield* jobs.leave
  })

/** The status of the batches. */
const statusOf = ({ builder, jobs }: Parts): Suspension.SuspensionStatus => {
  const batches = jobs
    .open()
    .map((job) => ({ batch: job.batch(), status: job.status() }))
    .filter(({ batch }) => BatchRepo.isUnsent(batch) || batch.state === "sent")
  const sent = batches.filter(({ batch }) => batch.state === "sent")
  const sums = new Map<number, Readonly<ActiveBatches.CollectedCounts>>(jobs.taken)
  for (const { batch, status } of sent) {
    const own = jobs.taken.get(batch.id)
    sums.set(batch.id, {
      back: Math.max(own?.back ?? 0, status?.answered ?? 0),
      failed: Math.max(own?.failed ?? 0, status?.failed ?? 0)
    })
  }
  const unsent = batches.filter(({ batch }) => BatchRepo.isUnsent(batch))
  const ended = (id: number) => (sums.get(id)?.back ?? 0) + (sums.get(id)?.failed ?? 0)
  return {
    batches: batches.length,
    queued: builder.size() + unsent.reduce((sum, { batch }) => sum + batch.requests, 0),
    running: sent.reduce((sum, { batch }) => sum + Math.max(0, batch.requests - ended(batch.id)), 0),
    back: [...sums.values()].reduce((sum, { back }) => sum + back, 0),
    failed: [...sums.values()].reduce((sum, { failed }) => sum + failed, 0),
    sentAt: sent.reduce<number | undefined>(
      (first, { batch }) => Math.min(first ?? Number.POSITIVE_INFINITY, batch.sentAt ?? batch.createdAt),
      undefined
    ),
    expected: Money.sum([
      ...batches.map(({ batch }) => batch.expected),
      ...builder.open().map((writer) => writer.expected())
    ])
  }
}
