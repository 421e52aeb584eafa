/**
 * A row in progress: the values of its domain's nodes, by slot.
 *
 * @internal
 */
import type * as Node from "../flow/Node.ts"

/** Marks a value that a row lacks: filtered, or failed. */
export const absent: unique symbol = Symbol("absent")

/** A row in progress: the values of its domain's nodes by slot, and the row above it. */
export interface Row {
  readonly index: number
  readonly position: string
  readonly parent: Row | undefined
  readonly values: Array<unknown>
  failed: boolean
}

/** Where the value of an input is: this many rows up, in this slot. */
interface Place {
  readonly name: string
  readonly up: number
  readonly slot: number
}

/** The slots of a domain's nodes. The root has slot 0. */
export type Slots = ReadonlyMap<Node.Any, number>

export const slotsOf = (root: Node.Any, members: ReadonlyArray<Node.Any>): Slots =>
  new Map([root, ...members].map((node, slot) => [node, slot]))

/** Reads input values from a row; `undefined` when the row lacks one. */
export type RowReader = (row: Row) => Record<string, unknown> | undefined

export const reader = (inputs: Node.Inputs, domain: Node.Domain, slots: ReadonlyMap<Node.Domain, Slots>): RowReader => {
  const places = Object.entries(inputs).map(([name, node]): Place => {
    let up = 0
    for (let d: Node.Domain | undefined = domain; d !== undefined && d !== node.domain; d = d.parent) up++
    return { name, up, slot: slots.get(node.domain)!.get(node)! }
  })
  return (row) => {
    const values: Record<string, unknown> = {}
    for (const { name, slot, up } of places) {
      let at: Row = row
      for (let i = 0; i < up; i++) at = at.parent!
      const value = at.values[slot]
      if (value === absent) return undefined
      values[name] = value
    }
    return values
  }
}
