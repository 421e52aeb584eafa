/** Failed rows by what went wrong. */
import * as Database from "@pipe/core/Database"
import * as Effect from "effect/Effect"
import * as ErrorKind from "./ErrorKind.ts"
import * as Problem from "./Problem.ts"
import type * as Located from "./Located.ts"

export interface ErrorGroup {
  readonly node: string
  readonly error: string
  /** The message, with what varies as `…`. */
  readonly shape: string
  /** The error and the shape, as rows are filtered by. */
  readonly kind: string
  readonly count: number
  /** Some of the rows. */
  readonly rows: ReadonlyArray<{ readonly row: number; readonly position: string; readonly message: string }>
}

/** The most failures that are read, and the rows that are named of a kind. */
const MOST = 100_000
const NAMED = 20

/** The most kinds. */
const MOST_KINDS = 300

/** The kinds of failures of a run, the most frequent first. */
export const read = Effect.fnUntraced(function* ({ run, store }: Located.Located) {
  const groups = new Map<
    string,
    { -readonly [K in keyof ErrorGroup]: ErrorGroup[K] extends ReadonlyArray<infer A> ? Array<A> : ErrorGroup[K] }
  >()
  const rows = yield* Problem.dead(
    store.database.query(
      `SELECT node, error, message, row_index, position FROM failures WHERE run = ? ORDER BY id LIMIT ${MOST}`,
      [run.id]
    )
  )
  for (const row of rows) {
    const [node, error, message] = [String(row["node"]), String(row["error"]), Database.toText(row["message"]) ?? ""]
    const shape = ErrorKind.shapeOf(message)
    const kind = ErrorKind.of(error, message)
    const key = `${node}\n${kind}`
    let group = groups.get(key)
    if (group === undefined) groups.set(key, (group = { node, error, shape, kind, count: 0, rows: [] }))
    group.count++
    if (group.rows.length < NAMED)
      group.rows.push({
        row: Number(row["row_index"]),
        position: String(row["position"]),
        message: message.slice(0, 1_000)
      })
  }
  return [...groups.values()].toSorted((a, b) => b.count - a.count).slice(0, MOST_KINDS)
})
