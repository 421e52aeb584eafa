/** Runs of the store, as text and as JSON. */
import type * as LedgerRepo from "@pipe/core/internal/LedgerRepo"
import * as Money from "@pipe/core/Money"
import * as Report from "@pipe/core/Report"
import * as FailedRow from "./FailedRow.ts"
import * as ReportText from "./ReportText.ts"
import type * as RunEvent from "@pipe/core/RunEvent"
import type * as RowRepo from "@pipe/core/internal/RowRepo"
import type * as RunRepo from "@pipe/core/internal/RunRepo"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Spending from "../flags/Spending.ts"
import * as Table from "./Table.ts"

/** Local time, to the minute. */
export const time = (at: number): string => {
  const date = new Date(at)
  const two = (n: number) => String(n).padStart(2, "0")
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`
}

/** A run, and its recorded cost. */
export interface ListedRun {
  readonly run: RunRepo.StoredRun
  readonly cost: LedgerRepo.Cost | undefined
}

/** The kind of a run, unless it is the usual one. */
const kindOf = ({ simulate, tuning }: RunRepo.Options): string =>
  `${tuning === true ? " (tuning)" : ""}${simulate === true ? " (simulated)" : ""}`

/** Runs, one line each, with their recorded cost, even when the process was killed. */
export const list = (entries: ReadonlyArray<ListedRun>): string => {
  const rows = entries.map(({ cost: recorded, run }) => {
    const summary = Report.summaryOf(run)
    const isKnown = summary !== undefined || recorded !== undefined
    return [
      run.name,
      `${run.flow}${kindOf(run.options)}`,
      time(run.startedAt),
      run.status,
      summary === undefined ? "–" : String(summary.rows.read),
      summary === undefined ? "–" : String(summary.rows.failed),
      isKnown
        ? `${(recorded?.unpriced ?? 0) > 0 ? "≥ " : ""}${Money.format(recorded?.cost ?? summary?.cost ?? Money.zero)}`
        : "–"
    ]
  })
  return Table.lines({ header: ["run", "flow", "started", "status", "rows", "failed", "cost"], rows, left: 4 }).join(
    "\n"
  )
}

/** What can be done with a run now. */
const next = (run: RunRepo.StoredRun, summary: RunEvent.RunFinished | undefined): ReadonlyArray<string> =>
  run.options.tuning === true
    ? []
    : [
        ...(["interrupted", "failed", "waiting"].includes(run.status) && Report.hasStarted(run)
          ? [`resume it: pipe resume ${run.name}`]
          : []),
        ...(run.status === "budget"
          ? [
              `resume it: pipe resume ${run.name} ${Spending.more(run.options.budget ?? [], summary?.cost ?? Money.zero)}`
            ]
          : []),
        ...((summary?.rows.failed ?? 0) > 0 ? [`its failed rows: pipe show ${run.name} --failed`] : [])
      ]

/** The recorded cost of a run, besides its report. */
const recorded = (
  summary: RunEvent.RunFinished | undefined,
  cost: LedgerRepo.Cost | undefined
): ReadonlyArray<string> => {
  if (cost === undefined || cost.cost === summary?.cost) return []
  const bounds =
    cost.estimated > Money.zero
      ? `, of which at most ${Money.format(cost.estimated)} for calls with an unknown bill`
      : ""
  return [
    summary === undefined
      ? `  recorded so far: ${Money.format(cost.cost)}${bounds}`
      : `  recorded since its report: ${Money.format(cost.cost - summary.cost)}; in total ${Money.format(cost.cost)}${bounds}`
  ]
}

/** A run: its status, and its report. */
export const describe = (run: RunRepo.StoredRun, cost: LedgerRepo.Cost | undefined): string => {
  const summary = Report.summaryOf(run)
  return [
    `run ${run.name}: ${run.flow}${kindOf(run.options)}${run.options.file === undefined ? "" : ` (${run.options.file})`}`,
    `  ${run.status}, started ${time(run.startedAt)}${run.endedAt === undefined ? "" : `, ended ${time(run.endedAt)}`}${
      run.tries > 1 ? `, ${run.tries} tries` : ""
    }`,
    ...(run.status === "running" ? [`  active: process ${run.owner.pid} on ${run.owner.host}`] : []),
    ...next(run, summary).map((line) => `  ${line}`),
    ...recorded(summary, cost),
    ...(summary === undefined
      ? ["  it ended before it could write its summary; its rows and its ledger are kept"]
      : ["", ReportText.render(summary)])
  ].join("\n")
}

/** A run as JSON. */
export const toJson = (run: RunRepo.StoredRun, cost: LedgerRepo.Cost | undefined) => ({
  run: run.name,
  flow: run.flow,
  status: run.status,
  tries: run.tries,
  startedAt: run.startedAt,
  ...(run.endedAt === undefined ? undefined : { endedAt: run.endedAt }),
  ...(cost === undefined ? undefined : { cost: Money.toUsd(cost.cost) }),
  options: run.options,
  ...(run.plan === undefined ? undefined : { plan: run.plan }),
  ...(run.summary === undefined ? undefined : { summary: run.summary })
})

/** A failed row as text. */
export const failure = (failed: RowRepo.StoredFailure): string => {
  const { details = {}, error, input } = failed
  const { answer, fields } = details
  return [
    FailedRow.text(failed, error),
    `    input: ${clipped(input)}`,
    ...(answer === undefined ? [] : [`    answer: ${clipped(answer)}`]),
    ...(fields === undefined ? [] : [`    fields: ${clipped(JSON.stringify(fields))}`])
  ].join("\n")
}

/** The most characters of a value that are shown. */
const MOST = 300

const clipped = (text: string): string => {
  const line = SafeText.line(text, text.length)
  return line.length > MOST ? `${line.slice(0, MOST).toWellFormed()}…` : line
}

/** A failed row as one line of JSON. */
export const failureToJson = ({ details, input, ...row }: RowRepo.StoredFailure): string =>
  JSON.stringify({ ...row, ...details, input: JSON.parse(input) as unknown })
