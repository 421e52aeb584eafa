/** The page of what `--json` prints: the fields of each event and document, from their schemas and comments. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../samples.ts"

interface Field {
  readonly name: string
  readonly depth: number
  readonly type: string
  readonly isOptional: boolean
  readonly comment: string
}

interface Struct {
  readonly name: string
  readonly comment: string
  readonly fields: ReadonlyArray<Field>
}

/** Schemas by name that are not structures of a page. */
const KNOWN: { readonly [name: string]: string } = {
  "Schema.Int": "integer",
  "Schema.Finite": "number",
  "Schema.String": "string",
  "Schema.Boolean": "boolean",
  "Schema.Json": "JSON",
  "ModelRequest.ModelRequest": "JSON",
  "Money.FromUsd": "USD",
  "PriceTable.Named": "object: name, date, hash",
  "RunRepo.RunStatus": "string"
}

/** Schemas of other modules that have a section. */
const ELSEWHERE: { readonly [name: string]: string } = {
  "RunEvent.RunFinished": "RunFinished",
  "Plan.Plan": "Plan",
  "PlanSchema.Plan": "Plan"
}

const link = (name: string): string => `[${name}](#${name.toLowerCase()})`

/** The names and schemas of fields on one line. */
const listOf = (text: string): ReadonlyArray<readonly [name: string, schema: string]> => {
  const parts: Array<string> = [""]
  let depth = 0
  for (const char of text) {
    if ("([{".includes(char)) depth++
    if (")]}".includes(char)) depth--
    if (char === "," && depth === 0) parts.push("")
    else parts.push(parts.pop()! + char)
  }
  return parts.map((part) => {
    const at = part.indexOf(": ")
    return [part.slice(0, at).trim(), part.slice(at + 2).trim()]
  })
}

/** The type of a schema that is written on one line. */
const typeOf = (text: string, structs: ReadonlySet<string>, where: string): string => {
  const schema = text.replace(/\.pipe\(Schema\.withDecodingDefaultKey\(.*\)\)$/, "")
  const inner = /^Schema\.Array\((.*)\)$/.exec(schema)?.[1]
  if (inner !== undefined) return `${typeOf(inner, structs, where)}[]`
  const literals = /^Schema\.Literals?\((.*)\)$/.exec(schema)?.[1]
  if (literals !== undefined)
    return literals
      .replace(/^\[|\]$/g, "")
      .split(", ")
      .map((text) => `\`${text}\``)
      .join(", ")
  const fields = /^Schema\.Struct\(\{ (.*) \}\)$/.exec(schema)?.[1]
  if (fields !== undefined) {
    const types = listOf(fields).map(([name, type]) => `${name}: ${typeOf(type, structs, where)}`)
    return `{ ${types.join("; ")} }`
  }
  if (structs.has(schema)) return link(schema)
  const known = KNOWN[schema] ?? (ELSEWHERE[schema] === undefined ? undefined : link(ELSEWHERE[schema]))
  if (known === undefined) throw new Error(`${where}: the type of ${schema} is not known to scripts/reference/json.ts`)
  return known
}

/** Joins an array or an optional field whose schema is written over several lines with its opening. */
const openings = (text: string): string =>
  text
    .replaceAll(/(Schema\.(?:Array|optionalKey)\()\n\s+/g, "$1")
    .replaceAll(
      /Schema\.(optionalKey|Array)\(Schema\.Struct\(\{ (.*?) \}\)\n\s*\)/g,
      "Schema.$1(Schema.Struct({ $2 }))"
    )

const read = (file: string): ReadonlyArray<Struct> => {
  const text = openings(fs.readFileSync(path.join(root, file), "utf8"))
  const found = [
    ...text.matchAll(
      /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?(?:export )?const (\w+) = Schema\.(?:Struct\(|TaggedStruct\("\w+", )\{(?: ([^\n]*) |\n([\s\S]*?)\n)\}\)(?=\n)/g
    )
  ].filter(([whole]) => whole.startsWith("/**") || whole.startsWith("const") || whole.startsWith("export"))
  const structs = new Set(found.map(([, , name]) => name!))
  return found.map(([, comment = "", name, line, lines]) => ({
    name: name!,
    comment: plain(comment),
    fields: fieldsOf(line ?? lines!, structs, `${file}: ${name}`)
  }))
}

const plain = (comment: string): string =>
  comment
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trim())
    .join(" ")
    .trim()

const fieldsOf = (body: string, structs: ReadonlySet<string>, where: string): ReadonlyArray<Field> => {
  if (!body.includes("\n")) {
    return listOf(body.trim()).map(([name, type]) => field(name, 0, type, "", structs, where))
  }
  const fields: Array<Field> = []
  const indents: Array<number> = []
  let comment = ""
  for (const [, said, line] of body.matchAll(/^\s*\/\*\*([\s\S]*?)\*\/$|^(\s+\w+: .*)$/gm)) {
    if (said !== undefined) {
      comment = plain(said)
      continue
    }
    const [, indent, name, type] = /^(\s+)(\w+): (.*?),?$/.exec(line!)!
    while (indents.length > 0 && indents.at(-1)! >= indent!.length) indents.pop()
    fields.push(field(name!, indents.length, type!, comment, structs, where))
    indents.push(indent!.length)
    comment = ""
  }
  return fields
}

const field = (
  name: string,
  depth: number,
  text: string,
  comment: string,
  structs: ReadonlySet<string>,
  where: string
): Field => {
  const isOptional = text.startsWith("Schema.optionalKey(")
  const schema = isOptional ? text.replace(/^Schema\.optionalKey\(/, "").replace(/\)$/, "") : text
  const isOpen = text.endsWith("Schema.Struct({")
  const type = isOpen ? (text.includes("Schema.Array(") ? "object[]" : "object") : typeOf(schema, structs, where)
  return { name, depth, type, isOptional, comment }
}

const table = (fields: ReadonlyArray<Field>): ReadonlyArray<string> => {
  const above: Array<string> = []
  return [
    "| field | type | |",
    "| --- | --- | --- |",
    ...fields.map(({ comment, depth, isOptional, name, type }) => {
      above.length = depth
      above.push(name)
      return `| \`${above.join(".")}\` | ${type.replaceAll("|", "\\|")}${isOptional ? ", optional" : ""} | ${comment} |`
    }),
    ""
  ]
}

const section = ({ comment, fields, name }: Struct, depth: number): ReadonlyArray<string> => [
  `${"#".repeat(depth)} ${name}`,
  "",
  ...(comment === "" ? [] : [comment, ""]),
  ...table(fields)
]

/** What the other commands print. `packages/cli/test/Reference.test.ts` compares these fields with real output. */
export const others: ReadonlyArray<
  readonly [
    command: string,
    what: string,
    fields: ReadonlyArray<readonly [name: string, type: string, comment: string]>
  ]
> = [
  [
    "pipe runs --json, pipe show --json",
    "One line per run; `show` prints one run.",
    [
      ["run", "string", "The name of the run."],
      ["flow", "string", ""],
      ["status", "string", "`running`, or a status of [RunFinished](#runfinished)."],
      ["tries", "integer", "Attempts: 1 plus the number of resumes."],
      ["startedAt", "number", "Milliseconds since 1970."],
      ["endedAt", "number, optional", ""],
      ["cost", "USD, optional", ""],
      ["options", "object", "The options the run was started with."],
      ["plan", "[Plan](#plan), optional", "The plan made before the run."],
      ["summary", "[RunFinished](#runfinished), optional", ""]
    ]
  ],
  [
    "pipe show --failed --json",
    "One line per failed row.",
    [
      ["source", "string", "The node that the row comes from."],
      ["row", "integer", ""],
      ["position", "string", "`reviews.jsonl:7`."],
      ["node", "string", "The node that failed."],
      ["error", "string", "See [Errors](../errors.md)."],
      ["message", "string", ""],
      ["input", "JSON", "The input of the node."],
      ["answer", "string, optional", "The model's answer, if the failure is about it."],
      ["fields", "JSON, optional", "The fields of your own error."],
      ["at", "string, optional", "The line of your code, for a bug."]
    ]
  ],
  [
    "pipe show --row --json, pipe show --sample --json",
    "One line per call of the rows.",
    [
      ["step", "string", ""],
      ["row", "integer", "The index of the row in its source, from 0."],
      ["position", "string", "`reviews.jsonl:7`."],
      ["sample", "integer", "The number of the sample, from 0."],
      ["at", "number", "Milliseconds since 1970."],
      ["milliseconds", "number", "From the start of the call to its end."],
      ["origin", "string", "`attempt` if it was sent; otherwise where the answer was found."],
      ["provider", "string", ""],
      ["model", "string", ""],
      ["request", "object", "The request, with long texts truncated and secrets masked."],
      ["answer", "object, optional", "The raw answer."],
      ["error", "string, optional", ""],
      ["tokens", "object, optional", "Tokens by class."],
      ["cost", "USD, optional", ""]
    ]
  ],
  [
    "pipe batches --json, pipe batches show --json",
    "One line per batch.",
    [
      ["id", "integer", ""],
      ["name", "string", ""],
      ["run", "integer, optional", "The id of its run."],
      ["runName", "string, optional", ""],
      ["provider", "string", ""],
      ["account", "string", "A hash of the account that sent it."],
      ["endpoint", "string", ""],
      ["model", "string", ""],
      ["state", "string", "`ready`, `creating`, `sent`, `collected`, `rejected` or `gone`."],
      ["uploaded", "string, optional", "The provider's id of the file."],
      ["remote", "string, optional", "The provider's id of the batch."],
      ["requests", "integer", ""],
      ["bytes", "integer", ""],
      ["tokens", "integer", "The counted input tokens of its requests."],
      ["cost", "USD", "What was recorded for it so far."],
      ["expected", "USD", "The expected cost."],
      ["held", "object", "What the run's budget reserves for it: `money` (USD) and `tokens`."],
      ["answered", "integer", ""],
      ["failed", "integer", ""],
      ["createdAt", "number", "Milliseconds since 1970."],
      ["sentAt", "number, optional", ""],
      ["endedAt", "number, optional", ""],
      ["message", "string, optional", "Why it failed."]
    ]
  ],
  [
    "pipe cache stats --json",
    "One object.",
    [
      ["entries", "integer", "Cached answers."],
      ["expired", "integer", "The part of them that is expired."],
      ["bytes", "integer", "Bytes of all answers."],
      ["models", "object[]", "Answers per model: `model`, `entries`."],
      ["results", "integer", "Results of steps that other runs can reuse."],
      ["reusable", "integer", "Answers that can be reused by meaning."],
      ["vectors", "integer", "Embeddings of texts."],
      ["storeBytes", "integer, optional", "Bytes of the whole store."],
      ["oldest", "number, optional", "When the oldest answer was stored, in milliseconds since 1970."]
    ]
  ],
  [
    "pipe doctor --json",
    "One line per check. The exit code is 1 if one is `wrong`.",
    [
      ["name", "string", "What is checked."],
      ["status", "string", "`ok`, `warning` or `wrong`."],
      ["message", "string", "What was found, and what to do."]
    ]
  ],
  [
    "pipe tune --json",
    "One object.",
    [
      ["file", "string, optional", "The routing file, if it was written."],
      ["rows", "integer", "Sampled rows."],
      ["failed", "integer", "Rows that failed."],
      ["routing", "object", "The content of the routing file."],
      ["frontier", "object[]", "Per step: each model alone, baselines, and every candidate with its cost and quality."]
    ]
  ],
  [
    "pipe tune --check --json",
    "One object.",
    [
      ["rows", "integer", "Rows outside the sample."],
      ["spent", "USD", ""],
      ["steps", "object[]", "Per step: `standing` (`holds`, `broken` or `open`), quality with its interval, and cost."]
    ]
  ]
]

const other = ([command, what, fields]: (typeof others)[number]): ReadonlyArray<string> => [
  `## ${command}`,
  "",
  what,
  "",
  "| field | type | |",
  "| --- | --- | --- |",
  ...fields.map(([name, type, comment]) => `| \`${name}\` | ${type} | ${comment} |`),
  ""
]

const EVENTS = [
  "RunStarted",
  "RowDone",
  "RowFailed",
  "RowMissing",
  "Progress",
  "Warning",
  "OutputWritten",
  "RunFinished"
]

export const page = (): string => {
  const run = read("packages/core/src/run/RunEvent.ts")
  const report = read("packages/core/src/report/Report.ts")
  const plan = read("packages/core/src/plan/PlanSchema.ts")
  const check = read("packages/core/src/plan/PlanCheck.ts")
  const isEvent = ({ name }: Struct) => EVENTS.includes(name)
  const missing = EVENTS.filter((name) => !run.some((struct) => struct.name === name))
  if (missing.length > 0) throw new Error(`scripts/reference/json.ts does not find ${missing.join(", ")}`)
  return [
    "# JSON output",
    "",
    "Read the results of the command from a program. With `--json`, `pipe run` prints one event per line; the last is the summary:",
    "",
    "```sh",
    `pipe run flow.ts --json | jq -c 'select(._tag == "RunFinished") | {status, cost}'`,
    "```",
    "",
    'Fields are stable; new ones may be added. `USD` is an exact decimal amount in a string, `"0.000287"`.',
    "",
    "## Events of pipe run, resume and retry",
    "",
    "Each event has its name in `_tag`.",
    "",
    ...run.filter(isEvent).flatMap((struct) => section(struct, 3)),
    "## Parts of events",
    "",
    ...run.filter((struct) => !isEvent(struct)).flatMap((struct) => section(struct, 3)),
    "## pipe plan --json",
    "",
    "One [Plan](#plan).",
    "",
    ...plan.toReversed().flatMap((struct) => section(struct, 3)),
    "## pipe run --check --json",
    "",
    "One [Check](#check).",
    "",
    ...check.toReversed().flatMap((struct) => section(struct, 3)),
    "## pipe report --json",
    "",
    "One [Report](#report).",
    "",
    ...report.toReversed().flatMap((struct) => section(struct, 3)),
    ...others.flatMap(other)
  ]
    .join("\n")
    .replace(/\n+$/, "\n")
}
