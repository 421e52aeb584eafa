/** Which store a command uses: `--store`, `PIPE_STORE`, or the project's own file. */
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"

export const projectStore = ".pipe/pipe.db"

/** Simulated answers have a store of their own: a real run must never find one. */
export const simulatedStore = ".pipe/simulated.db"

export const flag = Flag.String("store").pipe(
  Flag.withDescription(`the store: a SQLite file, or postgres://… (default PIPE_STORE, or ${projectStore})`),
  Flag.optional
)

export const resolve = (input: { readonly store: Option.Option<string>; readonly simulate?: boolean }): string =>
  Option.getOrUndefined(input.store)
  ?? (input.simulate === true ? simulatedStore : (process.env["PIPE_STORE"] ?? projectStore))
