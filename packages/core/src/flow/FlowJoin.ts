/**
 * Rows of two nodes meet by key.
 *
 * @internal
 */
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
  const [leftName, rightName] = [Object.keys(left)[0]!, Object.keys(right)[0]!]
  return Node.make(
    name,
    {
      _tag: "Join",
      inputs: { ...left, ...right },
      on: { [leftName]: options.on[0], [rightName]: options.on[1] },
      type: options.type ?? "inner",
      unmatched: options.unmatched ?? "warn"
    },
    undefined
  )
}
