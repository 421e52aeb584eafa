/**
 * Suspends rows whose answers arrive later, such as those of a provider's batch. A layer *suspends* the call; the row
 * is replayed when the answer is there, and what it requested before comes from the store.
 *
 * **Details** The runner provides `SuspendedRun`, and `SuspendedRow` around each step of a row. Outside a run both are
 * `undefined`, and a layer waits for its answers.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as AiError from "effect/ai/AiError"
import * as LayerAnnotations from "./LayerAnnotations.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as CallContext from "./CallContext.ts"
import type { SuspendedRow } from "./CallState.ts"
import type * as Attempt from "./Attempt.ts"
import type { LayerInfo, Service } from "./Service.ts"

export const makeRow = (recorded: Map<string, number> = new Map()): SuspendedRow => ({
  open: 0,
  suspended: 0,
  left: Deferred.makeUnsafe(),
  recorded,
  answered: new Map(),
  given: new Map()
})

/** Tests whether an answer must be recorded. A replayed row receives some of its answers again. */
export const isNew = (row: SuspendedRow, hash: string): boolean => {
  const count = (row.answered.get(hash) ?? 0) + 1
  row.answered.set(hash, count)
  if (count <= (row.recorded.get(hash) ?? 0)) return false
  row.recorded.set(hash, count)
  return true
}

/** Counts the calls of a row at the top of a stack. */
export const counted = (client: Service): Service => ({
  ...client,
  send: <R extends ModelRequest.ModelRequest>(request: R) =>
    Effect.withFiber((fiber) => {
      const row = CallContext.stateOf(fiber).row
      if (row === undefined) return client.send(request)
      row.open++
      return Effect.onExitPrimitive(client.send(request), () => {
        row.open--
        return undefined
      })
    })
})

/**
 * Suspends a call. When no call of the step can make progress, the row is suspended and its calls are interrupted,
 * whichever fiber they run in.
 */
export const suspend = (row: SuspendedRow): Effect.Effect<never> =>
  Effect.suspend(() => {
    row.suspended++
    // Lets concurrent calls send their requests, or suspend too.
    return Effect.andThen(
      Effect.andThen(Effect.yieldNow, Effect.yieldNow),
      Effect.suspend(() => {
        if (row.suspended >= row.open) Deferred.doneUnsafe(row.left, Effect.void)
        return Effect.andThen(Deferred.await(row.left), Effect.interrupt)
      })
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

/** Tests whether a stack with these layers puts a request of a fiber into a batch. */
export const goesInBatch = (layers: ReadonlyArray<LayerInfo> = [], fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  CallContext.stateOf(fiber).row !== undefined
  && !CallContext.stateOf(fiber).isSingle
  && layers.some((layer) => {
    const service = LayerAnnotations.get(layer, LayerAnnotations.ServiceTier)
    const { step } = fiber.getRef(CallContext.CallContext)
    return service?.tier === "batch" && (service.steps === undefined || service.steps.includes(step))
  })
