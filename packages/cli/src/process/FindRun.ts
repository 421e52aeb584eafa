/**
 * Finds the run that a command refers to. Real and simulated runs have separate stores, and names are looked up in
 * both.
 */
import type * as RunRepo from "@pipe/core/internal/RunRepo"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as StoreFlag from "../flags/StoreFlag.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OpenStore from "./OpenStore.ts"

export interface Input {
  /** Its name or a prefix. Default: the last run. */
  readonly run: Option.Option<string>
  readonly store: Option.Option<string>
  readonly simulate: boolean
}

export interface FoundRun {
  readonly run: RunRepo.StoredRun
  readonly location: string
  readonly simulate: boolean
}

/** The stores that may hold a run. */
const locationsOf = (input: Omit<Input, "run">): ReadonlyArray<Omit<FoundRun, "run">> => {
  const named = { location: StoreFlag.resolve(input), simulate: input.simulate }
  return input.simulate || Option.isSome(input.store)
    ? [named]
    : [named, { location: StoreFlag.simulatedStore, simulate: true }].filter(
        ({ location }, at) => at === 0 || OpenStore.exists(location)
      )
}

/** Those that exist; all where none does, for the error that says so. */
const existing = (all: ReadonlyArray<Omit<FoundRun, "run">>): ReadonlyArray<Omit<FoundRun, "run">> => {
  const there = all.filter(({ location }) => OpenStore.exists(location))
  return there.length === 0 ? all : there
}

const findIn = (at: Omit<FoundRun, "run">, name: string | undefined): Effect.Effect<FoundRun, ExitCode.Failure> =>
  OpenStore.readable(
    OpenStore.use(at.location, (store) =>
      Effect.map(
        Effect.mapError(store.runs.find(name), (error) =>
          error._tag === "RunError" ? ExitCode.refuse(error.message) : error
        ),
        (run) => ({ ...at, run, simulate: at.simulate || run.options.simulate === true })
      )
    )
  )

/** The run with a name, or the last of all. */
export const find = Effect.fnUntraced(function* (input: Input): Effect.fn.Return<FoundRun, ExitCode.Failure> {
  const name = Option.getOrUndefined(input.run)
  const results = yield* Effect.forEach(existing(locationsOf(input)), (at) => Effect.result(findIn(at, name)))
  const found = results
    .flatMap((result) => (result._tag === "Success" ? [result.success] : []))
    .toSorted((a, b) => b.run.startedAt - a.run.startedAt)[0]
  return found ?? (yield* Effect.fromResult(results[0]!))
})

/** Reads all stores that may hold runs, the simulated one last. It is an error when there is none. */
export const inAll = <A, E>(
  input: Omit<Input, "run">,
  read: (store: Parameters<Parameters<typeof OpenStore.use<A, E>>[1]>[0]) => Effect.Effect<A, E>
): Effect.Effect<ReadonlyArray<A>, ExitCode.Failure> => {
  return Effect.forEach(existing(locationsOf(input)), ({ location }) =>
    OpenStore.readable(OpenStore.use(location, read))
  )
}
