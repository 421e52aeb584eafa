/** The review queue of a run: its answers, those in doubt first or at random, and what a person said of them. */
import * as Database from "@pipe/core/Database"
import type * as LabelRepo from "@pipe/core/internal/LabelRepo"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Schema from "effect/Schema"
import * as ExchangeText from "../view/ExchangeText.ts"
import * as Correction from "./Correction.ts"
import * as Doubt from "./Doubt.ts"
import * as KeptAnswer from "./KeptAnswer.ts"
import type * as Kept from "./Kept.ts"
import * as Measured from "./Measured.ts"
import * as Problem from "./Problem.ts"
import type * as Located from "./Located.ts"

export interface ReviewItem extends Doubt.Doubt {
  /** The number of the answer in the store. */
  readonly exchange: number
  readonly step: string
  readonly row: number
  readonly position: string
  readonly model: string
  readonly prompt: string
  readonly answer: string
  readonly choices: { readonly [question: string]: ReadonlyArray<string | boolean> }
  readonly verdict: LabelRepo.Verdict | null
  readonly label: string | null
  /** When it was reviewed; `null` when it was not. */
  readonly labelledAt: number | null
}

export interface ReviewPage {
  readonly total: number
  readonly seen: number
  readonly accepted: number
  readonly corrected: number
  readonly items: ReadonlyArray<ReviewItem>
  readonly measured: ReadonlyArray<Measured.Measured>
  /** Stored answers that cannot be labelled: their inputs are not known. */
  readonly unknown: number
}

export interface ReviewQuery {
  readonly order: "doubt" | "random"
  readonly step: string | undefined
  /** Reviewed rows too. */
  readonly all: boolean
  readonly from: number
  readonly count: number
}

const labelsOf = ({ run, store }: Located.Located) =>
  Effect.map(
    Problem.dead(Stream.runCollect(store.labels.all(run.flow))),
    (all) => new Map(all.map((label) => [`${label.step}\n${label.key}`, label]))
  )

/** The request and the answer of an exchange of the run. */
const exchangeOf = Effect.fnUntraced(function* ({ run, store }: Located.Located, id: number) {
  const [found] = yield* Problem.dead(
    store.database.query("SELECT request, answer FROM exchanges WHERE id = ? AND run = ?", [id, run.id])
  )
  return {
    request: Database.toJson(found?.["request"]) as Schema.Json | undefined,
    answer: Database.toJson(found?.["answer"]) as Schema.Json | undefined
  }
})

/** A part of the queue. */
export const read = Effect.fnUntraced(function* (
  located: Located.Located,
  kept: ReadonlyMap<string, Kept.KeptRow>,
  { all, count, from, order, step }: ReviewQuery
) {
  const labels = yield* labelsOf(located)
  const evidence = yield* Doubt.evidenceOf(located)
  const groups = new Map<string, Array<Kept.KeptRow>>()
  for (const row of kept.values()) {
    if (row.content === null || (step !== undefined && row.step !== step)) continue
    const key = `${row.step}\n${row.content}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [row])
    else group.push(row)
  }
  // Rows with the same inputs have one label: the one in doubt stands for them, and the first is measured.
  const once = [...groups].map(([key, rows]) => {
    const doubts = rows.map((row) => ({ row, doubt: Doubt.of(`${row.step}\n${row.row}`, row, evidence) }))
    const most = doubts.reduce((a, b) => (b.doubt.size > a.doubt.size ? b : a))
    return { ...most, first: rows[0]!, label: labels.get(key) }
  })
  const open = all ? [...once] : once.filter(({ label }) => label === undefined)
  open.sort(order === "random" ? Measured.byKey : (a, b) => b.doubt.size - a.doubt.size || a.row.row - b.row.row)
  const items = yield* Effect.forEach(open.slice(from, from + count), ({ doubt, label, row }) =>
    Effect.map(exchangeOf(located, row.id), ({ request }): ReviewItem => ({
      ...doubt,
      exchange: row.id,
      step: row.step,
      row: row.row,
      position: row.position,
      model: row.model,
      prompt: ExchangeText.promptText(request),
      answer: row.answer,
      choices: KeptAnswer.choices(request),
      verdict: label?.verdict ?? null,
      label: label?.label ?? null,
      labelledAt: label?.at ?? null
    }))
  )
  const verdicts = once.map(({ label }) => label?.verdict)
  const countOf = (verdict: LabelRepo.Verdict): number => verdicts.filter((own) => own === verdict).length
  return {
    total: once.length,
    seen: countOf("seen"),
    accepted: countOf("accepted"),
    corrected: countOf("corrected"),
    items,
    measured: Measured.measure(once.map(({ first, label }) => ({ row: first, label }))),
    unknown: [...kept.values()].filter(({ content }) => content === null).length
  } satisfies ReviewPage
})

/** What a person said of a row. */
export interface Said {
  readonly step: string
  readonly row: number
  /** The answer and the label that were shown: what was said is of no other. */
  readonly exchange: number
  readonly labelledAt: number | null
  readonly verdict: LabelRepo.Verdict | "undo"
  readonly label?: string | undefined
  readonly drawn: LabelRepo.Drawn
}

const conflict = (message: string) => new Problem.Problem({ status: 409, message })

/** Keeps what a person said, or forgets it. Returns when it was reviewed. */
export const save = Effect.fnUntraced(function* (
  located: Located.Located,
  kept: ReadonlyMap<string, Kept.KeptRow>,
  { drawn, exchange, label, labelledAt, row, step, verdict }: Said,
  at: number
): Effect.fn.Return<{ readonly labelledAt: number | null }, Problem.Problem> {
  const found = kept.get(`${step}\n${row}`)
  if (found?.content === undefined || found.content === null)
    return yield* Problem.badRequest(`the store has no answer of row ${row} at step ${step} that can be labelled`)
  const { run, store } = located
  if (run.options.tuning === true)
    return yield* Problem.badRequest("a tuning run has the answers of several models to each row: review another run")
  const before = yield* Problem.dead(store.labels.find(run.flow, step, found.content))
  if ((before?.at ?? null) !== labelledAt)
    return yield* conflict(
      before === undefined ? "its label was undone meanwhile" : `it was reviewed meanwhile: ${before.verdict}`
    )
  if (verdict === "undo") {
    yield* Problem.dead(store.labels.remove(run.flow, step, found.content))
    return { labelledAt: null }
  }
  const { answer, request } = yield* exchangeOf(located, exchange)
  const own = KeptAnswer.text(answer)
  if (exchange !== found.id && own !== found.answer)
    return yield* conflict("the row has another answer by now: it is in the queue again")
  const correct =
    verdict === "seen" ? undefined : verdict === "accepted" ? own : yield* Correction.read(request, label ?? "")
  yield* Problem.dead(
    store.labels.save({
      flow: run.flow,
      step,
      key: found.content,
      verdict,
      ...(correct === undefined ? undefined : { label: correct }),
      answer: own,
      model: found.model,
      drawn,
      run: run.name,
      row,
      position: found.position,
      prompt: ExchangeText.promptText(request),
      at
    })
  )
  return { labelledAt: at }
})
