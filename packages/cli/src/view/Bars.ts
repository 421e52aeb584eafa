/** Bar charts of amounts, for a page. */
import * as Svg from "./Svg.ts"

export interface Bar {
  readonly name: string
  readonly value: number
  /** The formatted amount. */
  readonly label: string
  readonly color: string
}

const WIDTH = 480
const ROW = 34
const LEFT = 150
const RIGHT = 90

/** One bar per amount, from the left. */
export const toSvg = (name: string, bars: ReadonlyArray<Bar>): string => {
  const most = Math.max(...bars.map(({ value }) => value), Number.MIN_VALUE)
  return Svg.picture(
    { width: WIDTH, height: bars.length * ROW + 8 },
    name,
    Svg.page,
    bars.map((bar, index) => {
      const y = 4 + index * ROW
      const width = Math.max(1, Math.round((bar.value / most) * (WIDTH - LEFT - RIGHT)))
      return [
        `<g>${Svg.title(`${bar.name}: ${bar.label}`)}`,
        Svg.text({ x: LEFT - 8, y: y + 19 }, shortened(bar.name), { fill: Svg.page.text, anchor: "end" }),
        `<rect x="${LEFT}" y="${y + 4}" width="${width}" height="${ROW - 12}" rx="3" fill="${bar.color}"/>`,
        Svg.text({ x: LEFT + width + 6, y: y + 19 }, bar.label, { fill: Svg.page.dim }),
        "</g>"
      ].join("")
    })
  )
}

/** The most characters beside a bar. */
const MOST = 22

const shortened = (name: string): string => (name.length <= MOST ? name : `${name.slice(0, MOST - 1).toWellFormed()}…`)
