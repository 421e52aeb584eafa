/**
 * Rows of two nodes meet: by key, or by nearness of vectors.
 *
 * @internal
 */
import * as OptionNames from "../client/OptionNames.ts"
import type * as RowValues from "../client/RowValues.ts"
import type * as GroupKey from "./GroupKey.ts"
import * as Node from "./Node.ts"

/** The type of a key without its literals: both sides of a join have it. */
type Widened<K> = K extends string
  ? string
  : K extends number
    ? number
    : K extends boolean
      ? boolean
      : { readonly [F in keyof K]: Widened<K[F]> }

/**
 * Joins the rows of two nodes by key: for each row of the first, every row of the second with an equal key.
 *
 * **Details** Rows keep the order of the first node. The second is held in memory. With `type: "left"`, a row without a
 * match appears once, with `undefined` for the second. Otherwise it is dropped, and `unmatched` says how: with `warn`
 * (default) the report has their number and the first one, with `fail` they are failed rows, with `drop` nothing is said.
 *
 * A key is a text, a number, a boolean, or a record of them, of one type on both sides.
 */
export const join = <
  L extends string,
  A extends Node.Any,
  M extends string,
  B extends Node.Any,
  const K extends GroupKey.GroupKey,
  const T extends "inner" | "left" = "inner"
>(
  name: string,
  left: { readonly [K in L]: A },
  right: { readonly [K in M]: B },
  options: {
    readonly on: readonly [(value: Node.Value<A>) => K, (value: Node.Value<B>) => NoInfer<Widened<K>>]
    readonly type?: T
    readonly unmatched?: Node.OnUnmatched
  }
): Node.Node<
  { readonly [K in L]: Node.Value<A> } & { readonly [K in M]: Node.Value<B> | ("left" extends T ? undefined : never) },
  Node.Error<A> | Node.Error<B>,
  Node.Services<A> | Node.Services<B>
> => {
  OptionNames.check(`join ${name}`, options, ["on", "type", "unmatched"])
  const sides = [side(left, {}, options.on[0]), side(right, {}, options.on[1])] as const
  checkNames(`join ${name}`, sides)
  const match = { _tag: "Key", type: options.type ?? "inner", unmatched: options.unmatched ?? "warn" } as const
  return Node.make(name, { _tag: "Join", inputs: { ...left, ...right }, sides, match }, undefined)
}

/** Both sides are fields of the joined rows. */
const checkNames = (what: string, [first, second]: readonly [Node.JoinSide, Node.JoinSide]): void => {
  if (first.name !== second.name) return
  throw new Node.FlowError({ message: `${what}: both sides are named ${first.name}: give each its own name` })
}

/** A side whose key is made from its value, or is that of another node. */
const side = (
  node: { readonly [name: string]: Node.Any },
  keyInputs: Node.Inputs,
  by: (value: RowValues.Erased) => unknown
): Node.JoinSide => {
  const [[name, value] = []] = Object.entries(node)
  return {
    name: name!,
    inputs: { ...keyInputs, value: value! },
    key: Object.keys(keyInputs).length === 0 ? ({ value }) => by(value) : by,
    by
  }
}

/** A row that is near to another, by their vectors. */
export interface Near<A> {
  readonly value: A
  /** Cosine similarity, from -1 to 1, to six digits. */
  readonly similarity: number
}

/** The model that a node names for its calls. */
const modelOf = ({ kind }: Node.Any): string | undefined => ("policy" in kind ? kind.policy.model : undefined)

/** A node of vectors, such as `embed` makes. */
type Vectors = Node.Node<ArrayLike<number>, unknown, unknown>

/**
 * Finds, for each row of the first node, the rows of the second whose vectors are nearest to its own: for retrieval, for
 * matching, or to find duplicates.
 *
 * **Details** `by` has the vectors of both sides, such as `embed` makes them: nodes of the same rows. The second side is
 * held in memory and is complete before the first row is compared, also with `--sample`. Vectors are compared by cosine
 * similarity, nearest first: with all others by default, or with an index of your flow's `services` (`Usearch.layer`).
 *
 * **Gotchas** A row of the second side that has failed is not found: a warning counts those.
 */
export const nearest = <
  L extends string,
  A extends Node.Any,
  M extends string,
  B extends Node.Any,
  V extends Vectors,
  W extends Vectors
>(
  name: string,
  left: { readonly [K in L]: A },
  right: { readonly [K in M]: B },
  options: {
    readonly by: readonly [first: V, second: W]
    /** The most rows of the second node for each of the first. Default: 1. */
    readonly count?: number
    /** The lowest similarity, from -1 to 1. Default: -1, so that each row has `count`. */
    readonly atLeast?: number
  }
): Node.Node<
  { readonly [K in L]: Node.Value<A> } & { readonly [K in M]: ReadonlyArray<Near<Node.Value<B>>> },
  Node.Error<A> | Node.Error<B> | Node.Error<V> | Node.Error<W>,
  Node.Services<A> | Node.Services<B> | Node.Services<V> | Node.Services<W>
> => {
  OptionNames.check(`nearest ${name}`, options, ["by", "count", "atLeast"])
  OptionNames.checkNumbers(`nearest ${name}`, options, { count: OptionNames.COUNT, atLeast: OptionNames.SIMILARITY })
  const { atLeast = -1, by, count = 1 } = options
  const [one, other] = by.map(modelOf)
  if (one !== undefined && other !== undefined && one !== other) {
    throw new Node.FlowError({
      message: `nearest ${name}: vectors of ${one} and of ${other} are not comparable: use one model for both`
    })
  }
  const key = ({ vector }: RowValues.Erased): unknown => vector
  const sides = [side(left, { vector: by[0] }, key), side(right, { vector: by[1] }, key)] as const
  checkNames(`nearest ${name}`, sides)
  for (const { inputs } of sides) Node.commonDomain(`nearest ${name}`, inputs)
  const [first, second] = sides
  const inputs = {
    ...left,
    [`${first.name} by`]: by[0],
    ...right,
    [`${second.name} by`]: by[1]
  }
  return Node.make(name, { _tag: "Join", inputs, sides, match: { _tag: "Nearest", count, atLeast } }, undefined)
}
