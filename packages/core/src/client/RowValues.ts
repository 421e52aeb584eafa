/**
 * The input values of a step for a row. Layers find them in the context of a call, and authors of steps receive them as
 * arguments.
 *
 * @since 0.1.0
 */

/** A value whose type its node has checked, for code that handles nodes of all kinds. */
// oxlint-disable-next-line typescript/no-explicit-any -- an author's function of typed values is a function of these; of `unknown` it is not
export type Erased = any

/** Values by the names under which the step reads them. Empty outside a row. */
export type Values = { readonly [input: string]: Erased }
