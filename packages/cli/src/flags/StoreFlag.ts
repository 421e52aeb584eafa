/** The store that a command uses: `--store`, `PIPE_STORE`, or the project's own file. */
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"

export const projectStore = ".pipe/pipe.db"

/** Simulated answers have a separate store: a real run must never find one. */
export const simulatedStore = ".pipe/simulated.db"

export const flag = Flag.String("store").pipe(
  Flag.withDescription(`the store: a SQLite file, or postgres://… (default PIPE_STORE, or ${projectStore})`),
  Flag.filter(
    (location) => problemOf(location) === undefined,
    (location) => problemOf(location)!
  ),
  Flag.optional
)

export const patience = Flag.String("store-patience").pipe(
  Flag.withMetavar("TIME"),
  Flag.withDescription("how long a PostgreSQL store that is away is waited for (default 10m)"),
  Flag.optional
)

export const resolve = (input: { readonly store: Option.Option<string>; readonly simulate?: boolean }): string =>
  Option.getOrUndefined(input.store)
  ?? (input.simulate === true ? simulatedStore : process.env["PIPE_STORE"]?.trim() || projectStore)

/** The SQLite files of real and simulated runs, which nothing may replace. */
export const filesOf = (input: Parameters<typeof resolve>[0]): ReadonlyArray<string> => [
  ...new Set([projectStore, simulatedStore, resolve(input)].filter((location) => !/^[a-z]+:\/\//i.test(location)))
]

/** What is wrong with the location of a store. */
export const problemOf = (location: string): string | undefined => {
  if (location.trim() === "") return `is empty: name a file, or leave it out for ${projectStore}`
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(location) ?? []
  return scheme === undefined || /^postgres(?:ql)?$/i.test(scheme)
    ? undefined
    : `${scheme}:// is not a store: name a SQLite file, or postgres://…`
}
