/**
 * Runs a node for a row under its policy: with its settings and its width, until it ends, fails or is suspended.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as CallContext from "../client/CallContext.ts"
import * as CallOutcome from "../client/CallOutcome.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as Node from "../flow/Node.ts"
import * as FailedRow from "./FailedRow.ts"
import * as FailureStreak from "./FailureStreak.ts"
import { absent, lost, type Row, setCost } from "./Row.ts"
import * as RowFailure from "./RowFailure.ts"
import type { Suspended, RowHooks } from "./RowHooks.ts"

/** Runs an effect for a row under the policy of its node. `input` is what the errors file has of it. */
export type Attempt = (
  row: Row,
  slot: number,
  input: unknown,
  effect: () => Effect.Effect<unknown, unknown, unknown>
) => Effect.Effect<void, never, unknown>

/** Runs a node for a row under its policy: sets the value, or handles the failure. */
export const make = (node: Node.Any, root: Node.Any, policy: Node.NodePolicy, run: RowHooks): Attempt => {
  const { suspended: suspension } = run
  const stats = run.statsOf(node)
  const limit = policy.concurrency === undefined ? undefined : Semaphore.makeUnsafe(policy.concurrency)
  const settings = Node.settingsOf(policy)
  const streak = FailureStreak.make(suspension !== undefined)
  const costs = run.costs?.isTracked(node.name) === true ? run.costs : undefined
  return (row, slot, input, effect) => {
    stats.running++
    const called = Effect.updateContext(Effect.suspend(effect), (context: Context.Context<unknown>) => {
      const call = Context.get(context, CallContext.CallContext)
      const mine = context.pipe(
        Context.add(CallContext.CallContext, {
          ...call,
          run: run.id,
          step: node.name,
          row: row.index,
          position: row.position,
          values: input as RowValues.Values,
          state: { ...call.state, outcome: CallOutcome.make() }
        })
      )
      return settings === undefined
        ? mine
        : Context.add(
            mine,
            ModelSettings.ModelSettings,
            ModelSettings.merge(Context.get(context, ModelSettings.ModelSettings), settings)
          )
    })
    const here = limit === undefined ? called : limit.withPermit(called)
    const known = RowFailure.elsewhere(run, node, row)
    const once = known === undefined ? here : Effect.fail(new FailedRow.FailedElsewhere(known))
    return Effect.onExitPrimitive(
      Effect.matchCauseEffect(suspension === undefined ? once : untilSuspended(once, suspension, node, row, input), {
        onSuccess: (value) => {
          if (value === suspended) {
            row.values[slot] = absent
            suspension!.onSuspended()
            return Effect.void
          }
          row.values[slot] = value
          if (costs !== undefined) {
            // Samples that were found have theirs.
            if (row.costs?.has(node.name) !== true) setCost(row, node.name, costs.of(node.name, row.index))
            costs.end(node.name, row.index)
          }
          stats.made++
          if (value === absent) stats.skipped++
          else stats.done++
          return Effect.void
        },
        onFailure: (cause): Effect.Effect<void> => {
          // Interrupting the run skips this handler: here the row has interrupted itself, which is its own failure.
          const onError = policy.onError ?? "keep"
          row.values[slot] = onError === "skip" ? absent : lost
          const cost = costs?.of(node.name, row.index)
          costs?.end(node.name, row.index)
          return RowFailure.failed(node, root, onError, row, input, cause, cost, run, stats, streak)
        }
      }),
      () => {
        stats.running--
        return undefined
      }
    )
  }
}

/** Replaces the value of a suspended row. */
const suspended: unique symbol = Symbol("suspended")

/** Runs a step until it ends, or until none of its calls can make progress. */
const untilSuspended = (
  step: Effect.Effect<unknown, unknown, unknown>,
  suspension: Suspended,
  node: Node.Any,
  row: Row,
  input: unknown
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.suspend(() => {
    const place = `${node.name}\n${row.position}`
    const known = suspension.failures.size === 0 ? undefined : suspension.failures.get(`${place}\n${contentOf(input)}`)
    if (known !== undefined) return Effect.failCause(known)
    const calls = Suspension.makeRow(suspension.recorded.get(place))
    const started = Effect.raceFirst(
      CallContext.provideState({ row: calls })(step),
      Effect.as(Deferred.await(calls.left), suspended)
    )
    return Effect.onExitPrimitive(
      Effect.catchCause(started, (cause) =>
        Suspension.isSuspended(cause) ? Effect.succeed(suspended) : Effect.failCause(cause)
      ),
      (exit) => {
        // Without a kept result the row is replayed, too.
        const isReplayed = exit._tag === "Success" && (exit.value === suspended || calls.isKept !== true)
        const recorded = isReplayed ? Suspension.recordedBy(calls) : undefined
        if (recorded !== undefined && recorded.size > 0) suspension.recorded.set(place, recorded)
        else suspension.recorded.delete(place)
        if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause) && !RowFailure.isBudget(exit.cause)) {
          suspension.failures.set(`${place}\n${contentOf(input)}`, exit.cause)
        }
        return undefined
      }
    )
  })

const contentOf = (input: unknown): string => ContentHash.make(StoredValue.content(input) ?? "")
