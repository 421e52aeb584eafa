/**
 * Runs chunks of rows in a worker: the rows of all chunks share one window, and a chunk is answered when its results are
 * in the store.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type * as SqlError from "effect/sql/SqlError"
import type * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as DomainPlan from "../run/DomainPlan.ts"
import type * as FailedRow from "../run/FailedRow.ts"
import * as Row from "../run/Row.ts"
import type * as RowHooks from "../run/RowHooks.ts"
import * as RowProgram from "../run/RowProgram.ts"
import type * as RunState from "../run/RunState.ts"
import * as WorkChunk from "./WorkChunk.ts"
import type * as WorkQueue from "./WorkQueue.ts"

export interface Options {
  readonly queue: WorkQueue.WorkQueue
  /** The name of this worker. */
  readonly name: string
  readonly run: number
  readonly attempt: number
  readonly concurrency: number
  /** The nodes with a value that could not be kept. */
  readonly unkept: ReadonlySet<string>
  /** The failed rows of this process since the last look, by domain, row and position. */
  readonly failures: Map<string, ReadonlyArray<FailedRow.FailedRow>>
  /** Ends when everything written before is in the store. */
  readonly commit: Effect.Effect<void, SqlError.SqlError>
  /** Whether the run still has work. */
  readonly isOpen: Effect.Effect<boolean, SqlError.SqlError>
  /** Runs as often as the worker looks whether the run continues. */
  readonly onLook: Effect.Effect<void>
  /** Rows were computed. */
  readonly onRows: (count: number) => void
}

/** How often a free worker looks for a chunk, in milliseconds. */
const POLL = 100

/** How often it looks whether the run continues, in milliseconds. */
const LOOK = 1_000

/** A chunk that was taken this often is sent row by row; a row that was taken this often fails. */
const SPLIT_AFTER = 3
const LOST_AFTER = 6

/** What the parts of a loop share. */
interface Loop {
  readonly flow: Flow.Any
  readonly state: RunState.RunState
  readonly options: Options
  readonly domains: ReadonlyMap<
    string,
    { readonly size: number; readonly program: (row: Row.Row) => Effect.Effect<void> }
  >
  readonly window: Semaphore.Semaphore
  readonly made: Map<Node.Any, number>
  /** Rows and chunks in progress. */
  rows: number
  chunks: number
}

/** Works until the run has no more work, or the worker has to stop. */
export const run = Effect.fnUntraced(function* (flow: Flow.Any, state: RunState.RunState, options: Options) {
  const plans = DomainPlan.make(flow)
  const slots = new Map(plans.map((plan) => [plan.root.domain, Row.slotsOf(plan.root, plan.members)]))
  const loop: Loop = {
    flow,
    state,
    options,
    domains: new Map(
      plans.map(({ members, root }) => [
        root.name,
        {
          size: slots.get(root.domain)!.size,
          program: RowProgram.make({ root, members, slots, run: state }) as (row: Row.Row) => Effect.Effect<void>
        }
      ])
    ),
    window: Semaphore.makeUnsafe(options.concurrency),
    made: new Map(),
    rows: 0,
    chunks: 0
  }
  // A chunk in progress is answered, unless the worker is interrupted.
  const rest = Effect.repeat(Effect.sleep(10), { until: () => loop.chunks === 0 })
  // Also while it takes no more: rows of its chunks may wait for a call of a process that waits for what this one was granted.
  const looking = Effect.forkScoped(Effect.forever(Effect.delay(options.onLook, LOOK)))
  yield* Effect.scoped(Effect.andThen(looking, Effect.andThen(take(loop), rest)))
  return []
})

/** Takes chunks while there is room for their rows. */
const take = Effect.fnUntraced(function* (loop: Loop) {
  const { options, state } = loop
  let looked = yield* Clock.currentTimeMillis
  while (state.stopped() === undefined) {
    const now = yield* Clock.currentTimeMillis
    if (now - looked > LOOK) {
      looked = now
      // The run has ended, or has been resumed: what is left of it is another attempt's.
      if (!(yield* options.isOpen)) return state.stop({ kind: "interrupted", message: "the run has ended" })
    }
    // More rows than run at once, so that none waits for the queue.
    const isFull = loop.rows >= options.concurrency * 2
    const chunk = isFull ? undefined : yield* options.queue.take(options.run, options.attempt)
    if (chunk !== undefined) {
      loop.chunks++
      yield* Effect.forkScoped(
        Effect.ensuring(
          Effect.ignore(handle(loop, chunk)),
          Effect.sync(() => void loop.chunks--)
        )
      )
      yield* Effect.yieldNow
      continue
    }
    yield* Effect.sleep(isFull ? POLL / 10 : POLL)
  }
})

/** Computes a chunk and answers it. Another worker gets what this one leaves. */
const handle = (loop: Loop, chunk: WorkQueue.Chunk) => {
  const { options, state } = loop
  const { queue } = options
  return Effect.onExit(
    Effect.flatMap(answer(loop, chunk), (found) =>
      // Results are in the store before the coordinator looks for them.
      Effect.andThen(
        options.commit,
        isGivenBack(state.stopped())
          ? queue.giveBack(chunk.id)
          : Effect.andThen(
              queue.reply(options.run, chunk.id, WorkChunk.encodeAnswer(found)),
              Effect.sync(() => options.onRows(found.rows))
            )
      )
    ),
    (exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.ignore(queue.giveBack(chunk.id)))
  )
}

/** Whether other processes may compute what this one has left. */
const isGivenBack = (stop: RowHooks.Stop | undefined): boolean =>
  stop?.kind === "interrupted" || stop?.isOfProcess === true

const nothing = { milliseconds: 0, rows: 0, failures: [], made: {} }

const answer = Effect.fnUntraced(function* (loop: Loop, chunk: WorkQueue.Chunk): Effect.fn.Return<WorkChunk.Answer> {
  const { domains, flow, made, options, state, window } = loop
  const startedAt = yield* Clock.currentTimeMillis
  const content = Option.getOrUndefined(WorkChunk.decodeContent(chunk.content))
  const domain = content === undefined ? undefined : domains.get(content.root)
  if (content === undefined || domain === undefined) return { ...nothing, worker: options.name }
  const { root, rows } = content
  if (chunk.attempts > (rows.length > 1 ? SPLIT_AFTER : LOST_AFTER))
    return { ...nothing, worker: options.name, split: true }
  loop.rows += rows.length
  yield* Effect.forEach(
    rows,
    (encoded) => {
      const row = WorkChunk.decodeRow(encoded, domain.size)
      const computed =
        row === undefined || state.stopped() !== undefined ? Effect.void : window.withPermit(domain.program(row))
      // The next chunk is taken while the last rows of this one are computed.
      return Effect.ensuring(
        computed,
        Effect.sync(() => void loop.rows--)
      )
    },
    { concurrency: "unbounded", discard: true }
  )
  const stop = state.stopped()
  return {
    worker: options.name,
    rows: rows.length,
    milliseconds: (yield* Clock.currentTimeMillis) - startedAt,
    failures: rows.flatMap(({ index, position }) => failuresOf(options, keyOf({ source: root, row: index, position }))),
    made: madeSince(flow, state, made),
    ...(options.unkept.size === 0 ? undefined : { unkept: [...options.unkept] }),
    ...(stop === undefined || (stop.kind !== "failed" && stop.kind !== "budget")
      ? undefined
      : { stop: { kind: stop.kind, message: stop.message } })
  }
})

/** A row among those of the process: rows of a join may share a position. */
export const keyOf = ({ position, row, source }: Pick<FailedRow.FailedRow, "source" | "row" | "position">): string =>
  `${source}\n${row}\n${position}`

/** Takes the failures of a row. */
const failuresOf = ({ failures }: Options, key: string): WorkChunk.Answer["failures"] => {
  const found = failures.get(key) ?? []
  failures.delete(key)
  return found.map(({ details, error, message, node, position, row }) => ({
    node,
    row,
    position,
    error,
    message,
    ...(details === undefined ? undefined : { details: JSON.parse(JSON.stringify(details)) })
  }))
}

/** Values computed by node since the last call. */
const madeSince = (flow: Flow.Any, state: RunState.RunState, before: Map<Node.Any, number>) => {
  const counts: Record<string, number> = {}
  for (const node of flow.graph.nodes) {
    // An expansion makes its list in a row of the domain above.
    const { made } = state.statsOf(node.kind._tag === "Expand" ? { ...node } : node)
    const since = made - (before.get(node) ?? 0)
    before.set(node, made)
    if (since > 0) counts[node.name] = since
  }
  return counts
}
