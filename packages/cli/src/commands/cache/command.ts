/** `pipe cache`: manages cached answers and kept results. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Count from "../../flags/Count.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const shared = {
  simulate: Switch.make("simulate", "the store of simulated runs"),
  store: StoreFlag.flag
}

const work = Effect.promise(() => import("./handler.ts"))

const stats = Command.make("stats", { json: Switch.make("json", "as JSON"), ...shared }, (input) =>
  Effect.flatMap(work, (cache) => cache.stats(input))
).pipe(Command.withDescription("Show how many answers and results are kept, by model, and their size"))

const clear = Command.make("clear", { yes: Switch.make("yes", "do not ask for confirmation"), ...shared }, (input) =>
  Effect.flatMap(work, (cache) => cache.clear(input))
).pipe(Command.withDescription("Delete cached answers and results (run history and ledger are kept)"))

const prune = Command.make(
  "prune",
  {
    olderThan: Flag.String("older-than").pipe(
      Flag.withMetavar("AGE"),
      Flag.withDescription("older than this: 30d, 12h"),
      Flag.optional
    ),
    model: Flag.String("model").pipe(Flag.withDescription("answers of this model only"), Flag.optional),
    ...shared
  },
  (input) => Effect.flatMap(work, (cache) => cache.prune(input))
).pipe(
  Command.withDescription("Delete what has expired or been replaced, and what the flags select; frees the disk space")
)

const exportAll = Command.make(
  "export",
  {
    file: Argument.String("file").pipe(
      Argument.withDescription("where to write (default: standard output)"),
      Argument.optional
    ),
    ...shared
  },
  (input) => Effect.flatMap(work, (cache) => cache.exportAll(input))
).pipe(Command.withDescription("Export all answers as JSON Lines, for another machine or a colleague"))

const importAll = Command.make(
  "import",
  {
    file: Argument.String("file").pipe(Argument.withDescription("a file from pipe cache export; - is standard input")),
    ...shared
  },
  (input) => Effect.flatMap(work, (cache) => cache.importAll(input))
).pipe(Command.withDescription("Import answers from another store; existing ones are kept"))

const evaluate = Command.make(
  "eval",
  {
    file: Argument.String("file").pipe(
      Argument.withDescription(
        'texts with their answers (.csv, .tsv or .jsonl), or JSON Lines of pairs: {"a": …, "b": …, "same": true}'
      )
    ),
    text: Flag.String("text").pipe(
      Flag.withMetavar("COLUMN"),
      Flag.withDescription("the column of the text"),
      Flag.withDefault("text")
    ),
    answer: Flag.String("answer").pipe(
      Flag.withMetavar("COLUMN"),
      Flag.withDescription("the column of its answer"),
      Flag.withDefault("answer")
    ),
    maxErrorRate: Flag.Finite("max-error-rate").pipe(
      Flag.withMetavar("SHARE"),
      Flag.withDescription("a bound to evaluate, such as 0.02; repeatable (default 0.01, 0.02, 0.03, 0.05 and 0.1)"),
      Flag.filter(
        (share) => share > 0 && share < 1,
        () => "is between 0 and 1"
      ),
      Flag.atLeast(0)
    ),
    shuffles: Flag.withDefault(Count.make("shuffles", "the number of random orders of the texts"), 3),
    seed: Flag.String("seed").pipe(Flag.withDescription("the seed of the random orders"), Flag.withDefault("pipe")),
    svg: Flag.String("svg").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("write the curve to this SVG file"),
      Flag.optional
    ),
    json: Switch.make("json", "as JSON")
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./eval.ts")),
      ({ evaluate }) => evaluate(input)
    )
).pipe(
  Command.withDescription(
    "Evaluate reuse by meaning on your labelled texts, compared with a similarity threshold: how much is reused, and how much of it is wrong"
  ),
  Command.withExamples([
    { command: "pipe cache eval labelled.csv --text question --answer intent --max-error-rate 0.02" },
    { command: "pipe cache eval pairs.jsonl --svg curve.svg" }
  ])
)

export const command = Command.make("cache").pipe(
  Command.withDescription("Count, prune, delete, export and import cached answers and results"),
  Command.withSubcommands([stats, evaluate, clear, prune, exportAll, importAll]),
  Command.withExamples([{ command: "pipe cache stats" }, { command: "pipe cache prune --older-than 90d" }])
)
