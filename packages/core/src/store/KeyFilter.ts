/**
 * Knows for certain that some keys are not in a set, in little memory (a Bloom filter).
 *
 * @internal
 */

/** The size of the filter in bits, as a power of two: with a million keys, one look-up in 200 is wasted. */
const FILTER_BITS = 24

/** Knows for certain that some keys, which are hashes, are not in a set. */
export class KeyFilter {
  private readonly bits = new Uint32Array(2 ** FILTER_BITS / 32)

  private places(key: string): ReadonlyArray<number> {
    // The keys are hashes, so their parts are independent.
    return [0, 6, 12].map((from) => Number.parseInt(key.slice(from, from + 6), 16) & (2 ** FILTER_BITS - 1))
  }

  add(key: string): void {
    for (const place of this.places(key)) this.bits[place >>> 5]! |= 1 << (place & 31)
  }

  mayHave(key: string): boolean {
    return this.places(key).every((place) => (this.bits[place >>> 5]! & (1 << (place & 31))) !== 0)
  }
}
