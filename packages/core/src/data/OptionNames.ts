/**
 * Names of options: a misspelt one would do nothing, or something else, where nobody has checked the types.
 *
 * @since 0.1.0
 */
import * as Nearest from "./Nearest.ts"

/** An option that does not exist. */
export class UnknownOption extends Error {
  override readonly name = "UnknownOption"
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
