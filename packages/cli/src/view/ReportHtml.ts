/**
 * A run's report as one page without network access: the graph with rows and money, money over time, by step, by model
 * and by strategy, the failed rows, and the plan compared with the result.
 */
import * as Money from "@pipe/core/Money"
import * as PriceTable from "@pipe/core/PriceTable"
import type * as Report from "@pipe/core/Report"
import { count } from "@pipe/core/internal/Format"
import * as Format from "@pipe/core/internal/Format"
import * as Bars from "./Bars.ts"
import * as Chart from "./Chart.ts"
import * as CostText from "./CostText.ts"
import * as Strategies from "./Strategies.ts"
import * as ExchangeText from "./ExchangeText.ts"
import { escape, start } from "./Html.ts"
import { style } from "./ReportStyle.ts"
import * as ReportGraph from "./ReportGraph.ts"
import * as Svg from "./Svg.ts"
import * as Table from "./Table.ts"

const money = (amount: Money.Money, unpriced = 0): string => `${unpriced > 0 ? "≥ " : ""}${Money.format(amount)}`

/** For a chart, where a picodollar is invisible. */
const dollars = (amount: Money.Money): number => Number(Money.toUsd(amount))

const time = (at: number): string => new Date(at).toISOString().replace("T", " ").slice(0, 16)

const sumBy = <A>(
  items: ReadonlyArray<A>,
  key: (item: A) => string,
  amount: (item: A) => Money.Money
): Map<string, Money.Money> => {
  const sums = new Map<string, Money.Money>()
  for (const item of items) sums.set(key(item), (sums.get(key(item)) ?? Money.zero) + amount(item))
  return sums
}

const section = (title: string, content: string): string => `<section><h2>${escape(title)}</h2>${content}</section>`

/** The whole page. */
export const render = (report: Report.Report): string => {
  const { summary } = report
  const cost = Money.sum(report.spent.map((spent) => spent.cost))
  const unpriced = report.spent.reduce((sum, spent) => sum + spent.unpriced, 0)
  const saved = summary === undefined ? Money.zero : Money.sum(Object.values(summary.savings))
  const facts: ReadonlyArray<readonly [string, string]> = [
    ["cost", money(cost, unpriced)],
    ...(summary?.fees === undefined ? [] : [["of which fees", Money.format(summary.fees)] as const]),
    ...(summary?.calls.reaskCost === undefined
      ? []
      : [["for re-asks", Money.format(summary.calls.reaskCost)] as const]),
    ...(summary?.calls.failedRowsCost === undefined
      ? []
      : [["for failed rows", Money.format(summary.calls.failedRowsCost)] as const]),
    ["saved", Money.format(saved)],
    ["rows", summary === undefined ? "–" : count(summary.rows.read)],
    ["failed", summary === undefined ? count(report.failures.length) : count(summary.rows.failed)],
    ["calls", count(report.spent.reduce((sum, spent) => sum + spent.attempts, 0))],
    ["time", summary === undefined ? "–" : Format.duration(summary.milliseconds)],
    ...(summary?.prices === undefined ? [] : [["prices", PriceTable.describe(summary.prices)] as const])
  ]
  const estimated = Money.sum(report.spent.map((spent) => spent.estimatedCost))
  const status = statusOf(report)
  return `${start}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark"><title>${escape(`${report.flow} – ${report.run}`)}</title>
<style>${style}</style></head><body><main>
<header><h1>${escape(report.flow)}</h1><p class="sub">run ${escape(report.run)} · <span class="status ${status.kind}">${status.words}</span>${report.simulated === true ? " · simulated: no provider was called, nothing was paid" : ""} · ${time(report.startedAt)} UTC${
    report.tries > 1 ? ` · ${report.tries} tries` : ""
  }</p>${summary?.failure === undefined ? "" : `<p class="problem">${escape(summary.failure)}</p>`}</header>
<dl class="facts">${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escape(value)}</dd></div>`).join("")}</dl>
${unpriced > 0 ? `<p class="problem">${count(unpriced)} calls have no known cost and are not in the figures.</p>` : ""}
${estimated > Money.zero ? `<p class="note">${Money.format(estimated)} of the cost is an upper bound for calls without a bill; most of them were interrupted.</p>` : ""}
${summary === undefined ? '<p class="note">The process of this run ended before it could write its summary; its recorded costs are shown.</p>' : ""}
${section("Flow", `<div class="scroll">${ReportGraph.draw(report)}</div>`)}
${report.timeline.length > 0 ? section("Money over time", Chart.toSvg(timelineOf(report), Svg.page)) : ""}
<div class="columns">
${
  report.spent.length > 0
    ? section(
        "By step",
        bars(
          "money by step",
          costsBy(report, ({ step }) => step)
        )
      )
    : ""
}
${
  report.spent.length > 0
    ? section(
        "By model",
        bars(
          "money by model",
          costsBy(report, ({ model }) => model),
          1
        )
      )
    : ""
}
</div>
${saved > Money.zero ? section("Spent and saved", savingsOf(summary!)) : ""}
${report.plan === undefined ? "" : section("Plan and outcome", planOf(report, report.plan))}
${report.spent.length === 0 ? "" : section("Ledger", ledgerOf(report))}
${workersOf(report)}
${report.failures.length === 0 ? "" : section("Failed rows", failuresOf(report))}
${report.samples.length === 0 ? "" : section("Last calls of each step", samplesOf(report))}
<footer>made by pipe from ${escape(report.store)}</footer></main>
</body></html>
`
}

/** The cost of each step, or of each model. */
const costsBy = (report: Report.Report, key: (spent: Report.Report["spent"][number]) => string) =>
  sumBy(report.spent, key, ({ cost }) => cost)

const bars = (name: string, costs: ReadonlyMap<string, Money.Money>, first = 0): string =>
  Bars.toSvg(
    name,
    Array.from(costs, ([name, cost], index) => ({
      name,
      value: dollars(cost),
      label: Money.format(cost),
      color: Svg.color(Svg.page, first + index)
    }))
  )

/** What was spent, and what each strategy saved. */
const savingsOf = ({ cost, savings }: NonNullable<Report.Report["summary"]>): string =>
  Bars.toSvg("what was spent, and what each strategy saved", [
    { name: "spent", value: dollars(cost), label: Money.format(cost), color: Svg.color(Svg.page, 4) },
    ...Strategies.all
      .filter(({ key }) => savings[key] > Money.zero)
      .map(({ key, name }) => ({
        name,
        value: dollars(savings[key]),
        label: Money.format(savings[key]),
        color: Svg.color(Svg.page, 2)
      }))
  ])

/** The rows that each worker has computed. */
const workersOf = ({ summary }: Report.Report): string =>
  summary?.workers === undefined
    ? ""
    : section(
        "Workers",
        Bars.toSvg(
          "rows computed by each worker",
          summary.workers.map(({ rows, worker }) => ({
            name: worker,
            value: rows,
            label: Format.of(rows, "row"),
            color: Svg.color(Svg.page, 3)
          }))
        )
      )

/** How the run ended, matching its exit code. */
const statusOf = ({ status, summary }: Report.Report): { readonly kind: string; readonly words: string } => {
  const failed = summary?.rows.failed ?? 0
  return status === "done" && failed > 0
    ? { kind: "failed", words: `ended with ${Format.of(failed, "failed row")}` }
    : { kind: status, words: status }
}

/** Text with its line breaks. */
const lines = (text: string): string => text.split("\n").map(escape).join("\n")

const samplesOf = (report: Report.Report): string =>
  report.samples
    .map(
      ({ answer, error, model, position, request, step }) =>
        `<details><summary>${escape(`${step}: ${position} (${model})`)}</summary><pre>${lines(
          ExchangeText.promptText(request)
        )}</pre><pre class="answer">${lines(answer === undefined ? (error ?? "no answer") : ExchangeText.answerText(answer))}</pre></details>`
    )
    .join("")

/** Cumulative money: an area for each step, the first on top. */
const timelineOf = ({ startedAt, timeline }: Report.Report): Chart.Chart => {
  const moments = [...new Set(timeline.map(({ at }) => at))].sort((a, b) => a - b)
  const steps = [...new Set(timeline.map(({ step }) => step))]
  const soFar = (at: number, of: ReadonlySet<string>): number =>
    dollars(Money.sum(timeline.filter((one) => one.at <= at && of.has(one.step)).map(({ cost }) => cost)))
  const last = Math.max(1, moments.at(-1)! - startedAt)
  return {
    title: "money so far, by step",
    x: { name: "time", max: last, format: (value) => Format.duration(value, last < 60_000 ? "tenths" : "seconds") },
    y: {
      name: "money",
      max: Math.max(soFar(moments.at(-1)!, new Set(steps)) * 1.05, Number.MIN_VALUE),
      format: (value) => `$${Number(value.toPrecision(3))}`
    },
    series: steps.map((step, index): Chart.Series => {
      const from = new Set(steps.slice(index))
      const points = moments.map((at) => ({ x: Math.max(0, at - startedAt), y: soFar(at, from) }))
      return { name: step, kind: "area", points: [{ x: 0, y: 0 }, ...points] }
    })
  }
}

const planOf = (report: Report.Report, plan: NonNullable<Report.Report["plan"]>): string => {
  const came = (step: string, model: string) =>
    report.spent.filter((spent) => spent.step === step && spent.model.startsWith(model))
  return Table.html({
    header: ["step", "model", "planned calls", "calls", "planned cost", "cost"],
    rows: [
      ...plan.lines
        .filter((line) => line.calls > 0)
        .map((line) => {
          const own = came(line.step, line.model)
          return [
            line.step,
            line.model,
            count(line.calls),
            count(own.reduce((sum, spent) => sum + spent.attempts, 0)),
            line.cost === undefined ? "unknown" : `${Money.format(line.cost.low)} – ${Money.format(line.cost.high)}`,
            Money.format(Money.sum(own.map((spent) => spent.cost)))
          ]
        }),
      [
        "all",
        "",
        count(plan.lines.reduce((sum, line) => sum + line.calls, 0)),
        count(report.spent.reduce((sum, spent) => sum + spent.attempts, 0)),
        `${Money.format(plan.cost.low)} – ${Money.format(plan.cost.high)}`,
        Money.format(Money.sum(report.spent.map((spent) => spent.cost)))
      ]
    ],
    left: 2
  })
}

const ledgerOf = (report: Report.Report): string =>
  Table.html({
    header: ["step", "provider", "model", "calls", "failed", "tokens", "cost"],
    rows: report.spent.map((spent) => [
      spent.step,
      spent.provider,
      spent.serviceTier === undefined ? spent.model : `${spent.model} (${spent.serviceTier})`,
      count(spent.attempts),
      count(spent.failedAttempts),
      count(spent.tokens),
      CostText.of({ cost: spent.cost, unpriced: spent.unpriced, attempts: spent.attempts })
    ]),
    left: 3
  })

const failuresOf = (report: Report.Report): string => {
  const total = report.summary?.rows.failed ?? report.failures.length
  const more =
    total > report.failures.length
      ? `<p class="note">the first ${count(report.failures.length)} of ${count(total)}</p>`
      : ""
  return `${more}${Table.html({
    header: ["row", "node", "error", "message", "input"],
    rows: report.failures.map(({ error, input, message, node, position }) => [
      position,
      node,
      error,
      message,
      input.length > 400 ? `${input.slice(0, 400).toWellFormed()}…` : input
    ]),
    left: 5
  })}`
}
