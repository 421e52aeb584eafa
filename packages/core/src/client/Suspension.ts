/**
 * Suspends rows whose answers arrive later, such as those of a provider's batch. Suspension is an exit of `send`: the
 * layer that sends batches exits with it, other layers pass it through as they pass an interruption through, and the
 * runner suspends the row when none of its calls can make progress. The row is replayed when the answer is there, and
 * what it requested before comes from the store.
 *
 * **Details** The runner provides `SuspendedRun`, and `SuspendedRow` around each step of a row. Outside a run both are
 * `undefined`, and a layer waits for its answers.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as CallContext from "./CallContext.ts"
import * as CallOutcome from "./CallOutcome.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type { AnsweredRequest, CallState, SuspendedRow } from "./CallState.ts"
import type * as Attempt from "./Attempt.ts"
import type { Service } from "./Service.ts"

/** Marks the exit of a call whose answer arrives later. */
const Suspended = Context.Service<true>("@pipe/core/Suspension/Suspended")

const cause: Cause.Cause<never> = Cause.annotate(Cause.interrupt(), Context.make(Suspended, true))

/** Tests whether a call has ended because its answer, or that of a call it shares, arrives later. */
export const isSuspended = (cause: Cause.Cause<unknown>): boolean =>
  Cause.hasInterruptsOnly(cause) && Context.getOrUndefined(Cause.annotations(cause), Suspended) === true

const yieldTwice = Effect.andThen(Effect.yieldNow, Effect.yieldNow)

/** Suspends a call, after other calls of the same layer have been sent, or suspended too. */
export const suspend: Effect.Effect<never> = Effect.andThen(yieldTwice, Effect.failCause(cause))

let replays = 0

export const makeRow = (recorded: ReadonlyMap<string, number> = new Map()): SuspendedRow => ({
  replay: replays++,
  open: 0,
  suspended: 0,
  left: Deferred.makeUnsafe(),
  ended: Deferred.makeUnsafe(),
  recorded,
  answered: [],
  given: new Map(),
  isKept: undefined
})

const hashOf = (answered: AnsweredRequest): string => (answered.hash ??= ContentHash.make(answered.text()))

/** Tests whether an answer must be recorded. A replayed row receives some of its answers again. */
export const isNew = ({ answered, recorded }: SuspendedRow, request: ModelRequest.ModelRequest): boolean => {
  const last: AnsweredRequest = { text: RequestKey.later(request), hash: undefined }
  answered.push(last)
  // Most rows are suspended before any answer: there is none to tell apart.
  if (recorded.size === 0) return true
  const hash = hashOf(last)
  return answered.filter((one) => hashOf(one) === hash).length > (recorded.get(hash) ?? 0)
}

/** Notes whether a result of a row is kept. */
export const noteKept = ({ row }: CallState, isKept: boolean): void => {
  if (row !== undefined) row.isKept = isKept && row.isKept !== false
}

/** The answers that are recorded by now, by the hash of their request. */
export const recordedBy = ({ answered, recorded }: SuspendedRow): ReadonlyMap<string, number> => {
  const now = new Map<string, number>()
  for (const one of answered) now.set(hashOf(one), (now.get(hashOf(one)) ?? 0) + 1)
  for (const [hash, count] of recorded) now.set(hash, Math.max(count, now.get(hash) ?? 0))
  return now
}

/**
 * Holds the suspended calls of a row at the top of a stack until no call of the row can make progress: then all of them
 * exit, whichever fiber they run in, and the row is suspended.
 */
export const held = (client: Service): Service => ({
  ...client,
  send: <R extends ModelRequest.ModelRequest>(request: R) =>
    Effect.withFiber((fiber) => {
      const row = CallContext.stateOf(fiber).row
      if (row === undefined) return client.send(request)
      row.open++
      return Effect.onExitPrimitive(
        Effect.catchCause(client.send(request), (cause) =>
          isSuspended(cause) ? hold(row, cause, () => CallOutcome.failed(fiber, request)) : Effect.failCause(cause)
        ),
        () => {
          row.open--
          if (row.suspended > 0) {
            const { ended } = row
            row.ended = Deferred.makeUnsafe()
            Deferred.doneUnsafe(ended, Effect.void)
          }
          return undefined
        }
      )
    })
})

/** Holds a call until its row is suspended. A call that its step gives up before has failed. */
const hold = <E>(row: SuspendedRow, cause: Cause.Cause<E>, onGivenUp: () => void): Effect.Effect<never, E> => {
  row.suspended++
  return Effect.onExitPrimitive(Effect.andThen(untilStuck(row), Effect.failCause(cause)), (exit) => {
    row.suspended--
    // When its row is suspended, all that runs for the row is interrupted: nothing is given up.
    const isRowSuspended = Deferred.isDoneUnsafe(row.left)
    if (exit._tag === "Failure" && !isRowSuspended && !isSuspended(exit.cause)) onGivenUp()
    return undefined
  })
}

/** Ends when no call of a row can make progress. */
const untilStuck = (row: SuspendedRow): Effect.Effect<void> =>
  // Lets concurrent calls send their requests, or suspend too.
  Effect.flatMap(yieldTwice, () => {
    if (row.suspended >= row.open) Deferred.doneUnsafe(row.left, Effect.void)
    return Deferred.isDoneUnsafe(row.left)
      ? Effect.void
      : Effect.andThen(
          Effect.raceFirst(Deferred.await(row.left), Deferred.await(row.ended)),
          Effect.suspend(() => untilStuck(row))
        )
  })

/** The state of the work that suspended rows wait for. */
export interface SuspensionStatus {
  /** Batches without results. */
  readonly batches: number
  /** Requests that are gathered and not sent yet. */
  readonly queued: number
  /** Requests at the provider. */
  readonly running: number
  readonly back: number
  readonly failed: number
  /** When the oldest batch without results was sent, in milliseconds since 1970. */
  readonly sentAt: number | undefined
  /** The expected cost of the requests in flight, in picodollars. */
  readonly expected: bigint
}

/** What a layer that suspends calls offers to the run. */
export interface Holder {
  /** Sends what is gathered; ends when it has been sent. */
  readonly send: Effect.Effect<void, AiError.AiError>
  /** Ends when everything that was sent has its results, or has been given up. */
  readonly settle: Effect.Effect<void, AiError.AiError>
  readonly status: () => SuspensionStatus
}

/** The run whose rows are suspended. */
export interface SuspendedRun {
  readonly id: number
  readonly flow: string
  /** The start of its deadlines, in milliseconds since 1970. */
  readonly startedAt: number
  /** Answers are shared only within this scope; the empty scope shares them with all other runs. */
  readonly scope: string
  /** Reserves an amount of the run's budget, and returns what releases it. */
  readonly hold: (held: Attempt.Held) => () => void
  readonly register: (holder: Holder) => void
  /** Counts an entry that is in the store already. */
  readonly count: (entry: LedgerEntry.LedgerEntry, isCharged: boolean) => void
}
