/**
 * Which of several equal rows one is: the first, the second, and so on, as they came; the same row is the same one each time.
 *
 * @internal
 */
export interface Occurrences {
  /** How many rows of this key came before the one at this position. */
  readonly of: (key: string, position: string) => number
  /** Whether a row was not the first of its kind. */
  readonly hasEqual: () => boolean
}

/** Rows that are told apart: what a run holds in memory does not grow with its rows. Those beyond share. */
const MOST = 1_000_000

/** Characters of a key, which is a hash: two of a million are alike once in ten million runs. */
const LENGTH = 16

export const make = (): Occurrences => {
  const first = new Map<string, string>()
  const others = new Map<string, Map<string, number>>()
  let told = 0
  return {
    of: (key, position) => {
      const short = key.slice(0, LENGTH)
      const owner = first.get(short)
      if (owner === position) return 0
      if (owner === undefined) {
        if (told++ < MOST) first.set(short, position)
        return 0
      }
      let positions = others.get(short)
      if (positions === undefined) others.set(short, (positions = new Map()))
      const known = positions.get(position)
      if (known !== undefined || told >= MOST) return known ?? 0
      told++
      positions.set(position, positions.size + 1)
      return positions.size
    },
    hasEqual: () => others.size > 0
  }
}
