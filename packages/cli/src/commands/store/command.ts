/** `pipe store`: the upkeep of a store, for its owner. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const shared = {
  simulate: Switch.make("simulate", "the store of simulated runs"),
  store: StoreFlag.flag
}

const work = Effect.promise(() => import("./handler.ts"))

const stats = Command.make("stats", { json: Switch.make("json", "as JSON"), ...shared }, (input) =>
  Effect.flatMap(work, (store) => store.stats(input))
).pipe(Command.withDescription("Show the rows and bytes of each table, and the processes that use a server"))

const check = Command.make("check", shared, (input) => Effect.flatMap(work, (store) => store.check(input))).pipe(
  Command.withDescription("Look for damage, and for settings of a server that risk it (exit code 1 when there is any)")
)

const migrate = Command.make("migrate", shared, (input) => Effect.flatMap(work, (store) => store.migrate(input))).pipe(
  Command.withDescription("Update the tables of a PostgreSQL store to this version of pipe; its owner does it")
)

const prune = Command.make(
  "prune",
  {
    olderThan: Flag.String("older-than").pipe(
      Flag.withMetavar("AGE"),
      Flag.withDescription("runs that started longer ago than this: 90d, 12h")
    ),
    yes: Switch.make("yes", "do not ask for confirmation"),
    ...shared
  },
  (input) => Effect.flatMap(work, (store) => store.prune(input))
).pipe(
  Command.withDescription(
    "Delete old runs with their ledger, failed rows and exchanges; answers and results stay (see pipe cache prune)"
  )
)

const location = (name: string, what: string) =>
  Argument.String(name).pipe(
    Argument.withDescription(what),
    Argument.filter(
      (text) => StoreFlag.problemOf(text) === undefined,
      (text) => StoreFlag.problemOf(text)!
    )
  )

const copy = Command.make(
  "copy",
  {
    from: location("from", "the store to copy: a SQLite file, or postgres://…"),
    to: location("to", "an empty one: a new file, or postgres://…")
  },
  (input) => Effect.flatMap(work, (store) => store.copy(input))
).pipe(Command.withDescription("Copy a store into an empty one, between SQLite and PostgreSQL too: every row of it"))

const rights = Command.make(
  "rights",
  {
    role: Argument.String("role").pipe(Argument.withDescription("a role of the server")),
    read: Switch.make("read", "to read reports alone, in place of running flows")
  },
  (input) => Effect.flatMap(work, (store) => store.rights(input))
).pipe(Command.withDescription("Print the SQL that lets a role use a PostgreSQL store, with the least rights"))

export const command = Command.make("store").pipe(
  Command.withDescription("Measure, check, update, prune and copy the store of runs and answers"),
  Command.withSubcommands([stats, check, migrate, prune, copy, rights]),
  Command.withExamples([
    { command: "pipe store stats" },
    { command: "pipe store copy .pipe/pipe.db postgres://localhost/pipe" },
    { command: "pipe store rights analyst --read | psql postgres://localhost/pipe" }
  ])
)
