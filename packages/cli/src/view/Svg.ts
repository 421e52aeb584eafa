/** What pictures share: the colours of a separate file or of a page, and their texts. */
import { escape } from "./Html.ts"

export interface Palette {
  readonly ground: string
  readonly grid: string
  readonly dim: string
  readonly text: string
  /** Colours of series, in order. */
  readonly series: ReadonlyArray<string>
}

/** For a separate file. */
export const file: Palette = {
  ground: "#ffffff",
  grid: "#e5e5e5",
  dim: "#555555",
  text: "#333333",
  series: ["#0b63ce", "#9a9a9a", "#c2410c", "#15803d"]
}

/** For a page, which has its own colours for light and dark. */
export const page: Palette = {
  ground: "none",
  grid: "var(--line)",
  dim: "var(--dim)",
  text: "var(--text)",
  series: [0, 1, 2, 3, 4, 5].map((index) => `var(--c${index})`)
}

export const color = ({ series }: Palette, index: number): string => series[index % series.length]!

export const text = (
  at: { readonly x: number; readonly y: number },
  content: string,
  options: { readonly fill: string; readonly anchor?: "start" | "middle" | "end"; readonly attributes?: string }
): string =>
  `<text x="${at.x}" y="${at.y}" text-anchor="${options.anchor ?? "start"}" fill="${options.fill}"${
    options.attributes === undefined ? "" : ` ${options.attributes}`
  }>${escape(content)}</text>`

/** The tooltip of a shape. */
export const title = (content: string): string => `<title>${escape(content)}</title>`

/** A picture with an accessible name. */
export const picture = (
  size: { readonly width: number; readonly height: number },
  name: string,
  palette: Palette,
  content: ReadonlyArray<string>
): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${escape(name)}">`,
    `<rect width="${size.width}" height="${size.height}" fill="${palette.ground}"/>`,
    ...content,
    "</svg>",
    ""
  ].join("\n")
