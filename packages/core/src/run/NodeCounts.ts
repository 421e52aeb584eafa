/**
 * The progress of a flow's nodes: rows done, reused, failed and skipped, and the expected total.
 *
 * @internal
 */
import type * as LayerEvent from "../client/LayerEvent.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import type * as RunEvent from "./RunEvent.ts"

/** The rows of one node. */
export interface NodeStats {
  running: number
  done: number
  /** Reused results, one for each row that it was given. */
  reused: number
  /** Computed values, including those of filtered rows. */
  made: number
  failed: number
  skipped: number
  /** Groups that lack failed rows. */
  incomplete: number
  /** Rows of the first side of a join without a partner, and where the first one is. */
  unmatched: { rows: number; readonly first: string } | undefined
  /** The loops of its rows. */
  loops: { rows: number; calls: number; most: number; unfinished: number } | undefined
}

/** How far a source has been read, in the unit of its size. */
export interface SourceProgress {
  readonly size: number | undefined
  offset: number
  ended: boolean
}

export interface NodeCounts {
  readonly statsOf: (node: Node.Any) => NodeStats
  /** How far each source has been read. */
  readonly readings: Map<Node.Any, SourceProgress>
  /** A loop of a row has ended. */
  readonly countLoop: (loop: LayerEvent.Loop) => void
  /** A row failed in a node. An output has no counts. */
  readonly countDefect: (node: Node.Any) => void
  readonly progress: () => ReadonlyArray<RunEvent.NodeProgress>
  /** Another process has computed values of a node: they are not reused when they are found. */
  readonly addMade: (node: string, count: number) => void
  /** The number of values of a node that other processes have computed in this attempt. */
  readonly setMade: (node: string, count: number) => void
  /** All rows are replayed: their counts start again. */
  readonly restart: () => void
  /** A source has ended. Returns what is wrong if it gave more rows before. */
  readonly endOf: (source: Node.Any) => string | undefined
}

const zero = (): NodeStats => ({
  running: 0,
  done: 0,
  reused: 0,
  made: 0,
  failed: 0,
  skipped: 0,
  incomplete: 0,
  unmatched: undefined,
  loops: undefined
})

const addLoop = (stats: NodeStats, { calls, isFinished, most }: LayerEvent.Loop): void => {
  stats.loops ??= { rows: 0, calls: 0, most: 0, unfinished: 0 }
  stats.loops.rows++
  stats.loops.calls += calls
  stats.loops.most = Math.max(stats.loops.most, most)
  if (!isFinished) stats.loops.unfinished++
}

export const make = (flow: Flow.Any, limit: number | undefined): NodeCounts => {
  const { nodes } = flow.graph
  const fresh = () => new Map<Node.Any, NodeStats>(nodes.map((node) => [node, zero()]))
  let stats = fresh()
  // An expansion makes its list in a row of the domain above, which is counted separately from the resulting rows.
  const above = new Map<string, NodeStats>()
  const readings = new Map<Node.Any, SourceProgress>()
  /** The rows of each source, and the computed values of each node, in earlier replays. */
  const rowsBefore = new Map<Node.Any, number>()
  const madeBefore = new Map<string, number>()

  /** The total rows of a node that follows a source, from the share of the source that was read. */
  const totalOf = (node: Node.Any): number | undefined => {
    if (node.domain.parent !== undefined) return undefined
    const source = nodes.find((other) => other.name === node.domain.root)!
    if (source.kind._tag !== "Source") return undefined
    const { done, failed } = stats.get(source)!
    const rows = done + failed
    const reading = readings.get(source)
    if (reading === undefined || rows === 0) return undefined
    if (reading.ended) return rows
    if (reading.size === undefined || reading.offset === 0) return undefined
    const total = Math.max(rows, Math.round((rows * reading.size) / reading.offset))
    return limit === undefined || !flow.graph.driving.has(source) ? total : Math.min(total, limit)
  }

  const progressOf = (node: Node.Any): RunEvent.NodeProgress => {
    const { done, failed, incomplete, loops, reused, running, skipped, unmatched } = stats.get(node)!
    const lists = above.get(node.name)
    const total = totalOf(node)
    return {
      name: node.name,
      kind: Node.kindOf(node),
      running: running + (lists?.running ?? 0),
      done,
      // Values computed in an earlier replay are found again in this one.
      reused: Math.max(0, reused + (lists?.reused ?? 0) - (madeBefore.get(node.name) ?? 0)),
      failed: failed + (lists?.failed ?? 0),
      skipped: skipped + (lists?.skipped ?? 0),
      ...(total === undefined ? undefined : { total }),
      ...(incomplete === 0 ? undefined : { incomplete }),
      ...(unmatched === undefined ? undefined : { unmatched: { ...unmatched } }),
      ...(loops === undefined ? undefined : { loops: { ...loops } })
    }
  }

  return {
    readings,
    statsOf: (node) => {
      const own = stats.get(node)
      if (own !== undefined) return own
      let lists = above.get(node.name)
      if (lists === undefined) above.set(node.name, (lists = zero()))
      return lists
    },
    countLoop: (loop) => {
      const node = nodes.find(({ name }) => name === loop.step)
      if (node !== undefined) addLoop(stats.get(node)!, loop)
    },
    countDefect: (node) => {
      const own = stats.get(node)
      if (own !== undefined) own.failed++
    },
    progress: () => nodes.map(progressOf),
    setMade: (node, count) => void madeBefore.set(node, Math.max(0, count)),
    addMade: (node, count) => void madeBefore.set(node, (madeBefore.get(node) ?? 0) + count),
    restart: () => {
      for (const node of nodes) {
        const made = stats.get(node)!.made + (above.get(node.name)?.made ?? 0)
        madeBefore.set(node.name, (madeBefore.get(node.name) ?? 0) + made)
      }
      const before = stats
      stats = fresh()
      // The value of a loop is kept when it ends: no replay runs it again.
      for (const node of nodes) stats.get(node)!.loops = before.get(node)!.loops
      above.clear()
      readings.clear()
    },
    endOf: (source) => {
      const { done, failed } = stats.get(source)!
      const before = rowsBefore.get(source)
      rowsBefore.set(source, done + failed)
      return before !== undefined && done + failed < before
        ? `source ${source.name} gave ${before} rows, then ${done + failed}: with batches it is read more than once, so it must give the same rows each time (a file, an array; not a generator)`
        : undefined
    }
  }
}
