/** Money over time, by step, model and strategy; and what it would have been without the layers. */
import uPlot from "uplot"
import { useEffect, useRef } from "preact/hooks"
import type * as RunData from "../RunData.ts"
import type * as Totals from "../Totals.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as View from "./View.ts"
import * as Words from "./Words.ts"

interface MoneyData {
  readonly points: ReadonlyArray<Totals.MoneyPoint>
  readonly isWhole: boolean
  readonly strategies: ReadonlyArray<{ readonly name: string; readonly saved: number }>
}

type By = "step" | "model"

const COLORS = ["#3b6fd4", "#2b9a66", "#c2622d", "#8552c4", "#b8862b", "#2a93a8", "#c14b7a", "#6a7486"]

/** Between the times on an axis, in seconds. */
const SECONDS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 172_800, 604_800
]

/** The most lines of a chart: the others are one. */
const MOST = 7

const sumsBy = (points: MoneyData["points"], by: By): ReadonlyArray<readonly [name: string, cost: number]> => {
  const sums = new Map<string, number>()
  for (const point of points) sums.set(point[by], (sums.get(point[by]) ?? 0) + point.cost)
  return [...sums].toSorted(([, a], [, b]) => b - a)
}

/** Lines of what was spent so far, stacked, and of what it would have been. */
const linesOf = (points: MoneyData["points"], by: By) => {
  const times = [...new Set(points.map(({ at }) => at))].toSorted((a, b) => a - b)
  const names = sumsBy(points, by).map(([name]) => name)
  const shown = names.slice(0, MOST)
  const place = new Map(names.map((name, at) => [name, Math.min(at, MOST)]))
  const columns = [...shown, ...(names.length > MOST ? ["the others"] : [])]
  const spent = columns.map(() => new Array<number>(times.length).fill(0))
  const saved = new Array<number>(times.length).fill(0)
  const at = new Map(times.map((time, index) => [time, index]))
  for (const point of points) {
    const index = at.get(point.at)!
    const own = spent[place.get(point[by])!]!
    own[index] = own[index]! + point.cost
    saved[index] = saved[index]! + point.saved
  }
  const soFar = (values: ReadonlyArray<number>): Array<number> => {
    let sum = 0
    return values.map((value) => (sum += value))
  }
  const lines = spent.map(soFar)
  const total = times.map((_, index) => lines.reduce((sum, line) => sum + line[index]!, 0))
  const without = soFar(saved).map((sum, index) => sum + total[index]!)
  return { columns, lines, times, total, without }
}

const Chart = ({ by, points: given }: { readonly points: MoneyData["points"]; readonly by: By }) => {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = place.current
    if (element === null) return
    const { columns, lines, times, total, without } = linesOf(given, by)
    const style = getComputedStyle(element)
    const [strong, ink, faint] = ["--text", "--dim", "--line"].map((name) => style.getPropertyValue(name))
    const axis = { stroke: ink, grid: { stroke: faint, width: 1 }, ticks: { stroke: faint, width: 1 } }
    const money = (_: uPlot, values: ReadonlyArray<number>) => values.map((value) => Words.usd(value))
    const value = (_: uPlot, amount: number | null) => (amount === null ? "–" : Words.usd(amount))
    const clock = (_: uPlot, seconds: ReadonlyArray<number>) => [...Words.clocks(seconds.map((one) => one * 1_000))]
    const points = { show: times.length < 3 }
    const width = () => Math.max(280, element.clientWidth)
    const chart = new uPlot(
      {
        width: width(),
        height: 320,
        padding: [null, 40, null, null],
        series: [
          { value: (_: uPlot, seconds: number | null) => (seconds === null ? "–" : Words.time(seconds * 1_000)) },
          ...columns.map((label, index) => ({
            label,
            stroke: COLORS[index % COLORS.length]!,
            width: 2,
            value,
            points
          })),
          { label: "in all", stroke: strong, width: 2, value, points },
          { label: "without the layers", stroke: ink, width: 2, dash: [6, 4], value, points }
        ],
        scales: { y: { range: (_: uPlot, __: number, most: number) => [0, most > 0 ? most * 1.05 : 1] } },
        axes: [
          { ...axis, values: clock, space: 90, incrs: [...SECONDS] },
          { ...axis, values: money, size: 80 }
        ]
      },
      [times.map((time) => time / 1_000), ...lines, total, without],
      element
    )
    const resized = new ResizeObserver(() => chart.setSize({ width: width(), height: 320 }))
    resized.observe(element)
    return () => {
      resized.disconnect()
      chart.destroy()
    }
  }, [given, by])
  return <div class="chart" ref={place} role="img" aria-label={`Money so far, by ${by}, and without the layers`} />
}

/** What was spent by step or model, the most first. */
const Bars = ({ by, spent }: { readonly by: By; readonly spent: ReadonlyArray<RunData.Spent> }) => {
  const groups = Map.groupBy(spent, (one) => one[by])
  const sums = [...groups]
    .map(([name, all]) => ({ name, all, amount: all.reduce((sum, { cost }) => sum + Number(cost), 0) }))
    .toSorted((a, b) => b.amount - a.amount)
  const most = Math.max(...sums.map(({ amount }) => amount))
  return (
    <section>
      <h2>By {by}</h2>
      <table class="bars">
        <tbody>
          {sums.map(({ all, amount, name }) => (
            <Parts.Bar key={name} name={name} value={amount} of={most} text={Words.costs(all)} />
          ))}
        </tbody>
      </table>
    </section>
  )
}

export const Money = ({ route, run, summary: { item, report } }: ViewProps) => {
  const by: By = route.params.get("by") === "model" ? "model" : "step"
  const { problem, value } = Api.useAsked<MoneyData>(Api.runPath(run, "/money"), View.everyOf(item.state))
  if (value === undefined) return problem === undefined ? <Parts.Loading /> : <Parts.Problem text={problem} />
  if (value.points.length === 0) return <Parts.Empty>Nothing was spent, and nothing was saved.</Parts.Empty>
  const saved = value.strategies.filter((one) => one.saved !== 0)
  return (
    <>
      <Parts.Problem text={problem} />
      <fieldset class="choice">
        <legend>Lines by</legend>
        {(["step", "model"] as const).map((one) => (
          <label key={one}>
            <input
              type="radio"
              name="by"
              checked={by === one}
              onChange={() => Route.go(Route.format(run, "money", new URLSearchParams({ by: one })), true)}
            />{" "}
            {one}
          </label>
        ))}
      </fieldset>
      {value.isWhole ? null : <p class="note">The ledger is still being read: some calls are missing.</p>}
      {Words.doubt(item) === undefined ? null : <p class="note">Of what was spent, {Words.doubt(item)}.</p>}
      <Chart points={value.points} by={by} />
      <div class="columns">
        <Bars by="step" spent={report.spent} />
        <Bars by="model" spent={report.spent} />
        <section>
          <h2>Saved by strategy</h2>
          {saved.length === 0 ? (
            <Parts.Empty>Nothing was saved so far.</Parts.Empty>
          ) : (
            <table class="bars">
              <tbody>
                {saved.map((one) => (
                  <Parts.Bar
                    key={one.name}
                    name={one.name}
                    value={one.saved}
                    of={Math.max(...saved.map(({ saved }) => saved))}
                    text={Words.usd(one.saved)}
                  />
                ))}
              </tbody>
            </table>
          )}
        </section>
      </div>
    </>
  )
}
