/** What the values of a step are like: how often each label occurs, how numbers and lengths are spread. */
import * as StoredValue from "@pipe/core/internal/StoredValue"
import * as Format from "@pipe/core/internal/Format"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Problem from "./Problem.ts"
import type * as Located from "./Located.ts"

/** A bar of a distribution. */
export interface Bar {
  readonly name: string
  readonly count: number
}

export interface Field {
  /** The path in the value: `sentiment`, or `` for the value itself. */
  readonly name: string
  /** `labels`: few different texts, or true and false. `lengths`: of longer texts in characters, or of lists in entries. */
  readonly kind: "labels" | "numbers" | "lengths"
  readonly values: number
  /** Values of other types, which are in no bar. */
  readonly others: number
  /** Values that are null or absent. */
  readonly missing: number
  readonly bars: ReadonlyArray<Bar>
  readonly least?: number
  readonly mean?: number
  readonly most?: number
}

export interface Fields {
  readonly step: string
  /** Results that were read. */
  readonly read: number
  readonly isCut: boolean
  readonly fields: ReadonlyArray<Field>
}

/** The most results that are read, fields, different labels and bars. */
const MOST_RESULTS = 50_000
const MOST_FIELDS = 30
const MOST_LABELS = 40
const BARS = 20
const CHUNK = 2_000

interface Seen {
  readonly numbers: Array<number>
  readonly lengths: Array<number>
  readonly labels: Map<string, number>
  values: number
}

/** The longest text that counts as a label. */
const LABEL = 60

const note = (seen: Seen, value: unknown): void => {
  seen.values++
  if (typeof value === "number" || typeof value === "bigint") seen.numbers.push(Number(value))
  else if (typeof value === "boolean") seen.labels.set(String(value), (seen.labels.get(String(value)) ?? 0) + 1)
  else if (typeof value === "string") {
    seen.lengths.push(value.length)
    if (value.length <= LABEL && (seen.labels.has(value) || seen.labels.size < 1_000))
      seen.labels.set(value, (seen.labels.get(value) ?? 0) + 1)
  } else if (Array.isArray(value)) seen.lengths.push(value.length)
}

const histogram = (values: ReadonlyArray<number>): Pick<Field, "bars" | "least" | "mean" | "most"> => {
  const finite = values.filter(Number.isFinite)
  if (finite.length === 0) return { bars: [] }
  const [least, most] = finite.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY
  ] as const as [number, number])
  const whole = finite.every(Number.isSafeInteger)
  const bars = whole ? Math.min(BARS, most - least + 1) : BARS
  const width = most === least ? 1 : whole ? Math.ceil((most - least + 1) / bars) : most / bars - least / bars
  const counts = Array.from(
    { length: most === least ? 1 : whole ? Math.ceil((most - least + 1) / width) : BARS },
    () => 0
  )
  // The difference of large numbers may have no end.
  const barOf = (value: number): number =>
    Math.floor(Number.isFinite(value - least) ? (value - least) / width : value / width - least / width)
  for (const value of finite) {
    const bar = Math.min(counts.length - 1, barOf(value))
    counts[bar] = counts[bar]! + 1
  }
  const edge = (at: number): number =>
    whole ? least + at * width : least * (1 - at / counts.length) + most * (at / counts.length)
  const decimals = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(width))))
  const show = (value: number): string =>
    whole
      ? Format.count(value)
      : Math.abs(value) < 1e15
        ? String(Number(value.toFixed(decimals)))
        : value.toPrecision(4)
  return {
    least,
    most,
    mean: finite.reduce((sum, value) => sum + value / finite.length, 0),
    bars: counts.map((count, at) => {
      const [from, to] = [edge(at), whole ? edge(at + 1) - 1 : edge(at + 1)]
      return { name: from === to ? show(from) : `${show(from)} to ${show(to)}`, count }
    })
  }
}

const fieldOf = (name: string, seen: Seen, all: number): Field => {
  const common = { name, values: seen.values, missing: all - seen.values, others: 0 }
  const labels = [...seen.labels].toSorted(([, a], [, b]) => b - a)
  const labelled = labels.reduce((sum, [, count]) => sum + count, 0)
  // Texts that hardly repeat are not labels.
  if (labelled === seen.values && labels.length > 0 && labels.length <= Math.max(12, Math.min(1_000, seen.values / 5)))
    return { ...common, kind: "labels", bars: labels.slice(0, MOST_LABELS).map(([name, count]) => ({ name, count })) }
  const [kind, shown] =
    seen.numbers.length >= seen.lengths.length
      ? (["numbers", seen.numbers] as const)
      : (["lengths", seen.lengths] as const)
  return { ...common, others: seen.values - shown.length, kind, ...histogram(shown) }
}

/** The most levels of records in a value. */
const DEPTH = 3

/** The fields of a value, by their paths. */
const walk = (name: string, value: unknown, see: (name: string, value: unknown) => void, depth = DEPTH): void => {
  if (typeof value !== "object" || value === null || Array.isArray(value) || depth === 0) return see(name, value)
  for (const [key, field] of Object.entries(value)) walk(name === "" ? key : `${name}.${key}`, field, see, depth - 1)
}

/** The distributions of the values that a step has computed in a run. */
export const read = Effect.fnUntraced(function* ({ run, store }: Located.Located, step: string) {
  const { database } = store
  const steps = yield* Problem.dead(
    database.query("SELECT id FROM steps WHERE flow = ? AND name = ? ORDER BY id", [run.flow, step])
  )
  const seen = new Map<string, Seen>()
  const see = (name: string, value: unknown): void => {
    if (value === null || value === undefined) return
    let own = seen.get(name)
    if (own === undefined) {
      if (seen.size >= MOST_FIELDS) return
      seen.set(name, (own = { numbers: [], lengths: [], labels: new Map(), values: 0 }))
    }
    note(own, value)
  }
  let read = 0
  let last = 0
  while (steps.length > 0 && read < MOST_RESULTS) {
    const rows = yield* Problem.dead(
      database.query(
        `SELECT id, value FROM results WHERE id > ? AND run = ? AND step IN (${steps.map(() => "?").join(", ")}) ORDER BY id LIMIT ${CHUNK}`,
        [last, run.id, ...steps.map(({ id }) => Number(id))]
      )
    )
    for (const row of rows) {
      const value = Option.getOrUndefined(StoredValue.decode(String(row["value"])))
      read++
      walk("", value, see)
    }
    if (rows.length < CHUNK) break
    last = Number(rows.at(-1)!["id"])
    yield* Effect.yieldNow
  }
  return {
    step,
    read,
    isCut: read >= MOST_RESULTS,
    fields: [...seen].map(([name, own]) => fieldOf(name, own, read))
  } satisfies Fields
})
