/**
 * The events of a run: its start, its progress and its summary.
 *
 * @internal
 */
import type * as Suspension from "../client/Suspension.ts"
import type * as Flow from "../flow/Flow.ts"
import * as FlowGraph from "../flow/FlowGraph.ts"
import * as Node from "../flow/Node.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as RunTotals from "../ledger/RunTotals.ts"
import * as Money from "../price/Money.ts"
import * as PriceTable from "../price/PriceTable.ts"
import type * as FailedRow from "./FailedRow.ts"
import type * as NodeCounts from "./NodeCounts.ts"
import type * as RowHooks from "./RowHooks.ts"
import * as RunEvent from "./RunEvent.ts"
import type * as RunRepo from "./RunRepo.ts"
import type * as WaitingFor from "./WaitingFor.ts"

/** What the events of a run are made from. */
export interface RunSummaryParts {
  readonly flow: Flow.Any
  readonly run: Pick<RunRepo.StoredRun, "name" | "tries">
  /** The start of the run, in milliseconds since 1970. */
  readonly startedAt: number
  readonly counts: NodeCounts.NodeCounts
  readonly totals: RunTotals.RunTotals
  /** The table of the public prices. */
  readonly prices: PriceTable.Named
  readonly waits: WaitingFor.WaitingFor
  readonly errors: FailedRow.ErrorsFile
  readonly rows: { readonly read: number; readonly failed: number; readonly dropped: number }
  /** What is left of the budget. */
  readonly left: () => Money.Money | undefined
  /** The state of the batches that rows wait for; `undefined` when no layer has any. */
  readonly batches: () => ReadonlyArray<Suspension.SuspensionStatus> | undefined
  /** The workers of the run; `undefined` without. */
  readonly team: () => RunTeam | undefined
}

/** The workers of a run. */
export interface RunTeam {
  /** How many are there. */
  present: number
  /** What each has computed, by its name. */
  readonly shares: Map<string, { chunks: number; rows: number }>
}

/** How a run ended. */
export interface End {
  readonly at: number
  readonly stop: RowHooks.Stop | undefined
  readonly outputs: ReadonlyArray<{ readonly name: string; readonly rows: number }>
  /** What the store knows of reused answers, packed prompts and routed requests. */
  readonly kept?: Pick<RunEvent.RunFinished, "reuse" | "packs" | "routes">
  readonly unkept?: boolean
}

export const started = ({ flow, run, startedAt }: RunSummaryParts): RunEvent.RunEvent => ({
  _tag: "RunStarted",
  run: run.name,
  flow: flow.name,
  at: startedAt,
  try: run.tries,
  nodes: graphOf(flow)
})

export const progress = (parts: RunSummaryParts, at: number): typeof RunEvent.Progress.Type => {
  const { counts, run, startedAt, totals, waits } = parts
  const sums = totals.total()
  const left = parts.left()
  const batches = parts.batches()
  const team = parts.team()
  return {
    _tag: "Progress",
    run: run.name,
    milliseconds: at - startedAt,
    nodes: counts.progress(),
    spent: sums.spent,
    saved: RunTotals.saved(sums),
    ...(left === undefined ? undefined : { left }),
    answers: sums.answers,
    ...waits.status(at),
    ...(batches === undefined ? undefined : { batches: sumOf(batches) }),
    ...(team === undefined ? undefined : { workers: team.present })
  }
}

export const finished = (parts: RunSummaryParts, { at, kept, outputs, stop, unkept }: End): RunEvent.RunFinished => {
  const { counts, errors, flow, rows, run, startedAt, totals, waits } = parts
  const sums = totals.total()
  const standing = parts.batches()
  const batches = standing === undefined ? undefined : sumOf(standing)
  const shares = [...(parts.team()?.shares ?? [])]
  return {
    _tag: "RunFinished",
    run: run.name,
    flow: flow.name,
    status: stop === undefined ? "done" : stop.kind,
    ...(stop === undefined ? undefined : { failure: stop.message }),
    at,
    milliseconds: at - startedAt,
    try: run.tries,
    rows: { ...rows },
    nodes: counts.progress(),
    calls: {
      answers: sums.answers,
      attempts: sums.attempts,
      failedAttempts: sums.failedAttempts,
      failedCost: sums.failedSpent,
      ...(sums.reaskSpent === Money.zero ? undefined : { reaskCost: sums.reaskSpent })
    },
    ...(sums.attempts === 0 ? undefined : { prices: PriceTable.nameOf(parts.prices) }),
    ...moneyOf(sums),
    steps: FlowGraph.inOrder(flow.graph, totals.lines()).map((line) => ({
      step: line.step,
      provider: line.provider,
      model: line.model,
      ...(line.serviceTier === undefined ? undefined : { serviceTier: line.serviceTier }),
      answers: line.answers,
      attempts: line.attempts,
      failedAttempts: line.failedAttempts,
      ...moneyOf(line)
    })),
    outputs,
    ...(errors.count() === 0 || errors.path === undefined ? undefined : { errorsFile: errors.path }),
    ...(unkept === true ? { unkept } : undefined),
    waited: waits.status(at).waited,
    ...kept,
    ...(batches === undefined || batches.open === 0 ? undefined : { batches }),
    ...(shares.length === 0 ? undefined : { workers: shares.map(([worker, share]) => ({ worker, ...share })) })
  }
}

/** Adds up the batches of several layers. */
const sumOf = (all: ReadonlyArray<Suspension.SuspensionStatus>): RunEvent.BatchProgress => {
  const sum = (f: (one: Suspension.SuspensionStatus) => number) => all.reduce((total, one) => total + f(one), 0)
  const sent = all.flatMap(({ sentAt }) => (sentAt === undefined ? [] : [sentAt]))
  return {
    open: sum(({ batches }) => batches),
    queued: sum(({ queued }) => queued),
    running: sum(({ running }) => running),
    back: sum(({ back }) => back),
    failed: sum(({ failed }) => failed),
    ...(sent.length === 0 ? undefined : { sentAt: Math.min(...sent) }),
    expected: Money.sum(all.map(({ expected }) => expected))
  }
}

/** The nodes of a flow as data. */
export const graphOf = (flow: Flow.Any) =>
  flow.graph.nodes.map((node) => ({
    name: node.name,
    kind: Node.kindOf(node),
    inputs: Node.inputsOf(node).map((input) => input.name)
  }))

const moneyOf = (sums: LedgerEntry.LedgerTotals) => ({
  tokens: RunEvent.tokensOf(sums.usage),
  cost: sums.spent,
  ...(sums.fees === Money.zero ? undefined : { fees: sums.fees }),
  unpriced: sums.unpriced,
  estimatedCost: sums.estimatedSpent,
  estimatedCalls: sums.estimated,
  baseline: RunTotals.baseline(sums),
  savings: sums.savings
})
