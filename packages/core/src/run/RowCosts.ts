/**
 * What the calls of rows cost, for the nodes that a flow reads the cost of. Costs are kept with results, and a reused one
 * brings its own.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as CallContext from "../client/CallContext.ts"
import type * as Flow from "../flow/Flow.ts"
import type * as FlowCost from "../flow/FlowCost.ts"
import * as Node from "../flow/Node.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as Money from "../price/Money.ts"

/** The sum of attempts. `money` is `undefined` when one of them has no known cost. */
interface Sum {
  money: Money.Money | undefined
  calls: number
  milliseconds: number
}

export interface RowCosts {
  readonly isTracked: (node: string) => boolean
  readonly add: (entry: LedgerEntry.LedgerEntry) => void
  /** Adds what earlier attempts of the run have spent. */
  readonly restore: (step: string, row: number, spent: Sum) => void
  /** What a node has spent for a row so far. */
  readonly of: (node: string, row: number) => FlowCost.Cost
  /** A value that another row has computed. */
  readonly set: (node: string, row: number, cost: FlowCost.Cost) => void
  /** The row is done: forgets it. */
  readonly end: (node: string, row: number) => void
}

/** The cost of a value of which nothing is known. */
export const unknown: FlowCost.Cost = { usd: null, calls: null, milliseconds: null }

const NONE: FlowCost.Cost = { usd: "0", calls: 0, milliseconds: 0 }

/** `undefined` when the flow reads no costs. `isUnknown` while rows are suspended: calls of batches have no row. */
export const make = ({ graph }: Flow.Any, isUnknown: () => boolean): RowCosts | undefined => {
  const tracked = new Set(
    graph.nodes.flatMap((node) => (node.kind._tag === "Cost" ? Node.inputsOf(node).map(({ name }) => name) : []))
  )
  if (tracked.size === 0) return undefined
  const sums = new Map<string, Sum>()
  const known = new Map<string, FlowCost.Cost>()
  const keyOf = (node: string, row: number): string => `${node}\n${row}`
  const restore: RowCosts["restore"] = (step, row, { calls, milliseconds, money }) => {
    const node = CallContext.nodeOf(step)
    if (!tracked.has(node) || isUnknown()) return
    const key = keyOf(node, row)
    const sum = sums.get(key) ?? { money: Money.zero, calls: 0, milliseconds: 0 }
    sums.set(key, sum)
    sum.money = sum.money === undefined || money === undefined ? undefined : sum.money + money
    sum.calls += calls
    sum.milliseconds += milliseconds
  }
  return {
    isTracked: (node) => tracked.has(node),
    add: (entry) => {
      if (entry._tag !== "Attempt") return
      const { caller, cost, milliseconds } = entry
      restore(caller.step, caller.row, { money: cost, calls: 1, milliseconds })
    },
    restore,
    set: (node, row, cost) => void known.set(keyOf(node, row), cost),
    of: (node, row) => {
      const key = keyOf(node, row)
      const cost = known.get(key)
      if (cost !== undefined) return cost
      if (isUnknown()) return unknown
      const sum = sums.get(key)
      return sum === undefined
        ? NONE
        : {
            usd: sum.money === undefined ? null : Money.toUsd(sum.money),
            calls: sum.calls,
            milliseconds: sum.milliseconds
          }
    },
    end: (node, row) => {
      sums.delete(keyOf(node, row))
      known.delete(keyOf(node, row))
    }
  }
}

const plus = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : a + b)

const usdOf = (texts: ReadonlyArray<string | null>): string | null =>
  Option.getOrNull(
    Option.map(Option.all(texts.map((text) => (text === null ? Option.none() : Money.fromUsd(text)))), (amounts) =>
      Money.toUsd(Money.sum(amounts))
    )
  )

/** The cost of several nodes together. */
export const sum = (costs: ReadonlyArray<FlowCost.Cost>): FlowCost.Cost =>
  costs.length === 1
    ? costs[0]!
    : {
        usd: usdOf(costs.map(({ usd }) => usd)),
        calls: costs.map(({ calls }) => calls).reduce(plus, 0),
        milliseconds: costs.map(({ milliseconds }) => milliseconds).reduce(plus, 0)
      }
