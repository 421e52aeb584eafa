/**
 * All batches that the rows of a run wait for: gathers requests, splits them into batches, follows those to their ends, and
 * knows what has become of each request.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as SqlError from "effect/sql/SqlError"
import type * as Suspension from "../client/Suspension.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as Money from "../price/Money.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchFileWriter from "./BatchFileWriter.ts"
import * as BatchJob from "./BatchJob.ts"
import type * as BatchJobState from "./BatchJobState.ts"
import * as BatchSending from "./BatchSending.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchLine from "./BatchLine.ts"
import * as BatchRepo from "./BatchRepo.ts"
import type * as BatchResults from "./BatchResults.ts"
import * as BatchSplit from "./BatchSplit.ts"

export interface Options {
  readonly provider: BatchProvider.BatchProvider
  readonly store: Store.Service
  readonly pricing: Pricing.Service
  readonly fs: FileSystem.FileSystem
  readonly path: Path.Path
  /** The run whose rows wait; `undefined`: fibers do. */
  readonly run: Suspension.Run | undefined
  /** Smaller limits than the provider's. */
  readonly limits: { readonly requests?: number | undefined; readonly bytes?: number | undefined }
  /** Tokens of one model that the account may have waiting at the provider, where that is known. */
  readonly enqueuedTokens: number | undefined
  readonly polling: BatchJobState.Polling
  readonly attempts: number | undefined
  /** When what is not back is done without, in milliseconds since 1970. */
  readonly deadline: number | undefined
}

/** What is known of a request. */
export type Known = { readonly state: "waiting" } | BatchLine.BatchLine

export interface BatchDesk extends Suspension.Holder {
  readonly find: (key: string) => Effect.Effect<Known | undefined, AiError.AiError>
  /**
   * Gathers a request for the next batch. `"known"`: it is in one already; `"single"`: it goes in no batch, since it is too large
   * alone or of a kind that the API does not take.
   */
  readonly add: (
    request: ModelRequest.ModelRequest,
    entry: BatchFileWriter.Entry
  ) => Effect.Effect<"gathered" | "known" | "single", AiError.AiError>
  /** Ends when a request is not waited for any more; for fibers that wait themselves. */
  readonly back: (key: string) => Effect.Effect<void, AiError.AiError>
  /** An answer that came by another way, kept for a row that will be begun again. */
  readonly keep: (line: BatchLine.New & { readonly value: string }) => Effect.Effect<void, AiError.AiError>
  /** Fails for an answer that the store has damaged: it was paid, and is sent again when the failed rows are retried. */
  readonly spoiled: (line: BatchLine.BatchLine) => Effect.Effect<never, AiError.AiError>
  /** Whether batches are done with for this run. */
  readonly isOver: () => boolean
}

const encoder = new TextEncoder()

/**
 * After a deadline, how long cancelled batches may take to give what they have: a quarter of the time that they had, and not more
 * than these. OpenAI says 10 minutes at most.
 */
const CANCELLING = { least: 10_000, most: 15 * 60_000 }

/** When no request has come for so long, what fibers wait for is sent. */
const IDLE = "500 millis"

export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<BatchDesk, AiError.AiError, Scope.Scope> {
  const { enqueuedTokens, fs, path, provider, run, store } = options
  const scope = yield* Effect.scope
  const openedAt = yield* Clock.currentTimeMillis
  const folder = store.inMemory
    ? yield* Effect.mapError(fs.makeTempDirectoryScoped({ prefix: "pipe-batches-" }), (error) =>
        BatchFailure.unwritable("a temporary folder", error)
      )
    : path.join(store.folder ?? ".pipe", "batches")
  const adding = Semaphore.makeUnsafe(1)
  const upload = Semaphore.makeUnsafe(1)
  const collect = Semaphore.makeUnsafe(2)
  const spools = new Map<string, BatchFileWriter.BatchSpool>()
  /** Keys in spools, whose lines are not in the store yet. */
  const gathered = new Set<string>()
  const jobs = new Map<
    number,
    { readonly job: BatchJob.BatchJob; readonly end: Deferred.Deferred<void, AiError.AiError> }
  >()
  const waiters = new Map<string, Deferred.Deferred<void, AiError.AiError>>()
  /** Tokens that may wait, by model: given, or learned from a refusal. */
  const quotas = new Map<string, number>()
  const refusals = new Map<number, number>()
  /** What lets go of the holds for batches that earlier processes have sent. */
  const releases = new Map<number, () => void>()
  let room: Deferred.Deferred<void> = Deferred.makeUnsafe()
  /** What this process has taken in, by batch. */
  const taken = new Map<number, { back: number; failed: number }>()
  let over = false

  const stored = <A>(effect: Effect.Effect<A, SqlError.SqlError>) => BatchFailure.stored(store, effect)
  const quotaOf = (model: string) => quotas.get(model) ?? enqueuedTokens
  const limits = (model: string): BatchSplit.Limits => ({
    ...provider.limits,
    requests: Math.min(provider.limits.requests, options.limits.requests ?? Number.POSITIVE_INFINITY),
    bytes: Math.min(provider.limits.bytes, options.limits.bytes ?? Number.POSITIVE_INFINITY),
    tokens: quotaOf(model)
  })

  const open = () => Array.from(jobs.values(), ({ job }) => job)
  const atProvider = (model: string) =>
    open().filter((job) => job.batch().model === model && job.batch().state === "sent")

  const makeRoom = Effect.sync(() => {
    const before = room
    room = Deferred.makeUnsafe()
    Deferred.doneUnsafe(before, Effect.void)
  })

  /** Whether the account may have a batch waiting beside those that wait; alone it is tried. */
  const hasRoom = (batch: BatchRepo.Batch): boolean => {
    const quota = quotaOf(batch.model)
    const waiting = atProvider(batch.model)
    return (
      quota === undefined
      || waiting.length === 0
      || waiting.reduce((sum, job) => sum + job.batch().tokens, 0) + batch.tokens <= quota
    )
  }

  const admit = (batch: BatchRepo.Batch): Effect.Effect<void> =>
    Effect.suspend(() => (hasRoom(batch) ? Effect.void : Effect.andThen(Deferred.await(room), admit(batch))))

  /** Learns from a refusal, and waits until another batch is back, or for a while. */
  const refused = Effect.fnUntraced(function* (batch: BatchRepo.Batch, message: string) {
    const named = /limit:?\s*([\d,_]+)/i.exec(message)?.[1]
    const limit = named === undefined ? undefined : Number(named.replace(/[,_]/g, ""))
    const others = atProvider(batch.model)
    const count = (refusals.get(batch.id) ?? 0) + 1
    refusals.set(batch.id, count)
    const learned = [
      ...(limit !== undefined && limit > 0 ? [limit] : []),
      // It has the room for itself, and is refused time and again: it counts for more there than here.
      ...(others.length === 0 && count > 2 ? [Math.max(1, Math.floor(batch.tokens / 2))] : [])
    ]
    if (learned.length > 0)
      quotas.set(batch.model, Math.min(quotaOf(batch.model) ?? Number.POSITIVE_INFINITY, ...learned))
    const quota = quotaOf(batch.model)
    if (quota !== undefined && batch.tokens > quota && batch.requests > 1) {
      yield* Effect.logWarning(
        `batch ${batch.name}: the account may have ${quota} tokens of ${batch.model} waiting, and it has ${batch.tokens}: it is split`
      )
      return false
    }
    // A single request that never has room is none for a batch.
    if (batch.requests === 1 && others.length === 0 && count > 3) return false
    // The provider may count what has just ended for some time on.
    const pause = Duration.times(Duration.fromInputUnsafe(options.polling.first ?? "1 second"), 5 * count)
    yield* others.length > 0 ? Deferred.await(room) : Effect.sleep(Duration.min(pause, Duration.minutes(1)))
    return true
  })

  const environment: BatchJobState.Environment = {
    provider,
    store,
    pricing: options.pricing,
    fs,
    polling: options.polling,
    attempts: options.attempts,
    uploading: upload.withPermit,
    collecting: collect.withPermit,
    admit,
    refused,
    count: (batch, entry, isCharged) => {
      let sums = taken.get(batch.id)
      if (sums === undefined) taken.set(batch.id, (sums = { back: 0, failed: 0 }))
      if (entry.error === undefined) sums.back++
      else sums.failed++
      if (run !== undefined && batch.run === run.id) run.count(entry, isCharged)
    },
    onTaken: (_, lines) => {
      for (const { key } of lines) {
        const waiter = waiters.get(key)
        if (waiter === undefined) continue
        waiters.delete(key)
        Deferred.doneUnsafe(waiter, Effect.void)
      }
    },
    onOver: (batch) => {
      releases.get(batch.id)?.()
      releases.delete(batch.id)
      Effect.runSync(makeRoom)
    }
  }

  const start = (
    batch: BatchRepo.Batch,
    ends?: BatchResults.Ends,
    before: Effect.Effect<void, AiError.AiError> = Effect.void
  ) =>
    Effect.gen(function* () {
      if (jobs.has(batch.id)) return
      const end: Deferred.Deferred<void, AiError.AiError> = Deferred.makeUnsafe()
      const job = BatchJob.make(batch, environment, ends)
      jobs.set(batch.id, { job, end })
      yield* Effect.forkIn(
        Effect.onExit(Effect.andThen(before, job.done), (exit) =>
          Effect.gen(function* () {
            Deferred.doneUnsafe(end, exit)
            yield* makeRoom
            if (exit._tag === "Success" || waiters.size === 0) return
            for (const { key } of yield* Effect.orElseSucceed(store.batches.lines(batch.id), () => [])) {
              const waiter = waiters.get(key)
              if (waiter !== undefined) Deferred.doneUnsafe(waiter, exit)
            }
          })
        ),
        scope
      )
    })

  /** A batch of another run: while that run is at work, its own process sends it. */
  const follow = (batch: BatchRepo.Batch) =>
    start(
      batch,
      undefined,
      Effect.gen(function* () {
        const { runName } = batch
        for (let now: BatchRepo.Batch | undefined = batch; now !== undefined && BatchRepo.isUnsent(now);) {
          const owner =
            runName === undefined ? undefined : yield* Effect.orElseSucceed(store.runs.find(runName), () => undefined)
          if (owner?.status !== "running") return
          yield* Effect.sleep(BatchSending.LOOK)
          now = yield* stored(store.batches.get(batch.id))
        }
      })
    )

  const seal = Effect.fnUntraced(function* (spool: BatchFileWriter.BatchSpool) {
    yield* Effect.mapError(spool.finish, (error) => BatchFailure.unwritable(spool.file, error))
    const fill = spool.fill()
    const batch = yield* stored(
      store.batches.create(
        {
          name: spool.name,
          run: run?.id,
          provider: provider.name,
          account: provider.account.id,
          endpoint: spool.endpoint,
          model: spool.model,
          file: spool.file,
          requests: fill.requests,
          bytes: fill.bytes,
          tokens: fill.tokens,
          expected: spool.expected(),
          held: {
            money: Money.sum(spool.entries.map(({ admission }) => admission?.held.money ?? Money.zero)),
            tokens: spool.entries.reduce((sum, { admission }) => sum + (admission?.held.tokens ?? 0), 0)
          },
          createdAt: yield* Clock.currentTimeMillis
        },
        spool.entries.map((entry) => ({ ...entry, limited: entry.admission?.limited ?? false }))
      )
    )
    for (const { key } of spool.entries) gathered.delete(key)
    yield* start(
      batch,
      spool.entries.map(({ admission }) => admission?.end)
    )
  })

  const newName = Effect.gen(function* () {
    const at = yield* Clock.currentTimeMillis
    return `pb-${at.toString(36)}-${(yield* Random.nextIntBetween(0, 36 ** 4)).toString(36).padStart(4, "0")}`
  })

  const begin = Effect.fnUntraced(function* (name: string, endpoint: string, model: string) {
    const file = path.resolve(folder, `${name}.jsonl`)
    return yield* Effect.mapError(
      Effect.andThen(
        fs.makeDirectory(folder, { recursive: true }),
        BatchFileWriter.make(fs, { name, file, endpoint, model, frame: provider.frame })
      ),
      (error) => BatchFailure.unwritable(file, error)
    )
  })

  const add: BatchDesk["add"] = (request, entry) =>
    adding.withPermit(
      Effect.gen(function* () {
        // Another row has asked the same while this one waited for its turn.
        if (gathered.has(entry.key)) return "known" as const
        const model = request.model ?? ""
        // A kind of request is answered by one of the provider's APIs.
        const group = `${request._tag}\n${model}`
        const cap = limits(model)
        for (;;) {
          const open = spools.get(group)
          const name = open === undefined ? yield* newName : open.name
          const line = yield* provider.encode(open?.nextId() ?? BatchFileWriter.customId(name, 0), request)
          if (line === undefined) return "single" as const
          const spool = open ?? (yield* begin(name, line.endpoint, model))
          if (open === undefined) spools.set(group, spool)
          const bytes = encoder.encode(line.text)
          const next = BatchSplit.add(spool.fill(), {
            inputs: line.inputs,
            tokens: entry.tokens,
            bytes: bytes.length + provider.frame.separator.length
          })
          if (
            BatchSplit.fits(next, cap)
            || (spool.entries.length === 0 && BatchSplit.fits(next, { ...cap, tokens: undefined }))
          ) {
            gathered.add(entry.key)
            yield* Effect.mapError(spool.append(entry, bytes, next), (error) =>
              BatchFailure.unwritable(spool.file, error)
            )
            return "gathered" as const
          }
          if (spool.entries.length === 0) return "single" as const
          spools.delete(group)
          yield* seal(spool)
        }
      })
    )

  const flush = adding.withPermit(
    Effect.suspend(() => {
      const all = [...spools].filter(([, { entries }]) => entries.length > 0)
      for (const [group] of all) spools.delete(group)
      return Effect.forEach(all, ([, spool]) => seal(spool), { discard: true })
    })
  )

  /** Those of other runs are theirs. */
  const cancelAll = Effect.suspend(() =>
    Effect.forEach(
      open().filter((job) => job.batch().run === run?.id),
      (job) => Effect.ignore(job.cancel),
      { concurrency: 8, discard: true }
    )
  )

  /** What was gathered and not sent is not to be sent any more. */
  const dropSpools = Effect.suspend(() => {
    const all = [...spools.values()]
    spools.clear()
    for (const { entries } of all) {
      for (const { admission, key } of entries) {
        gathered.delete(key)
        admission?.end({ billed: "no" })
      }
    }
    return Effect.forEach(all, (spool) => spool.discard, { discard: true })
  })

  /** Waits for all batches; the first failure of one is told when the others have ended. */
  const allBack: Effect.Effect<void, AiError.AiError> = Effect.suspend(() =>
    Effect.flatMap(
      Effect.forEach([...jobs], ([id, { end }]) =>
        Effect.tap(Effect.exit(Deferred.await(end)), () => Effect.sync(() => jobs.delete(id)))
      ),
      (exits) => Effect.asVoid(exits.find((exit) => exit._tag === "Failure") ?? Effect.void)
    )
  )

  /** What has not come back by then is sent again, as the deadline says: its answers in the batch may be paid beside. */
  const leave = Effect.gen(function* () {
    for (const job of open()) {
      const batch = job.batch()
      if (batch.run !== run?.id) continue
      const lines = yield* stored(store.batches.lines(batch.id))
      const count = yield* stored(store.batches.release(batch.id, "uncounted"))
      jobs.delete(batch.id)
      environment.onTaken(batch, lines)
      yield* Effect.logWarning(
        `batch ${batch.name} was cancelled and has not ended: its ${count} requests are sent at once, and those that it answers all the same are paid twice: pipe batches collect ${batch.name}`
      )
    }
  })

  const settle: BatchDesk["settle"] = Effect.gen(function* () {
    if (options.deadline === undefined) return yield* Effect.andThen(flush, allBack)
    const left = options.deadline - (yield* Clock.currentTimeMillis)
    if (left > 0) yield* flush
    const isBack = yield* Effect.raceFirst(Effect.as(allBack, true), Effect.as(Effect.sleep(Math.max(0, left)), false))
    if (isBack && left > 0) return
    over = true
    yield* adding.withPermit(dropSpools)
    if (open().length > 0) {
      yield* Effect.logWarning(
        `the deadline has come: ${open().length} batches are cancelled, and what they have not answered is asked at once`
      )
    }
    const within = Math.min(CANCELLING.most, Math.max(CANCELLING.least, (options.deadline - openedAt) / 4))
    const isCancelled = yield* Effect.raceFirst(
      Effect.as(Effect.andThen(cancelAll, allBack), true),
      Effect.as(Effect.sleep(within), false)
    )
    if (!isCancelled) yield* leave
  })

  const send: BatchDesk["send"] = Effect.andThen(
    flush,
    Effect.gen(function* () {
      // What has no room at the provider yet stays on disk, and goes on its way with the next process.
      const isGoing = (job: BatchJob.BatchJob) => !job.isSent() && !refusals.has(job.batch().id) && hasRoom(job.batch())
      while (open().some(isGoing)) {
        for (const { end } of jobs.values()) {
          const exit = Deferred.isDoneUnsafe(end) ? yield* Effect.exit(Deferred.await(end)) : undefined
          if (exit?._tag === "Failure") return yield* exit
        }
        yield* Effect.sleep("50 millis")
      }
    })
  )

  const find: BatchDesk["find"] = (key) =>
    Effect.suspend(() =>
      gathered.has(key)
        ? Effect.succeed<Known>({ state: "waiting" })
        : Effect.flatMap(stored(store.batches.find(key)), (line) =>
            line?.state !== "waiting" || jobs.has(line.batch)
              ? Effect.succeed(line)
              : Effect.flatMap(stored(store.batches.get(line.batch)), (batch) =>
                  batch === undefined || batch.state === "rejected" || batch.state === "collected"
                    ? Effect.succeed({ ...line, state: "again" as const })
                    : Effect.as(follow(batch), line)
                )
          )
    )

  if (run !== undefined) {
    for (const batch of yield* stored(store.batches.open(run.id)))
      if (batch.provider === provider.name) {
        // Its requests have no holds of their own any more.
        releases.set(batch.id, run.hold(batch.held))
        yield* start(batch)
      }
  }
  // Where fibers wait themselves, what they have asked goes on its way when no more comes for a moment.
  yield* Effect.forkIn(
    Effect.forever(
      Effect.gen(function* () {
        const before = gathered.size
        yield* Effect.sleep(IDLE)
        if (waiters.size > 0 && before > 0 && gathered.size === before) yield* flush
      })
    ),
    scope
  )
  // What was gathered and not sent is gathered again by whoever goes on.
  yield* Effect.addFinalizer(() => dropSpools)

  return {
    find,
    add,
    back: (key) =>
      Effect.suspend(() => {
        let waiter = waiters.get(key)
        if (waiter === undefined) waiters.set(key, (waiter = Deferred.makeUnsafe()))
        // It may have come back before anybody listened.
        return Effect.flatMap(find(key), (known) => (known?.state === "waiting" ? Deferred.await(waiter) : Effect.void))
      }),
    keep: (line) => (run === undefined ? Effect.void : stored(store.batches.keep(run.id, line))),
    spoiled: (line) => {
      const error = BatchFailure.invalid("the store has damaged the answer that a batch gave: retry the failed rows")
      return Effect.andThen(stored(store.batches.fail(line, BatchFailure.encode(error))), Effect.fail(error))
    },
    isOver: () => over,
    send,
    settle,
    standing: () => {
      const batches = open()
        .map((job) => ({ batch: job.batch(), status: job.status() }))
        .filter(({ batch }) => BatchRepo.isUnsent(batch) || batch.state === "sent")
      const sent = batches.filter(({ batch }) => batch.state === "sent")
      const sums = new Map(taken)
      for (const { batch, status } of sent) {
        const own = taken.get(batch.id)
        sums.set(batch.id, {
          back: Math.max(own?.back ?? 0, status?.answered ?? 0),
          failed: Math.max(own?.failed ?? 0, status?.failed ?? 0)
        })
      }
      const unsent = batches
        .filter(({ batch }) => BatchRepo.isUnsent(batch))
        .reduce((sum, { batch }) => sum + batch.requests, 0)
      const ended = (id: number) => (sums.get(id)?.back ?? 0) + (sums.get(id)?.failed ?? 0)
      return {
        batches: batches.length,
        queued: gathered.size + unsent,
        running: sent.reduce((sum, { batch }) => sum + Math.max(0, batch.requests - ended(batch.id)), 0),
        back: [...sums.values()].reduce((sum, { back }) => sum + back, 0),
        failed: [...sums.values()].reduce((sum, { failed }) => sum + failed, 0),
        sentAt: sent.reduce<number | undefined>(
          (first, { batch }) => Math.min(first ?? Number.POSITIVE_INFINITY, batch.sentAt ?? batch.createdAt),
          undefined
        ),
        expected: Money.sum([
          ...batches.map(({ batch }) => batch.expected),
          ...Array.from(spools.values(), (spool) => spool.expected())
        ])
      }
    }
  }
})
