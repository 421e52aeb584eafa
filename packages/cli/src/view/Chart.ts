/** Charts with points and lines over two axes, for a terminal and as SVG. */
import stringWidth from "string-width"
import * as Svg from "./Svg.ts"

export interface Series {
  readonly name: string
  /** From left to right. */
  readonly points: ReadonlyArray<{ readonly x: number; readonly y: number }>
  /**
   * A plain line, a line through marked points, or an area down to the series below it. A terminal shows only the
   * points.
   */
  readonly kind: "line" | "points" | "area"
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

/** The position of a value on an axis, from 0 to 1, and back. */
const partOf = ({ max, min = 0 }: Axis, value: number): number => (value - min) / (max - min)
const valueAt = ({ max, min = 0 }: Axis, part: number): number => min + part * (max - min)
const isOn = (axis: Axis, value: number): boolean => value <= axis.max && value >= (axis.min ?? 0)

/** The marks of a chart's lines and points, in order. */
const marks = { line: ["·", "+", "×", "∘"], points: ["●", "◆", "▲"], area: ["●", "◆", "▲"] } as const

const markOf = (all: ReadonlyArray<Series>, one: Series): string => {
  const own = marks[one.kind]
  return own[all.filter(({ kind }) => kind === one.kind).indexOf(one) % own.length]!
}

/** Renders lines of text. */
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
  const left = Math.max(...[0, 0.5, 1].map((part) => stringWidth(y.format(valueAt(y, part)))))
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

/** The size of a picture, and the margins around its axes. */
const SIZE = { width: 640, height: 400 }
const ROOM = { bottom: 48, top: 40, right: 32 }

const TICKS = [0, 0.25, 0.5, 0.75, 1]

/** The margin for the labels of the vertical axis. */
const leftOf = ({ y }: Pick<Chart, "y">): number =>
  Math.max(56, 14 + 7 * Math.max(...TICKS.map((part) => stringWidth(y.format(valueAt(y, part))))))

/** The position of a value in a picture, to a tenth of a pixel. */
const placeOf = ({ x, y }: Pick<Chart, "x" | "y">) => {
  const left = leftOf({ y })
  return {
    atX: (value: number): number => Math.round((left + partOf(x, value) * (SIZE.width - left - ROOM.right)) * 10) / 10,
    atY: (value: number): number =>
      Math.round((SIZE.height - ROOM.bottom - partOf(y, value) * (SIZE.height - ROOM.top - ROOM.bottom)) * 10) / 10
  }
}

/** The lines, points and areas of a chart. */
const shapes = (chart: Chart, palette: Svg.Palette): ReadonlyArray<string> => {
  const { atX, atY } = placeOf(chart)
  const { series, x, y } = chart
  return series.map(({ kind, name, points }, index) => {
    const color = Svg.color(palette, index)
    const inside = points.filter((point) => isOn(x, point.x) && isOn(y, point.y))
    const path = inside.map((point) => `${atX(point.x)},${atY(point.y)}`)
    const line = `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${path.join(" ")}"/>`
    if (kind === "line") return line
    const marked = inside.map(
      (point) =>
        `<circle cx="${atX(point.x)}" cy="${atY(point.y)}" r="${kind === "area" ? 2 : 4}" fill="${color}">${Svg.title(`${name}: ${y.format(point.y)}`)}</circle>`
    )
    if (kind === "points") return `${line}${marked.join("")}`
    const below = series[index + 1]?.kind === "area" ? series[index + 1]!.points : points.map(({ x }) => ({ x, y: 0 }))
    const back = below.toReversed().map((point) => `${atX(point.x)},${atY(point.y)}`)
    const area = `<polygon fill="${color}" fill-opacity="0.3" points="${[...path, ...back].join(" ")}"/>`
    return `${area}${line}${marked.join("")}`
  })
}

/** Renders a picture. */
export const toSvg = (chart: Chart, palette: Svg.Palette = Svg.file): string => {
  const { series, title, x, y } = chart
  const { atX, atY } = placeOf(chart)
  const { height, width } = SIZE
  const { bottom, right } = ROOM
  const left = leftOf(chart)
  const tick = (part: number): ReadonlyArray<string> => {
    const [value, line] = [valueAt(y, part), atY(valueAt(y, part))]
    return [
      `<line x1="${left}" x2="${width - right}" y1="${line}" y2="${line}" stroke="${palette.grid}"/>`,
      Svg.text({ x: left - 6, y: line + 4 }, y.format(value), { fill: palette.dim, anchor: "end" }),
      Svg.text({ x: atX(valueAt(x, part)), y: height - bottom + 16 }, x.format(valueAt(x, part)), {
        fill: palette.dim,
        anchor: "middle"
      })
    ]
  }
  return Svg.picture(SIZE, title, palette, [
    Svg.text({ x: left, y: 22 }, title, { fill: palette.text, attributes: 'font-size="14" font-weight="600"' }),
    ...TICKS.flatMap(tick),
    ...shapes(chart, palette),
    Svg.text({ x: (left + width - right) / 2, y: height - 10 }, `${y.name} over ${x.name}`, {
      fill: palette.text,
      anchor: "middle"
    }),
    ...series.map(({ name }, index) =>
      Svg.text({ x: width - right, y: 22 + index * 16 }, name, { fill: Svg.color(palette, index), anchor: "end" })
    )
  ])
}
