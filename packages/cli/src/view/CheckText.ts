/** What a check of a flow has found, as text. */
import type * as Plan from "@pipe/core/Plan"
import * as Format from "@pipe/core/internal/Format"
import { count } from "@pipe/core/internal/Format"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as ExchangeText from "./ExchangeText.ts"
import * as FailedRow from "./FailedRow.ts"
import * as PlanText from "./PlanText.ts"

type Request = Plan.Check["requests"][number]

/** The most characters of a prompt that are shown. */
const MOST_SHOWN = 2_000

/** The content of a file is left out. */
const withoutFiles = (name: string, field: unknown): unknown =>
  (name === "base64" || name === "data") && typeof field === "string" && !/^https?:/.test(field)
    ? `(${count(field.length)} characters)`
    : field

const clipped = (text: string): string =>
  text.length <= MOST_SHOWN
    ? text
    : `${text.slice(0, MOST_SHOWN)}\n… (${count(text.length)} characters in all: --json has them)`

const requestOf = ({ hasPlaceholders, model, position, request, step, tokens }: Request): ReadonlyArray<string> => [
  "",
  `  ${[
    `${step}: the first request${model === "" ? "" : ` to ${model}`}`,
    ...(position === undefined ? [] : [`for ${position}`]),
    Format.of(tokens, "token"),
    ...(hasPlaceholders ? ["made from placeholder answers"] : [])
  ].join(", ")}`,
  ExchangeText.block(clipped(ExchangeText.requestText(JSON.parse(JSON.stringify(request, withoutFiles)))), "    ")
]

const failuresOf = ({ failed, failures }: Plan.Check): ReadonlyArray<string> =>
  failed === 0
    ? []
    : [
        "",
        ...failures.map((row) => `  failed: ${FailedRow.text(row)}`),
        ...(failed > failures.length ? [`  failed: ${Format.of(failed - failures.length, "more row")}`] : [])
      ].map((line) => SafeText.withoutControls(line))

/** Renders a check. */
export const render = (check: Plan.Check): string =>
  [
    `${check.flow}: ${Format.of(check.rows, "row")} read${check.failed === 0 ? "" : `, ${Format.of(check.failed, "row")} would fail`}; nothing was sent`,
    ...check.problems.flatMap((problem) => ["", `  the run would not start: ${problem}`]),
    ...failuresOf(check),
    ...check.requests.flatMap(requestOf),
    "",
    `  ${PlanText.headline(check.plan)}`,
    ...(check.unknown === 0
      ? []
      : [
          `  ${Format.of(check.unknown, "row")} failed on placeholder answers: whether they fail, only the run shows${check.plan.problem === undefined ? "" : ` (${check.plan.problem})`}`
        ])
  ].join("\n")
