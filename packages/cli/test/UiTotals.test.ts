/** Figures that are added up as the ledger is read. */
import { assert, describe, it } from "@effect/vitest"
import * as RowSet from "../src/ui/RowSet.ts"
import * as Totals from "../src/ui/Totals.ts"
import * as Strategies from "../src/view/Strategies.ts"
import fc from "fast-check"

const attempt = {
  step: "a",
  provider: "p",
  model: "m",
  serviceTier: null,
  milliseconds: 10,
  tokens: 1,
  isEstimate: false
}

describe("the totals of a run", () => {
  it("have the last minute of a long run, whichever log is read first", () => {
    const totals = Totals.make()
    const end = 1_800_000_000_000
    const seconds = Array.from({ length: 1_300 }, (_, index) => end - (1_299 - index) * 1_000)
    for (const [row, at] of seconds.entries())
      totals.attempt({ ...attempt, row, at, cost: 1n, error: row % 3 === 0 ? "429 too many requests" : null })
    for (const [row, at] of seconds.entries())
      totals.answer({ step: "a", row, model: "m", at, isHit: false, saved: Strategies.all.map(() => 0n) })
    const recent = totals.recent(end, end - 1_300_000)
    assert.deepInclude(recent, { span: 60_000, calls: 61, answered: 61, milliseconds: 10 })
    assert.strictEqual(recent.limited, seconds.slice(-61).filter((_, at) => (1_239 + at) % 3 === 0).length)
    // Of a run that has lasted ten seconds, there are ten.
    assert.strictEqual(totals.recent(end, end - 10_000).span, 10_000)
    assert.strictEqual(totals.rows(), 1_300)
  })

  it("count each row once", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100_000)), (rows) => {
        const set = RowSet.make()
        for (const row of rows) set.add(row)
        assert.strictEqual(set.size(), new Set(rows).size)
      })
    )
  })
})
