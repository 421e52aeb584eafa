/**
 * Calls that an earlier try of a run left on their way when its process was killed. Each was perhaps billed: it is booked
 * as an estimate, with the tokens of the same call when that is made again, or with those that were expected.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Usage from "../data/Usage.ts"
import * as Pricing from "../price/Pricing.ts"
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
  let open = calls
  const book = (call: LedgerRepo.CutCall, model: string, usage: Usage.Usage): void =>
    options.book({
      _tag: "Attempt",
      caller: { run: options.run, step: call.step, row: call.row },
      at: call.at,
      milliseconds: 0,
      provider: call.provider,
      model,
      ...Pricing.charge(options.pricing, { provider: call.provider, model, at: call.at, usage }),
      estimated: true,
      error: "the process ended while the call was on its way",
      call: call.id
    })
  return {
    see: (entry) => {
      if (open.length === 0 || entry._tag === "Answer" || entry.estimated === true || entry.usage === undefined) return
      const { caller, model, usage } = entry
      // The answer may name the model by its date.
      const isSame = (call: LedgerRepo.CutCall) =>
        call.step === caller.step && call.row === caller.row && model.startsWith(call.model)
      const same = open.filter(isSame)
      if (same.length === 0) return
      open = open.filter((call) => !isSame(call))
      for (const call of same) book(call, model, usage)
    },
    settle: Effect.sync(() => {
      for (const call of open)
        book(call, call.model, { ...Usage.zero, uncachedInput: call.inputTokens, output: call.outputTokens })
      open = []
    })
  }
}
