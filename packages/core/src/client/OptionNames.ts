/**
 * Checks the names and values of options: without type checks, a misspelt option would silently do nothing.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Nearest from "../encoding/Nearest.ts"

/**
 * An option does not exist, or its value is out of range. Thrown where the layer or flow is made.
 *
 * **Remedy** The message names the option and the closest one that exists: correct the name or the value.
 */
export class UnknownOption extends Error {
  override readonly name = "UnknownOption"
}

/** The values that a number may have. */
export interface NumberRule {
  readonly least: number
  readonly most?: number
  /** Excludes the least value itself. */
  readonly isAbove?: boolean
  readonly isWhole?: boolean
}

/** Integers from 1. */
export const COUNT: NumberRule = { least: 1, isWhole: true }

/** Numbers greater than 0. */
export const ABOVE_0: NumberRule = { least: 0, isAbove: true }

/** Numbers from 0. */
export const FROM_0: NumberRule = { least: 0 }

/** Shares from 0 to 1. */
export const SHARE: NumberRule = { least: 0, most: 1 }

/** A cosine similarity. */
export const SIMILARITY: NumberRule = { least: -1, most: 1 }

/** Throws for a number that makes no sense: with a concurrency of 0, for example, no call would start. */
export const checkNumbers = (what: string, given: object, rules: { readonly [name: string]: NumberRule }): void => {
  for (const [name, { isAbove = false, isWhole = false, least, most = Number.POSITIVE_INFINITY }] of Object.entries(
    rules
  )) {
    const value = (given as { readonly [name: string]: unknown })[name]
    if (value === undefined) continue
    const fits =
      typeof value === "number"
      && !Number.isNaN(value)
      && (isAbove ? value > least : value >= least)
      && value <= most
      && (!isWhole || Number.isInteger(value) || value === Number.POSITIVE_INFINITY)
    if (fits) continue
    throw new RangeError(
      `${what}: ${name} is ${String(value)}; expected ${isWhole ? "an integer" : "a number"} ${isAbove ? `above ${least}` : `from ${least}`}${Number.isFinite(most) ? ` to ${most}` : isAbove ? "" : " on"}`
    )
  }
}

/** Throws for a value that is not a duration, or is negative. */
export const checkDurations = (what: string, given: object, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const value = (given as { readonly [name: string]: unknown })[name]
    if (value === undefined) continue
    const isNegative = typeof value === "number" ? !(value >= 0) : /^\s*-/.test(String(value))
    if (!isNegative && Option.isSome(Duration.fromInput(value as Duration.Input))) continue
    throw new RangeError(
      `${what}: ${name} is ${typeof value === "string" ? JSON.stringify(value) : String(value)}; expected a duration, such as "30 seconds" or 500 (milliseconds)`
    )
  }
}

/** Throws for an unknown option, and suggests the name that was probably meant. */
export const check = (what: string, given: object, known: Iterable<string>): void => {
  const names = new Set(known)
  for (const name of Object.keys(given)) {
    if (names.has(name)) continue
    throw new UnknownOption(
      `${what} has no option ${name}${Nearest.hint(name, names) || `; it has ${[...names].join(", ")}`}`
    )
  }
}
