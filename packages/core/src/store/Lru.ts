/**
 * A map that holds so many entries at most: the one that was not used for longest goes.
 *
 * **Details** `effect/Cache` looks its values up by an effect; this is for places that need one at once.
 *
 * @internal
 */
export interface Lru<K, V> {
  /** Counts as a use. */
  readonly get: (key: K) => V | undefined
  /** Sets a value; what had to go for it. */
  readonly set: (key: K, value: V) => V | undefined
  readonly delete: (key: K) => void
}

export const make = <K, V>(capacity: number): Lru<K, V> => {
  /** In the order of their uses. */
  const entries = new Map<K, V>()
  return {
    get: (key) => {
      const value = entries.get(key)
      if (value === undefined) return undefined
      entries.delete(key)
      entries.set(key, value)
      return value
    },
    set: (key, value) => {
      entries.delete(key)
      entries.set(key, value)
      if (entries.size <= capacity) return undefined
      const [oldest] = entries
      entries.delete(oldest![0])
      return oldest![1]
    },
    delete: (key) => void entries.delete(key)
  }
}
