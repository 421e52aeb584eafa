/**
 * The input values of a step for the current row. The runner sets it, so that a rule of a router can use a field of the
 * row. Authors of steps receive them as arguments.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Fiber from "effect/Fiber"

// oxlint-disable typescript/no-explicit-any -- an author's function of typed values is a function of these; of `unknown` it is not
/** A value whose type its node has checked, for code that handles nodes of all kinds. */
export type Erased = any
// oxlint-enable typescript/no-explicit-any

/** Values by the names under which the step reads them. Empty outside a row. */
export type Values = { readonly [input: string]: Erased }

/** The values of the row of the current fiber. */
export const RowValues = Context.Reference<Values>("@pipe/core/RowValues", {
  defaultValue: (): Values => ({})
})

/** The values of the current fiber. */
export const now = (): Values => Fiber.getCurrent()?.getRef(RowValues) ?? {}
