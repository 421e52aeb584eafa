/**
 * The second side of a join, held in memory: found by key, or by nearness of vectors.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as GroupKey from "../flow/GroupKey.ts"
import type * as Node from "../flow/Node.ts"
import * as VectorIndex from "../semantic/VectorIndex.ts"
import * as Vectors from "../semantic/Vectors.ts"

/** A row of a side with its key. */
export interface Keyed {
  readonly value: unknown
  readonly key: unknown
}

export interface JoinTable {
  /** All rows are there. */
  readonly complete: Deferred.Deferred<void>
  /** Returns a key in the form that is looked up. Throws for anything else. */
  readonly keyOf: (key: unknown) => unknown
  readonly add: (rows: ReadonlyArray<Keyed>) => Effect.Effect<void, unknown, unknown>
  /** For each key, the second sides of the rows that it makes; `undefined` for a row without a partner. */
  readonly find: (
    rows: ReadonlyArray<Keyed>
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown> | undefined>, unknown, unknown>
}

type Join = Extract<Node.Kind, { readonly _tag: "Join" }>

export const make = (name: string, { match }: Join): JoinTable =>
  match._tag === "Key" ? byKey() : byVector(name, match)

const byKey = (): JoinTable => {
  const partners = new Map<string, Array<unknown>>()
  return {
    complete: Deferred.makeUnsafe(),
    keyOf: GroupKey.checked,
    add: (rows) =>
      Effect.sync(() => {
        for (const { key, value } of rows) {
          StoredValue.share(value)
          const id = GroupKey.idOf(key as GroupKey.GroupKey)
          const same = partners.get(id)
          if (same === undefined) partners.set(id, [value])
          else same.push(value)
        }
      }),
    find: (rows) => Effect.sync(() => rows.map(({ key }) => partners.get(GroupKey.idOf(key as GroupKey.GroupKey))))
  }
}

/** Opens an index for this run alone. One that is kept elsewhere is emptied at its end. */
const openIndex = Effect.fnUntraced(function* (name: string, dimensions: number) {
  const { open } = yield* VectorIndex.VectorIndex
  const run = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
  const index = yield* open({
    name: `${name.replaceAll(/[^A-Za-z0-9]/g, "")}${run.toString(36)}`,
    dimensions,
    folder: undefined
  })
  yield* Effect.addFinalizer(() => Effect.ignore(index.reset))
  return index
})

/** Digits of a similarity: an index may differ from another in the last ones, and results are found by them. */
const DIGITS = 1e6

const byVector = (name: string, { atLeast, count }: Extract<Node.Match, { readonly _tag: "Nearest" }>): JoinTable => {
  const values: Array<unknown> = []
  /** Rows without a direction: those of a plan, whose vectors have not come. */
  const undirected: Array<unknown> = []
  let dimensions: number | undefined
  let index: VectorIndex.Index | undefined
  return {
    complete: Deferred.makeUnsafe(),
    keyOf: (key) => {
      const given = Vectors.checked(key)
      if (Vectors.isZero(given)) return undefined
      const vector = Vectors.unit(given)
      dimensions ??= vector.length
      if (vector.length !== dimensions)
        throw new Error(`a vector of ${vector.length} numbers is not comparable with one of ${dimensions}`)
      return vector
    },
    add: Effect.fnUntraced(function* (rows) {
      const directed = rows.filter(({ key, value }) => key !== undefined || (undirected.push(value), false))
      if (directed.length === 0) return
      index ??= yield* openIndex(name, dimensions!)
      yield* index.add(directed.map(({ key, value }) => ({ id: values.push(value), vector: key as Float32Array })))
    }),
    find: (rows) => {
      const unlike = undirected.map((value) => ({ value, similarity: 0 }))
      const of = (near: ReadonlyArray<{ readonly value: unknown; readonly similarity: number }>) => [
        near.filter(({ similarity }) => similarity >= atLeast).slice(0, count)
      ]
      return Effect.forEach(rows, ({ key }) => {
        if (key === undefined)
          return Effect.succeed(of([...values.map((value) => ({ value, similarity: 0 })), ...unlike]))
        if (index === undefined) return Effect.succeed(of(unlike))
        // A comparison with thousands of vectors must not hold up everything else.
        const found = Effect.andThen(Effect.yieldNow, index.search(key as Float32Array, count))
        return Effect.map(found, (found) => {
          const near = found.map(({ id, similarity }) => ({
            value: values[id - 1],
            similarity: Math.round(similarity * DIGITS) / DIGITS
          }))
          return of(unlike.length === 0 ? near : [...near, ...unlike].toSorted((a, b) => b.similarity - a.similarity))
        })
      })
    }
  }
}
