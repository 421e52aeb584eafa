/**
 * Answers that a person has accepted or corrected, by step and by the content of its inputs: they stay true when the
 * prompt, the model or the run changes. `pipe tune` measures models against them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type * as RowValues from "../client/RowValues.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Database from "../store/Database.ts"

/** `seen`: looked at without a verdict, so it is not a label. */
export const Verdict = Schema.Literals(["accepted", "corrected", "seen"])

export type Verdict = typeof Verdict.Type

/** Why a row was reviewed: rows in doubt say nothing about the others, rows drawn at random do. */
export const Drawn = Schema.Literals(["doubt", "random", "chosen"])

export type Drawn = typeof Drawn.Type

/** A reviewed answer. */
export const Label = Schema.Struct({
  flow: Schema.String,
  step: Schema.String,
  /** The content of the step's inputs. */
  key: Schema.String,
  verdict: Verdict,
  /** The correct answer, in the form of the model's: text, or JSON as text. Absent when only seen. */
  label: Schema.optionalKey(Schema.String),
  /** The model's answer. */
  answer: Schema.String,
  model: Schema.String,
  drawn: Drawn,
  /** Where the row was when it was reviewed. */
  run: Schema.String,
  row: Schema.Int,
  position: Schema.String,
  /** The prompt, shortened as in the stored exchange. */
  prompt: Schema.String,
  /** Milliseconds since 1970. */
  at: Schema.Finite
})

export interface Label extends Schema.Schema.Type<typeof Label> {}

/** Whether it is a label: a row that was only seen is not. */
export const isLabel = ({ label }: Label): boolean => label !== undefined

/** How many labels a step has. */
export interface LabelCount {
  readonly flow: string
  readonly step: string
  readonly accepted: number
  readonly corrected: number
  readonly seen: number
}

export interface LabelRepo {
  /** Keeps a label in place of an earlier one of the same inputs. */
  readonly save: (label: Label) => Effect.Effect<void, SqlError.SqlError>
  readonly find: (flow: string, step: string, key: string) => Effect.Effect<Label | undefined, SqlError.SqlError>
  /** Forgets a label. */
  readonly remove: (flow: string, step: string, key: string) => Effect.Effect<void, SqlError.SqlError>
  /** The labels of a flow, of one step or all, the oldest first. */
  readonly all: (flow: string | undefined, step?: string) => Stream.Stream<Label, SqlError.SqlError>
  readonly counts: Effect.Effect<ReadonlyArray<LabelCount>, SqlError.SqlError>
}

/**
 * The key of a step's inputs, and of the parameters of its flow that are no defaults: what is correct depends on both.
 * `undefined` when the inputs cannot be encoded, so they cannot be recognised.
 */
export const keyOf = (
  values: RowValues.Values,
  parameters: ReadonlyMap<string, unknown> = none
): string | undefined => {
  const content = StoredValue.content(values)
  if (content === undefined) return undefined
  return ContentHash.make(
    parameters.size === 0 ? content : `${content}\n${RequestKey.canonical(Object.fromEntries(parameters))}`
  )
}

const none: ReadonlyMap<string, unknown> = new Map()

const toLabel = (row: Database.DatabaseRow): Label => {
  const label = Database.toText(row["label"])
  return {
    flow: String(row["flow"]),
    step: String(row["step"]),
    key: String(row["key"]),
    verdict: Schema.decodeUnknownSync(Verdict)(row["verdict"]),
    ...(label === undefined ? undefined : { label }),
    answer: String(row["answer"]),
    model: String(row["model"]),
    drawn: Schema.decodeUnknownSync(Drawn)(row["drawn"]),
    run: String(row["run"]),
    row: Number(row["row_index"]),
    position: String(row["position"]),
    prompt: String(row["prompt"]),
    at: Number(row["at"])
  }
}

export const make = (database: Database.Service): LabelRepo => ({
  save: ({ answer, at, drawn, flow, key, label, model, position, prompt, row, run, step, verdict }) =>
    database.transaction([
      { sql: "DELETE FROM labels WHERE flow = ? AND step = ? AND key = ?", params: [flow, step, key] },
      {
        sql: `INSERT INTO labels (flow, step, key, verdict, label, answer, model, drawn, run, row_index, position, prompt, at)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        params: [flow, step, key, verdict, label ?? null, answer, model, drawn, run, row, position, prompt, at]
      }
    ]),
  find: (flow, step, key) =>
    Effect.map(
      database.query("SELECT * FROM labels WHERE flow = ? AND step = ? AND key = ?", [flow, step, key]),
      ([row]) => (row === undefined ? undefined : toLabel(row))
    ),
  remove: (flow, step, key) =>
    Effect.asVoid(database.query("DELETE FROM labels WHERE flow = ? AND step = ? AND key = ?", [flow, step, key])),
  all: (flow, step) =>
    Stream.map(
      Database.pages(500, (after, size) =>
        database.query(
          `SELECT * FROM labels WHERE id > ?${flow === undefined ? "" : " AND flow = ?"}${step === undefined ? "" : " AND step = ?"} ORDER BY id LIMIT ${size}`,
          [after, ...(flow === undefined ? [] : [flow]), ...(step === undefined ? [] : [step])]
        )
      ),
      toLabel
    ),
  counts: Effect.map(
    database.query("SELECT flow, step, verdict, count(*) AS n FROM labels GROUP BY flow, step, verdict"),
    (rows) => {
      const counts = new Map<string, { -readonly [K in keyof LabelCount]: LabelCount[K] }>()
      for (const row of rows) {
        const [flow, step] = [String(row["flow"]), String(row["step"])]
        const key = JSON.stringify([flow, step])
        let own = counts.get(key)
        if (own === undefined) counts.set(key, (own = { flow, step, accepted: 0, corrected: 0, seen: 0 }))
        own[Schema.decodeUnknownSync(Verdict)(row["verdict"])] = Number(row["n"])
      }
      return [...counts.values()].toSorted((a, b) =>
        a.flow === b.flow ? (a.step < b.step ? -1 : 1) : a.flow < b.flow ? -1 : 1
      )
    }
  )
})
