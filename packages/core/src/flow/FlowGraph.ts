/**
 * The graph of a flow as data: its nodes, each after its inputs.
 *
 * @internal
 */
import * as Graph from "effect/Graph"
import * as Option from "effect/Option"
import * as CallContext from "../client/CallContext.ts"
import * as Node from "./Node.ts"
import type * as Sink from "./Sink.ts"

export interface FlowGraph {
  /** In topological order: each node after its inputs. */
  readonly nodes: ReadonlyArray<Node.Any>
  /**
   * Nodes whose rows become rows of an output. Rows of other nodes are only looked up, as the second side of a join.
   */
  readonly driving: ReadonlySet<Node.Any>
  readonly graph: Graph.DirectedGraph<string, string>
}

/** Collects all nodes that the outputs read. Throws a `FlowError` when two share a name. */
export const make = (flow: string, outputs: ReadonlyArray<Sink.Any>): FlowGraph => {
  if (outputs.length === 0) {
    throw new Node.FlowError({
      message: `flow ${flow} has no output: add one, such as Sink.jsonl("out.jsonl", { … })`
    })
  }
  const nodes = nodesOf(outputs)
  const byName = new Map<string, Node.Any>()
  for (const node of nodes) {
    const other = byName.get(node.name)
    if (other !== undefined) {
      throw new Node.FlowError({
        message: `flow ${flow} has two nodes named ${node.name} (a ${describe(other)} and a ${describe(
          node
        )}): give each a unique name`
      })
    }
    byName.set(node.name, node)
  }
  const graph = Graph.directed<string, string>((mutable) => {
    const indexes = new Map<Node.Any, Graph.NodeIndex>()
    for (const node of nodes) indexes.set(node, Graph.addNode(mutable, label(node)))
    for (const node of nodes) {
      for (const input of new Set(Node.inputsOf(node))) {
        Graph.addEdge(mutable, indexes.get(input)!, indexes.get(node)!, "")
      }
    }
    for (const output of outputs) {
      const index = Graph.addNode(mutable, `${output.name} (output)`)
      for (const input of new Set(Node.nodesOf(output.inputs))) Graph.addEdge(mutable, indexes.get(input)!, index, "")
    }
  })
  return { nodes: [...nodes], driving: drivingOf(outputs), graph }
}

/** All nodes that the outputs read, each after its inputs. */
export const nodesOf = (outputs: ReadonlyArray<Sink.Any>): ReadonlySet<Node.Any> => {
  const nodes = new Set<Node.Any>()
  const visit = (node: Node.Any): void => {
    if (nodes.has(node)) return
    for (const input of Node.inputsOf(node)) visit(input)
    nodes.add(node)
  }
  for (const output of outputs) for (const node of Node.nodesOf(output.inputs)) visit(node)
  return nodes
}

const drivingOf = (outputs: ReadonlyArray<Sink.Any>): ReadonlySet<Node.Any> => {
  const driving = new Set<Node.Any>()
  const visit = (node: Node.Any): void => {
    if (driving.has(node)) return
    driving.add(node)
    const inputs = node.kind._tag === "Join" ? Node.nodesOf(node.kind.sides[0].inputs) : Node.inputsOf(node)
    for (const input of inputs) visit(input)
  }
  for (const output of outputs) for (const node of Node.nodesOf(output.inputs)) visit(node)
  return driving
}

/** Sorts what belongs to steps by the order of their nodes. What belongs to none comes last. */
export const inOrder = <A extends { readonly step: string }>(
  { nodes }: FlowGraph,
  items: ReadonlyArray<A>
): ReadonlyArray<A> => {
  const places = new Map(nodes.map(({ name }, at) => [name, at]))
  const placeOf = ({ step }: A): number => places.get(CallContext.nodeOf(step)) ?? nodes.length
  return items.toSorted((a, b) => placeOf(a) - placeOf(b))
}

/** How a node was made, in the author's word. */
const describe = (node: Node.Any): string => {
  const { kind } = node
  switch (kind._tag) {
    case "Step":
      return kind.gathers ? "embedding" : Node.kindOf(node).toLowerCase()
    case "Reduce":
      return kind.word
    case "Join":
      return kind.match._tag === "Nearest" ? "nearest" : "join"
    default:
      return kind._tag.toLowerCase()
  }
}

const label = (node: Node.Any): string => `${node.name} (${describe(node)})`

/** Renders the graph as a Mermaid flowchart, from top to bottom. */
export const toMermaid = (self: FlowGraph): string =>
  Graph.toMermaid(self.graph, { direction: "TB", nodeLabel: (name) => name, edgeLabel: () => "" })

/**
 * Renders the graph as a tree for a terminal: each source with its readers. A node that is shown already is only named.
 */
export const toTree = (self: FlowGraph): string => {
  const lines: Array<string> = []
  const drawn = new Set<Graph.NodeIndex>()
  const draw = (index: Graph.NodeIndex, prefix: string, branch: string): void => {
    const name = Option.getOrThrow(Graph.getNode(self.graph, index))
    const again = drawn.has(index)
    lines.push(`${prefix}${branch}${name}${again ? " …" : ""}`)
    if (again) return
    drawn.add(index)
    const below = prefix + (branch === "" ? "" : branch.startsWith("└") ? "   " : "│  ")
    const readers = Graph.neighborsDirected(self.graph, index, "outgoing")
    readers.forEach((reader, position) => draw(reader, below, position === readers.length - 1 ? "└─ " : "├─ "))
  }
  for (const root of Graph.indices(Graph.externals(self.graph, { direction: "incoming" }))) draw(root, "", "")
  return lines.join("\n")
}
