/** Shows a run in progress: a live display on a terminal, plain lines otherwise, NDJSON for programs. */
import * as Money from "@pipe/core/Money"
import * as Format from "@pipe/core/internal/Format"
import * as RunEvent from "@pipe/core/RunEvent"
import type * as Output from "../process/Output.ts"
import * as FailedRow from "./FailedRow.ts"

export type Mode = "live" | "plain" | "json" | "quiet"

export interface View {
  readonly show: (event: RunEvent.RunEvent) => void
  /** A line for the user at the terminal. */
  readonly note: (line: string) => void
  /** Removes the live display. */
  readonly end: () => void
}

type Progress = Extract<RunEvent.RunEvent, { readonly _tag: "Progress" }>

/** The failures of one kind that are shown; the others are counted. */
const SHOWN = 3

/** The most kinds of failures that are distinguished. */
const MOST_KINDS = 20

/** Milliseconds between plain lines. */
const PLAIN_EVERY = 2_000

/** The same while batches are at the provider. */
const BATCHES_EVERY = 30_000

/** How a run is shown, by flags and by the kind of standard error. */
export const modeOf = (
  input: { readonly json?: boolean; readonly quiet?: boolean },
  { canRepaint }: Output.Output
): Mode => (input.json === true ? "json" : input.quiet === true ? "quiet" : canRepaint ? "live" : "plain")

export const make = (mode: Mode, { columns, erase, err, out }: Output.Output): View => {
  let painted = 0
  let lastPlain = 0
  let last: Progress | undefined
  const missing = new Map<string, number>()
  const failures = new Map<string, { readonly node: string; readonly message: string; count: number }>()

  const clear = (): void => {
    if (painted > 0) erase(painted)
    painted = 0
  }

  const paint = (progress: Progress): void => {
    clear()
    const lines = render(progress, columns())
    err(`${lines.join("\n")}\n`)
    painted = lines.length
  }

  const note = (line: string): void => {
    clear()
    err(`${line}\n`)
    if (mode === "live" && last !== undefined) paint(last)
  }

  return {
    note,
    end: () => {
      clear()
      last = undefined
      for (const { count, message, node } of failures.values()) {
        const more = count - SHOWN
        if (more > 0) err(`failed: ${Format.of(more, "more row", "more rows")} at ${node}: ${message}\n`)
      }
      failures.clear()
    },
    show: (event) => {
      if (mode === "json") {
        out(`${RunEvent.toJson(event)}\n`)
        if (event._tag === "Warning") err(`warning: ${event.message}\n`)
        return
      }
      const line = lineOf(event, mode)
      if (line !== undefined) return note(line)
      switch (event._tag) {
        case "Progress": {
          if (mode === "live") {
            last = event
            return paint(event)
          }
          if (
            mode === "plain"
            && event.milliseconds - lastPlain >= ((event.batches?.open ?? 0) > 0 ? BATCHES_EVERY : PLAIN_EVERY)
          ) {
            lastPlain = event.milliseconds
            err(`${plain(event)}\n`)
          }
          return
        }
        case "RowMissing": {
          const key = `${event.node}\n${event.reason}`
          const count = (missing.get(key) ?? 0) + 1
          missing.set(key, count)
          if (count <= 3) note(`not reused: ${event.position}: ${event.node}: ${event.reason}`)
          else if (count === 4) note(`not reused: more rows of ${event.node} for the same reason`)
          return
        }
        case "RowFailed": {
          if (mode === "quiet") return
          const kind = `${event.node}\n${event.message}`
          const isKnown = failures.has(kind) || failures.size < MOST_KINDS
          const key = isKnown ? kind : event.node
          let failure = failures.get(key)
          if (failure === undefined) {
            failure = { node: event.node, message: isKnown ? event.message : "for other reasons", count: 0 }
            failures.set(key, failure)
          }
          if (++failure.count <= SHOWN) note(`failed: ${FailedRow.text(event)}`)
          return
        }
      }
    }
  }
}

/** The line of an event that has one. */
const lineOf = (event: RunEvent.RunEvent, mode: Mode): string | undefined => {
  if (event._tag === "Warning") return `warning: ${event.message}`
  if (mode === "quiet") return undefined
  if (event._tag === "WorkerJoined") return `worker ${event.worker} has joined`
  return event._tag === "WorkerLeft" ? `worker ${event.worker} has left: others get its rows` : undefined
}

/** The widest bar and the narrowest, the longest name of a node, and the room for its counts. */
const BAR = 24
const LEAST_BAR = 6
const MOST_NAME = 28
const COUNTS = 24

const bar = (share: number, width: number): string => {
  const filled = Math.round(Math.max(0, Math.min(1, share)) * width)
  return `${"█".repeat(filled)}${"░".repeat(width - filled)}`
}

const cut = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1)).toWellFormed()}…`

/** Parts side by side, on as many lines as they need. */
const wrapped = (parts: ReadonlyArray<string>, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const part of parts) {
    const line = lines.at(-1)
    const joined = `${line} · ${part}`
    if (line !== undefined && joined.length < columns) lines[lines.length - 1] = joined
    else lines.push(cut(`  ${part}`, columns - 1))
  }
  return lines
}

const ended = (node: RunEvent.NodeProgress): number => node.done + node.failed + node.skipped

const seconds = (milliseconds: number): string => Format.duration(Math.max(0, milliseconds), "seconds")

/** Rows per second of the slowest unfinished node, and the remaining time. */
const pace = (progress: Progress): { readonly perSecond: number; readonly left: number | undefined } => {
  const elapsed = progress.milliseconds / 1_000
  const slowest =
    progress.nodes
      .filter((node) => node.total !== undefined && node.kind !== "Source")
      .sort((a, b) => ended(a) / a.total! - ended(b) / b.total!)[0] ?? progress.nodes[0]
  const rows = slowest === undefined ? 0 : ended(slowest)
  const perSecond = elapsed === 0 ? 0 : rows / elapsed
  return {
    perSecond,
    left: slowest?.total === undefined || perSecond === 0 ? undefined : ((slowest.total - rows) / perSecond) * 1_000
  }
}

/** The live display: a bar per node, then the money. It is as wide as the terminal. */
export const render = (progress: Progress, columns: number): ReadonlyArray<string> => {
  const counted = progress.nodes.map((node) =>
    [
      ` ${ended(node)}${node.total === undefined ? "" : `/${node.total}`}`,
      // The failed ones come first: a narrow terminal cuts what runs.
      node.failed > 0 ? `, ${node.failed} failed` : ""
    ].join("")
  )
  const counts = Math.max(...counted.map((text) => text.length))
  const longest = Math.max(...progress.nodes.map((node) => node.name.length))
  const width = Math.max(LEAST_BAR, Math.min(MOST_NAME, longest, columns - LEAST_BAR - counts - 4))
  const room = Math.max(LEAST_BAR, Math.min(BAR, columns - width - Math.max(counts, COUNTS) - 4))
  const lines = progress.nodes.map((node, at) => {
    const share = node.total === undefined || node.total === 0 ? undefined : ended(node) / node.total
    const line = `  ${cut(node.name, width).padEnd(width)} ${share === undefined ? "·".repeat(room) : bar(share, room)}`
    const running = node.running > 0 && node.kind !== "Source" ? `, ${node.running} running` : ""
    const own = `${line}${counted[at]}`
    return cut(own.length + running.length < columns ? `${own}${running}` : own, columns - 1)
  })
  const away = batches(progress)
  return [...lines, ...(away === undefined ? [] : wrapped(away, columns)), ...wrapped(money(progress), columns)]
}

/** The status of batches that rows wait for. */
const batches = ({ batches }: Progress): ReadonlyArray<string> | undefined => {
  if (batches === undefined || batches.open + batches.queued + batches.back === 0) return undefined
  const { back, expected, failed, open, queued, running, sentAt } = batches
  return [
    `${open} ${open === 1 ? "batch" : "batches"}`,
    `${queued} queued`,
    `${running} running`,
    `${back} back`,
    `${failed} failed`,
    ...(sentAt === undefined ? [] : [`for ${seconds(Date.now() - sentAt)}`]),
    `${Money.format(expected)} expected`
  ]
}

const money = (progress: Progress): ReadonlyArray<string> => {
  const { left, perSecond } = pace(progress)
  const hits = progress.answers.cache + progress.answers.shared + progress.answers.semantic
  return [
    `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} rows/s`,
    `${Money.format(progress.spent)} spent`,
    ...(progress.left === undefined ? [] : [`${Money.format(progress.left)} left of the budget`]),
    `${Money.format(progress.saved)} saved`,
    `${hits} cache hits`,
    ...(progress.workers === undefined ? [] : [Format.of(progress.workers, "worker")]),
    ...waiting(progress),
    ...(left === undefined ? [] : left < 500 ? ["finishing"] : [`${seconds(left)} left`])
  ]
}

/** How many calls wait, for how long, and for what. */
const waiting = ({ waiting: all, waitingFor }: Progress): ReadonlyArray<string> => {
  if (waitingFor === undefined) return []
  const { calls, failure, model, of, reason, until } = waitingFor
  const left = seconds(Math.max(0, until - Date.now()))
  const what =
    reason === "retry"
      ? `${calls} to be retried within ${left}${failure === undefined ? "" : ` (${failure})`}`
      : reason === "rate limit"
        ? `${calls} waiting for the limit of ${of ?? (model === "" ? "the provider" : model)}, ${left}`
        : `${calls} waiting for ${reason}${of === undefined ? "" : ` of ${of}`}, ${left}`
  return [all > calls ? `${what}, ${all - calls} for others` : what]
}

const plain = (progress: Progress): string => {
  const nodes = progress.nodes.map(
    (node) => `${node.name} ${ended(node)}${node.total === undefined ? "" : `/${node.total}`}`
  )
  return [
    `${seconds(progress.milliseconds)}: ${nodes.join(", ")}`,
    ...(batches(progress) ?? []),
    ...money(progress)
  ].join(" · ")
}
