/**
 * Splits a flow into domains: the nodes computed for the same rows, and where those rows go.
 *
 * @internal
 */
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import type * as Sink from "../flow/Sink.ts"

export interface DomainPlan {
  /** The node whose rows they are: a source, an expansion, groups or a join. */
  readonly root: Node.Any
  /** Steps, filters and expansions computed for each row, each after its inputs. */
  readonly members: ReadonlyArray<Node.Any>
  /** What receives the finished rows. */
  readonly outlets: ReadonlyArray<PlannedOutlet>
}

export type PlannedOutlet =
  | { readonly _tag: "Sink"; readonly sink: Sink.Any }
  | {
      readonly _tag: "Expand"
      readonly node: Node.Any
      /** Holds the list of items in the rows of the domain above. */
      readonly slotNode: Node.Any
    }
  | { readonly _tag: "Reduce"; readonly node: Node.Any; readonly kind: Extract<Node.Kind, { readonly _tag: "Reduce" }> }
  | {
      readonly _tag: "Join"
      readonly node: Node.Any
      readonly kind: Extract<Node.Kind, { readonly _tag: "Join" }>
      readonly side: Node.JoinSide
      readonly isFirst: boolean
      /** The second side comes from the rows of this domain, so the first must be held until it is complete. */
      readonly holdFirst: boolean
    }

export const make = (flow: Flow.Any): ReadonlyArray<DomainPlan> => {
  const { nodes } = flow.graph
  const roots = nodes.filter((node) => node.domain.root === node.name)
  return roots.map((root): DomainPlan => {
    const { domain } = root
    const expands = nodes.filter((node) => node.kind._tag === "Expand" && node.domain.parent === domain)
    const slotNodes = new Map(expands.map((node) => [node, expansionOf(node, domain)]))
    return {
      root,
      members: nodes.flatMap((node) =>
        node.domain === domain && node !== root ? [node] : slotNodes.has(node) ? [slotNodes.get(node)!] : []
      ),
      outlets: [
        ...flow.outputs.filter((sink) => sink.domain === domain).map((sink): PlannedOutlet => ({ _tag: "Sink", sink })),
        ...expands.map((node): PlannedOutlet => ({ _tag: "Expand", node, slotNode: slotNodes.get(node)! })),
        ...nodes.flatMap((node) => readersAcross(node, domain))
      ]
    }
  })
}

/** An expansion as a member of the domain above, where its list is made. */
const expansionOf = (node: Node.Any, domain: Node.Domain): Node.Any => ({ ...node, domain })

const readersAcross = (node: Node.Any, domain: Node.Domain): ReadonlyArray<PlannedOutlet> => {
  const { kind } = node
  if (kind._tag === "Reduce") {
    return Node.commonDomain(node.name, kind.inputs) === domain ? [{ _tag: "Reduce", node, kind }] : []
  }
  if (kind._tag !== "Join") return []
  const second = Node.nodesOf(kind.sides[1].inputs)
  return kind.sides.flatMap((side, index): ReadonlyArray<PlannedOutlet> =>
    Node.commonDomain(node.name, side.inputs) === domain
      ? [
          {
            _tag: "Join",
            node,
            kind,
            side,
            isFirst: index === 0,
            holdFirst: second.some((input) => comesFrom(input, domain))
          }
        ]
      : []
  )
}

/** Tests whether a node's rows derive from those of a domain. */
const comesFrom = (node: Node.Any, domain: Node.Domain): boolean =>
  node.domain === domain || Node.inputsOf(node).some((input) => comesFrom(input, domain))
