/** Implements `pipe show`. */
import type * as RowRepo from "@pipe/core/internal/RowRepo"
import type * as RunRepo from "@pipe/core/internal/RunRepo"
import type * as Store from "@pipe/core/Store"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as ExitCode from "../../process/ExitCode.ts"
import * as FindRun from "../../process/FindRun.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as ExchangeText from "../../view/ExchangeText.ts"
import * as RunText from "../../view/RunText.ts"
import type { Input } from "./flags.ts"

/** Shows a run, its failed rows, or the requests and answers of its rows. */
export const showRun = Effect.fnUntraced(function* (input: Input) {
  const isRow = Option.isSome(input.row) || Option.isSome(input.sample) || Option.isSome(input.step)
  if (isRow && input.failed) return yield* ExitCode.refuse("--failed cannot be combined with --row, --step or --sample")
  if (Option.isSome(input.row) && Option.isSome(input.sample))
    return yield* ExitCode.refuse("use --row or --sample, not both")
  const { location, run } = yield* FindRun.find(input)
  yield* OpenStore.readable(
    OpenStore.use(location, (store) =>
      isRow
        ? showRows(store, run, input)
        : input.failed
          ? showFailed(store, run, input)
          : showSummary(store, run, input)
    )
  )
})

const showSummary = Effect.fnUntraced(function* (store: Store.Service, run: RunRepo.StoredRun, input: Input) {
  const cost = (yield* store.ledger.costs([run.id])).get(run.id)
  yield* Console.log(input.json ? JSON.stringify(RunText.toJson(run, cost)) : RunText.describe(run, cost))
})

const showFailed = Effect.fnUntraced(function* (store: Store.Service, run: RunRepo.StoredRun, input: Input) {
  let count = 0
  yield* Stream.runForEach(store.rows.failures(run.id), (row) => {
    count++
    return Console.log(input.json ? RunText.failureToJson(row) : RunText.failure(row))
  })
  if (input.json) return
  yield* Console.log(
    count === 0
      ? `run ${run.name} has no failed rows`
      : `${count} failed; run them again: pipe retry ${run.name} --failed; inspect one: pipe show ${run.name} --row <position>`
  )
})

/** The rows shown when neither a row nor a number is given. */
const ROWS = 5

const showRows = Effect.fnUntraced(function* (store: Store.Service, run: RunRepo.StoredRun, input: Input) {
  const step = Option.getOrUndefined(input.step)
  const places = Option.isSome(input.row)
    ? [input.row.value]
    : spread(
        yield* store.exchanges.positions(run.id, step),
        Option.getOrElse(input.sample, () => ROWS)
      )
  if (places.length === 0) {
    if (input.json) return
    return yield* Console.log(
      step === undefined
        ? `run ${run.name} has sent nothing: its rows were reused, or it calls no model`
        : `run ${run.name} has sent nothing at step ${step}: pipe show ${run.name} names its steps`
    )
  }
  for (const [index, position] of places.entries()) {
    if (index > 0 && !input.json) yield* Console.log("")
    yield* showRow(store, run, position, step, input.json)
  }
})

/** Chooses this many positions, spread evenly. */
const spread = (places: ReadonlyArray<string>, count: number): ReadonlyArray<string> =>
  places.length <= count
    ? places
    : Array.from({ length: count }, (_, at) => places[Math.floor((at * places.length) / count)]!)

const showRow = Effect.fnUntraced(function* (
  store: Store.Service,
  run: RunRepo.StoredRun,
  position: string,
  step: string | undefined,
  isJson: boolean
) {
  const query = { position, step }
  let exchanges = yield* store.exchanges.find(run.id, query)
  const failures = yield* Stream.runCollect(
    Stream.filter(store.rows.failures(run.id), (row: RowRepo.StoredFailure) => row.position === position)
  )
  const earlier = exchanges.length > 0 ? undefined : yield* store.exchanges.earlier(run.flow, run.id, query)
  if (earlier !== undefined) exchanges = yield* store.exchanges.find(earlier.run, query)
  if (isJson) {
    for (const exchange of exchanges) yield* Console.log(ExchangeText.toJson(exchange))
    return
  }
  if (earlier !== undefined) {
    yield* Console.log(`nothing was sent for ${position} in run ${run.name}; this is from run ${earlier.name}:`)
  }
  if (exchanges.length > 0) yield* Console.log(ExchangeText.render(exchanges))
  for (const failure of failures) yield* Console.log(`failed: ${RunText.failure(failure)}`)
  if (exchanges.length === 0 && failures.length === 0) {
    const [some] = yield* store.exchanges.positions(run.id, step)
    yield* Console.log(
      `run ${run.name} has no stored calls of row ${position}${some === undefined ? "" : `; positions look like ${some}`}: a run keeps its first 10,000 calls, failed ones, and the last two of each step`
    )
  }
})
