/** What a new table of prices changes, as text. */
import * as Format from "@pipe/core/internal/Format"
import * as Money from "@pipe/core/Money"
import type * as PriceChanges from "@pipe/core/PriceChanges"
import * as PriceTable from "@pipe/core/PriceTable"
import type * as PublicTables from "@pipe/core/PublicTables"
import * as Table from "./Table.ts"

const figure = (value: Money.Money | undefined, { unit }: PriceChanges.Change): string =>
  value === undefined ? "unknown" : unit === "usd" ? `$${Money.toUsd(value)}` : `${Format.count(Number(value))} tokens`

/** The most lines of a kind. */
const MOST = 200

const more = (all: ReadonlyArray<unknown>): ReadonlyArray<string> =>
  all.length > MOST ? [`  … and ${all.length - MOST} more`] : []

const names = (models: ReadonlyArray<PriceChanges.ModelOf>): string => {
  const shown = models.slice(0, 10).map(({ model }) => model)
  return `${shown.join(", ")}${models.length > shown.length ? ", …" : ""}`
}

/** What changes, and what was not understood. */
export const render = (
  table: PriceTable.PriceTable,
  { added, changed }: PriceChanges.PriceChanges,
  problems: PublicTables.Read["problems"]
): string =>
  [
    `${PriceTable.describe(table)} (${table.source}): ${Format.of(table.rows.length, "model")}`,
    `${changed.length === 0 ? "no price changes" : `${Format.of(changed.length, "price")} of ${Format.of(new Set(changed.map(({ model, provider }) => `${provider}/${model}`)).size, "model")} change${changed.length === 1 ? "s" : ""}`}, ${added.length === 0 ? "no model is new" : `${Format.of(added.length, "model")} ${added.length === 1 ? "is" : "are"} new: ${names(added)}`}`,
    ...(changed.length === 0
      ? []
      : Table.lines(
          {
            header: ["provider", "model", "price", "now", "then", " USD per 1,000,000 tokens"],
            rows: changed
              .slice(0, MOST)
              .map((change) => [
                change.provider,
                change.model,
                change.what,
                figure(change.before, change),
                figure(change.after, change),
                ""
              ]),
            left: 3
          },
          { indent: "  " }
        )),
    ...more(changed),
    ...(problems.length === 0
      ? []
      : [
          `${Format.of(problems.length, "entry", "entries")} ${problems.length === 1 ? "was" : "were"} not understood and left out, such as ${problems[0]!.model}: ${problems[0]!.reason}`
        ])
  ].join("\n")

/** Why a table is refused, and the way out; `undefined` when nothing is refused. */
export const refusals = (
  { absurd, missing }: PriceChanges.PriceChanges,
  accepted: ReadonlySet<string>
): string | undefined => {
  const wild = absurd.filter(({ model }) => !accepted.has(model))
  const gone = missing.filter(({ model }) => !accepted.has(model))
  const models = [...new Set([...wild, ...gone].map(({ model }) => model))]
  if (models.length === 0) return undefined
  const [first] = wild
  return [
    ...(first === undefined
      ? []
      : [
          `${Format.of(wild.length, "price")} would change by a factor of 100 or more, such as ${first.what} of ${first.model} from ${figure(first.before, first)} to ${figure(first.after, first)}.`
        ]),
    ...(gone.length === 0
      ? []
      : [
          `${Format.of(gone.length, "model")} that runs of this project use ${gone.length === 1 ? "is" : "are"} not in the table: ${names(gone)}.`
        ]),
    `If that is right: ${models
      .slice(0, 5)
      .map((model) => `--accept ${model}`)
      .join(" ")}${models.length > 5 ? " …" : ""} (a model that is missing keeps its price).`
  ].join(" ")
}
