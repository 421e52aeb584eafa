/**
 * Fuses all steps of a row into one effect: adjacent steps of a row share one window.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as CallOutcome from "../client/CallOutcome.ts"
import * as CallContext from "../client/CallContext.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as AuthorValue from "../flow/AuthorValue.ts"
import * as Node from "../flow/Node.ts"
import * as FailedRow from "./FailedRow.ts"
import * as FailureStreak from "./FailureStreak.ts"
import * as IncompleteGroup from "./IncompleteGroup.ts"
import type * as Journal from "./Journal.ts"
import { absent, lost, reader, type Row, type Slots } from "./Row.ts"
import * as RowFailure from "./RowFailure.ts"
import type { Suspended, RowHooks } from "./RowHooks.ts"
import type * as StepIdentity from "./StepIdentity.ts"
import * as StepCall from "./StepCall.ts"

export type Program = (row: Row) => Effect.Effect<void, never, unknown>

/** The program of a domain's rows: its members in order, independent ones concurrently. */
export const make = (options: {
  readonly root: Node.Any
  readonly members: ReadonlyArray<Node.Any>
  readonly slots: ReadonlyMap<Node.Domain, Slots>
  readonly run: RowHooks
  /** Rows of a node processed concurrently, when there are more in the domain. Default: all. */
  readonly concurrency?: number
  /** Whether the stack packs texts into prompts. */
  readonly packs?: boolean
}): Program => {
  const { concurrency, members, packs = false, root, run, slots } = options
  const own = slots.get(root.domain)!
  const programs = new Map(
    members.map((node) => [
      node,
      makeNode(node, root, own.get(node)!, slots, run, Node.rowsPerRequest(node, packs) > 1 ? undefined : concurrency)
    ])
  )
  const levels = levelsOf(members).map((level) => level.map((node) => programs.get(node)!))
  const finish = root.kind._tag === "Reduce" ? makeFinish(root, root.kind, run) : undefined
  const steps: ReadonlyArray<Program> = [
    ...(finish === undefined ? [] : [finish]),
    ...levels.map((level): Program =>
      level.length === 1
        ? level[0]!
        : (row) => Effect.forEach(level, (program) => program(row), { concurrency: "unbounded", discard: true })
    )
  ]
  if (steps.length === 1) return steps[0]!
  return (row) => Effect.forEach(steps, (step) => step(row), { discard: true })
}

/** Members by the longest path to them within the domain. */
const levelsOf = (members: ReadonlyArray<Node.Any>): ReadonlyArray<ReadonlyArray<Node.Any>> => {
  const depth = new Map<Node.Any, number>()
  const levels: Array<Array<Node.Any>> = []
  for (const node of members) {
    const level = Math.max(0, ...Node.inputsOf(node).map((input) => (depth.get(input) ?? -1) + 1))
    depth.set(node, level)
    ;(levels[level] ??= []).push(node)
  }
  return levels
}

const makeNode = (
  node: Node.Any,
  root: Node.Any,
  slot: number,
  slots: ReadonlyMap<Node.Domain, Slots>,
  run: RowHooks,
  concurrency: number | undefined
): Program => {
  const kind = node.kind
  if (kind._tag !== "Step" && kind._tag !== "Filter" && kind._tag !== "Expand") {
    throw new Node.FlowError({ message: `${node.name} cannot be part of a row` })
  }
  const { isLost, read } = reader(kind.inputs, root.domain, slots)
  const attempt = attempter(node, root, concurrency === undefined ? kind.policy : { concurrency, ...kind.policy }, run)
  const stats = run.statsOf(node)
  const journal = run.journalOf(node)
  const evaluate = selecting(kind, evaluatorOf(node, kind, journal, run))
  return (row) => {
    const values = read(row)
    if (values === undefined) {
      row.values[slot] = isLost(row) ? lost : absent
      stats.skipped++
      return Effect.void
    }
    return evaluate(row, values, attempt, slot, values)
  }
}

type Values = Record<string, unknown>

/** Sets the value of a node for a row. `input` is what its functions receive: the values, or what it selects of them. */
type Evaluate = (
  row: Row,
  values: Values,
  attempt: Attempt,
  slot: number,
  input: RowValues.Erased
) => Effect.Effect<void, never, unknown>

/** Selects the input of a node from its values. */
const selecting = (kind: Node.Kind, evaluate: Evaluate): Evaluate => {
  const subject = "subject" in kind ? kind.subject : undefined
  if (subject === undefined) return evaluate
  return (row, values, attempt, slot) => {
    let input: unknown
    try {
      input = subject(values)
    } catch (defect) {
      return attempt(row, slot, values, () => Effect.die(defect))
    }
    return evaluate(row, values, attempt, slot, input)
  }
}

/** What a kind of node does with its input values, beginning with a look-up in the journal. */
const evaluatorOf = (
  node: Node.Any,
  kind: Extract<Node.Kind, { readonly _tag: "Step" | "Filter" | "Expand" }>,
  journal: Journal.NodeJournal | undefined,
  run: RowHooks
): Evaluate => {
  switch (kind._tag) {
    case "Step": {
      const { samples, when } = kind
      const ask = StepCall.of("step", kind, kind.run)
      const one: Evaluate =
        samples === undefined
          ? journaled(
              node,
              journal,
              run,
              (values) => ask(values, 0),
              (value) => value
            )
          : (row, values, attempt, slot) =>
              attempt(row, slot, values, () => sampled(node, ask, samples, journal, run, row, values))
      return when === undefined
        ? one
        : (row, values, attempt, slot, input) => {
            let holds: boolean
            try {
              holds = when(values)
              AuthorValue.refusePromise("`when`", holds)
            } catch (defect) {
              return attempt(row, slot, values, () => Effect.die(defect))
            }
            return holds ? one(row, values, attempt, slot, input) : attempt(row, slot, values, () => Effect.undefined)
          }
    }
    case "Filter": {
      const { keep } = kind
      const ask = StepCall.of("filter", kind, keep)
      const toValue = (yes: unknown, input: RowValues.Erased): unknown => (yes === true ? input : absent)
      return lazily(
        keep,
        journaled(node, journal, run, (input) => ask(input, 0), toValue),
        toValue
      )
    }
    case "Expand": {
      const asked = journaled(
        node,
        journal,
        run,
        (values) =>
          Effect.map(kind.run(values) as Effect.Effect<Iterable<unknown>, unknown, unknown>, (items) =>
            Array.from(items)
          ),
        (items) => items
      )
      return lazily(kind.run, asked, (items) => Array.from(items as Iterable<unknown>))
    }
  }
}

/** Wraps a function that returns a result immediately, which is not worth keeping, or an effect. */
const lazily =
  (
    f: (input: RowValues.Erased) => unknown,
    asked: Evaluate,
    toValue: (result: unknown, input: RowValues.Erased) => unknown
  ): Evaluate =>
  (row, values, attempt, slot, input) => {
    let made: unknown
    try {
      made = f(input)
      if (Effect.isEffect(made)) return asked(row, values, attempt, slot, input)
      AuthorValue.refusePromise("the function", made)
      made = toValue(made, input)
    } catch (defect) {
      return attempt(row, slot, values, () => Effect.die(defect))
    }
    return attempt(row, slot, values, () => Effect.succeed(made))
  }

/** Reuses a value from the journal, or computes and keeps it. */
const journaled = (
  node: Node.Any,
  journal: Journal.NodeJournal | undefined,
  run: RowHooks,
  compute: StepIdentity.StepRun,
  toValue: (result: unknown, input: RowValues.Erased) => unknown
): Evaluate => {
  if (journal === undefined) {
    return (row, values, attempt, slot, input) =>
      attempt(row, slot, values, () => Effect.map(compute(input), (result) => toValue(result, input)))
  }
  const stats = run.statsOf(node)
  const takeOver = (row: Row, input: RowValues.Erased, slot: number, hit: Journal.Hit): Effect.Effect<void> => {
    const value = toValue(hit.value, input)
    row.values[slot] = value
    if (value === absent) stats.skipped++
    else stats.done++
    stats.reused++
    return Effect.void
  }
  return (row, values, attempt, slot, input) => {
    const known = journal.find(input, 0, compute, row.position)
    return !Effect.isEffect(known)
      ? takeOver(row, input, slot, known)
      : Effect.flatMap(known, (found) => {
          if (found._tag === "Hit") return takeOver(row, input, slot, found)
          const computed = attempt(row, slot, values, () =>
            Effect.map(journal.keep(found, input, compute), (result) => toValue(result, input))
          )
          return run.onMissing === undefined
            ? computed
            : Effect.andThen(run.onMissing(node, row, journal, found), computed)
        })
  }
}

/** Several answers for a row, each identified by its number. */
const sampled = (
  node: Node.Any,
  ask: (values: RowValues.Erased, sample: number) => Effect.Effect<unknown, unknown, unknown>,
  samples: number,
  journal: Journal.NodeJournal | undefined,
  run: RowHooks,
  row: Row,
  values: Values
): Effect.Effect<unknown, unknown, unknown> => {
  let hits = 0
  const one = (sample: number): Effect.Effect<unknown, unknown, unknown> => {
    const compute: StepIdentity.StepRun = (values) =>
      ModelSettings.provide({ sample })(Effect.suspend(() => ask(values, sample)))
    if (journal === undefined) return compute(values)
    const known = journal.find(values, sample, compute, row.position)
    return Effect.flatMap(Effect.isEffect(known) ? known : Effect.succeed(known), (found) => {
      if (found._tag === "Hit") {
        if (++hits === samples) run.statsOf(node).reused++
        return Effect.succeed(found.value)
      }
      // The result of one sample says nothing about the others.
      const computed = CallContext.provideState({ outcome: CallOutcome.make() })(journal.keep(found, values, compute))
      return run.onMissing === undefined ? computed : Effect.andThen(run.onMissing(node, row, journal, found), computed)
    })
  }
  // A failing sample does not interrupt the others: they are paid for, and kept for the next run of the row.
  return Effect.flatMap(
    Effect.forEach(
      Array.from({ length: samples }, (_, sample) => sample),
      (sample) => Effect.exit(one(sample)),
      { concurrency: "unbounded" }
    ),
    (exits) => Effect.all(exits)
  )
}

type Attempt = (
  row: Row,
  slot: number,
  input: unknown,
  effect: () => Effect.Effect<unknown, unknown, unknown>
) => Effect.Effect<void, never, unknown>

/** Runs a node for a row under its policy: sets the value, or handles the failure. */
const attempter = (node: Node.Any, root: Node.Any, policy: Node.NodePolicy, run: RowHooks): Attempt => {
  const { suspended: suspension } = run
  const stats = run.statsOf(node)
  const limit = policy.concurrency === undefined ? undefined : Semaphore.makeUnsafe(policy.concurrency)
  const settings = Node.settingsOf(policy)
  const streak = FailureStreak.make(suspension !== undefined)
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
          stats.made++
          if (value === absent) stats.skipped++
          else stats.done++
          return Effect.void
        },
        onFailure: (cause): Effect.Effect<void> => {
          // Interrupting the run skips this handler: here the row has interrupted itself, which is its own failure.
          const onError = policy.onError ?? "keep"
          row.values[slot] = onError === "skip" ? absent : lost
          return RowFailure.failed(node, root, onError, row, input, cause, run, stats, streak)
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
        if (exit._tag === "Success" && exit.value === suspended && calls.recorded.size > 0)
          suspension.recorded.set(place, calls.recorded)
        else suspension.recorded.delete(place)
        if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause) && !RowFailure.isBudget(exit.cause)) {
          suspension.failures.set(`${place}\n${contentOf(input)}`, exit.cause)
        }
        return undefined
      }
    )
  })

const contentOf = (input: unknown): string => ContentHash.make(StoredValue.content(input) ?? "")

/** The value of a group, from its state: the first thing computed for its row. */
const makeFinish = (node: Node.Any, kind: Extract<Node.Kind, { readonly _tag: "Reduce" }>, run: RowHooks): Program => {
  const attempt = attempter(node, node, kind.policy, run)
  const evaluate = journaled(
    node,
    run.journalOf(node),
    run,
    ({ key, missing = 0, state }) =>
      AuthorValue.toEffect("the function of the group", kind.finish(state, key, missing)),
    (value) => value
  )
  const stats = run.statsOf(node)
  return (row) => {
    const { lacking, ...group } = row.values[0] as IncompleteGroup.Group
    if (lacking === undefined || kind.missing === "ignore") return evaluate(row, group, attempt, 0, group)
    stats.incomplete++
    if (kind.missing === "fail") return attempt(row, 0, group, () => Effect.fail(IncompleteGroup.make(row, lacking)))
    if (kind.missing === "skip") {
      row.values[0] = lost
      stats.skipped++
      return Effect.void
    }
    row.missing = lacking.count
    // A group that lacks other rows has another value.
    const partial = { ...group, missing: lacking.count }
    return evaluate(row, partial, attempt, 0, partial)
  }
}
