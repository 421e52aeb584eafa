/**
 * A row in progress: the values of its domain's nodes, by slot.
 *
 * @internal
 */
import type * as FlowCost from "../flow/FlowCost.ts"
import type * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"

/** Marks a value that a row lacks: filtered, or not there yet. */
export const absent: unique symbol = Symbol("absent")

/** Marks a value that a row lacks because it, or what it comes from, has failed. */
export const lost: unique symbol = Symbol("lost")

/** A row in progress: the values of its domain's nodes by slot, and the row above it. */
export interface Row {
  readonly index: number
  readonly position: string
  readonly parent: Row | undefined
  readonly values: Array<unknown>
  failed: boolean
  /** What the calls of its nodes cost, by name, where a node reads it. */
  costs?: Map<string, FlowCost.Cost>
  /** It stands for rows that could not be made: those of a list that has failed, or of a join. */
  readonly isLost?: boolean
  /** The failed rows that its group lacks; `undefined` for none. */
  missing?: number
}

/** The failed rows that the group of a row lacks, or the group that it comes from; `undefined` for none. */
export const missingOf = (row: Row): number | undefined => {
  for (let at: Row | undefined = row; at !== undefined; at = at.parent) if (at.missing !== undefined) return at.missing
  return undefined
}

/** Sets what the calls of a node cost for a row. */
export const setCost = (row: Row, node: string, cost: FlowCost.Cost): void => {
  row.costs ??= new Map()
  row.costs.set(node, cost)
}

/** What the calls of a node cost for a row, or for the row that it comes from. */
export const costOf = (row: Row, node: string): FlowCost.Cost | undefined => {
  for (let at: Row | undefined = row; at !== undefined; at = at.parent) {
    const cost = at.costs?.get(node)
    if (cost !== undefined) return cost
  }
  return undefined
}

/** Where the value of an input is: this many rows up, in this slot. A parameter has its value in all rows. */
type Place = { readonly name: string } & (
  | { readonly up: number; readonly slot: number }
  | { readonly up: undefined; readonly value: unknown }
)

/** The slots of a domain's nodes. The root has slot 0. */
export type Slots = ReadonlyMap<Node.Any, number>

export const slotsOf = (root: Node.Any, members: ReadonlyArray<Node.Any>): Slots =>
  new Map([root, ...members].map((node, slot) => [node, slot]))

/** Reads input values from a row. */
export interface RowReader {
  /** The values; `undefined` when the row lacks one. */
  readonly read: (row: Row) => Record<string, unknown> | undefined
  /** Whether the row lacks one because of a failure. */
  readonly isLost: (row: Row) => boolean
  /** The values that are there. Reading another one throws. */
  readonly readSome: (row: Row) => Record<string, unknown>
}

export const reader = (
  inputs: Node.Inputs,
  domain: Node.Domain,
  slots: ReadonlyMap<Node.Domain, Slots>,
  parameters: ReadonlyMap<string, unknown>
): RowReader => {
  const places = Object.entries(inputs).map(([name, node]): Place => {
    if (Parameter.isParameter(node)) return { name, up: undefined, value: Parameter.resolve(node, parameters) }
    let up = 0
    for (let d: Node.Domain | undefined = domain; d !== undefined && d !== node.domain; d = d.parent) up++
    return { name, up, slot: slots.get(node.domain)!.get(node)! }
  })
  const valueAt = (row: Row, place: Place): unknown => {
    if (place.up === undefined) return place.value
    let at: Row = row
    for (let i = 0; i < place.up; i++) at = at.parent!
    return at.values[place.slot]
  }
  return {
    read: (row) => {
      const values: Record<string, unknown> = {}
      for (const place of places) {
        const value = valueAt(row, place)
        if (value === absent || value === lost) return undefined
        values[place.name] = value
      }
      return values
    },
    isLost: (row) => places.some((place) => valueAt(row, place) === lost),
    readSome: (row) => {
      const values: Record<string, unknown> = {}
      for (const place of places) {
        const value = valueAt(row, place)
        Object.defineProperty(values, place.name, {
          enumerable: true,
          get: () => {
            if (value === absent || value === lost) throw new Error(`no value of ${place.name}`)
            return value
          }
        })
      }
      return values
    }
  }
}

/** A row that stands for rows that could not be made. */
export const lostRow = (at: Pick<Row, "index" | "position" | "parent">, size: number): Row => ({
  ...at,
  values: new Array<unknown>(size).fill(lost),
  failed: true,
  isLost: true
})
