/** A row of a run: every attempt at it, its prompts and answers where they were kept, its failures. */
import * as Database from "@pipe/core/Database"
import * as ExchangeText from "../view/ExchangeText.ts"
import * as StepKey from "@pipe/core/internal/StepKey"
import * as Money from "@pipe/core/Money"
import * as Effect from "effect/Effect"
import * as KeptAnswer from "./KeptAnswer.ts"
import * as Strategies from "../view/Strategies.ts"
import * as Problem from "./Problem.ts"
import type * as Located from "./Located.ts"

/** Columns of an attempt that hold tokens, and their names. */
const TOKENS = [
  ["uncached_input", "input"],
  ["cache_read", "cache read"],
  ["cache_write", "cache write"],
  ["cache_write_1h", "cache write, 1 hour"],
  ["output", "output"],
  ["reasoning", "reasoning"],
  ["input_audio", "audio input"],
  ["input_image", "image input"],
  ["output_audio", "audio output"],
  ["output_image", "image output"]
] as const

const usd = (value: unknown): string | null => {
  const cost = Database.toBigInt(value)
  return cost === undefined ? null : Money.toUsd(cost)
}

const attemptOf = (row: Database.DatabaseRow) => ({
  step: String(row["step"]),
  at: Number(row["at"]),
  milliseconds: Number(row["milliseconds"]),
  provider: String(row["provider"]),
  model: String(row["model"]),
  requested: Database.toText(row["requested"]) ?? null,
  serviceTier: Database.toText(row["service_tier"]) ?? null,
  tokens: TOKENS.flatMap(([column, name]) => {
    const count = row[column]
    return count === null || count === undefined || Number(count) === 0 ? [] : [[name, Number(count)] as const]
  }),
  cost: usd(row["cost"]),
  isEstimate: Number(row["estimated"]) === 1,
  unknown: Database.toText(row["unknown"]) ?? null,
  error: Database.toText(row["error"]) ?? null
})

const answerOf = (row: Database.DatabaseRow) => ({
  step: String(row["step"]),
  at: Number(row["at"]),
  milliseconds: Number(row["milliseconds"]),
  origin: String(row["origin"]),
  model: String(row["model"]),
  baselineModel: Database.toText(row["baseline_model"]) ?? null,
  saved: Strategies.all.flatMap(({ column, name }) => {
    const saved = Database.toBigInt(row[column])
    return saved === undefined || saved === Money.zero ? [] : [[name, Money.toUsd(saved)] as const]
  })
})

/** A step and those of its layers' own calls: `reply` and `reply / judge`. */
const ofStep = "(step = ? OR substr(step, 1, length(?) + 3) = ? || ' / ')"

const origins: { readonly [origin: string]: string } = {
  provider: "No earlier answer to the same request was found, so it was sent.",
  cache: "The exact cache had an answer to the same request.",
  shared: "Another row had sent the same request, and its answer was shared.",
  semantic: "The answer to a text of the same meaning was reused."
}

/** Why a row's answer was or was not reused. */
const whyOf = Effect.fnUntraced(function* ({ run, store }: Located.Located, step: string, origin: unknown) {
  const said = typeof origin === "string" ? (origins[origin] ?? "") : ""
  if (run.options.cache === false) return `${said} Results of other runs were not used (--no-cache).`.trim()
  const [own] = yield* Problem.dead(store.rows.since(run.flow, step, run.id))
  if (own === undefined) return said
  const before = StepKey.nearest(own.parts, yield* Problem.dead(store.rows.before(run.flow, step, own.key)))
  return before === undefined
    ? said
    : `${said} Results of an earlier version of the step do not count: step ${step} ${StepKey.difference(own.parts, before.parts)}.`.trim()
})

/** Everything that is kept of a row in a step. */
export const read = Effect.fnUntraced(function* ({ run, store }: Located.Located, step: string, row: number) {
  const { database } = store
  const of = (sql: string) => Problem.dead(database.query(sql, [run.id, row, step, step, step]))
  const attempts = yield* of(
    `SELECT *, CAST(cost AS TEXT) AS cost FROM attempts WHERE run = ? AND row_index = ? AND ${ofStep} ORDER BY id LIMIT 200`
  )
  const answers = yield* of(`SELECT * FROM answers WHERE run = ? AND row_index = ? AND ${ofStep} ORDER BY id LIMIT 200`)
  const exchanges = yield* Problem.dead(store.exchanges.find(run.id, { row, step, withOwn: true, limit: 200 }))
  const failures = yield* Problem.dead(
    database.query("SELECT * FROM failures WHERE run = ? AND row_index = ? AND node = ? ORDER BY id LIMIT 20", [
      run.id,
      row,
      step
    ])
  )
  const routes = yield* Problem.dead(
    database.query(
      "SELECT model, is_strong, agreement FROM routes WHERE run = ? AND row_index = ? AND step = ? ORDER BY id LIMIT 20",
      [run.id, row, step]
    )
  )
  return {
    step,
    row,
    why: yield* whyOf({ run, store }, step, answers.at(-1)?.["origin"]),
    routes: routes.map(({ agreement, is_strong, model }) => ({
      model: String(model),
      isStrong: Number(is_strong) === 1,
      agreement: Database.toNumber(agreement) ?? null
    })),
    attempts: attempts.map(attemptOf),
    answers: answers.map(answerOf),
    exchanges: exchanges.map(({ answer, at, error, model, origin, position, request, sample, step }) => ({
      step,
      position,
      sample,
      at,
      origin,
      model,
      prompt: ExchangeText.promptText(request),
      answer: answer === undefined ? null : ExchangeText.answerText(answer),
      certainty: KeptAnswer.certainty(answer) ?? null,
      error: error ?? null
    })),
    failures: failures.map((failure) => ({
      position: String(failure["position"]),
      error: String(failure["error"]),
      message: String(failure["message"]),
      input: String(failure["input"]).slice(0, 20_000)
    }))
  }
})

export type Row = Effect.Success<ReturnType<typeof read>>
