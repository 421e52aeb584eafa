/**
 * Keeps the rows for which a condition holds.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as RowValues from "../client/RowValues.ts"
import * as CallOptions from "./CallOptions.ts"
import * as Node from "./Node.ts"

/** Options of a filter that calls a model. `V` is what its condition receives. */
export interface FilterOptions<V, A = string> extends CallOptions.CallOptions<V, A> {}

/**
 * Keeps the rows for which a condition holds, and yields the record of its inputs. Nodes that read the filter run for those
 * rows only. The condition may be an effect that calls a model.
 */
export const filter = <In extends Node.Inputs, E = never, R = never, A = string>(
  name: string,
  inputs: In,
  keep: (values: Node.Values<In>) => boolean | Effect.Effect<boolean, E, R>,
  options: FilterOptions<Node.Values<In>, A> = {}
): Node.Node<Node.Values<In>, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { calls, policy } = CallOptions.read(`filter ${name}`, options)
  return Node.make(
    name,
    { _tag: "Filter", inputs, keep, subject: undefined, ...calls, policy },
    Node.commonDomain(`filter ${name}`, inputs)
  )
}

/**
 * Keeps the values of one node for which a condition holds. Unlike `filter`, the condition receives the value itself, and
 * so do the nodes that read it.
 */
export const where: {
  <A, B extends A, E, R>(
    name: string,
    node: Node.Node<A, E, R>,
    keep: (value: A) => value is B,
    options?: FilterOptions<A>
  ): Node.Node<B, E, R>
  <A, E, R, E2 = never, R2 = never, Q = string>(
    name: string,
    node: Node.Node<A, E, R>,
    keep: (value: A) => boolean | Effect.Effect<boolean, E2, R2>,
    options?: FilterOptions<A, Q>
  ): Node.Node<A, E | E2, R | R2>
} = (
  name: string,
  node: Node.Any,
  keep: (value: RowValues.Erased) => boolean | Effect.Effect<boolean, unknown, unknown>,
  options: FilterOptions<RowValues.Erased, RowValues.Erased> = {}
) => {
  const { calls, policy } = CallOptions.read(`filter ${name}`, options)
  const inputs = { [node.name]: node }
  const subject = (values: RowValues.Erased) => values[node.name]
  return Node.make<never, never, never>(
    name,
    { _tag: "Filter", inputs, keep, subject, ...calls, policy },
    Node.commonDomain(`filter ${name}`, inputs)
  )
}
