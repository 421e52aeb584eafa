/** A flow's graph as SVG: a box per node with its rows and its money, from top to bottom. */
import * as dagre from "@dagrejs/dagre"
import { escape } from "./Html.ts"

export interface Box {
  readonly name: string
  readonly inputs: ReadonlyArray<string>
  /** Lines below the name. */
  readonly lines: ReadonlyArray<string>
  readonly failed: boolean
}

const CHARACTER = 7.4
const LINE = 17
const PADDING = 12

/** The most boxes of a graph with all edges drawn: layout time grows with the total length of the edges. */
const MAX_EDGES_OF = 60

/** The inputs of boxes, without those that another input depends on: large graphs only show these edges. */
const directInputs = (boxes: ReadonlyArray<Box>): ((box: Box) => ReadonlyArray<string>) => {
  const above = new Map<string, ReadonlySet<string>>()
  for (const { inputs, name } of boxes) {
    const all = new Set(inputs)
    for (const input of inputs) for (const other of above.get(input) ?? []) all.add(other)
    above.set(name, all)
  }
  return ({ inputs }) => inputs.filter((input) => !inputs.some((other) => above.get(other)?.has(input)))
}

/** Draws boxes and the edges between them. */
export const draw = (boxes: ReadonlyArray<Box>): string => {
  const graph = new dagre.Graph()
  graph.setGraph({ rankdir: "TB", nodesep: 24, ranksep: 36, marginx: 4, marginy: 4 })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const box of boxes) {
    const longest = Math.max(box.name.length * 1.1, ...box.lines.map((line) => line.length))
    graph.setNode(box.name, {
      width: Math.min(280, Math.max(120, longest * CHARACTER + PADDING * 2)),
      height: (box.lines.length + 1) * LINE + PADDING * 2 - 4
    })
  }
  const inputsOf = boxes.length > MAX_EDGES_OF ? directInputs(boxes) : (box: Box) => box.inputs
  for (const box of boxes) for (const input of inputsOf(box)) if (graph.hasNode(input)) graph.setEdge(input, box.name)
  dagre.layout(graph)
  const { height = 0, width = 0 } = graph.graph()
  const edges = graph.edges().map((edge: { readonly v: string; readonly w: string }) => {
    const points = graph.edge(edge)["points"] as ReadonlyArray<{ readonly x: number; readonly y: number }>
    const [first, ...rest] = points
    return `<path class="edge" marker-end="url(#arrow)" d="M${first!.x},${first!.y}${rest.map(({ x, y }) => `L${x},${y}`).join("")}"/>`
  })
  const nodes = boxes.map((box) => {
    const { height, width, x, y } = graph.node(box.name) as { height: number; width: number; x: number; y: number }
    const room = Math.floor((width - PADDING * 2) / CHARACTER)
    const clip = (text: string) => escape(text.length > room + 2 ? `${text.slice(0, room).toWellFormed()}…` : text)
    return `<g transform="translate(${x - width / 2},${y - height / 2})"><title>${escape(box.name)}</title>
<rect class="box${box.failed ? " failed" : ""}" width="${width}" height="${height}" rx="8"/>
<text class="name" x="${PADDING}" y="${PADDING + 11}">${clip(box.name)}</text>
${box.lines.map((line, index) => `<text class="line" x="${PADDING}" y="${PADDING + 11 + (index + 1) * LINE}">${clip(line)}</text>`).join("\n")}</g>`
  })
  return `<svg class="graph" viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" width="${Math.ceil(width)}" height="${Math.ceil(height)}" role="img" aria-label="the flow's graph">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="arrow" d="M0,0L8,4L0,8z"/></marker></defs>
${edges.join("\n")}
${nodes.join("\n")}
</svg>`
}
