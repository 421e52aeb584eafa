/**
 * Fuses all steps of a row into one effect: adjacent steps of a row share one window.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as CallOutcome from "../client/CallOutcome.ts"
import * as CallContext from "../client/CallContext.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as AuthorValue from "../flow/AuthorValue.ts"
import * as Node from "../flow/Node.ts"
import * as IncompleteGroup from "./IncompleteGroup.ts"
import type * as Journal from "./Journal.ts"
import * as RowAttempt from "./RowAttempt.ts"
import { absent, costOf, lost, reader, type Row, setCost, type Slots } from "./Row.ts"
import * as RowCosts from "./RowCosts.ts"
import type { RowHooks } from "./RowHooks.ts"
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
  if (kind._tag === "Cost") return makeCost(node, kind, root, slot, slots, run)
  if (kind._tag !== "Step" && kind._tag !== "Filter" && kind._tag !== "Expand") {
    throw new Node.FlowError({ message: `${node.name} cannot be part of a row` })
  }
  const { isLost, read } = reader(kind.inputs, root.domain, slots, run.parameters)
  const attempt = RowAttempt.make(
    node,
    root,
    concurrency === undefined ? kind.policy : { concurrency, ...kind.policy },
    run
  )
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

/** What the calls of other nodes cost for a row. */
const makeCost = (
  node: Node.Any,
  { inputs }: Extract<Node.Kind, { readonly _tag: "Cost" }>,
  root: Node.Any,
  slot: number,
  slots: ReadonlyMap<Node.Domain, Slots>,
  run: RowHooks
): Program => {
  const { isLost, read } = reader(inputs, root.domain, slots, run.parameters)
  const stats = run.statsOf(node)
  const names = Object.keys(inputs)
  return (row) => {
    if (read(row) === undefined) {
      row.values[slot] = isLost(row) ? lost : absent
      stats.skipped++
      return Effect.void
    }
    row.values[slot] = RowCosts.sum(names.map((name) => costOf(row, name) ?? RowCosts.unknown))
    stats.done++
    return Effect.void
  }
}

type Values = Record<string, unknown>

/** Sets the value of a node for a row. `input` is what its functions receive: the values, or what it selects of them. */
type Evaluate = (
  row: Row,
  values: Values,
  attempt: RowAttempt.Attempt,
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
      const toValue = (yes: unknown, input: RowValues.Erased): unknown => {
        if (yes !== true && yes !== false) throw AuthorValue.noCondition(yes)
        return yes ? input : absent
      }
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
          Effect.map(kind.run(values) as Effect.Effect<unknown, unknown, unknown>, (items) =>
            AuthorValue.toItems("the function of the list", items)
          ),
        (items) => items
      )
      return lazily(kind.run, asked, (items) => AuthorValue.toItems("the function of the list", items))
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
  const isTracked = run.costs?.isTracked(node.name) === true
  const takeOver = (row: Row, input: RowValues.Erased, slot: number, hit: Journal.Hit): Effect.Effect<void> => {
    const value = toValue(hit.value, input)
    row.values[slot] = value
    if (isTracked) {
      setCost(row, node.name, hit.cost ?? RowCosts.unknown)
      // What an earlier attempt has spent came back with the run.
      run.costs!.end(node.name, row.index)
    }
    if (value === absent) stats.skipped++
    else stats.done++
    stats.reused++
    return Effect.void
  }
  return (row, values, attempt, slot, input) => {
    const known = journal.find(input, 0, compute, row.position)
    return !Effect.isEffect(known)
      ? takeOver(row, input, slot, known)
      : Effect.flatMapEager(known, (found) => {
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
        // What one of several samples cost is not kept.
        if (run.costs?.isTracked(node.name) === true) setCost(row, node.name, RowCosts.unknown)
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

/** The value of a group, from its state: the first thing computed for its row. */
const makeFinish = (node: Node.Any, kind: Extract<Node.Kind, { readonly _tag: "Reduce" }>, run: RowHooks): Program => {
  const attempt = RowAttempt.make(node, node, kind.policy, run)
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
