/** Implements `pipe report`. */
import * as Database from "@pipe/core/Database"
import * as Money from "@pipe/core/Money"
import * as Report from "@pipe/core/Report"
import * as RunFiles from "@pipe/core/internal/RunFiles"
import type * as RunRepo from "@pipe/core/internal/RunRepo"
import type * as Store from "@pipe/core/Store"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Csv from "effect/encoding/Csv"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as FindRun from "../../process/FindRun.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as OutputFile from "../../process/OutputFile.ts"
import * as Html from "../../view/Html.ts"
import type { Input } from "./flags.ts"

/** Writes a report in the requested form. */
export const writeReport = Effect.fnUntraced(function* (input: Input) {
  if ([input.html, input.json, input.csv].filter(Boolean).length > 1) {
    return yield* ExitCode.refuse("use one of --html, --json and --csv")
  }
  const alone = (["rows", "all"] as const).find((name) => input[name] && !input.csv)
  if (alone !== undefined) return yield* ExitCode.refuse(`--${alone} needs --csv`)
  if (input.csv && input.all) return yield* write(input, StoreFlag.resolve(input), undefined)
  const { location, run } = yield* FindRun.find(input)
  yield* write(input, location, run)
})

const write = (input: Input, location: string, run: RunRepo.StoredRun | undefined) =>
  OpenStore.readable(
    OpenStore.use(location, (store) =>
      Effect.gen(function* () {
        const out = Option.getOrUndefined(input.out)
        const kept = {
          ...OutputFile.storeAt(location),
          ...(yield* OutputFile.resultAt(store, out))
        }
        if (input.csv || run === undefined) return yield* writeLedger(store, run, input.rows, out, kept)
        const report = yield* Report.make(store, run)
        const all = { ...kept, "the flow file": run.options.file }
        if (input.json) {
          const text = Stream.make(`${JSON.stringify(Report.toJson(report))}\n`)
          return yield* OutputFile.writeOrPrint(out, { what: "a report as JSON", text, starts: '{"run":"' }, all)
        }
        const { render } = yield* Effect.promise(() => import("../../view/ReportHtml.ts"))
        const file =
          out ?? `${RunFiles.fileNameOf(run.flow)}${run.options.simulate === true ? ".simulated" : ""}.report.html`
        yield* OutputFile.write(
          file,
          { what: "a report", text: Stream.sync(() => render(report)), starts: Html.start },
          all
        )
        yield* Console.log(file)
      })
    )
  )

const columns = [
  "run",
  "step",
  "row",
  "at",
  "milliseconds",
  "provider",
  "model",
  "requested",
  "service_tier",
  "uncached_input",
  "cache_read",
  "cache_write",
  "cache_write_1h",
  "output",
  "reasoning",
  "cost_usd",
  "unknown",
  "estimated",
  "error",
  "input_audio",
  "input_image",
  "output_audio",
  "output_image",
  "searches",
  "fees_usd",
  "reask"
]

/** The beginning of the file in every version. */
const START = columns.slice(0, columns.indexOf("error") + 1).join(",")

const toRecord = (row: Database.DatabaseRow): Record<string, string> => {
  const text = (value: unknown) => (value === null || value === undefined ? "" : String(value))
  const [cost, fees] = [Database.toBigInt(row["cost"]), Database.toBigInt(row["fees"])]
  return {
    ...Object.fromEntries(columns.map((column) => [column, text(row[column])])),
    run: text(row["run_name"]),
    row: text(row["row_index"]),
    at: new Date(Number(row["at"])).toISOString(),
    cost_usd: cost === undefined ? "" : Money.toUsd(cost),
    estimated: Number(row["estimated"]) === 1 ? "true" : "",
    fees_usd: fees === undefined ? "" : Money.toUsd(fees),
    reask: Number(row["reask"]) === 1 ? "true" : ""
  }
}

const rowColumns = [
  "run",
  "step",
  "row",
  "calls",
  "failed",
  "milliseconds",
  "input",
  "output",
  "cost_usd",
  "unpriced",
  "estimated"
]

/** A step and row. Its cost is empty when none of its calls has a known price. */
const toRowRecord = (row: Database.DatabaseRow): Record<string, string> => {
  const cost = Database.toBigInt(row["cost"])
  return {
    ...Object.fromEntries(rowColumns.map((column) => [column, String(row[column] ?? "")])),
    run: String(row["run_name"]),
    row: String(row["row_index"]),
    cost_usd: cost === undefined ? "" : Money.toUsd(cost)
  }
}

const writeLedger = Effect.fnUntraced(function* (
  store: Store.Service,
  run: RunRepo.StoredRun | undefined,
  byRow: boolean,
  out: string | undefined,
  kept: OutputFile.KeptOutput
) {
  const records = byRow
    ? Stream.map(store.ledger.rows(run?.id), toRowRecord)
    : Stream.map(store.ledger.attempts(run?.id), toRecord)
  const written = byRow ? rowColumns : columns
  const text = Stream.pipeThroughChannel(records, Csv.encodeString({ columns: written, headers: true, newline: "\n" }))
  yield* OutputFile.writeOrPrint(out, { what: "a ledger", text, starts: byRow ? rowColumns.join(",") : START }, kept)
})
