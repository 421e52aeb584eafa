/**
 * Rows that a worker computes, and its reply: what a chunk contains, as text.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as Node from "../flow/Node.ts"
import * as Row from "../run/Row.ts"

/** A value by its slot, as text; without a text it is absent: filtered, or lost with a failure. */
const SlotValue = Schema.Struct({
  slot: Schema.Int,
  text: Schema.optionalKey(Schema.String),
  lost: Schema.optionalKey(Schema.Literal(true))
})

const ChunkRow = Schema.Struct({
  index: Schema.Int,
  position: Schema.String,
  value: Schema.String,
  /** The rows above it, the nearest first, with the values that are read. */
  above: Schema.Array(Schema.Struct({ index: Schema.Int, position: Schema.String, values: Schema.Array(SlotValue) }))
})

/** Rows of a domain. */
export const Content = Schema.Struct({ root: Schema.String, rows: Schema.Array(ChunkRow) })

export interface Content extends Schema.Schema.Type<typeof Content> {}

/** A row that failed in a worker. */
const Failure = Schema.Struct({
  node: Schema.String,
  row: Schema.Int,
  position: Schema.String,
  error: Schema.String,
  message: Schema.String,
  details: Schema.optionalKey(Schema.Json)
})

/** What a worker says of a chunk. */
export const Answer = Schema.Struct({
  milliseconds: Schema.Finite,
  /** The name of the worker. */
  worker: Schema.String,
  /** The rows that it computed. */
  rows: Schema.Int,
  /** Nodes with values that cannot be kept, so that the run would compute them again. */
  unkept: Schema.optionalKey(Schema.Array(Schema.String)),
  failures: Schema.Array(Failure),
  /** Values that were computed, by node. */
  made: Schema.Record(Schema.String, Schema.Int),
  /** Nothing more can succeed. */
  stop: Schema.optionalKey(Schema.Struct({ kind: Schema.Literals(["failed", "budget"]), message: Schema.String })),
  /** It was lost with its worker before: its rows are sent one by one. */
  split: Schema.optionalKey(Schema.Boolean)
})

export interface Answer extends Schema.Schema.Type<typeof Answer> {}

const contentCodec = Schema.fromJsonString(Content)
const answerCodec = Schema.fromJsonString(Answer)

export const encodeContent = Schema.encodeSync(contentCodec)
export const decodeContent = Schema.decodeUnknownOption(contentCodec)
export const encodeAnswer = Schema.encodeSync(answerCodec)
export const decodeAnswer = Schema.decodeUnknownOption(answerCodec)

/** Where values of the rows above are read: this many rows up, in this slot. */
export interface Place {
  readonly up: number
  readonly slot: number
}

/** The values of rows above that a domain reads. */
export const placesOf = (
  root: Node.Any,
  members: ReadonlyArray<Node.Any>,
  slots: ReadonlyMap<Node.Domain, Row.Slots>
): ReadonlyArray<Place> => {
  const places = new Map<string, Place>()
  for (const node of members) {
    for (const input of Node.inputsOf(node)) {
      let up = 0
      for (let at: Node.Domain | undefined = root.domain; at !== undefined && at !== input.domain; at = at.parent) up++
      const slot = slots.get(input.domain)?.get(input)
      if (up > 0 && slot !== undefined) places.set(`${up}/${slot}`, { up, slot })
    }
  }
  return [...places.values()]
}

/** Encodes a row; `undefined` when one of its values has no text. */
export const encodeRow = (
  row: {
    readonly index: number
    readonly position: string
    readonly value: unknown
    readonly parent: Row.Row | undefined
  },
  places: ReadonlyArray<Place>
): Content["rows"][number] | undefined => {
  const value = StoredValue.encode(row.value)
  if (value === undefined) return undefined
  const above: Array<{ index: number; position: string; values: Array<typeof SlotValue.Type> }> = []
  let up = 0
  for (let at = row.parent; at !== undefined; at = at.parent) {
    up++
    const values: Array<typeof SlotValue.Type> = []
    for (const place of places) {
      if (place.up !== up) continue
      const found = at.values[place.slot]
      if (found === Row.absent || found === Row.lost) {
        values.push({ slot: place.slot, ...(found === Row.lost ? { lost: true } : undefined) })
        continue
      }
      const text = StoredValue.encode(found)
      if (text === undefined) return undefined
      values.push({ slot: place.slot, text })
    }
    above.push({ index: at.index, position: at.position, values })
  }
  return { index: row.index, position: row.position, value, above }
}

/** Decodes a row with this many slots; `undefined` when it is damaged. */
export const decodeRow = (row: Content["rows"][number], size: number): Row.Row | undefined => {
  const value = StoredValue.decode(row.value)
  if (Option.isNone(value)) return undefined
  let parent: Row.Row | undefined
  for (const { index, position, values } of [...row.above].reverse()) {
    const slots: Array<unknown> = []
    for (const { lost, slot, text } of values) {
      const found =
        text === undefined ? Option.some<unknown>(lost === true ? Row.lost : Row.absent) : StoredValue.decode(text)
      if (Option.isNone(found)) return undefined
      slots[slot] = found.value
    }
    parent = { index, position, parent, values: slots, failed: false }
  }
  const values = new Array<unknown>(size)
  values[0] = value.value
  return { index: row.index, position: row.position, parent, values, failed: false }
}
