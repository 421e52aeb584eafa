/**
 * Sends the rows of a run to workers before it runs them itself: by then their results are in the store, so the run only
 * reuses them. Order, outputs, groups and joins are those of any run; a chunk that is lost, doubled or late changes
 * nothing but the time.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type * as Node from "../flow/Node.ts"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import type * as DomainPlan from "../run/DomainPlan.ts"
import * as FailedRow from "../run/FailedRow.ts"
import type * as Row from "../run/Row.ts"
import type * as RowHooks from "../run/RowHooks.ts"
import type * as RunEvent from "../run/RunEvent.ts"
import type * as RunSummary from "../run/RunSummary.ts"
import * as WorkChunk from "./WorkChunk.ts"
import * as WorkCode from "./WorkCode.ts"
import * as WorkerList from "./WorkerList.ts"
import type * as WorkQueue from "./WorkQueue.ts"

/** A row before it runs, or one that its source could not read. */
export interface Item {
  readonly position: string
  readonly value?: unknown
  readonly problem?: unknown
  /** It stands for rows that could not be made. */
  readonly isLost?: boolean
  readonly parent?: Row.Row | undefined
}

export interface Coordinator {
  /** Ends the work of all workers, and what they may send. */
  readonly close: Effect.Effect<void>
  /** Passes the rows of a domain on in their order, each when a worker has computed it. */
  readonly warm: <A extends Item, E, R>(
    plan: DomainPlan.DomainPlan,
    slots: ReadonlyMap<Node.Domain, Row.Slots>,
    stream: Stream.Stream<A, E, R>
  ) => Stream.Stream<A, E | SqlError.SqlError, R>
}

export interface Options {
  readonly queue: WorkQueue.WorkQueue
  readonly list: WorkerList.WorkerList
  readonly run: { readonly id: number; readonly name: string; readonly tries: number; readonly flow: string }
  /** Counts the workers, and what each computes. */
  readonly team: RunSummary.RunTeam
  readonly emit: (event: RunEvent.RunEvent) => Effect.Effect<void>
  readonly job: WorkCode.JobContent
  /** Gives back what this process was granted of the budget, unless it is spending. */
  readonly giveBack: Effect.Effect<void>
  /** What is left of the budget. */
  readonly budget: ReadonlyArray<BudgetAccount.Rest>
  /** Whether the results of a node are found in the store. */
  readonly isJournaled: (node: Node.Any) => boolean
  /** Whether answers are cached: a value that cannot be kept is then computed again without a call. */
  readonly isCached: boolean
  /** A row failed in a worker. */
  readonly onFailure: (node: string, row: number, position: string, failure: FailedRow.Described) => void
  /** A worker computed values of a node. */
  readonly onMade: (node: string, count: number) => void
  readonly stop: (stop: RowHooks.Stop) => void
}

/** Chunks that may be in the queue, and how often replies are looked for, in milliseconds. */
const WINDOW = 64
const POLL = 50

/** How often the workers are looked for, and how long none may be there, in milliseconds. */
const WATCH = 1_000
const ALONE = 10_000

/** A chunk that is neither in the queue nor answered after this many milliseconds is lost. */
const LOST = 20_000

/** A chunk lasts about this many milliseconds. */
const CHUNK = 2_000
const MOST_ROWS = 100
const FIRST_ROWS = 4

/** The most characters of a chunk, and of a row: a larger one is computed by the run. */
const MOST_CHARACTERS = 256 * 1024
const LARGEST_ROW = 4 * 1024 * 1024

interface Waiting {
  readonly answer: Deferred.Deferred<WorkChunk.Answer | undefined>
  /** Milliseconds since 1970. */
  readonly since: number
}

/** What the workers of a run have in common. */
interface Workers {
  /** Whether this process computes the rows itself, because no worker does. */
  isAlone: boolean
  /** Rows of a chunk: learned from the time of earlier ones. */
  size: number
  readonly waiting: Map<number, Waiting>
  /** Replies that came before their chunk was waited for. */
  readonly early: Map<number, WorkChunk.Answer | undefined>
}

/** Announces the run to workers until the scope ends. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Coordinator, SqlError.SqlError, Scope.Scope> {
  const { job, queue, run } = options
  const workers: Workers = { isAlone: false, size: FIRST_ROWS, waiting: new Map(), early: new Map() }
  yield* queue.post(
    { run: run.id, attempt: run.tries, flow: run.flow, content: WorkCode.encodeJob(job) },
    options.budget
  )
  const close = Effect.ignore(queue.close(run.id))
  yield* Effect.addFinalizer(() => close)
  yield* Effect.forkScoped(receiving(workers, options))
  yield* Effect.forkScoped(watching(workers, options))
  return { close, warm: (plan, slots, stream) => warm(workers, options, plan, slots, stream) }
})

/** Receives replies. Without the store for longer than it is waited for, the run stops. */
const receiving = (workers: Workers, { queue, run, stop }: Options): Effect.Effect<void> => {
  const { waiting } = workers
  const look = Effect.suspend(() =>
    waiting.size === 0
      ? Effect.void
      : Effect.map(queue.replies(run.id), (replies) => {
          for (const { chunk, content } of replies) {
            settle(workers, chunk, Option.getOrUndefined(WorkChunk.decodeAnswer(content)))
          }
        })
  )
  return Effect.catchCause(Effect.forever(Effect.andThen(Effect.sleep(POLL), look)), (cause) =>
    Effect.sync(() => {
      stop({ kind: "failed", message: `the replies of workers cannot be read: ${FailedRow.describe(cause).message}` })
      for (const chunk of Array.from(waiting.keys())) settle(workers, chunk, undefined)
    })
  )
}

/** Ends the wait for a chunk. */
const settle = ({ early, waiting }: Workers, chunk: number, answer: WorkChunk.Answer | undefined): void => {
  const found = waiting.get(chunk)
  if (found === undefined) {
    if (early.size >= WINDOW) early.clear()
    early.set(chunk, answer)
    return
  }
  waiting.delete(chunk)
  Deferred.doneUnsafe(found.answer, Effect.succeed(answer))
}

/** What was seen of the workers. */
interface Seen {
  readonly known: Map<number, string>
  readonly refused: Set<string>
  /** When a worker was last there, in milliseconds since 1970. */
  at: number
}

/** Tells which workers join and leave, and computes the rows here while there are none. */
const watching = (workers: Workers, options: Options): Effect.Effect<never> =>
  Effect.flatMap(Clock.currentTimeMillis, (at) => {
    const seen: Seen = { known: new Map(), refused: new Set(), at }
    return Effect.forever(Effect.andThen(Effect.ignore(watch(workers, options, seen)), Effect.sleep(WATCH)))
  })

const watch = Effect.fnUntraced(function* (
  workers: Workers,
  { emit, giveBack, list, queue, run, team }: Options,
  seen: Seen
) {
  const { known, refused } = seen
  const here = (yield* list.all).map((worker) => ({
    lease: worker.lease,
    name: WorkerList.nameOf(worker),
    is: Option.getOrUndefined(WorkCode.decodeState(worker.state))
  }))
  const mine = here.filter(({ is }) => is?.run === run.id)
  for (const { is, lease, name } of here) {
    if (is?.run === run.id && !known.has(lease)) {
      known.set(lease, name)
      yield* emit({ _tag: "WorkerJoined", run: run.name, worker: name })
    }
    const why = is?.refused?.find((one) => one.run === run.id)?.why
    if (why !== undefined && !refused.has(`${lease}${why}`)) {
      refused.add(`${lease}${why}`)
      yield* Effect.logWarning(`worker ${name} gets no rows of this run: ${why}`)
    }
  }
  for (const [lease, name] of known) {
    if (mine.some((worker) => worker.lease === lease)) continue
    known.delete(lease)
    yield* emit({ _tag: "WorkerLeft", run: run.name, worker: name })
  }
  team.present = known.size
  const now = yield* Clock.currentTimeMillis
  if (mine.length > 0) seen.at = now
  const isAlone = now - seen.at >= ALONE
  if (isAlone && !workers.isAlone)
    yield* Effect.logWarning(
      here.some(({ is }) => is?.run !== undefined)
        ? "the workers are busy with other runs: the rows are computed by this process until one is free"
        : "no worker is there: the rows are computed by this process until one joins"
    )
  workers.isAlone = isAlone
  yield* giveBack
  const chunks = [...workers.waiting].flatMap(([chunk, { since }]) => (isAlone || now - since > LOST ? [chunk] : []))
  if (chunks.length === 0) return
  if (isAlone) yield* queue.drop(chunks)
  for (const chunk of isAlone ? chunks : yield* queue.missing(chunks)) settle(workers, chunk, undefined)
})

/** Rows of a chunk with their items. */
interface Sent<A> {
  readonly item: A
  readonly index: number
}

const warm = <A extends Item, E, R>(
  workers: Workers,
  options: Options,
  plan: DomainPlan.DomainPlan,
  slots: ReadonlyMap<Node.Domain, Row.Slots>,
  stream: Stream.Stream<A, E, R>
): Stream.Stream<A, E | SqlError.SqlError, R> => {
  // What is not kept would run twice: in the worker and here.
  const isKept = (node: Node.Any) =>
    options.isJournaled(node) || (node.kind._tag === "Step" && node.kind.computed === true)
  if (!plan.members.some(options.isJournaled) || !plan.members.every(isKept)) return stream
  const nodes = [plan.root, ...plan.members]
  const places = WorkChunk.placesOf(plan.root, nodes, slots)
  let next = 0
  /** Set when values of these rows cannot be kept: the run computes them. */
  let isUnkept = false

  const offer = (rows: ReadonlyArray<Encoded<A>>): Effect.Effect<void, SqlError.SqlError> =>
    Effect.gen(function* () {
      if (isUnkept || workers.isAlone) return
      const content = WorkChunk.encodeContent({ root: plan.root.name, rows: rows.map(({ row }) => row) })
      const id = yield* options.queue.offer(options.run.id, options.run.tries, content)
      const found = yield* replyOf(workers, id)
      if (found === undefined) return
      if (found.unkept?.some((name) => plan.members.some((member) => member.name === name)) === true) isUnkept = true
      if (found.split !== true) return apply(workers, options, found)
      if (rows.length === 1) return fail(options, plan, rows[0]!.sent)
      yield* Effect.forEach(rows, (row) => offer([row]), { concurrency: "unbounded", discard: true })
    })

  const send = (rows: ReadonlyArray<Sent<A>>): Effect.Effect<void, SqlError.SqlError> =>
    isUnkept || workers.isAlone
      ? Effect.void
      : Effect.forEach(cut(rows.flatMap((sent) => encode(sent, places))), offer, {
          concurrency: "unbounded",
          discard: true
        })

  // Without a cache, a value that cannot be kept is paid for again: the first chunk tells whether values can be kept.
  const first: Deferred.Deferred<void> = Deferred.makeUnsafe()
  let isFirst = !options.isCached
  if (options.isCached) Deferred.doneUnsafe(first, Effect.void)

  const sendInTurn = (rows: ReadonlyArray<Sent<A>>): Effect.Effect<void, SqlError.SqlError> => {
    if (!isFirst)
      return Effect.andThen(
        Deferred.await(first),
        Effect.suspend(() => send(rows))
      )
    isFirst = false
    return Effect.ensuring(send(rows), Deferred.succeed(first, undefined))
  }

  return stream.pipe(
    Stream.map((item): Sent<A> => ({ item, index: next++ })),
    Stream.groupedWithin(MOST_ROWS, "20 millis"),
    Stream.flatMap((rows) => Stream.fromIterable(pieces(rows, workers.size))),
    Stream.mapEffect((rows) => Effect.as(sendInTurn(rows), rows), { concurrency: WINDOW }),
    Stream.flatMap((rows) => Stream.fromIterable(rows)),
    Stream.map(({ item }) => item)
  )
}

/** A row and its text. */
interface Encoded<A> {
  readonly sent: Sent<A>
  readonly row: WorkChunk.Content["rows"][number]
  /** Characters. */
  readonly size: number
}

/** Encodes a row. A row that cannot be encoded, or is too large to be sent, gives nothing: the run computes it. */
const encode = <A extends Item>(sent: Sent<A>, places: ReadonlyArray<WorkChunk.Place>): ReadonlyArray<Encoded<A>> => {
  const { index, item } = sent
  if (item.problem !== undefined || item.isLost === true) return []
  const row = WorkChunk.encodeRow({ index, position: item.position, value: item.value, parent: item.parent }, places)
  if (row === undefined) return []
  const size =
    row.value.length
    + row.above.reduce((sum, { values }) => sum + values.reduce((sum, { text = "" }) => sum + text.length, 0), 0)
  return size > LARGEST_ROW ? [] : [{ sent, row, size }]
}

/** Parts of at most `MOST_CHARACTERS`, with one row or more. */
const cut = <A extends { readonly size: number }>(rows: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> => {
  const parts: Array<Array<A>> = []
  let size = 0
  for (const row of rows) {
    const last = parts.at(-1)
    size += row.size
    if (last !== undefined && size <= MOST_CHARACTERS) last.push(row)
    else {
      parts.push([row])
      size = row.size
    }
  }
  return parts
}

/** Applies the reply to a chunk. */
const apply = (workers: Workers, options: Options, found: WorkChunk.Answer): void => {
  learn(workers, found)
  count(options.team, found)
  for (const { details, node, position, row, ...failure } of found.failures)
    options.onFailure(node, row, position, {
      ...failure,
      ...(details === undefined ? undefined : { details: details as FailedRow.Described["details"] & {} })
    })
  for (const [node, made] of Object.entries(found.made)) options.onMade(node, made)
  if (found.stop !== undefined) options.stop(found.stop)
}

/** Fails a row that ended each worker that had it. */
const fail = (options: Options, { members }: DomainPlan.DomainPlan, { index, item }: Sent<Item>): void => {
  for (const { name } of members)
    options.onFailure(name, index, item.position, {
      error: "WorkerLost",
      message: "workers ended while they had this row, again and again"
    })
}

const count = ({ shares }: RunSummary.RunTeam, { rows, worker }: WorkChunk.Answer): void => {
  const share = shares.get(worker)
  if (share === undefined) {
    shares.set(worker, { chunks: 1, rows })
    return
  }
  share.chunks++
  share.rows += rows
}

/** Waits for the reply to a chunk; `undefined` when its rows are to be computed here. */
const replyOf = ({ early, waiting }: Workers, chunk: number) =>
  Effect.flatMap(Clock.currentTimeMillis, (since) => {
    if (early.has(chunk)) {
      const found = early.get(chunk)
      early.delete(chunk)
      return Effect.succeed(found)
    }
    const answer = Deferred.makeUnsafe<WorkChunk.Answer | undefined>()
    waiting.set(chunk, { answer, since })
    return Deferred.await(answer)
  })

const pieces = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size))

/** Chunks of about the same time, whatever a row takes. */
const learn = (workers: Workers, { milliseconds, rows }: WorkChunk.Answer): void => {
  const wanted = (rows * CHUNK) / Math.max(1, milliseconds)
  workers.size = Math.round(Math.min(MOST_ROWS, Math.max(1, Math.min(workers.size * 2, (workers.size + wanted) / 2))))
}
