/**
 * Rows that wait for hours: a layer whose answers come later than a process should hold a row in memory *parks* the call.
 * The row is put down, and begun again when answers are there; what it asked before is answered from what was kept.
 *
 * **Details** The runner provides `SuspendedRun`, and around each step of a row `SuspendedRow`. Outside of a run both are `undefined`, and a
 * layer waits for its answers.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as AiError from "effect/ai/AiError"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as Caller from "./Caller.ts"
import type * as Attempt from "./Attempt.ts"
import type * as ModelClient from "./ModelClient.ts"

/** The calls of one step of one row. */
export interface SuspendedRow {
  /** On their way, parked ones included. */
  open: number
  parked: number
  /** Done when nothing of the step can go on. */
  readonly left: Deferred.Deferred<void>
  /** Answers that have been booked, by the hash of their request; kept while the row is put down. */
  readonly recorded: Map<string, number>
  /** Answers since the row was begun, by the hash of their request: those that are booked, and those that a layer gave. */
  readonly answered: Map<string, number>
  readonly given: Map<string, number>
}

export const SuspendedRow = Context.Reference<SuspendedRow | undefined>("@pipe/core/Suspension/Row", {
  defaultValue: () => undefined
})

export const makeRow = (booked: Map<string, number> = new Map()): SuspendedRow => ({
  open: 0,
  parked: 0,
  left: Deferred.makeUnsafe(),
  recorded: booked,
  answered: new Map(),
  given: new Map()
})

/** Whether an answer is to be booked: a row that was put down, and is begun again, has some of its answers again. */
export const isNew = (row: SuspendedRow, hash: string): boolean => {
  const count = (row.answered.get(hash) ?? 0) + 1
  row.answered.set(hash, count)
  if (count <= (row.recorded.get(hash) ?? 0)) return false
  row.recorded.set(hash, count)
  return true
}

/** Counts the calls of a row through the top of a stack. */
export const counted = (client: ModelClient.Service): ModelClient.Service => ({
  ...client,
  send: <R extends ModelRequest.ModelRequest>(request: R) =>
    Effect.withFiber((fiber) => {
      const row = fiber.getRef(SuspendedRow)
      if (row === undefined) return client.send(request)
      row.open++
      return Effect.onExitPrimitive(client.send(request), () => {
        row.open--
        return undefined
      })
    })
})

/**
 * Parks a call. When no call of the step can go on, the row is put down, and its calls are interrupted, in whatever fiber
 * they are.
 */
export const suspend = (row: SuspendedRow): Effect.Effect<never> =>
  Effect.suspend(() => {
    row.parked++
    // Calls beside this one get their turn to be sent, or parked too.
    return Effect.andThen(
      Effect.andThen(Effect.yieldNow, Effect.yieldNow),
      Effect.suspend(() => {
        if (row.parked >= row.open) Deferred.doneUnsafe(row.left, Effect.void)
        return Effect.andThen(Deferred.await(row.left), Effect.interrupt)
      })
    )
  })

/** How the work that rows wait for stands. */
export interface SuspensionStatus {
  /** Batches that are not back. */
  readonly batches: number
  /** Requests that are gathered and not sent yet. */
  readonly queued: number
  /** Requests at the provider. */
  readonly running: number
  readonly back: number
  readonly failed: number
  /** When the oldest batch that is not back was sent, in milliseconds since 1970. */
  readonly sentAt: number | undefined
  /** What the requests on their way will probably cost, in picodollars. */
  readonly expected: bigint
}

/** What a layer that parks calls lets the run do. */
export interface Holder {
  /** Sends what was gathered; ends when it is on its way. */
  readonly send: Effect.Effect<void, AiError.AiError>
  /** Ends when all that was sent is back, or has to be done without. */
  readonly settle: Effect.Effect<void, AiError.AiError>
  readonly status: () => SuspensionStatus
}

/** The run that rows are parked in. */
export interface SuspendedRun {
  readonly id: number
  readonly flow: string
  /** From when its deadlines count, in milliseconds since 1970. */
  readonly startedAt: number
  /** Answers are shared inside of it only; empty: with all other runs. */
  readonly scope: string
  /** Holds an amount of the run's budget, and gives back what lets it go. */
  readonly hold: (held: Attempt.Held) => () => void
  readonly register: (holder: Holder) => void
  /** Counts an entry that stands in the store already. */
  readonly count: (entry: LedgerEntry.LedgerEntry, isCharged: boolean) => void
}

/** Set around a request that is not to be put into a batch: it has left its batch, or another request waits for its answer. */
export const AtOnce = Context.Reference<boolean>("@pipe/core/Suspension/AtOnce", { defaultValue: () => false })

export const SuspendedRun = Context.Reference<SuspendedRun | undefined>("@pipe/core/Suspension/Run", {
  defaultValue: () => undefined
})

/** Whether a stack with these layers puts a request of a fiber into a batch. */
export const goesInBatch = (
  layers: ReadonlyArray<ModelClient.LayerInfo> = [],
  fiber: Fiber.Fiber<unknown, unknown>
): boolean =>
  fiber.getRef(SuspendedRow) !== undefined
  && !fiber.getRef(AtOnce)
  && layers.some(
    ({ service }) =>
      service?.tier === "batch"
      && (service.steps === undefined || service.steps.includes(fiber.getRef(Caller.Caller).step))
  )
