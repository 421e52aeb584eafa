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

/** A cost of some nodes. */
interface Made {
  readonly nodes: ReadonlyArray<Node.Any>
  readonly cost: Node.Node<Cost>
}

/** Costs by their first node. */
const known = new WeakMap<Node.Any, Array<Made>>()

/**
 * What the calls of nodes cost for each row, with their number and time: as a column of an output, or to compare models.
 *
 * ```ts skip
 * Sink.jsonl("answers.jsonl", { answer, $cost: Flow.cost(answer) }) // {"answer":"…","$cost":{"usd":"0.00012","calls":1,"milliseconds":812}}
 * ```
 *
 * It is what computing the value cost: rows that share a value each have it, and a reused one has the cost of the run that
 * computed it, or `null` when that run read no costs. A call that several rows share, such as a packed prompt, counts for the
 * row that sends it. The cost of an expansion is that of its list, and of samples that of all together.
 *
 * **Gotchas** It is unknown (`null`) in a run with batches, whose calls are not told apart by row. An embedding has none.
 */
export const cost = <N extends ReadonlyArray<Node.Any>>(
  ...nodes: N
): Node.Node<Cost, Node.Error<N[number]>, Node.Services<N[number]>> => {
  const name = `cost of ${nodes.map((node) => node.name).join(", ")}`
  const free = nodes.find((node) => !Node.canCall(node))
  const gathering = nodes.find(Node.gathers)
  if (gathering !== undefined) {
    throw new Node.FlowError({
      message: `${name}: a request of ${gathering.name} carries the texts of many rows, so no row has a cost of its own: see the report`
    })
  }
  if (nodes.length === 0 || free !== undefined) {
    throw new Node.FlowError({
      message:
        free === undefined ? "Flow.cost names no node" : `${name}: ${free.name} calls no model, so it costs nothing`
    })
  }
  const inputs = Object.fromEntries(nodes.map((node) => [node.name, node]))
  const first = nodes[0]!
  const others = known.get(first) ?? []
  known.set(first, others)
  // The same cost may be read in several places.
  const same = others.find(
    (one) => one.nodes.length === nodes.length && one.nodes.every((node, at) => node === nodes[at])
  )
  if (same !== undefined) return same.cost
  const made = Node.make<Cost, never, never>(name, { _tag: "Cost", inputs }, Node.commonDomain(name, inputs))
  others.push({ nodes, cost: made })
  return made
}
