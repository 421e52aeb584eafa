/**
 * A map with a limited number of entries: the least recently used is dropped.
 *
 * **Details** `effect/Cache` looks values up with an effect. This is for code that needs a value immediately.
 *
 * @internal
 */
export interface Lru<K, V> {
  /** Counts as a use. */
  readonly get: (key: K) => V | undefined
  /** Sets a value. Returns the value that was dropped for it. */
  readonly set: (key: K, value: V) => V | undefined
  readonly delete: (key: K) => void
}

export const make = <K, V>(capacity: number): Lru<K, V> => {
  /** In the order of use. */
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
