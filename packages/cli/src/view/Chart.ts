/** Points and lines over two axes, for a terminal and as SVG. */
import { escape } from "./Html.ts"

export interface Series {
  readonly name: string
  /** From left to right. */
  readonly points: ReadonlyArray<{ readonly x: number; readonly y: number }>
  /** A line alone, or one through marked points; in a terminal only the points. */
  readonly kind: "line" | "points"
}

export interface Axis {
  readonly name: string
  /** Default: 0. */
  readonly min?: number
  readonly max: number
  readonly format: (value: number) => string
}

export interface Chart {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: ReadonlyArray<Series>
}

const WIDTH = 64
const HEIGHT = 16

/** How far along an axis a value is, from 0 to 1, and back. */
const partOf = ({ max, min = 0 }: Axis, value: number): number => (value - min) / (max - min)
const valueAt = ({ max, min = 0 }: Axis, part: number): number => min + part * (max - min)
const isOn = (axis: Axis, value: number): boolean => value <= axis.max && value >= (axis.min ?? 0)

/** Of the lines and of the points of a chart, in their order. */
const marks = { line: ["·", "+", "×", "∘"], points: ["●", "◆", "▲"] } as const

const markOf = (all: ReadonlyArray<Series>, one: Series): string => {
  const own = marks[one.kind]
  return own[all.filter(({ kind }) => kind === one.kind).indexOf(one) % own.length]!
}

/** As lines of text. */
export const render = ({ series, title, x, y }: Chart): string => {
  const grid = Array.from({ length: HEIGHT }, () => new Array<string>(WIDTH).fill(" "))
  for (const one of series) {
    for (const point of one.points) {
      if (!isOn(x, point.x) || !isOn(y, point.y)) continue
      const column = Math.round(partOf(x, point.x) * (WIDTH - 1))
      const row = HEIGHT - 1 - Math.round(partOf(y, point.y) * (HEIGHT - 1))
      grid[row]![column] = markOf(series, one)
    }
  }
  const left = Math.max(...[0, 0.5, 1].map((part) => y.format(valueAt(y, part)).length))
  const label = (row: number): string =>
    row === 0
      ? y.format(y.max)
      : row === HEIGHT - 1
        ? y.format(valueAt(y, 0))
        : row === Math.floor(HEIGHT / 2)
          ? y.format(valueAt(y, 0.5))
          : ""
  const [low, middle, high] = [x.format(valueAt(x, 0)), x.format(valueAt(x, 0.5)), x.format(x.max)]
  const half = Math.floor(WIDTH / 2)
  return [
    `  ${title}`,
    "",
    ...grid.map((cells, row) => `  ${label(row).padStart(left)} │${cells.join("").trimEnd()}`),
    `  ${" ".repeat(left)} └${"─".repeat(WIDTH)}`,
    `  ${" ".repeat(left)}  ${low}${middle.padStart(half - low.length + Math.floor(middle.length / 2))}${high.padStart(WIDTH - half - Math.floor(middle.length / 2))}`,
    `  ${" ".repeat(left)}  ${y.name} over ${x.name}; ${series.map((one) => `${markOf(series, one)} ${one.name}`).join(", ")}`
  ].join("\n")
}

const colors = ["#0b63ce", "#9a9a9a", "#c2410c", "#15803d"]

/** As a picture that stands by itself. */
export const toSvg = ({ series, title, x, y }: Chart): string => {
  const [width, height, left, bottom, top, right] = [640, 400, 56, 48, 40, 20]
  const atX = (value: number): number => Math.round((left + partOf(x, value) * (width - left - right)) * 10) / 10
  const atY = (value: number): number =>
    Math.round((height - bottom - partOf(y, value) * (height - top - bottom)) * 10) / 10
  const ticks = [0, 0.25, 0.5, 0.75, 1]
  const shapes = series.map(({ kind, points }, index) => {
    const color = colors[index % colors.length]!
    const inside = points.filter((point) => isOn(x, point.x) && isOn(y, point.y))
    const path = inside.map((point) => `${atX(point.x)},${atY(point.y)}`).join(" ")
    return `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${path}"/>${
      kind === "line"
        ? ""
        : inside.map((point) => `<circle cx="${atX(point.x)}" cy="${atY(point.y)}" r="4" fill="${color}"/>`).join("")
    }`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${escape(title)}">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="22" font-size="14" font-weight="600">${escape(title)}</text>`,
    ...ticks.flatMap((tick) => [
      `<line x1="${left}" x2="${width - right}" y1="${atY(valueAt(y, tick))}" y2="${atY(valueAt(y, tick))}" stroke="#e5e5e5"/>`,
      `<text x="${left - 6}" y="${atY(valueAt(y, tick)) + 4}" text-anchor="end" fill="#555555">${escape(y.format(valueAt(y, tick)))}</text>`,
      `<text x="${atX(valueAt(x, tick))}" y="${height - bottom + 16}" text-anchor="middle" fill="#555555">${escape(x.format(valueAt(x, tick)))}</text>`
    ]),
    ...shapes,
    `<text x="${(left + width - right) / 2}" y="${height - 10}" text-anchor="middle" fill="#333333">${escape(`${y.name} over ${x.name}`)}</text>`,
    ...series.map(
      ({ name }, index) =>
        `<text x="${width - right}" y="${22 + index * 16}" text-anchor="end" fill="${colors[index % colors.length]!}">${escape(name)}</text>`
    ),
    "</svg>",
    ""
  ].join("\n")
}
