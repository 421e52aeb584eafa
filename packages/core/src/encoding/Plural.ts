/**
 * Numbers of things in words: `1 row`, `2,000 rows`.
 *
 * **Example**
 *
 * ```ts
 * import * as Plural from "@pipe/core/internal/Plural"
 *
 * Plural.of(1, "row") // => "1 row"
 * Plural.of(2_000, "batch", "batches") // => "2,000 batches"
 * ```
 *
 * @internal
 */

/** A whole number with its thousands apart. */
export const count = (n: number): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",")

/** So many things. */
export const of = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`
