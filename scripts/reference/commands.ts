/** The page of all commands: their arguments, flags and examples, as `--help` has them. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import type * as HelpDoc from "effect/cli/HelpDoc"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Cli from "../../packages/cli/src/Cli.ts"
import * as ExitCode from "../../packages/cli/src/process/ExitCode.ts"

const helpOf = async (names: ReadonlyArray<string>): Promise<HelpDoc.HelpDoc> => {
  let found: HelpDoc.HelpDoc | undefined
  const presenter: CliOutput.Presenter = {
    present: (event) =>
      Effect.sync(() => {
        if (event._tag === "Help") found = event.helpDoc
      })
  }
  const services = Layer.mergeAll(
    NodeServices.layer,
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
    CliOutput.layerPresenter(presenter)
  )
  await Effect.runPromise(
    Command.runWith(Cli.command([]), { version: "" })([...names, "--help"]).pipe(Effect.exit, Effect.provide(services))
  )
  if (found === undefined) throw new Error(`pipe ${names.join(" ")} --help shows no help`)
  return found
}

/** A text in a cell of a table, with its code and angle brackets as they are. */
const cell = (text: string): string =>
  text.replaceAll("|", "\\|").replaceAll(/<[^>]*>|https?:\/\/\S+|\S+:\/\/…/g, (part) => `\`${part}\``)

const flagOf = ({ aliases, description, name, type }: HelpDoc.FlagDoc): string => {
  const value = type === "boolean" ? "" : ` ${/^[A-Z]+$/.test(type) ? type : `<${type}>`}`
  const names = [`--${name}${value}`, ...aliases].map((text) => `\`${text}\``).join(", ")
  return `| ${names} | ${cell(Option.getOrElse(description, () => ""))} |`
}

const section = (names: ReadonlyArray<string>, doc: HelpDoc.HelpDoc, depth: number): ReadonlyArray<string> => [
  `${"#".repeat(depth)} pipe ${names.join(" ")}`,
  "",
  `${cell(doc.description)}.`,
  "",
  "```sh",
  doc.usage,
  "```",
  "",
  ...(doc.args === undefined || doc.args.length === 0
    ? []
    : [
        "| argument | |",
        "| --- | --- |",
        ...doc.args.map(
          ({ description, name, required }) =>
            `| \`${name}\` | ${cell(Option.getOrElse(description, () => ""))}${required ? "" : " (optional)"} |`
        ),
        ""
      ]),
  ...(doc.flags.length === 0 ? [] : ["| flag | |", "| --- | --- |", ...doc.flags.map(flagOf), ""]),
  ...(doc.examples === undefined || doc.examples.length === 0
    ? []
    : [
        "```sh",
        ...doc.examples.flatMap(({ command, description }) =>
          description === undefined ? [command] : [`# ${description}`, command]
        ),
        "```",
        ""
      ])
]

const commandsOf = (doc: HelpDoc.HelpDoc): ReadonlyArray<string> =>
  (doc.subcommands ?? []).flatMap(({ commands }) => commands.map(({ name }) => name))

const all = async (names: ReadonlyArray<string>, depth: number): Promise<ReadonlyArray<string>> => {
  const doc = await helpOf(names)
  const below: Array<string> = []
  for (const name of commandsOf(doc)) below.push(...(await all([...names, name], depth + 1)))
  return [...section(names, doc, depth), ...below]
}

const EXIT_CODES: ReadonlyArray<readonly [code: number, meaning: string]> = [
  [
    ExitCode.done,
    "done: every output is complete, and no more rows failed than the flow allows; or, with `--detach`, all batches are submitted"
  ],
  [
    ExitCode.failed,
    "the run failed, more rows failed than the flow allows, or a check does not hold; also any unexpected error"
  ],
  [ExitCode.usage, "wrong usage, an invalid flow file, or a run that cannot start; nothing was called"],
  [ExitCode.budget, "the budget was reached; finished work is kept, and `pipe resume` continues with a larger budget"],
  [ExitCode.interrupted, "interrupted by a signal; `pipe resume` continues"]
]

export const page = async (): Promise<string> => {
  const root = await helpOf([])
  const sections: Array<string> = []
  for (const name of commandsOf(root)) sections.push(...(await all([name], 2)))
  return [
    "# Commands",
    "",
    "Every command with its arguments, flags and examples, as `--help` shows them.",
    "",
    "```sh",
    "pipe --help                    # the commands",
    "pipe run flow.ts --help        # the flags of a command, with the parameters of the flow",
    "pipe --completions zsh         # completions for bash, zsh, fish and PowerShell",
    "```",
    "",
    "## Exit codes",
    "",
    "| code | |",
    "| --- | --- |",
    ...EXIT_CODES.map(([code, meaning]) => `| ${code} | ${meaning} |`),
    "",
    "With `--json`, standard output has only data; see [JSON output](json.md). Failures are explained in [Errors](../errors.md).",
    "",
    ...sections
  ]
    .join("\n")
    .replace(/\n+$/, "\n")
}
