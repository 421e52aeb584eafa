/**
 * What the calls of nodes cost, for each row.
 *
 * @internal
 */
import * as Node from "./Node.ts"

/** What the calls of a row cost when its values were computed. `null` where that is not known. */
export interface Cost {
  /** Exact decimal USD: `"0.00012"`. Retries and failed attempts are included; a call without usage counts at its most. */
  readonly usd: string | null
  /** Attempts at providers: 0 for an answer from a cache. */
  readonly calls: number | null
  /** The time of those attempts, without waits for a rate limit. */
  readonly milliseconds: number | null
}

const known = new WeakMap<Node.Any, Map<string, Node.Node<Cost>>>()

/** Whether a node can make calls that belong to a row. */
const canCall = ({ kind }: Node.Any): boolean =>
  kind._tag === "Step"
    ? !kind.computed
    : kind._tag === "Filter" || kind._tag === "Expand" || (kind._tag === "Reduce" && kind.meaning !== undefined)

/**
 * What the calls of nodes cost for each row, with their number and time: as a column of an output, or to compare models.
 *
 * ```ts skip
 * Sink.jsonl("answers.jsonl", { answer, $cost: Flow.cost(answer) }) // {"answer":"…","$cost":{"usd":"0.00012","calls":1,"milliseconds":812}}
 * ```
 *
 * A reused value has the cost of the run that computed it; `null` when that run did not keep it, because it had no node of
 * this kind. A call that several rows share, such as a packed prompt, counts for the row that sends it. The cost of an
 * expansion is that of its list, and of samples that of all together.
 */
export const cost = <N extends ReadonlyArray<Node.Any>>(
  ...nodes: N
): Node.Node<Cost, Node.Error<N[number]>, Node.Services<N[number]>> => {
  const name = `cost of ${nodes.map((node) => node.name).join(", ")}`
  const free = nodes.find((node) => !canCall(node))
  if (nodes.length === 0 || free !== undefined) {
    throw new Node.FlowError({
      message:
        free === undefined ? "Flow.cost names no node" : `${name}: ${free.name} calls no model, so it costs nothing`
    })
  }
  const inputs = Object.fromEntries(nodes.map((node) => [node.name, node]))
  const first = nodes[0]!
  const others = known.get(first) ?? new Map<string, Node.Node<Cost>>()
  known.set(first, others)
  // The same cost may be read in several places.
  const made =
    others.get(name) ?? Node.make<Cost, never, never>(name, { _tag: "Cost", inputs }, Node.commonDomain(name, inputs))
  others.set(name, made)
  return made
}
