/**
 * What a step reads: the values of its inputs for the row that is being made. The runner sets it, so that a rule of a router can go
 * by a field of the row; authors of steps have them as arguments.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Fiber from "effect/Fiber"

/** A value whose type its node has checked, where nodes of all kinds meet. */
// oxlint-disable-next-line typescript/no-explicit-any -- an author's function of typed values is a function of these; of `unknown` it is not
export type Erased = any

/** Values by the names under which the step reads them; outside of a row there are none. */
export type Values = { readonly [input: string]: Erased }

export const RowValues = Context.Reference<Values>("@pipe/core/RowValues", {
  defaultValue: (): Values => ({})
})

/** Those of the fiber that runs now. */
export const now = (): Values => Fiber.getCurrent()?.getRef(RowValues) ?? {}
