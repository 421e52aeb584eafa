/** The results of tuning, as a self-contained page. */
import { count, share } from "@pipe/core/internal/Format"
import type * as Tune from "@pipe/core/internal/Tune"
import * as Chart from "./Chart.ts"
import * as Html from "./Html.ts"
import { style } from "./ReportStyle.ts"
import * as Table from "./Table.ts"
import * as TuneText from "./TuneText.ts"

/** The frontier of a step. */
export const svg = ({ chart }: TuneText.Charted): string => Chart.toSvg(chart)

const section = ({ chart, step }: TuneText.Charted): string =>
  [
    "<section>",
    `<h2>${Html.escape(step.name)}</h2>`,
    `<p>${Html.escape(TuneText.verdictOf(step))}</p>`,
    svg({ chart, step }),
    Table.html({ header: TuneText.header, rows: TuneText.rowsOf(step) }),
    "</section>"
  ].join("\n")

export const render = (
  { routing, summary }: Tune.Tuned,
  charts: ReadonlyArray<TuneText.Charted>,
  target: number
): string =>
  [
    `${Html.start}<title>${Html.escape(routing.flow)}: tuning</title><style>${style}svg{max-width:100%;height:auto;border-radius:8px}</style></head><body><main>`,
    `<h1>${Html.escape(routing.flow)}</h1>`,
    `<p class="sub">Tuned on ${count(routing.sample.rows)} rows at ${Html.escape(routing.tunedAt)} for ${TuneText.money(summary.cost)}, to keep ${share(target)} of the quality of ${Html.escape(routing.models.at(-1) ?? "")}</p>`,
    ...charts.map((charted) => section(charted)),
    "</main></body></html>",
    ""
  ].join("\n")
