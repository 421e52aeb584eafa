/**
 * A sample of a source's rows by chance, told by their content: the rows whose hashes are the lowest. So the sample is the same
 * wherever the rows stand, stays what it is when others are added, and is known by a seed and the highest hash of it: later rows that
 * were not in it can be told from those that were. Equal rows count once.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as ContentHash from "../../encoding/ContentHash.ts"
import * as StoredValue from "../../encoding/StoredValue.ts"
import type * as Node from "../../flow/Node.ts"

export interface RowSample {
  readonly size: number
  /** What the order by chance depends on. */
  readonly seed: string
  /** Only rows whose hash is above this: those of an earlier sample are left out. */
  readonly above?: string | undefined
  /** Receives the rows that were taken, and the highest hash of them, before the first goes on; it may refuse them. */
  readonly onTaken?:
    | ((taken: { readonly rows: number; readonly upTo: string }) => Effect.Effect<void, Error>)
    | undefined
}

/** The hash of a row for a seed. */
export const hashOf = (seed: string, value: unknown): string =>
  ContentHash.make(`${seed}\n${StoredValue.canonical(value) ?? ""}`).slice(0, 16)

interface Taken<A> {
  readonly hash: string
  readonly row: Node.ReadRow<A>
}

/** Takes the sample of all rows, in the order of their hashes: what is cut short is a sample too. Rows that cannot be read are left out. */
export const take = <A, E, R>(
  rows: Stream.Stream<Node.ReadRow<A>, E, R>,
  { above = "", onTaken, seed, size }: RowSample
): Effect.Effect<Stream.Stream<Node.ReadRow<A>>, E | Error, R> =>
  Effect.gen(function* () {
    // Kept sorted from time to time: a row that is not among the lowest so far is gone at once.
    let kept = new Map<string, Taken<A>>()
    let limit = "~"
    yield* Stream.runForEach(rows, (row) =>
      Effect.sync(() => {
        if ("problem" in row) return
        const hash = hashOf(seed, row.value)
        if (hash <= above || hash >= limit || kept.has(hash)) return
        kept.set(hash, { hash, row })
        if (kept.size < 2 * size + 64) return
        const lowest = lowestOf(kept, size)
        kept = new Map(lowest.map((taken) => [taken.hash, taken]))
        limit = lowest.at(-1)!.hash
      })
    )
    const taken = lowestOf(kept, size)
    yield* onTaken?.({ rows: taken.length, upTo: taken.at(-1)?.hash ?? above }) ?? Effect.void
    return Stream.fromIterable(taken.map(({ row }) => row))
  })

const lowestOf = <A>(kept: ReadonlyMap<string, Taken<A>>, size: number): ReadonlyArray<Taken<A>> =>
  [...kept.values()].toSorted((a, b) => (a.hash < b.hash ? -1 : 1)).slice(0, size)
