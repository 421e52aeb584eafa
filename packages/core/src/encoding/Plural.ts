/**
 * Numbers of things in words: `1 row`, `2,000 rows`.
 *
 * **Example**
 *
 * ```ts
 * import { Plural } from "@pipe/core"
 *
 * Plural.of(1, "row") // => "1 row"
 * Plural.of(2_000, "batch", "batches") // => "2,000 batches"
 * ```
 *
 * @since 0.1.0
 */

/** A whole number with its thousands apart. */
export const count = (n: number): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",")

/** So many things. */
export const of = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`
