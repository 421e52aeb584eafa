/** The rows of a run, as many as there are: only those that are seen are asked for and drawn. */
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks"
import type * as RowTable from "../RowTable.ts"
import * as Api from "./Api.ts"
import { Drawer } from "./Drawer.tsx"
import { Filters } from "./Filters.tsx"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as View from "./View.ts"
import * as Words from "./Words.ts"

interface PageOfRows {
  readonly total: number
  readonly isWhole: boolean
  readonly version: number
  readonly rows: ReadonlyArray<RowTable.IndexedRow>
}

/** The height of a row in pixels, rows that are asked for at once, and rows drawn beyond what is seen. */
const HEIGHT = 30
const PAGE = 100
const BEYOND = 8

/** The most pixels of an element that all browsers draw. A longer table moves faster under the scroll bar. */
const MOST_PIXELS = 8_000_000

type Cell = (row: RowTable.IndexedRow) => string

const columns: ReadonlyArray<readonly [column: RowTable.Column, name: string, cell: Cell, isNumber: boolean]> = [
  [
    "row",
    "row",
    ({ position, row }) => (position === null || position === "" ? String(row) : Words.place(position)),
    false
  ],
  ["step", "step", ({ step }) => step, false],
  ["model", "model", ({ model }) => (model === "" ? "–" : model), false],
  ["origin", "answer from", ({ origin }) => origin ?? "–", false],
  [
    "cost",
    "cost",
    ({ attempts, cost, estimated, origin }) =>
      attempts === 0 && origin === null
        ? "–"
        : `${estimated === "0" || cost === null ? "" : "≤ "}${Words.picodollars(cost)}`,
    true
  ],
  ["input", "input", ({ input }) => Words.count(input), true],
  ["output", "output", ({ output }) => Words.count(output), true],
  [
    "milliseconds",
    "call time",
    ({ attempts, milliseconds }) => (attempts === 0 ? "–" : Words.duration(milliseconds)),
    true
  ],
  ["attempts", "calls", ({ attempts }) => Words.count(attempts), true],
  ["failed", "failed calls", ({ failed }) => Words.count(failed), true],
  ["certainty", "certainty", ({ certainty }) => (certainty === null ? "–" : Words.percent(certainty)), true],
  ["at", "at", ({ at }) => Words.time(at), false],
  ["error", "error", ({ error }) => (error === null ? "" : Words.shortened(error, 200)), false]
]

/** The parameters of the server that say which rows, and in which order. */
const queryOf = (params: URLSearchParams): ReadonlyArray<readonly [string, string]> =>
  [...params].filter(([name]) => name === "f" || name === "sort" || name === "order")

/** Pages of rows, as they were asked for. Those of an earlier version are shown until the new ones are there. */
const usePages = (run: string, query: string, every: number) => {
  const [state, setState] = useState<{ readonly total: number; readonly isWhole: boolean; readonly problem?: string }>()
  const [, redraw] = useState(0)
  const pages = useRef(new Map<number, PageOfRows>())
  const asked = useRef(new Set<number>())
  const seen = useRef<ReadonlyArray<number>>([0])
  const current = useRef(query)

  const ask = useCallback(
    async (page: number) => {
      if (asked.current.has(page)) return
      asked.current.add(page)
      const mine = query
      try {
        const answer = await Api.get<PageOfRows>(
          Api.runPath(run, "/rows", [
            ...new URLSearchParams(mine),
            ["from", String(page * PAGE)],
            ["count", String(PAGE)]
          ])
        )
        if (current.current !== mine) return
        pages.current.set(page, answer)
        setState({ total: answer.total, isWhole: answer.isWhole })
        redraw((n) => n + 1)
      } catch (error) {
        if (current.current !== mine) return
        const problem = error instanceof Error ? error.message : String(error)
        // Rows of an earlier query would be taken for those of this one.
        const isRefused = error instanceof Api.Refusal && error.status === 400
        setState((before) => ({
          total: isRefused ? 0 : (before?.total ?? 0),
          isWhole: isRefused || (before?.isWhole ?? true),
          problem
        }))
      } finally {
        asked.current.delete(page)
      }
    },
    [run, query]
  )

  useEffect(() => {
    current.current = query
    pages.current = new Map()
    void ask(0)
    const timer = setInterval(() => {
      if (document.hidden) return
      for (const page of seen.current) void ask(page)
      // What is out of sight is asked for again when it is seen.
      for (const page of pages.current.keys()) if (!seen.current.includes(page)) pages.current.delete(page)
    }, every)
    return () => clearInterval(timer)
  }, [ask, query, every])

  return {
    state,
    row: (index: number): RowTable.IndexedRow | undefined =>
      pages.current.get(Math.floor(index / PAGE))?.rows[index % PAGE],
    see: (first: number, last: number) => {
      const wanted = Array.from(
        { length: Math.floor(last / PAGE) - Math.floor(first / PAGE) + 1 },
        (_, at) => Math.floor(first / PAGE) + at
      )
      seen.current = wanted
      for (const page of wanted) if (!pages.current.has(page)) void ask(page)
    }
  }
}

/** The rows between two heights of a list that may be longer than its element. */
const useWindow = (total: number) => {
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  useEffect(() => {
    const element = box.current
    if (element === null) return
    const resized = new ResizeObserver(() => setHeight(element.clientHeight))
    resized.observe(element)
    return () => resized.disconnect()
  }, [])
  const whole = total * HEIGHT
  const pixels = Math.min(whole, MOST_PIXELS)
  const room = Math.max(1, pixels - height)
  const scale = pixels === whole ? 1 : (whole - height) / room
  const first = Math.max(0, Math.min(Math.max(0, total - 1), Math.floor((top * scale) / HEIGHT)))
  const shown = Math.ceil(height / HEIGHT) + 1
  return {
    box,
    first,
    last: Math.min(total - 1, first + shown),
    pixels,
    shown,
    /** Where the rows that are drawn begin. */
    offset: scale === 1 ? first * HEIGHT : Math.min(top, pixels - height),
    onScroll: () => setTop(box.current?.scrollTop ?? 0),
    show: (index: number) => {
      const element = box.current
      if (element === null) return
      const at = (index * HEIGHT) / scale
      if (at < element.scrollTop) element.scrollTop = at
      else if (at + HEIGHT > element.scrollTop + height - HEIGHT * 2) element.scrollTop = at - height + HEIGHT * 3
    }
  }
}

const Head = ({ params, run }: { readonly run: string; readonly params: URLSearchParams }) => {
  const sort = params.get("sort") ?? "row"
  const isDescending = params.get("order") === "desc"
  const sortBy = (column: string) => {
    const next = new URLSearchParams(params)
    next.set("sort", column)
    if (sort === column && !isDescending) next.set("order", "desc")
    else next.delete("order")
    Route.go(Route.format(run, "rows", next))
  }
  return (
    <div role="row" class="row head" aria-rowindex={1}>
      {columns.map(([column, name, , isNumber]) => (
        <div
          key={column}
          role="columnheader"
          class={`cell ${column} ${isNumber ? "number" : ""}`}
          aria-sort={sort === column ? (isDescending ? "descending" : "ascending") : "none"}
        >
          <button type="button" onClick={() => sortBy(column)}>
            {name}
            {sort === column ? (isDescending ? " ↓" : " ↑") : ""}
          </button>
        </div>
      ))}
    </div>
  )
}

const Grid = ({
  onKey,
  onOpen,
  params,
  rowAt,
  run,
  seen,
  selected,
  total
}: {
  readonly run: string
  readonly params: URLSearchParams
  readonly total: number
  readonly seen: ReturnType<typeof useWindow>
  readonly rowAt: (index: number) => RowTable.IndexedRow | undefined
  readonly selected: number
  readonly onKey: (event: KeyboardEvent) => void
  readonly onOpen: (index: number) => void
}) => {
  const first = Math.max(0, seen.first - BEYOND)
  const last = Math.min(total - 1, seen.last + BEYOND)
  const drawn = total === 0 ? [] : Array.from({ length: last - first + 1 }, (_, at) => first + at)
  return (
    <div
      class="grid"
      role="grid"
      aria-label="Rows"
      aria-rowcount={total + 1}
      aria-activedescendant={`row-${selected}`}
      tabIndex={0}
      ref={seen.box}
      onScroll={seen.onScroll}
      onKeyDown={onKey}
      hidden={total === 0}
    >
      <Head run={run} params={params} />
      <div class="space" style={{ height: `${seen.pixels}px` }}>
        <div style={{ transform: `translateY(${seen.offset - (seen.first - first) * HEIGHT}px)` }}>
          {drawn.map((index) => {
            const found = rowAt(index)
            return (
              <div
                key={index}
                id={`row-${index}`}
                role="row"
                aria-rowindex={index + 2}
                aria-selected={index === selected}
                class={`row ${index === selected ? "selected" : ""} ${(found?.error ?? null) === null ? "" : "bad"}`}
                onClick={() => onOpen(index)}
              >
                {columns.map(([column, , cell, isNumber]) => (
                  <div
                    key={column}
                    role="gridcell"
                    class={`cell ${column} ${isNumber ? "number" : ""}`}
                    title={column === "row" ? (found?.position ?? undefined) : undefined}
                  >
                    {found === undefined ? "…" : cell(found)}
                  </div>
                ))}
              </div>
            )
          })}
        </div>
      </div>
    </div>
  )
}

/** The row that keys act on: at first that of the address, where it is on the first page. */
const useSelected = (query: string, total: number, isShown: (index: number) => boolean) => {
  const state = useState(0)
  useEffect(() => {
    const at = Array.from({ length: Math.min(PAGE, total) }, (_, index) => index).findIndex(isShown)
    state[1](Math.max(0, at))
  }, [query, total > 0])
  return state
}

/** What keys move the selection by. */
const movesOf = (shown: number, total: number): { readonly [key: string]: number } => ({
  ArrowDown: 1,
  ArrowUp: -1,
  j: 1,
  k: -1,
  PageDown: shown - 2,
  PageUp: 2 - shown,
  Home: -total,
  End: total
})

export const Rows = ({ route, run, summary }: ViewProps) => {
  const { params } = route
  const query = useMemo(
    () => new URLSearchParams(queryOf(params).map(([a, b]) => [a, b])).toString(),
    [params.toString()]
  )
  const pages = usePages(run, query, View.everyOf(summary.item.state))
  const total = pages.state?.total ?? 0
  const seen = useWindow(total)
  useEffect(() => {
    if (total > 0) pages.see(Math.max(0, seen.first - BEYOND), Math.min(total - 1, seen.last + BEYOND))
  }, [seen.first, seen.last, total, query])
  const [step, row] = [params.get("step"), params.get("row")]
  const isOpen = step !== null && row !== null
  const [selected, setSelected] = useSelected(query, total, (index) => {
    const found = pages.row(index)
    return found !== undefined && found.step === step && String(found.row) === row
  })
  useEffect(() => {
    // Keys work at once, unless something else is in use.
    if (total > 0 && !isOpen && document.activeElement === document.body)
      seen.box.current?.focus({ preventScroll: true })
  }, [total > 0])
  const open = (index: number) => {
    const found = pages.row(index)
    if (found === undefined) return
    setSelected(index)
    const next = new URLSearchParams(params)
    next.set("step", found.step)
    next.set("row", String(found.row))
    Route.go(Route.format(run, "rows", next))
  }
  const close = () => {
    const next = new URLSearchParams(params)
    next.delete("step")
    next.delete("row")
    Route.go(Route.format(run, "rows", next), true)
    seen.box.current?.focus()
  }
  const onKey = (event: KeyboardEvent) => {
    const move = movesOf(seen.shown, total)[event.key]
    if (move !== undefined) {
      event.preventDefault()
      const next = Math.max(0, Math.min(total - 1, selected + move))
      setSelected(next)
      seen.show(next)
    } else if (event.key === "Enter") open(selected)
  }
  return (
    <>
      <Filters run={run} params={params} total={pages.state?.total} isWhole={pages.state?.isWhole ?? true} />
      <Parts.Problem text={pages.state?.problem} />
      {pages.state === undefined ? (
        <Parts.Loading />
      ) : total === 0 ? (
        <Parts.Empty>
          {params.has("f")
            ? "No row matches."
            : "No row has called a model: rows that are reused as they are have no calls."}
        </Parts.Empty>
      ) : null}
      <Grid
        run={run}
        params={params}
        total={total}
        seen={seen}
        rowAt={pages.row}
        selected={selected}
        onKey={onKey}
        onOpen={open}
      />
      {!isOpen ? null : <Drawer key={`${step}/${row}`} run={run} step={step} row={Number(row)} onClose={close} />}
    </>
  )
}
