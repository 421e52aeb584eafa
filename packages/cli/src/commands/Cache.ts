/** `pipe cache`: the cached answers and kept results as the user's own data. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as StoreFlag from "../StoreFlag.ts"
import * as Switch from "../Switch.ts"

const shared = {
  simulate: Switch.make("simulate", "the store of simulated runs"),
  store: StoreFlag.flag
}

const work = Effect.promise(() => import("./CacheWork.ts"))

const stats = Command.make(
  "stats",
  { json: Switch.make("json", "as JSON"), ...shared },
  (input) => Effect.flatMap(work, (cache) => cache.stats(input))
).pipe(Command.withDescription("How many answers and results are kept, for which models, and how large they are"))

const clear = Command.make(
  "clear",
  { yes: Switch.make("yes", "do it without asking"), ...shared },
  (input) => Effect.flatMap(work, (cache) => cache.clear(input))
).pipe(Command.withDescription("Take away all answers and results; runs and their books stay"))

const prune = Command.make(
  "prune",
  {
    olderThan: Flag.String("older-than").pipe(
      Flag.withMetavar("AGE"),
      Flag.withDescription("made longer ago than this: 30d, 12h"),
      Flag.optional
    ),
    model: Flag.String("model").pipe(Flag.withDescription("answers of this model only"), Flag.optional),
    ...shared
  },
  (input) => Effect.flatMap(work, (cache) => cache.prune(input))
).pipe(Command.withDescription("Take away what has expired or been replaced, and what the flags say; gives the space back"))

const exportAll = Command.make(
  "export",
  { file: Argument.String("file").pipe(Argument.withDescription("where to write; left out: standard output"), Argument.optional), ...shared },
  (input) => Effect.flatMap(work, (cache) => cache.exportAll(input))
).pipe(Command.withDescription("Write all answers as JSON Lines: for another machine, or a colleague"))

const importAll = Command.make(
  "import",
  { file: Argument.String("file").pipe(Argument.withDescription("what pipe cache export wrote; - is standard input")), ...shared },
  (input) => Effect.flatMap(work, (cache) => cache.importAll(input))
).pipe(Command.withDescription("Take answers in that another store exported; those that are there stay"))

export const command = Command.make("cache").pipe(
  Command.withDescription("The answers and results that are kept: counted, pruned, taken away and brought back"),
  Command.withSubcommands([stats, clear, prune, exportAll, importAll]),
  Command.withExamples([{ command: "pipe cache stats" }, { command: "pipe cache prune --older-than 90d" }])
)
