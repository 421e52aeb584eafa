/**
 * Calls that an earlier try of a run left on their way when its process was killed. Each was perhaps billed: it is booked
 * as an estimate, with the tokens of the same call when that is made again, or with those that were expected.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Usage from "../data/Usage.ts"
import * as Ledger from "../layers/Ledger.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as LedgerEntry from "../seam/LedgerEntry.ts"
import type * as LedgerRepo from "../store/LedgerRepo.ts"

export interface CutCalls {
  /** Sees what is booked: the repetition of a cut call says what that has used. */
  readonly see: (entry: LedgerEntry.LedgerEntry) => void
  /** Books all that were not made again. */
  readonly settle: Effect.Effect<void>
}

export const make = (
  calls: ReadonlyArray<LedgerRepo.CutCall>,
  options: {
    readonly run: string
    readonly pricing: Pricing.Service
    readonly book: (entry: LedgerEntry.AttemptEntry) => void
  }
): CutCalls => {
  const open = new Map<string, Array<LedgerRepo.CutCall>>()
  const keyOf = (step: string, row: number, model: string) => `${step}\n${row}\n${model}`
  for (const call of calls) {
    const key = keyOf(call.step, call.row, call.model)
    open.set(key, [...(open.get(key) ?? []), call])
  }
  const book = (call: LedgerRepo.CutCall, model: string, usage: Usage.Usage): void =>
    options.book({
      _tag: "Attempt",
      caller: { run: options.run, step: call.step, row: call.row },
      at: call.at,
      milliseconds: 0,
      provider: call.provider,
      model,
      ...Ledger.priced(options.pricing, call.provider, model, call.at, usage),
      estimated: true,
      error: "the process ended while the call was on its way",
      call: call.id
    })
  return {
    see: (entry) => {
      if (open.size === 0 || entry._tag === "Answer" || entry.estimated === true || entry.usage === undefined) return
      // The answer may name the model by its date.
      for (const [key, same] of open) {
        const [call] = same
        if (call!.step !== entry.caller.step || call!.row !== entry.caller.row || !entry.model.startsWith(call!.model)) continue
        open.delete(key)
        for (const one of same) book(one, entry.model, entry.usage)
        return
      }
    },
    settle: Effect.sync(() => {
      for (const [, same] of open) {
        for (const call of same) {
          book(call, call.model, { ...Usage.zero, uncachedInput: call.inputTokens, output: call.outputTokens })
        }
      }
      open.clear()
    })
  }
}
