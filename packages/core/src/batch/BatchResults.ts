/**
 * Stores the results of a batch: each line once, by its id and never by its position, with the entry of its attempt in
 * the same transaction.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type * as Attempt from "../client/Attempt.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Charge from "../price/Charge.ts"
import * as Money from "../price/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import type * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchFileWriter from "./BatchFileWriter.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchLine from "./BatchLine.ts"
import type * as BatchRepo from "./BatchRepo.ts"

export interface ResultsEnvironment {
  readonly provider: BatchProvider.BatchProvider
  readonly store: Store.Service
  readonly pricing: Pricing.Service
  /** Counts an entry that is in the store; with `isCharged` the budget is informed separately. */
  readonly count: (batch: BatchRepo.StoredBatch, entry: LedgerEntry.AttemptEntry, isCharged: boolean) => void
  /** Called for lines of a batch that are no longer waited for. */
  readonly onTaken: (batch: BatchRepo.StoredBatch, lines: ReadonlyArray<BatchLine.BatchLine>) => void
  /** Called when no more results of a batch will come. */
  readonly onOver: (batch: BatchRepo.StoredBatch) => void
}

export interface ResultCounts {
  readonly answered: number
  readonly failed: number
  /** Lines without results that the provider counts as answered. */
  readonly owed: number
  /** The line numbers of unreadable results, which may belong to those. */
  readonly unreadable: ReadonlyArray<number>
}

/** The callbacks for the end of each request, by its number. Removed once called. */
export type Ends = Array<((ended: Attempt.AttemptEnd) => void) | undefined>

/**
 * Reads all results, each line on its own. Running it twice stores nothing twice. Lines that the provider did not
 * process are released to be sent again. Lines that it counts as answered, but did not return, keep waiting.
 */
export const collect = Effect.fnUntraced(function* (
  batch: BatchRepo.StoredBatch,
  status: BatchProvider.BatchStatus,
  env: ResultsEnvironment,
  ends: Ends,
  /** The failure of requests that the provider did not process; `undefined` to send them again. */
  unanswered: AiError.AiError | undefined
): Effect.fn.Return<ResultCounts, AiError.AiError> {
  const { provider, store } = env
  const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
  const byNumber = new Map(lines.map((line) => [line.number, line]))
  const seen = new Set<number>()
  const token = `${batch.name}-${(yield* Random.nextIntBetween(0, 36 ** 6)).toString(36)}`
  const odd: Record<"unknown" | "repeated", Array<string>> = { unknown: [], repeated: [] }
  const unreadable: Array<number> = []
  let answered = lines.filter((line) => line.state === "answered").length
  let failed = lines.filter((line) => line.state === "failed").length
  /** Answers in the results, usable or not. */
  let given = 0
  /** The first result of a request that has no answer yet: an answer may follow. */
  const others = new Map<number, BatchProvider.BatchOutcome>()

  const account = accounting(batch, env, ends)

  const take = Effect.fnUntraced(function* (results: ReadonlyArray<BatchProvider.BatchResult>) {
    const now = yield* Clock.currentTimeMillis
    const mine = new Map<number, BatchProvider.BatchOutcome>()
    for (const result of results) {
      if (result.customId === undefined) {
        unreadable.push(result.line)
        continue
      }
      const { customId, outcome } = result
      const number = BatchFileWriter.numberOf(batch, customId)
      const line = number === undefined ? undefined : byNumber.get(number)
      if (number === undefined || line === undefined) odd.unknown.push(customId)
      else if (seen.has(number)) odd.repeated.push(customId)
      else if (outcome._tag !== "Answered") {
        if (others.has(number)) odd.repeated.push(customId)
        else others.set(number, outcome)
      } else {
        seen.add(number)
        given++
        // A late answer is paid for, although its request may have been sent again.
        if (["waiting", "again"].includes(line.state)) mine.set(number, soundOf(outcome))
        else if (ends[number] !== undefined) {
          // Another process has stored the answer, with its entry for this run.
          account(number, soundOf(outcome), toTaken(batch, line, soundOf(outcome), env.pricing, now).attempt)
        }
      }
    }
    yield* settle(mine)
  })

  const settle = Effect.fnUntraced(function* (mine: ReadonlyMap<number, BatchProvider.BatchOutcome>) {
    const now = yield* Clock.currentTimeMillis
    const taken = [...mine]
      .sort(([one], [other]) => one - other)
      .map(([number, outcome]) => toTaken(batch, byNumber.get(number)!, outcome, env.pricing, now, unanswered))
    if (taken.length === 0) return
    const accepted = yield* BatchFailure.stored(store, store.batches.take(batch, taken, token))
    let cost = Money.zero
    for (const { attempt, number, state } of taken) {
      if (accepted.has(number)) {
        if (state === "answered") answered++
        else if (state === "failed") failed++
        cost += attempt?.cost ?? Money.zero
      } else if (ends[number] === undefined) continue
      account(number, mine.get(number)!, attempt)
    }
    yield* BatchFailure.stored(store, store.batches.addUp(batch.id, cost))
    env.onTaken(
      batch,
      taken.map(({ number }) => byNumber.get(number)!)
    )
  })

  yield* provider.results(status, batch.model).pipe(Stream.grouped(store.batches.group), Stream.runForEach(take))
  given += leaveWaiting(others, seen, byNumber)
  yield* Effect.forEach(Arr.chunksOf(others, store.batches.group), (group) => settle(new Map(group)), { discard: true })
  const missing = lines.filter(({ number, state }) => state === "waiting" && !seen.has(number))
  const owed = Math.min(missing.length, Math.max(0, countedOf(batch, status) - given))
  if (owed === 0) {
    failed += yield* releaseAll(batch, missing, env, unanswered)
    env.onTaken(batch, lines)
  }
  yield* warn(batch, odd)
  return { answered, failed, owed, unreadable }
})

/** Counts the end of a request that this process has sent, or whose result it has stored. */
const accounting =
  (batch: BatchRepo.StoredBatch, env: ResultsEnvironment, ends: Ends) =>
  (number: number, outcome: BatchProvider.BatchOutcome, attempt: LedgerEntry.AttemptEntry | undefined): void => {
    if (attempt !== undefined) env.count(batch, attempt, ends[number] !== undefined)
    ends[number]?.(endOf(outcome))
    ends[number] = undefined
  }

/** Releases lines without results: they are sent again, or fail. Returns how many fail. */
const releaseAll = Effect.fnUntraced(function* (
  batch: BatchRepo.StoredBatch,
  missing: ReadonlyArray<BatchLine.BatchLine>,
  { store }: ResultsEnvironment,
  failure: AiError.AiError | undefined
) {
  let failed = 0
  if (failure !== undefined) {
    const undone = missing.map(({ number }) => toUndone(number, failure))
    failed = (yield* BatchFailure.stored(store, store.batches.take(batch, undone, `${batch.name}-undone`))).size
  }
  yield* BatchFailure.stored(store, store.batches.release(batch.id, "counted"))
  return failed
})

/** Keeps only requests that wait without an answer. Returns how many of the others had an unreadable answer. */
const leaveWaiting = (
  unanswered: Map<number, BatchProvider.BatchOutcome>,
  seen: Set<number>,
  lines: ReadonlyMap<number, BatchLine.BatchLine>
): number => {
  let unreadable = 0
  for (const [number, outcome] of unanswered) {
    if (!seen.has(number) && outcome._tag === "Unreadable") unreadable++
    if (seen.has(number) || lines.get(number)!.state !== "waiting") unanswered.delete(number)
    else seen.add(number)
  }
  return unreadable
}

/** How many answers the provider has, according to its own count. */
const countedOf = (batch: BatchRepo.StoredBatch, status: BatchProvider.BatchStatus): number => {
  // Everything is done but nothing can be read: the files are late, whatever the count says.
  const isLate = status.isWhole === true && (status.files.length === 0 || status.counted === undefined)
  return isLate ? batch.requests : (status.counted ?? 0)
}

/** A provider may not say that its batch answered. */
const inBatch = (response: ModelResponse.ModelResponse): ModelResponse.ModelResponse =>
  response.serviceTier?.split("+").includes("batch") === true ? response : ModelResponse.inTier(response, "batch")

const soundOf = (outcome: BatchProvider.BatchOutcome): BatchProvider.BatchOutcome =>
  outcome._tag === "Answered" ? { ...outcome, response: inBatch(ModelResponse.sound(outcome.response)) } : outcome

/** The end of a request, for the budget. */
const endOf = (outcome: BatchProvider.BatchOutcome): Attempt.AttemptEnd => {
  switch (outcome._tag) {
    case "Answered":
      return { response: outcome.response, billed: "yes" }
    case "Unreadable":
      return { error: outcome.error, billed: "unknown" }
    case "Failed":
      return { error: outcome.error, billed: "no" }
    default:
      return { billed: "no" }
  }
}

/** Fails the requests with unreadable answers: they are billed, and sending them again would be paid again. */
export const giveUp = Effect.fnUntraced(function* (
  batch: BatchRepo.StoredBatch,
  unreadable: ReadonlyArray<number>,
  env: ResultsEnvironment,
  ends: Ends
) {
  const { store } = env
  const now = yield* Clock.currentTimeMillis
  const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
  const error = BatchFailure.unreadable(batch, unreadable)
  const waiting = lines.filter(({ state }) => state === "waiting")
  const taken = waiting.map((line) => toTaken(batch, line, { _tag: "Unreadable", error }, env.pricing, now))
  const accepted = yield* BatchFailure.stored(store, store.batches.take(batch, taken, `${batch.name}-unreadable`))
  for (const { attempt, number } of taken) {
    if (!accepted.has(number)) continue
    if (attempt !== undefined) env.count(batch, attempt, ends[number] !== undefined)
    ends[number]?.({ error, billed: "unknown" })
    ends[number] = undefined
  }
  env.onTaken(batch, lines)
  return accepted.size
})

/** Shows a few of the ids that do not belong to the batch. */
const warn = (
  batch: BatchRepo.StoredBatch,
  { repeated, unknown }: Record<"unknown" | "repeated", ReadonlyArray<string>>
): Effect.Effect<void> =>
  Effect.forEach(
    [["ids that it has not sent", unknown] as const, ["more than one result for", repeated] as const],
    ([what, ids]) =>
      ids.length === 0
        ? Effect.void
        : Effect.logWarning(
            `batch ${batch.name}: its results have ${what}: ${ids.slice(0, 5).join(", ")}${ids.length > 5 ? `, … (${ids.length})` : ""}`
          ),
    { discard: true }
  )

/** A request that the provider did not process. */
const toUndone = (number: number, error: AiError.AiError | undefined): BatchRepo.LineResult =>
  error === undefined
    ? { number, state: "again", value: undefined, attempt: undefined }
    : { number, state: "failed", value: BatchFailure.encode(error), attempt: undefined }

const toTaken = (
  batch: BatchRepo.StoredBatch,
  line: BatchLine.BatchLine,
  outcome: BatchProvider.BatchOutcome,
  pricing: Pricing.Service,
  now: number,
  unanswered?: AiError.AiError
): BatchRepo.LineResult => {
  const { number, row, step } = line
  if (outcome._tag === "Unanswered") return toUndone(number, unanswered)
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
    // A budget set a limit that the model does not accept: the request is sent again with the largest that it accepts.
    const isAgain = ModelFailure.isRetryable(error) || (line.limited && ModelFailure.outputLimit(error) !== undefined)
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
  if (outcome._tag === "Unreadable") {
    return {
      number,
      state: "failed",
      value: BatchFailure.encode(outcome.error),
      attempt: {
        ...common,
        provider: batch.provider,
        model: batch.model,
        ...countedOr(outcome.error, batch, line, pricing, at),
        error: ModelFailure.message(outcome.error)
      }
    }
  }
  const { response } = outcome
  // Truncated by a limit that the caller did not set: paid for, but unusable.
  const isCut = line.limited && ModelResponse.isTruncated(response)
  return {
    number,
    state: isCut ? "again" : "answered",
    value: isCut ? undefined : JSON.stringify(response),
    attempt: {
      ...common,
      provider: response.provider,
      model: response.model,
      ...(response.model === batch.model ? undefined : { requested: batch.model }),
      ...(response.usage === undefined || response.usage.unpriceable === true
        ? atMost(batch, line, pricing, at, response)
        : Pricing.charge(pricing, { ...response, usage: response.usage }, at))
    }
  }
}

/** The cost of an unreadable answer, by its usage when it has one. */
const countedOr = (
  error: AiError.AiError,
  batch: BatchRepo.StoredBatch,
  line: BatchLine.BatchLine,
  pricing: Pricing.Service,
  at: number
): Charge.Charge => {
  const { model: requestedModel, provider } = batch
  const usage = ModelFailure.usageOf(error)
  const answered = { model: requestedModel, ...ModelFailure.answeredBy(error) }
  return usage === undefined || usage.unpriceable === true
    ? atMost(batch, line, pricing, at, undefined, usage)
    : Pricing.charge(pricing, { ...answered, requestedModel, provider, usage, serviceTier: "batch" }, at)
}

/**
 * The most that an answer without usage can have cost: the bound of its request, or its length when no limit was sent.
 */
const atMost = (
  batch: BatchRepo.StoredBatch,
  { most }: BatchLine.BatchLine,
  pricing: Pricing.Service,
  at: number,
  response?: ModelResponse.ModelResponse,
  /** What the provider reports, where that is not all. */
  said = response?.usage
): Charge.Charge => {
  const shown = response?._tag === "CompletionResponse" ? Charge.shownOf(response) : 0
  const bound = { ...Usage.zero, uncachedInput: most.input, output: Math.max(most.output, shown) }
  const usage = Charge.atLeast(said, bound)
  const { provider, model } = response ?? batch
  const reported = Charge.reportedBy(response)
  if (reported !== undefined) return { usage, cost: reported, estimated: true }
  const answered = { provider, model, serviceTier: "batch" }
  const cost = Money.largest(
    [
      Pricing.charge(pricing, { ...answered, usage }, at).cost,
      most.cost,
      said === undefined ? undefined : leastOf(pricing, answered, said, usage.output, at)
    ].filter((cost) => cost !== undefined)
  )
  return { usage, cost, ...(cost === undefined ? { unknown: "price" as const } : undefined), estimated: true }
}

/** What the provider reports, and the most output beside it. */
const leastOf = (
  pricing: Pricing.Service,
  answered: Omit<Pricing.PricedAnswer, "usage">,
  said: Usage.Usage,
  output: number,
  at: number
): Money.Money | undefined => {
  const least = Charge.leastOf(pricing, answered, said, at)
  const more = Pricing.charge(pricing, { ...answered, usage: { ...Usage.zero, output } }, at).cost
  return least === undefined || more === undefined ? undefined : least + more
}

/** Fails the lines that the provider found at fault; all of them when it names none. */
export const refuse = Effect.fnUntraced(function* (
  batch: BatchRepo.StoredBatch,
  rejection: {
    readonly lines: ReadonlyArray<{ readonly line: number; readonly message: string }>
    readonly message: string
  },
  env: ResultsEnvironment
) {
  const { store } = env
  const lines = yield* BatchFailure.stored(store, store.batches.lines(batch.id))
  const named = new Map(rejection.lines.map(({ line, message }) => [line - 1, message]))
  const waiting = lines.filter(({ state }) => state === "waiting")
  const found = waiting.filter(({ number }) => named.has(number))
  // A request that fails for another reason would be rejected again and again.
  const wrong = found.length === 0 ? waiting : found
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
