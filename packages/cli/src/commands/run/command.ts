/** `pipe run`: runs a flow. Its parameters are flags. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SchemaAST from "effect/SchemaAST"
import * as Count from "../../flags/Count.ts"
import * as Simulate from "../../flags/Simulate.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

/** How a run is watched and stopped: the same for every command that runs a flow. */
export const runFlags = {
  budget: Flag.String("budget").pipe(
    Flag.withMetavar("AMOUNT"),
    Flag.withDescription("stop when nothing more fits: 5usd, 2Mtokens; may be given for each (exit code 3)"),
    Flag.atLeast(0)
  ),
  grace: Flag.String("grace").pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription("how long calls under way may go on after Ctrl-C (default 8s)"),
    Flag.optional
  ),
  batch: Switch.make("batch", "send requests in batches: half of the price, for answers within a day"),
  online: Switch.make("online", "ask everything at once, also where the flow has batches"),
  deadline: Flag.String("deadline").pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription("in batches until then (2h, 45m): what is not back is cancelled and asked at once"),
    Flag.optional
  ),
  detach: Switch.make("detach", "send requests in batches, and exit when all are submitted; pipe resume collects them"),
  overwrite: Switch.make("overwrite", "replace outputs also by less than what is there: fewer rows, or another flow's"),
  explain: Switch.make("explain", "say why a row is not reused from earlier work"),
  json: Switch.make("json", "one event of the run a line on standard output; the last is the summary"),
  quiet: Flag.withAlias(Switch.make("quiet", "no progress and no report, only warnings and errors"), "q"),
  store: StoreFlag.flag,
  ...Simulate.flags,
  envFile: Flag.String("env-file").pipe(
    Flag.withDescription("a file of environment variables, before .env"),
    Flag.optional
  )
}

export type RunInput = Command.Command.Config.Infer<typeof runFlags>

export const flow = Argument.String("flow").pipe(Argument.withDescription("the flow's file, such as reviews.ts"))

export const flowFile = Flag.String("flow").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("the flow's file, where it is not the one that the run was begun with"),
  Flag.optional
)

export const limit = Flag.optional(Count.make("limit", "read at most so many rows of each source"))

export const concurrency = Count.make("concurrency", "rows at once, instead of the flow's own number").pipe(
  Flag.withAlias("c"),
  Flag.optional
)

const flags = {
  flow,
  limit,
  concurrency,
  noCache: Switch.make("no-cache", "ask everything anew: neither the cache nor earlier work is used"),
  ...runFlags
}

/** Flags of pipe, which no parameter can be called by. */
export const flagNames: ReadonlySet<string> = new Set([
  ...Object.keys(flags).map((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)),
  "target",
  "sample",
  "delta",
  "check",
  "seed",
  "dry-run",
  "svg",
  "html",
  "help",
  "version",
  "completions"
])

export type Input = Command.Command.Config.Infer<typeof flags> & {
  /** Values of the flow's parameters that were given, as text. */
  readonly parameters: { readonly [name: string]: Option.Option<string | boolean> }
}

/** The values that a schema allows, where it names them. */
const choicesOf = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  if (ast._tag === "Literal") return [String(ast.literal)]
  return ast._tag === "Union" && ast.types.every(({ _tag }) => _tag === "Literal") ? ast.types.flatMap(choicesOf) : []
}

/** Whether a parameter is a list of values. */
export const isList = (ast: SchemaAST.AST): boolean => ast._tag === "Arrays"

/** A parameter as a flag of its name. */
const toFlag = ({ parameter }: Parameter.Any): Flag.Flag<Option.Option<string | boolean>> => {
  const fallback = Option.match(parameter.default, {
    onNone: () => "required by the flow",
    onSome: (value) => `default ${Array.isArray(value) ? value.join(",") : String(value)}`
  })
  const choices = choicesOf(parameter.schema.ast)
  const form = [
    ...(choices.length === 0 ? [] : [`one of ${choices.join(", ")}`]),
    ...(isList(parameter.schema.ast) ? ["a list, with commas between"] : []),
    fallback
  ]
  const description = `${parameter.description ?? "a parameter of the flow"} (${form.join("; ")})`
  return parameter.schema.ast._tag === "Boolean"
    ? Flag.optional(Flag.withDescription(Flag.Boolean(parameter.name), description))
    : Flag.optional(Flag.withDescription(Flag.String(parameter.name), description))
}

export const parameterFlags = (parameters: ReadonlyArray<Parameter.Any>) =>
  Object.fromEntries(parameters.map((parameter) => [parameter.parameter.name, toFlag(parameter)]))

export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Command.make("run", { ...flags, parameters: parameterFlags(parameters) }, (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ runFlow }) => runFlow(input as Input)
    )
  ).pipe(
    Command.withDescription("Run a flow: its parameters are flags, shown by: pipe run <flow> --help"),
    Command.withExamples([
      { command: "pipe run reviews.ts --limit 20 --simulate", description: "Try it on 20 rows without a key" },
      { command: "pipe run reviews.ts --budget 5usd", description: "Never spend more than five dollars" },
      {
        command: "pipe run reviews.ts --batch --deadline 2h",
        description: "At half price; what takes longer is asked at once"
      },
      { command: "pipe run reviews.ts --json > events.jsonl", description: "For programs: events and summary" }
    ])
  )
