/**
 * Formats counts, shares, durations and sizes for display.
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

/** An integer with thousands separators. */
export const count = (n: number): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",")

/** A count with its noun. */
export const of = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

/** A share from 0 to 1, in percent to a tenth. */
export const share = (part: number): string => `${(part * 100).toFixed(1)} %`

/** A part of an exact whole, in percent to a tenth. */
export const partOf = (part: bigint, whole: bigint): string =>
  whole === 0n ? "0 %" : `${(Number((part * 1_000n) / whole) / 10).toFixed(1)} %`

/** Milliseconds, to a tenth of a second below a minute; to whole seconds with `"seconds"`. */
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
