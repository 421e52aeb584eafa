/**
 * The input values of a step for a row. Layers find them in the context of a call, and authors of steps receive them as
 * arguments.
 *
 * @since 0.1.0
 */

// oxlint-disable typescript/no-explicit-any -- an author's function of typed values is a function of these; of `unknown` it is not
/** A value whose type its node has checked, for code that handles nodes of all kinds. */
export type Erased = any
// oxlint-enable typescript/no-explicit-any

/** Values by the names under which the step reads them. Empty outside a row. */
export type Values = { readonly [input: string]: Erased }
