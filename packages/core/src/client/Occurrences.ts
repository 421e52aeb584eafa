/**
 * Numbers equal rows in the order in which they came. The same row always gets the same number.
 *
 * @internal
 */
export interface Occurrences {
  /** How many rows with this key came before the one at this position. */
  readonly of: (key: string, position: string) => number
  /** Whether any row had an equal one before it. */
  readonly hasEqual: () => boolean
}

/** The most rows that are distinguished, which bounds the memory of a run. Later ones share. */
const MOST = 1_000_000

/** The characters kept of a key, which is a hash: two of a million collide once in ten million runs. */
const LENGTH = 16

export const make = (): Occurrences => {
  const first = new Map<string, string>()
  const others = new Map<string, Map<string, number>>()
  let counted = 0
  return {
    of: (key, position) => {
      const short = key.slice(0, LENGTH)
      const owner = first.get(short)
      if (owner === position) return 0
      if (owner === undefined) {
        if (counted++ < MOST) first.set(short, position)
        return 0
      }
      let positions = others.get(short)
      if (positions === undefined) others.set(short, (positions = new Map()))
      const known = positions.get(position)
      if (known !== undefined || counted >= MOST) return known ?? 0
      counted++
      positions.set(position, positions.size + 1)
      return positions.size
    },
    hasEqual: () => others.size > 0
  }
}
