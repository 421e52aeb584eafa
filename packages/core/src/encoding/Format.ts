/**
 * Counts, shares, durations and sizes as people read them.
 *
 * **Example**
 *
 * ```ts
 * import * as Format from "@pipe/core/internal/Format"
 *
 * Format.of(1, "row") // => "1 row"
 * Format.of(2_000, "batch", "batches") // => "2,000 batches"
 * Format.share(0.125) // => "12.5 %"
 * Format.duration(61_500) // => "1 min 2 s"
 * Format.bytes(1_500_000) // => "1.5 MB"
 * ```
 *
 * @internal
 */
import * as ByteSize from "effect/ByteSize"

/** A whole number with its thousands apart. */
export const count = (n: number): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",")

/** So many things. */
export const of = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

/** A part of a whole, from 0 to 1, in percent to a tenth. */
export const share = (part: number): string => `${(part * 100).toFixed(1)} %`

/** A part of an exact whole, in percent to a tenth. */
export const partOf = (part: bigint, whole: bigint): string =>
  whole === 0n ? "0 %" : `${(Number((part * 1_000n) / whole) / 10).toFixed(1)} %`

/** Milliseconds, to a tenth of a second below a minute; with `"seconds"` to a whole one. */
export const duration = (milliseconds: number, precision: "tenths" | "seconds" = "tenths"): string => {
  if (precision === "tenths" && milliseconds < 1_000) return `${Math.round(milliseconds)} ms`
  const tenths = Math.round(milliseconds / 100)
  if (precision === "tenths" && tenths < 600) return `${(tenths / 10).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1_000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return minutes < 48 * 60
    ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
    : `${(minutes / 1_440).toFixed(1)} days`
}

/** A size in decimal units. */
export const bytes = (size: number): string =>
  ByteSize.format(ByteSize.bytes(Math.round(size)), { system: "decimal", precision: 1, trailingZeros: true })
