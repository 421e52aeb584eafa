/**
 * The batches that a run follows to their ends, and the fibers that wait for their requests.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Suspension from "../client/Suspension.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchJob from "./BatchJob.ts"
import type * as BatchJobState from "./BatchJobState.ts"
import * as BatchRepo from "./BatchRepo.ts"
import type * as BatchResults from "./BatchResults.ts"
import type * as BatchCapacity from "./BatchCapacity.ts"
import * as BatchCreation from "./BatchCreation.ts"

/** The requests of a batch whose results this process has collected. */
export interface CollectedCounts {
  back: number
  failed: number
}

export interface ActiveBatches {
  /** Follows a batch to its end; `before` runs first. */
  readonly start: (
    batch: BatchRepo.StoredBatch,
    ends?: BatchResults.Ends,
    before?: Effect.Effect<void, AiError.AiError>
  ) => Effect.Effect<void>
  /** Follows a batch of an earlier process of this run. The budget reserves its amount until it ends. */
  readonly takeUp: (batch: BatchRepo.StoredBatch, release: () => void) => Effect.Effect<void>
  /** Follows a batch of another run. While that run is active, its own process sends it. */
  readonly follow: (batch: BatchRepo.StoredBatch) => Effect.Effect<void>
  readonly has: (batch: number) => boolean
  readonly open: () => ReadonlyArray<BatchJob.BatchJob>
  /** Fails with the first failure of a batch that has ended. */
  readonly failure: Effect.Effect<void, AiError.AiError>
  /** Waits for all batches. The first failure is raised when the others have ended. */
  readonly allBack: Effect.Effect<void, AiError.AiError>
  /** Cancels the batches of this run, not those of other runs. */
  readonly cancelAll: Effect.Effect<void>
  /** Abandons the batches of this run: their requests are sent again, and late answers are paid in addition. */
  readonly leave: Effect.Effect<void, AiError.AiError>
  /** Whether fibers wait for requests themselves. */
  readonly hasWaiters: () => boolean
  /** Completed when a request is no longer waited for. */
  readonly waiter: (key: string) => Deferred.Deferred<void, AiError.AiError>
  readonly taken: ReadonlyMap<number, CollectedCounts>
}

interface Options extends Pick<
  BatchJobState.BatchJobEnvironment,
  "provider" | "store" | "pricing" | "fs" | "polling" | "attempts"
> {
  readonly run: Suspension.SuspendedRun | undefined
  readonly scope: Scope.Scope
  readonly capacity: BatchCapacity.BatchCapacity
}

export const make = (options: Options): ActiveBatches => {
  const { capacity, run, scope, store } = options
  const jobs = new Map<
    number,
    { readonly job: BatchJob.BatchJob; readonly end: Deferred.Deferred<void, AiError.AiError> }
  >()
  const waiters = makeWaiters()
  /** Releases the reservations for batches that earlier processes sent. */
  const releases = new Map<number, () => void>()
  const taken = new Map<number, CollectedCounts>()
  const open = () => Array.from(jobs.values(), ({ job }) => job)
  const own = () => open().filter((job) => job.batch().run === run?.id)

  const environment = environmentOf(options, {
    taken,
    onTaken: (lines) => waiters.tell(lines, Exit.void),
    release: (batch) => {
      releases.get(batch)?.()
      releases.delete(batch)
    }
  })

  const start: ActiveBatches["start"] = (batch, ends, before = Effect.void) =>
    Effect.suspend(() => {
      if (jobs.has(batch.id)) return Effect.void
      const end: Deferred.Deferred<void, AiError.AiError> = Deferred.makeUnsafe()
      const job = BatchJob.make(batch, environment, ends)
      jobs.set(batch.id, { job, end })
      const ended = (exit: Exit.Exit<void, AiError.AiError>) =>
        Effect.gen(function* () {
          Deferred.doneUnsafe(end, exit)
          capacity.free()
          if (Exit.isSuccess(exit) || !waiters.any()) return
          waiters.tell(yield* Effect.orElseSucceed(store.batches.lines(batch.id), () => []), exit)
        })
      return Effect.asVoid(Effect.forkIn(Effect.onExit(Effect.andThen(before, job.done), ended), scope))
    })

  const leave = Effect.gen(function* () {
    for (const job of own()) {
      const batch = job.batch()
      const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
      const count = yield* BatchFailure.stored(store, store.batches.release(batch.id, "uncounted"))
      jobs.delete(batch.id)
      waiters.tell(lines, Exit.void)
      yield* Effect.logWarning(
        `batch ${batch.name} was cancelled and has not ended: its ${count} requests are sent as single calls, and any that it still answers are paid for twice: pipe batches collect ${batch.name}`
      )
    }
  })

  return {
    start,
    takeUp: (batch, release) => {
      // Its requests have no reservations of their own any more.
      releases.set(batch.id, release)
      return start(batch)
    },
    follow: (batch) => start(batch, undefined, leftAlone(batch, options)),
    has: (batch) => jobs.has(batch),
    open,
    failure: Effect.suspend(() => {
      const ended = Array.from(jobs.values()).filter(({ end }) => Deferred.isDoneUnsafe(end))
      return Effect.forEach(ended, ({ end }) => Deferred.await(end), { discard: true })
    }),
    allBack: Effect.suspend(() =>
      Effect.flatMap(
        Effect.forEach([...jobs], ([id, { end }]) =>
          Effect.tap(Effect.exit(Deferred.await(end)), () => Effect.sync(() => jobs.delete(id)))
        ),
        (exits) => Effect.asVoid(exits.find((exit) => exit._tag === "Failure") ?? Effect.void)
      )
    ),
    cancelAll: Effect.suspend(() =>
      Effect.forEach(own(), (job) => Effect.ignore(job.cancel), { concurrency: 8, discard: true })
    ),
    leave,
    hasWaiters: waiters.any,
    waiter: waiters.of,
    taken
  }
}

/** The waiting fibers, by request key. */
const makeWaiters = () => {
  const waiters = new Map<string, Deferred.Deferred<void, AiError.AiError>>()
  return {
    any: () => waiters.size > 0,
    of: (key: string) => {
      let waiter = waiters.get(key)
      if (waiter === undefined) waiters.set(key, (waiter = Deferred.makeUnsafe()))
      return waiter
    },
    tell: (lines: ReadonlyArray<{ readonly key: string }>, exit: Exit.Exit<void, AiError.AiError>): void => {
      for (const { key } of lines) {
        const waiter = waiters.get(key)
        if (waiter === undefined) continue
        if (Exit.isSuccess(exit)) waiters.delete(key)
        Deferred.doneUnsafe(waiter, exit)
      }
    }
  }
}

/** What the jobs share: one file is uploaded at a time, and only a few batches have their lines in memory. */
const environmentOf = (
  { attempts, fs, polling, pricing, provider, capacity, run, store }: Options,
  listeners: {
    readonly taken: Map<number, CollectedCounts>
    readonly onTaken: (lines: ReadonlyArray<{ readonly key: string }>) => void
    readonly release: (batch: number) => void
  }
): BatchJobState.BatchJobEnvironment => ({
  provider,
  store,
  pricing,
  fs,
  polling,
  attempts,
  uploading: Semaphore.makeUnsafe(1).withPermit,
  collecting: Semaphore.makeUnsafe(2).withPermit,
  admit: capacity.admit,
  refused: capacity.refused,
  count: (batch, entry, isCharged) => {
    let sums = listeners.taken.get(batch.id)
    if (sums === undefined) listeners.taken.set(batch.id, (sums = { back: 0, failed: 0 }))
    if (entry.error === undefined) sums.back++
    else sums.failed++
    if (run !== undefined && batch.run === run.id) run.count(entry, isCharged)
  },
  onTaken: (_, lines) => listeners.onTaken(lines),
  onOver: (batch) => {
    listeners.release(batch.id)
    capacity.free()
  }
})

/** Ends when the run of a batch is no longer active, or has sent it. */
const leftAlone = Effect.fnUntraced(function* (batch: BatchRepo.StoredBatch, { store }: Options) {
  const { runName } = batch
  for (let now: BatchRepo.StoredBatch | undefined = batch; now !== undefined && BatchRepo.isUnsent(now);) {
    const owner =
      runName === undefined ? undefined : yield* Effect.orElseSucceed(store.runs.find(runName), () => undefined)
    if (owner?.status !== "running") return
    yield* Effect.sleep(BatchCreation.LOOK)
    now = yield* BatchFailure.stored(store, store.batches.get(batch.id))
  }
})
