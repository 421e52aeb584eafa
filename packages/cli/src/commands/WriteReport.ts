/** What `pipe report` does. */
import * as Database from "@pipe/core/Database"
import * as Money from "@pipe/core/Money"
import * as Report from "@pipe/core/Report"
import type * as Store from "@pipe/core/Store"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Csv from "effect/encoding/Csv"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { closeSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs"
import * as ExitCode from "../ExitCode.ts"
import * as OpenStore from "../OpenStore.ts"
import * as StoreFlag from "../StoreFlag.ts"
import type { Input } from "./Report.ts"

const refuse = (message: string) => new ExitCode.Failure({ message, exitCode: ExitCode.usage })

/** Writes a report in the form that was asked for. */
export const writeReport = (input: Input) =>
  OpenStore.readable(OpenStore.use(StoreFlag.resolve(input), (store) =>
    Effect.gen(function*() {
      if ([input.html, input.json, input.csv].filter(Boolean).length > 1) {
        return yield* refuse("one of --html, --json and --csv at a time")
      }
      const out = Option.getOrUndefined(input.out)
      if (input.csv) return yield* writeLedger(store, input, out)
      const run = yield* store.runs.find(Option.getOrUndefined(input.run))
      const report = yield* Report.make(store, run)
      if (input.json) return yield* print(JSON.stringify(Report.toJson(report)), out)
      const { render } = yield* Effect.promise(() => import("../report/ReportHtml.ts"))
      const file = out ?? `${run.flow.replace(/[^\p{L}\p{N}._-]+/gu, "-")}.report.html`
      yield* write(file, () => writeFileSync(`${file}.partial`, render(report)))
      yield* Console.log(file)
    })))

const columns = [
  "run", "step", "row", "at", "milliseconds", "provider", "model", "uncached_input", "cache_read", "cache_write",
  "cache_write_1h", "output", "reasoning", "cost_usd", "unknown", "estimated", "error"
]

const toRecord = (row: Database.Row): Record<string, string> => {
  const text = (value: unknown) => value === null || value === undefined ? "" : String(value)
  const cost = Database.toBigInt(row["cost"])
  return {
    ...Object.fromEntries(columns.map((column) => [column, text(row[column])])),
    run: text(row["run_name"]),
    row: text(row["row_index"]),
    at: new Date(Number(row["at"])).toISOString(),
    cost_usd: cost === undefined ? "" : Money.toUsd(cost),
    estimated: Number(row["estimated"]) === 1 ? "true" : ""
  }
}

const writeLedger = Effect.fnUntraced(function*(store: Store.Service, input: Input, out: string | undefined) {
  const run = input.all ? undefined : yield* store.runs.find(Option.getOrUndefined(input.run))
  const text = store.ledger.attempts(run?.id).pipe(
    Stream.map(toRecord),
    Stream.pipeThroughChannel(Csv.encodeString({ columns, headers: true, newline: "\n" }))
  )
  if (out === undefined) return yield* Stream.runForEach(text, (chunk) => Effect.sync(() => process.stdout.write(chunk)))
  yield* write(out, () => openSync(`${out}.partial`, "w"), (handle) =>
    Effect.ensuring(
      Stream.runForEach(text, (chunk) => Effect.sync(() => writeSync(handle, chunk))),
      Effect.sync(() => closeSync(handle))
    ))
})

const print = (text: string, out: string | undefined) =>
  out === undefined ? Console.log(text) : write(out, () => writeFileSync(`${out}.partial`, `${text}\n`))

/** Writes beside the place of a file, and puts it there when it is whole. */
const write = <A, E = never>(
  file: string,
  open: () => A,
  fill: (opened: A) => Effect.Effect<void, E> = () => Effect.void
): Effect.Effect<void, ExitCode.Failure | E> =>
  Effect.try({ try: open, catch: (error) => refuse(`${file}: cannot be written: ${error instanceof Error ? error.message : error}`) }).pipe(
    Effect.flatMap(fill),
    Effect.andThen(Effect.sync(() => renameSync(`${file}.partial`, file)))
  )
