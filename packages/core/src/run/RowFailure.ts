/**
 * How a row fails at a node: it is a failed row, is skipped, or stops the run.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import type * as FlowCost from "../flow/FlowCost.ts"
import type * as Node from "../flow/Node.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as FailedRow from "./FailedRow.ts"
import type * as FailureStreak from "./FailureStreak.ts"
import type * as NodeCounts from "./NodeCounts.ts"
import type { Row } from "./Row.ts"
import type { RowHooks } from "./RowHooks.ts"

/** A step that a budget refused has not failed: it is not done yet. */
const budgetRefusals = (cause: Cause.Cause<unknown>): ReadonlyArray<AiError.AiError> =>
  cause.reasons.flatMap((reason) =>
    Cause.isFailReason(reason) && AiError.isAiError(reason.error) && ModelFailure.kind(reason.error) === "budget"
      ? [reason.error]
      : []
  )

export const isBudget = (cause: Cause.Cause<unknown>): boolean => budgetRefusals(cause).length > 0

export const failed = (
  node: Node.Any,
  root: Node.Any,
  onError: Node.OnError,
  row: Row,
  input: unknown,
  cause: Cause.Cause<unknown>,
  cost: FlowCost.Cost | undefined,
  run: RowHooks,
  stats: NodeCounts.NodeStats,
  streak: FailureStreak.FailureStreak
): Effect.Effect<void> => {
  const described = FailedRow.describe(cause)
  const { message } = described
  const refused = budgetRefusals(cause)
  if (refused.length > 0) {
    run.stop({ kind: refused.some(ModelFailure.isBudgetReached) ? "budget" : "failed", message })
    return Effect.void
  }
  stats.failed++
  const stop = streak.note(cause, message, stats.done)
  if (stop !== undefined) {
    run.stop({ kind: "failed", message: `step ${node.name}: ${stop}`, isOfProcess: true })
  } else if (onError === "fail") {
    run.stop({ kind: "failed", message: `step ${node.name} failed for row ${row.position}: ${message}` })
  }
  const failure: FailedRow.FailedRow = {
    source: root.name,
    row: row.index,
    position: row.position,
    node: node.name,
    ...described,
    ...(cost === undefined ? undefined : { details: { ...described.details, $cost: cost } }),
    input
  }
  if (onError === "skip" && stop === undefined) {
    run.onDropped(failure)
    return Effect.void
  }
  row.failed = true
  return run.onFailed(failure)
}

/** How a row has failed in a worker, once; `undefined` when it has not. */
export const elsewhere = (
  { elsewhere: known }: RowHooks,
  node: Node.Any,
  row: Row
): FailedRow.Described | undefined => {
  if (known.size === 0) return undefined
  const key = `${node.name}\n${row.index}\n${row.position}`
  const found = known.get(key)
  known.delete(key)
  return found
}
