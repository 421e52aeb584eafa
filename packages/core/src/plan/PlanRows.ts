/**
 * How many calls the planned ones of a step stand for: what depends on answers is not known before they are there.
 *
 * @internal
 */
import * as CallContext from "../client/CallContext.ts"
import type * as CallState from "../client/CallState.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import type * as ExpectedUsage from "../model/ExpectedUsage.ts"
import type * as RunEvent from "../run/RunEvent.ts"
import type * as PlanCount from "./PlanCount.ts"

/**
 * How the calls of a line were counted: on the rows (`counted`), from an earlier run (`learned`), by `expect`
 * (`expected`), or on placeholders (`guessed`): then more or fewer may come.
 */
export type Counted = "counted" | "learned" | "expected" | "guessed"

/** How many calls of the run a planned call stands for. */
export interface Times {
  readonly times: number
  readonly by: Counted
  /** What depends on answers: the rows of the step, the calls of a row, or which rows its prompts are made from. */
  readonly of: "rows" | "calls" | "input"
  /** The share of the planned calls that come whatever the answers are. */
  readonly least: number
  /** The fewest and the most calls of a row, in a bounded loop. */
  readonly bounds?: CallState.Loop | undefined
}

export interface PlanRows {
  readonly of: (one: PlanCount.PlanCounts) => Times
  /** Steps that no row reached, because of what placeholders answered. */
  readonly unreached: ReadonlyArray<string>
}

/** What is known of the rows of a flow. */
export interface Known {
  readonly flow: Flow.Any
  readonly counts: ReadonlyArray<PlanCount.PlanCounts>
  /** The nodes as the plan has run them. */
  readonly nodes: ReadonlyArray<RunEvent.NodeProgress>
  /** The last run of the flow. */
  readonly before: RunEvent.RunFinished | undefined
  readonly expected: ExpectedUsage.ExpectedUsage
}

type Rows = ReadonlyMap<string, RunEvent.NodeProgress>

const byName = (nodes: ReadonlyArray<RunEvent.NodeProgress>): Rows => new Map(nodes.map((node) => [node.name, node]))

const evaluated = (rows: Rows, name: string): number => {
  const node = rows.get(name)
  return node === undefined ? 0 : node.done + node.failed
}

/** The rows that a node was computed for. Of a filter and an expansion, the nodes that they read tell it. */
const arrived = (rows: Rows, node: Node.Any): number => {
  const [input] = Node.inputsOf(node)
  return input !== undefined && (node.kind._tag === "Filter" || node.kind._tag === "Expand")
    ? evaluated(rows, input.name)
    : evaluated(rows, node.name)
}

const COUNTED: Times = { times: 1, by: "counted", of: "rows", least: 1 }

export const make = (known: Known): PlanRows => {
  const { flow } = known
  const nodes = new Map(flow.graph.nodes.map((node) => [node.name, node]))
  const rows = byName(known.nodes)
  const open = openness(known)
  const factor = factors(known, rows, open)
  return {
    of: (one) => {
      const node = nodes.get(CallContext.nodeOf(one.step))
      if (node === undefined) return COUNTED
      const byRows = open.arriving(node) ? factor(node) : undefined
      const byCalls = callsOf(known, node, one, rows, Node.inputsOf(node).some(open.value))
      if (byRows === undefined && byCalls === undefined)
        return open.picked(node) ? { ...COUNTED, by: "guessed", of: "input" } : COUNTED
      const by = [byRows?.by, byCalls?.by]
      return {
        times: (byRows?.times ?? 1) * (byCalls?.times ?? 1),
        by: (["guessed", "expected"] as const).find((one) => by.includes(one)) ?? "learned",
        of: byRows === undefined || (byRows.by !== "guessed" && byCalls?.by === "guessed") ? "calls" : "rows",
        least: byRows === undefined ? (byCalls?.least ?? 1) : 0,
        ...(one.bounds === undefined ? undefined : { bounds: one.bounds })
      }
    },
    unreached: flow.graph.nodes
      .filter(
        (node) =>
          Node.canCall(node)
          && !isReached(known, node, rows)
          && (open.arriving(node) || (isChoosing(node) && Node.inputsOf(node).some(open.value)))
      )
      .map(({ name }) => name)
  }
}

/** Whether a step's own code chooses if it calls. */
const isChoosing = ({ kind }: Node.Any): boolean => kind._tag === "Step" && CHOICE.test(String(kind.run))

/** A condition that does not hold keeps a row from the calls of a step. */
const isConditional = ({ kind }: Node.Any): boolean => kind._tag === "Step" && kind.when !== undefined

/** Whether a row that is not reused has reached a node. */
const isReached = ({ counts }: Known, node: Node.Any, rows: Rows): boolean =>
  counts.some(({ step }) => CallContext.nodeOf(step) === node.name)
  || (!isConditional(node) && !isChoosing(node) && arrived(rows, node) > (rows.get(node.name)?.reused ?? 0))

const DESTRUCTURED = /^\s*\(\s*\{([^{}]*)\}\s*\)\s*=>/

/** The inputs that a function reads, by its parameter; `undefined` when that does not tell. */
const namesRead = (f: Function): ReadonlySet<string> | undefined => {
  if (readsNothing(f)) return new Set()
  const names = DESTRUCTURED.exec(String(f))?.[1]
    ?.split(",")
    .map((name) => name.split(":")[0]!.trim())
    .filter((name) => name !== "")
  return names === undefined || names.some((name) => !/^[\w$]+$/.test(name)) ? undefined : new Set(names)
}

/** Tests whether a function takes nothing: `() => …`. */
const readsNothing = (f: Function): boolean => /^\s*(?:async\s*)?\(\s*\)\s*=>/.test(String(f))

interface Openness {
  /** Whether the value of a node depends on answers that have not come. */
  readonly value: (node: Node.Any) => boolean
  /** Whether the number of rows does that it is computed for. */
  readonly arriving: (node: Node.Any) => boolean
  /** Whether vectors that have not come decide which rows its values are made from. */
  readonly picked: (node: Node.Any) => boolean
}

/** Answers a question of each node once. */
const once = (ask: (node: Node.Any) => boolean): ((node: Node.Any) => boolean) => {
  const known = new Map<Node.Any, boolean>()
  return (node) => {
    let is = known.get(node)
    if (is === undefined) known.set(node, (is = ask(node)))
    return is
  }
}

/** Whether the value of a node depends on answers that have not come. */
export const dependsOnAnswers = (known: Pick<Known, "counts" | "flow">): Openness["value"] => openness(known).value

const openness = ({ counts, flow }: Pick<Known, "counts" | "flow">): Openness => {
  const asking = new Set(counts.filter(({ calls }) => calls > 0).map(({ step }) => CallContext.nodeOf(step)))
  const value = once((node): boolean => asking.has(node.name) || Node.inputsOf(node).some(value))
  const roots = new Map(flow.graph.nodes.map((node) => [node.name, node]))
  const decided = (node: Node.Any): boolean => {
    const { kind } = node
    const inputs = Node.inputsOf(node)
    switch (kind._tag) {
      case "Source":
      case "Cost":
        return false
      case "Step":
        return kind.when !== undefined && readBy(node, kind.when)
      case "Filter":
        return asking.has(node.name) || (kind.subject === undefined ? readBy(node, kind.keep) : inputs.some(value))
      case "Expand":
        return asking.has(node.name) || readBy(node, kind.run)
      case "Reduce":
        return kind.by !== undefined && !readsNothing(kind.by) && (readBy(node, kind.by) || inputs.some(rows))
      case "Join":
        // Vectors decide which rows meet, and not how many.
        return kind.match._tag === "Nearest"
          ? Node.nodesOf(kind.sides[0].inputs).some(rows)
          : inputs.some(rows) || kind.sides.some(({ by, inputs }) => !readsNothing(by) && value(inputs.value))
    }
  }
  /** Whether a function of a node reads a value that depends on answers. */
  const readBy = (node: Node.Any, f: Function): boolean => {
    const names = namesRead(f)
    return (
      "inputs" in node.kind
      && Object.entries(node.kind.inputs).some(
        ([name, input]) => Node.isNode(input) && (names === undefined || names.has(name)) && value(input)
      )
    )
  }
  const rows = once((node): boolean => {
    const root = roots.get(node.domain.root)
    return (
      decided(node)
      || (node.kind._tag !== "Reduce" && Node.inputsOf(node).some(rows))
      || (root !== undefined && root !== node && rows(root))
    )
  })
  const picked = once(
    (node): boolean =>
      Node.inputsOf(node).some(picked)
      || (node.kind._tag === "Join"
        && node.kind.match._tag === "Nearest"
        && node.kind.sides.some(({ inputs }) => Node.nodesOf(inputs).some(value)))
  )
  return {
    value,
    picked,
    // A filter and an expansion are computed for every row, whatever comes of it.
    arriving: (node) =>
      node.kind._tag === "Filter" || node.kind._tag === "Expand" ? Node.inputsOf(node).some(rows) : rows(node)
  }
}

type Factor = Pick<Times, "times" | "by">

/** How many rows each planned row of a node stands for. */
const factors = (known: Known, rows: Rows, open: Openness): ((node: Node.Any) => Factor) => {
  const { before, flow } = known
  const earlier = before === undefined ? undefined : byName(before.nodes)
  const sources = [...flow.graph.driving].filter(({ kind }) => kind._tag === "Source").map(({ name }) => name)
  const read = (of: Rows): number => sources.reduce((sum, name) => sum + evaluated(of, name), 0)
  return (node) => {
    const expected = expansions(flow, node)
      .filter(open.value)
      .map((expansion) => expectedOf(expansion, rows))
    const planned = arrived(rows, node)
    // What is reused is there, and makes no call: the others come from lists that are placeholders.
    const reused = rows.get(node.name)?.reused ?? 0
    const timesOf = (comes: number): number =>
      planned > reused ? Math.max(0, comes - reused) / (planned - reused) : comes / Math.max(1, planned)
    if (expected.length > 0 && expected.every((times) => times !== undefined))
      return { times: timesOf(expected.reduce((product, times) => product * times, planned)), by: "expected" }
    const came = earlier === undefined ? 0 : arrived(earlier, node)
    // Rows of a conditional step are counted whether the condition holds or not.
    if (isConditional(node) || earlier === undefined || came === 0 || planned === 0 || read(earlier) === 0)
      return { times: 1, by: "guessed" }
    return { times: timesOf((came / read(earlier)) * read(rows)), by: "learned" }
  }
}

/** The expansions that a node's rows come from. */
const expansions = (flow: Flow.Any, node: Node.Any): ReadonlyArray<Node.Any> => {
  const found: Array<Node.Any> = []
  for (let at: Node.Domain | undefined = node.domain; at !== undefined; at = at.parent) {
    const root = flow.graph.nodes.find(({ name }) => name === at!.root)
    if (root?.kind._tag === "Expand") found.push(root)
  }
  return found
}

/** How many rows a planned row of an expansion stands for, by its `expect`. */
const expectedOf = (node: Node.Any, rows: Rows): number | undefined => {
  const expect = node.kind._tag === "Expand" ? node.kind.policy.expect : undefined
  const [input] = Node.inputsOf(node)
  const lists = input === undefined ? 0 : evaluated(rows, input.name)
  const items = evaluated(rows, node.name)
  return expect === undefined || items === 0 ? undefined : (expect * lists) / items
}

/** How many calls each planned call of a row stands for; `undefined` for itself. */
const callsOf = (
  { counts, expected }: Known,
  node: Node.Any,
  one: PlanCount.PlanCounts,
  rows: Rows,
  isOpen: boolean
): Omit<Times, "of"> | undefined => {
  // A tool loop is counted with its rounds, and one request for vectors has the texts of many rows.
  if (one.calls === 0 || one.isCascaded || one.isEmbedding || (one.rounds ?? 0) > 0) return undefined
  const progress = rows.get(node.name)
  const fresh = progress === undefined ? 0 : arrived(rows, node) - progress.reused
  const samples = node.kind._tag === "Step" ? (node.kind.samples ?? 1) : 1
  // A step may call several models, each for some of its rows; and calls that the cache answers are calls of the row.
  const all = counts.filter(({ isEmbedding, step }) => step === one.step && !isEmbedding)
  const made = all.reduce((sum, { cached, calls }) => sum + calls + cached, 0)
  const each = made / Math.max(1, fresh) / samples
  const expect = node.kind._tag === "Expand" || !("policy" in node.kind) ? undefined : node.kind.policy.expect
  if (expect !== undefined) return { times: expect / each, by: "expected", least: 1 / expect }
  // What rows of one of several models learned says nothing of the others.
  const isOnly = all.length === 1
  // Which rows call is not learned.
  const isChosen = isConditional(node) || (isOpen && isChoosing(node))
  const rounds = isChosen || !isOnly ? undefined : expected.learned(one.step, one.model)?.rounds
  if (rounds !== undefined) {
    // What is learned is of the rows that call.
    const times = rounds / samples / (made / Math.max(1, one.callers))
    return Math.abs(times - 1) > 0.01 ? { times, by: "learned", least: Math.min(1, samples / rounds) } : undefined
  }
  const ofLine = (one.calls + one.cached) / Math.max(1, fresh) / samples
  return one.bounds !== undefined || one.rounds !== undefined || ofLine > 1.01 || repeats(node, isOpen)
    ? { times: 1, by: "guessed", least: Math.min(1, (one.bounds?.least ?? 1) / Math.max(1, ofLine)) }
    : undefined
}

const LOOP = /\bwhile\s*\(|\bfor\s*\([^]*\bbreak\b|\b[A-Z]\w*\.(?:repeat|iterate|loop|retry|unfold)\w*\s*\(/
const CHOICE = /\bfor\s*\(|\b(?:forEach|if|switch)\s*\(|\?[^?.:]+:\s*Effect\.succeed\b|\bsucceed\s*\([^)]*\)\s*:/

/**
 * Whether a node's own code repeats what it does, or chooses whether it does it, as its values tell it to. Choices matter
 * where the values depend on answers.
 */
const repeats = (node: Node.Any, isOpen: boolean): boolean => LOOP.test(codeOf(node)) || (isOpen && isChoosing(node))

/** The code of the function that may call a model. */
const codeOf = ({ kind }: Node.Any): string => {
  switch (kind._tag) {
    case "Step":
    case "Expand":
      return String(kind.run)
    case "Filter":
      return String(kind.keep)
    case "Reduce":
      return String(kind.meaning)
    default:
      return ""
  }
}

/** What the author should know of the counts of steps. */
export const notes = (
  steps: ReadonlyArray<{ readonly step: string } & Times>,
  unreached: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const named = (is: (one: Times) => boolean) => [...new Set(steps.filter(is).map(({ step }) => step))].join(", ")
  const lines: ReadonlyArray<readonly [names: string, note: (names: string) => string]> = [
    [
      named(({ by, of }) => by === "guessed" && of === "rows"),
      (names) =>
        `how many rows reach ${names} depends on answers, so more or fewer may come: --sample 20 or a run tells it, and so does { expect } on an expansion`
    ],
    ...steps.flatMap(({ bounds, by, of, step }): ReadonlyArray<readonly [string, (names: string) => string]> =>
      by === "guessed" && of === "calls" && bounds !== undefined
        ? [
            [
              step,
              (name) =>
                `a row of ${name} makes ${bounds.least} to ${bounds.most} calls, which depends on answers: --sample 20 or a run tells it, and so does { expect } on the step`
            ]
          ]
        : []
    ),
    [
      named(({ bounds, by, of }) => by === "guessed" && of === "calls" && bounds === undefined),
      (names) =>
        `how often a row of ${names} calls may depend on answers, so more or fewer may come: --sample 20 or a run tells it, and so does { expect } on the step`
    ],
    [
      named(({ by, of }) => by === "guessed" && of === "input"),
      (names) =>
        `which rows the prompts of ${names} are made from depends on vectors, so they may be longer or shorter: --sample 20 or a run tells it`
    ],
    [
      named(({ by }) => by === "learned"),
      (names) => `the calls of ${names} are about those of earlier runs, for as many rows`
    ],
    [named(({ by }) => by === "expected"), (names) => `the calls of ${names} are counted by { expect }`],
    [unreached.join(", "), (names) => `no row has reached ${names} so far: their calls are not in the cost`]
  ]
  return lines.flatMap(([names, note]) => (names === "" ? [] : [note(names)]))
}
