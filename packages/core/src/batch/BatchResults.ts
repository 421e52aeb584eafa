/**
 * Takes the results of a batch into the store: each line once, by its id and never by its place, with the entry of its
 * attempt in the same transaction.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Money from "../data/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import type * as BatchProvider from "../seam/BatchProvider.ts"
import type * as LedgerEntry from "../seam/LedgerEntry.ts"
import type * as ModelClient from "../seam/ModelClient.ts"
import * as ModelFailure from "../seam/ModelFailure.ts"
import type * as BatchRepo from "../store/BatchRepo.ts"
import type * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchSpool from "./BatchSpool.ts"

export interface Environment {
  readonly provider: BatchProvider.BatchProvider
  readonly store: Store.Service
  readonly pricing: Pricing.Service
  /** Counts an entry that stands in the store now; `isCharged`: its budget is told of its end. */
  readonly count: (batch: BatchRepo.Batch, entry: LedgerEntry.AttemptEntry, isCharged: boolean) => void
  /** Lines of a batch that are not waited for any more. */
  readonly onTaken: (batch: BatchRepo.Batch, lines: ReadonlyArray<BatchRepo.Line>) => void
  /** No more will come of a batch. */
  readonly onOver: (batch: BatchRepo.Batch) => void
}

export interface Sums {
  readonly answered: number
  readonly failed: number
  /** Of the lines that are to be asked again. */
  readonly again: number
}

/** What is told of the end of each request, by its number; dropped when it has been. */
export type Ends = Array<((ended: ModelClient.Ended) => void) | undefined>

/** Results of one transaction. */
const GROUP = 256

/** Reads all results; what has none is asked again. Running it twice takes nothing twice. */
export const collect = Effect.fnUntraced(function* (
  batch: BatchRepo.Batch,
  status: BatchProvider.Status,
  env: Environment,
  ends: Ends
): Effect.fn.Return<Sums, AiError.AiError> {
  const { provider, store } = env
  const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
  const seen = new Uint8Array(batch.requests)
  const token = `${batch.name}-${(yield* Random.nextIntBetween(0, 36 ** 6)).toString(36)}`
  const unknown: Array<string> = []
  const repeated: Array<string> = []
  let answered = lines.filter((line) => line.state === "answered").length
  let failed = lines.filter((line) => line.state === "failed").length

  const take = Effect.fnUntraced(function* (results: ReadonlyArray<BatchProvider.Result>) {
    const now = yield* Clock.currentTimeMillis
    const mine = new Map<number, BatchProvider.Outcome>()
    for (const { customId, outcome } of results) {
      const number = BatchSpool.numberOf(batch, customId)
      if (number === undefined) unknown.push(customId)
      else if (seen[number] === 1) repeated.push(customId)
      else {
        seen[number] = 1
        if (lines[number]!.state === "waiting") mine.set(number, outcome)
      }
    }
    const taken = Array.from(mine, ([number, outcome]) => toTaken(batch, lines[number]!, outcome, env.pricing, now))
    if (taken.length === 0) return
    const accepted = yield* BatchFailure.stored(store, store.batches.take(batch, taken, token))
    let cost = Money.zero
    for (const { attempt, number, state } of taken) {
      if (!accepted.has(number)) continue
      if (state === "answered") answered++
      else if (state === "failed") failed++
      if (attempt === undefined) continue
      cost += attempt.cost ?? Money.zero
      env.count(batch, attempt, ends[number] !== undefined)
    }
    yield* BatchFailure.stored(store, store.batches.addUp(batch.id, cost))
    for (const [number, outcome] of mine) {
      ends[number]?.(outcome._tag === "Answered" ? { response: outcome.response, billed: "yes" } : { billed: "no" })
      ends[number] = undefined
    }
    env.onTaken(
      batch,
      taken.map(({ number }) => lines[number]!)
    )
  })

  yield* provider.results(status, batch.model).pipe(Stream.grouped(GROUP), Stream.runForEach(take))
  const again = yield* BatchFailure.stored(store, store.batches.release(batch.id, "counted"))
  env.onTaken(batch, lines)
  yield* warn(batch, "ids that it has not sent", unknown)
  yield* warn(batch, "more than one result for", repeated)
  return { answered, failed, again }
})

/** A few examples of what is wrong with the results. */
const warn = (batch: BatchRepo.Batch, what: string, ids: ReadonlyArray<string>): Effect.Effect<void> =>
  ids.length === 0
    ? Effect.void
    : Effect.logWarning(
        `batch ${batch.name}: its results have ${what}: ${ids.slice(0, 5).join(", ")}${ids.length > 5 ? `, … (${ids.length})` : ""}`
      )

const toTaken = (
  batch: BatchRepo.Batch,
  line: BatchRepo.Line,
  outcome: BatchProvider.Outcome,
  pricing: Pricing.Service,
  now: number
): BatchRepo.Taken => {
  const { number, row, step } = line
  if (outcome._tag === "Unanswered") return { number, state: "again", value: undefined, attempt: undefined }
  const at = batch.sentAt ?? batch.createdAt
  const common = {
    _tag: "Attempt" as const,
    caller: { run: batch.runName ?? "", step, row },
    at,
    milliseconds: Math.max(0, now - at),
    serviceTier: "batch"
  }
  if (outcome._tag === "Failed") {
    const { error } = outcome
    const isAgain = ModelFailure.isRetryable(error)
    return {
      number,
      state: isAgain ? "again" : "failed",
      value: isAgain ? undefined : BatchFailure.encode(error),
      attempt: {
        ...common,
        provider: batch.provider,
        model: batch.model,
        cost: Money.zero,
        error: ModelFailure.message(error)
      }
    }
  }
  const { response } = outcome
  return {
    number,
    state: "answered",
    value: JSON.stringify(response),
    attempt: {
      ...common,
      provider: response.provider,
      model: response.model,
      ...(response.usage === undefined
        ? { cost: undefined, unknown: "usage" as const }
        : Pricing.charge(pricing, { ...response, at, usage: response.usage }))
    }
  }
}

/** Lines that the provider found fault with fail; where it names none, all do. */
export const refuse = Effect.fnUntraced(function* (
  batch: BatchRepo.Batch,
  rejection: {
    readonly lines: ReadonlyArray<{ readonly line: number; readonly message: string }>
    readonly message: string
  },
  env: Environment
) {
  const { store } = env
  const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
  const named = new Map(rejection.lines.map(({ line, message }) => [line - 1, message]))
  const wrong = lines.filter(({ number, state }) => state === "waiting" && (named.size === 0 || named.has(number)))
  yield* BatchFailure.stored(
    store,
    store.batches.take(
      batch,
      wrong.map(({ number }) => ({
        number,
        state: "failed" as const,
        value: BatchFailure.encode(BatchFailure.invalid(named.get(number) ?? rejection.message)),
        attempt: undefined
      })),
      `${batch.name}-refused`
    )
  )
  env.onTaken(batch, lines)
})
