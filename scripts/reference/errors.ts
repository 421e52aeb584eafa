/** The page of all errors: what each means and what to do, from the comments of their classes. */
import type * as AiError from "effect/ai/AiError"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../samples.ts"

interface ErrorClass {
  readonly name: string
  /** `@pipe/core`. */
  readonly package: string
  readonly fields: ReadonlyArray<string>
  readonly cause: string
  readonly remedy: string
}

const sources = (name: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, "packages", name, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith("WordNet.ts"))
    .map((file) => path.join("packages", name, "src", file))

const CLASS =
  /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?export class (\w+) extends (?:Schema\.TaggedError<\w+>\(\)\("(\w+)", \{\n([\s\S]*?)\n\}\)|Error) \{(?:\}|\n {2}override readonly name = "(\w+)")/g

const textOf = (comment: string): ReadonlyArray<string> =>
  comment
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
    .join("\n")
    .trim()
    .split("\n\n")

/** A paragraph on one line; the items of a list on lines of their own. */
const joined = (paragraph: string): string => paragraph.replaceAll(/\n(?!- )/g, " ")

const classes = (): ReadonlyArray<ErrorClass> =>
  ["core", "plugins"].flatMap((packageName) =>
    sources(packageName).flatMap((file) => {
      const text = fs.readFileSync(path.join(root, file), "utf8")
      return [...text.matchAll(CLASS)].flatMap(([, comment, name, tag, fields, own]): ReadonlyArray<ErrorClass> => {
        if (tag === undefined && own === undefined) return []
        const paragraphs = textOf(comment ?? "").map(joined)
        const remedy = paragraphs.find((paragraph) => paragraph.startsWith("**Remedy** "))
        if (remedy === undefined) throw new Error(`${file}: the comment of ${name} has no **Remedy**`)
        return [
          {
            name: name!,
            package: `@pipe/${packageName}`,
            fields: [...(fields ?? "").matchAll(/^ {2}(\w+):/gm)].map(([, field]) => field!),
            cause: paragraphs.filter((paragraph) => paragraph !== remedy).join("\n\n"),
            remedy: remedy.slice("**Remedy** ".length)
          }
        ]
      })
    })
  )

interface Reason {
  readonly cause: string
  readonly outcome: string
  readonly remedy: string
}

const RETRIED = "retried with back-off, then the row fails"

/** The reasons of a failed call. Effect adds a reason only in a new version, which then does not compile here. */
const REASONS: { readonly [Tag in AiError.AiErrorReason["_tag"]]: Reason } = {
  RateLimitError: {
    cause: "The provider limits requests or tokens for now (HTTP 429).",
    outcome: "retried after exactly the time that the provider asks for",
    remedy: "Add `RateLimit.layer` with your limits. A wait beyond `maxWait` stops the run: resume it later."
  },
  QuotaExhaustedError: {
    cause: "The account has no credit, or your own budget does not cover the call.",
    outcome: "the run stops; with a budget, the exit code is 3",
    remedy: "Add credit, or resume with a larger `--budget`."
  },
  AuthenticationError: {
    cause: "The key is missing, invalid or not permitted to use the model.",
    outcome: "the run stops; where only the model or the text is not permitted, the row fails",
    remedy: "Run `pipe doctor`, and set the key that it names."
  },
  ContentPolicyError: {
    cause: "The model or a content filter refuses to answer.",
    outcome: "the row fails, or `Fallback` sends it to the next model; never retried",
    remedy: "Rephrase the prompt, or add `Fallback.layer`."
  },
  InvalidRequestError: {
    cause: "The provider rejects the request: an unknown model, an invalid setting, or a prompt that is too long.",
    outcome: "the row fails; if the first five rows of a step fail alike, the run stops",
    remedy:
      "Correct the model or setting that the message names; shorten the prompt, or add a `Fallback` with a larger context window."
  },
  InternalProviderError: {
    cause: "The provider failed (HTTP 5xx), or is overloaded.",
    outcome: RETRIED,
    remedy: "Run the same command again later, or add `Fallback.layer`."
  },
  NetworkError: {
    cause: "The request did not get an answer: no connection, a timeout, or a connection that broke.",
    outcome: `${RETRIED}; an unreachable endpoint stops the run`,
    remedy:
      "Check network, proxy and address with `pipe doctor`. A call that was sent is recorded at the most it can have cost."
  },
  InvalidResponseError: {
    cause: "The answer is not in the provider's format, or is damaged.",
    outcome: RETRIED,
    remedy: "Check `baseUrl`; see the raw answer with `pipe show last --row <position>`."
  },
  InvalidOutputError: {
    cause: "The answer is incomplete or does not fit the step.",
    outcome: "requested again with the problem (`reasks`), then the row fails",
    remedy:
      'Raise `maxTokens` if it is truncated, or set `truncated: "keep"`; see it with `pipe show last --row <position>`.'
  },
  StructuredOutputError: {
    cause: "The answer does not fit the schema of the step.",
    outcome: "requested again with the problem (`reasks`), then the row fails",
    remedy: "Simplify the schema or describe its fields; use a stronger model."
  },
  UnsupportedSchemaError: {
    cause: "The schema cannot be expressed as JSON Schema, or the provider does not accept it.",
    outcome: "the row fails; if the first five rows of a step fail alike, the run stops",
    remedy: "Change the field that the message names."
  },
  UnknownError: {
    cause: "Any other failure of a call, for example of your own provider.",
    outcome: "the row fails",
    remedy: "Read the message; see the call with `pipe show last --row <position>`."
  },
  ToolNotFoundError: {
    cause: "The model calls a tool that the step does not have.",
    outcome: "requested again with the problem, then the row fails",
    remedy: "Name the tools in the prompt, or use a stronger model."
  },
  ToolParameterValidationError: {
    cause: "The arguments of a tool call do not fit the tool.",
    outcome: "requested again with the problem, then the row fails",
    remedy: "Describe the parameters of the tool."
  },
  InvalidToolResultError: {
    cause: "The handler of a tool returned a value that does not fit the tool's schema.",
    outcome: "the row fails",
    remedy: "Correct the handler or the schema of its result."
  },
  ToolResultEncodingError: {
    cause: "The result of a tool cannot be encoded.",
    outcome: "the row fails",
    remedy: "Return plain data from the handler."
  },
  ToolConfigurationError: {
    cause: "A provider-defined tool is misconfigured.",
    outcome: "the row fails",
    remedy: "Correct the options of the tool."
  },
  ToolkitRequiredError: {
    cause: "The prompt holds tool calls to approve, and the step passes no toolkit.",
    outcome: "the row fails",
    remedy: "Pass `toolkit` to `generateText`."
  },
  InvalidUserInputError: {
    cause: "A prompt holds a part that the provider does not accept, such as a file of another type.",
    outcome: "the row fails",
    remedy: "Convert or remove the part that the message names."
  }
}

/** The other errors of a row, as `FailedRow` and `RunState` name them. */
const ROWS: ReadonlyArray<readonly [error: string, cause: string, remedy: string]> = [
  [
    "`BadRow`",
    "A row of a source cannot be read, or does not fit its schema.",
    'Correct the row at the position, or the schema; `onError: "skip"` on the source drops such rows.'
  ],
  [
    "`Error`, or the name of your error",
    "Your code failed or threw. A tagged error appears under its `_tag`, with its fields; for a bug, the message names the line.",
    "Correct the code, and run the same command again."
  ],
  ["`Interrupted`", "The step interrupted itself (`Effect.interrupt`).", "Fail with an error instead."],
  [
    "`LayerFault`",
    "A layer interrupted the call, or returned something that is not an answer. The message names it.",
    "Correct the layer."
  ]
]

export const page = (): string => {
  const found = classes().toSorted((a, b) => a.name.localeCompare(b.name))
  return [
    "# Errors",
    "",
    "What each error means, and what to do. Look up the `error` of a failed row, or the tag of a failed effect:",
    "",
    "```sh",
    "pipe show last --failed        # each failed row with its error and message",
    "pipe retry last --failed       # runs only those rows again",
    "```",
    "",
    "Messages are one line: what failed, where, and what to do. A failed row is kept in `<flow>.errors.jsonl`; the other rows continue. See",
    "[When a row fails](start/first-flow.md#when-a-row-fails) and the [exit codes](reference/commands.md#exit-codes).",
    "",
    "## Calls",
    "",
    "The failures of a model call are Effect's `AiError`. Its reason is the `error` of the row; `ModelFailure.kind` classifies it.",
    "",
    "| error | cause | what happens | remedy |",
    "| --- | --- | --- | --- |",
    ...Object.entries(REASONS).map(
      ([tag, { cause, outcome, remedy }]) => `| \`${tag}\` | ${cause} | ${outcome} | ${remedy} |`
    ),
    "",
    "## Rows",
    "",
    "| error | cause | remedy |",
    "| --- | --- | --- |",
    ...ROWS.map(([error, cause, remedy]) => `| ${error} | ${cause} | ${remedy} |`),
    "",
    "## Flows, runs and stores",
    "",
    ...found.flatMap(({ cause, fields, name, package: from, remedy }) => [
      `### ${name}`,
      "",
      `Of \`${from}\`${fields.length === 0 ? "" : `; fields: ${fields.map((field) => `\`${field}\``).join(", ")}`}.`,
      "",
      cause,
      "",
      `**Remedy:** ${remedy}`,
      ""
    ])
  ]
    .join("\n")
    .replace(/\n+$/, "\n")
}
