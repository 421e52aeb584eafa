/**
 * Names of options: a misspelt one would do nothing, or something else, where nobody has checked the types.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Nearest from "../encoding/Nearest.ts"

/** An option that does not exist. */
export class UnknownOption extends Error {
  override readonly name = "UnknownOption"
}

/** What a number may be. */
export interface NumberRule {
  readonly least: number
  readonly most?: number
  /** `0` itself is not among them. */
  readonly isAbove?: boolean
  readonly isWhole?: boolean
}

/** Whole numbers from 1 on. */
export const COUNT: NumberRule = { least: 1, isWhole: true }

/** Numbers above 0. */
export const ABOVE_0: NumberRule = { least: 0, isAbove: true }

/** Numbers from 0 on. */
export const FROM_0: NumberRule = { least: 0 }

/** Shares, from 0 to 1. */
export const SHARE: NumberRule = { least: 0, most: 1 }

/** Throws for a number that nothing could be done with: of 0 calls at once, say, none would ever begin. */
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
      `${what}: ${name} is ${String(value)}; it is ${isWhole ? "a whole number" : "a number"} ${isAbove ? `above ${least}` : `from ${least}`}${Number.isFinite(most) ? ` to ${most}` : isAbove ? "" : " on"}`
    )
  }
}

/** Throws for what is no duration, or a negative one. */
export const checkDurations = (what: string, given: object, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const value = (given as { readonly [name: string]: unknown })[name]
    if (value === undefined) continue
    const isNegative = typeof value === "number" ? !(value >= 0) : /^\s*-/.test(String(value))
    if (!isNegative && Option.isSome(Duration.fromInput(value as Duration.Input))) continue
    throw new RangeError(
      `${what}: ${name} is ${typeof value === "string" ? JSON.stringify(value) : String(value)}; it is a duration, such as "30 seconds" or 500 (milliseconds)`
    )
  }
}

/** Throws for an option that is not among the known ones, with the name that was meant. */
export const check = (what: string, given: object, known: Iterable<string>): void => {
  const names = new Set(known)
  for (const name of Object.keys(given)) {
    if (names.has(name)) continue
    throw new UnknownOption(
      `${what} has no option ${name}${Nearest.hint(name, names) || `; it has ${[...names].join(", ")}`}`
    )
  }
}
