/**
 * A random sample of a source's rows, chosen by content: the rows with the lowest hashes. The sample does not depend on
 * the order of rows, stays the same when rows are added, and is identified by a seed and its highest hash, so later
 * rows can be told from those in it. Equal rows count once.
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
  /** The seed of the random order. */
  readonly seed: string
  /** Only rows with hashes above this one, which leaves out an earlier sample. */
  readonly above?: string | undefined
  /** Receives the chosen rows and their highest hash before the first is processed, and may reject them. */
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

/**
 * Takes the sample, in the order of its hashes: a part that is cut short is a sample too. Rows that cannot be read are
 * skipped.
 */
export const take = <A, E, R>(
  rows: Stream.Stream<Node.ReadRow<A>, E, R>,
  { above = "", onTaken, seed, size }: RowSample
): Effect.Effect<Stream.Stream<Node.ReadRow<A>>, E | Error, R> =>
  Effect.gen(function* () {
    // Sorted occasionally: a row that is not among the lowest so far is dropped at once.
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
