/**
 * The second side of a join, held in memory: found by key, or by nearness of vectors.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
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
          const id = GroupKey.idOf(key as GroupKey.GroupKey)
          const same = partners.get(id)
          if (same === undefined) partners.set(id, [value])
          else same.push(value)
        }
      }),
    find: (rows) => Effect.sync(() => rows.map(({ key }) => partners.get(GroupKey.idOf(key as GroupKey.GroupKey))))
  }
}

/** Digits of a similarity: an index may differ from another in the last ones, and results are found by them. */
const DIGITS = 1e6

const byVector = (name: string, { atLeast, count }: Extract<Node.Match, { readonly _tag: "Nearest" }>): JoinTable => {
  const values: Array<unknown> = []
  let dimensions: number | undefined
  let index: VectorIndex.Index | undefined
  return {
    complete: Deferred.makeUnsafe(),
    keyOf: (key) => {
      const vector = Vectors.unit(Vectors.checked(key))
      dimensions ??= vector.length
      if (vector.length !== dimensions)
        throw new Error(`a vector of ${vector.length} numbers is not comparable with one of ${dimensions}`)
      return vector
    },
    add: Effect.fnUntraced(function* (rows) {
      if (rows.length === 0) return
      index ??= yield* (yield* VectorIndex.VectorIndex).open({
        name: name.replaceAll(/[^A-Za-z0-9]/g, ""),
        dimensions: dimensions!,
        folder: undefined
      })
      yield* index.add(rows.map(({ key, value }) => ({ id: values.push(value), vector: key as Float32Array })))
    }),
    find: (rows) => {
      const open = index
      if (open === undefined) return Effect.succeed(rows.map(() => [[]]))
      return Effect.forEach(rows, ({ key }) =>
        Effect.map(open.search(key as Float32Array, count), (near) => [
          near.flatMap(({ id, similarity }) =>
            similarity < atLeast
              ? []
              : [{ value: values[id - 1], similarity: Math.round(similarity * DIGITS) / DIGITS }]
          )
        ])
      )
    }
  }
}
