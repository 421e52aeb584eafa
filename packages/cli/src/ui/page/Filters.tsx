/** Filters of the rows, and their export. They are in the address. */
import { useState } from "preact/hooks"
import type * as RowTable from "../RowTable.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import * as Words from "./Words.ts"

const names: ReadonlyArray<readonly [RowTable.Column, string, "number" | "text" | "values"]> = [
  ["step", "step", "values"],
  ["model", "model", "values"],
  ["origin", "answer from", "values"],
  ["cost", "cost in USD", "number"],
  ["input", "input tokens", "number"],
  ["output", "output tokens", "number"],
  ["milliseconds", "time in ms", "number"],
  ["attempts", "calls", "number"],
  ["failed", "failed calls", "number"],
  ["certainty", "certainty, 0 to 1", "number"],
  ["row", "row, from 0", "number"],
  ["kind", "kind of error", "values"],
  ["error", "error", "text"],
  ["position", "position", "text"]
]

/** What can be exported: what can be filtered, and the time. */
const exported: ReadonlyArray<string> = [
  "position",
  "row",
  ...names.flatMap(([name]) => (name === "row" || name === "position" ? [] : [name])),
  "estimated",
  "at"
]

const kindOf = (column: string) => names.find(([name]) => name === column)?.[2] ?? "text"

const signs = { number: [">=", "<=", "=", "unknown"], text: ["contains", "unknown"], values: ["=", "!="] } as const

/** What the field of a number takes. */
const NUMBER = "\\s*-?(\\d+(\\.\\d*)?|\\.\\d+)(e-?\\d+)?\\s*"

/** Money is entered in USD, and asked for in picodollars. */
const toFilter = (column: string, is: string, value: string): string =>
  `${column}:${is}:${column === "cost" && value !== "" ? Math.round(Number(value) * 1e12) : value}`

const toText = (filter: string): string => {
  const [column = "", is = "", ...value] = filter.split(":")
  const name = names.find(([own]) => own === column)?.[1] ?? column
  const shown = column === "cost" ? Words.picodollars(value.join(":")) : value.join(":")
  return is === "unknown" ? `${name} unknown` : `${name} ${is} ${Words.shortened(shown, 100)}`
}

const Values = ({
  column,
  onPick,
  run
}: {
  readonly run: string
  readonly column: string
  readonly onPick: (value: string) => void
}) => {
  const { value } = Api.useAsked<{
    readonly values: ReadonlyArray<{ readonly value: string | number | null; readonly count: number }>
  }>(Api.runPath(run, "/values", [["sort", column]]))
  return (
    <Parts.Select
      label="Value"
      options={[
        ["", "choose…"],
        ...(value?.values ?? []).flatMap(({ count, value: one }) =>
          one === null || one === ""
            ? []
            : [[String(one), `${Words.shortened(String(one), 80)} (${Words.count(count)})`] as const]
        )
      ]}
      onPick={onPick}
    />
  )
}

const Export = ({
  params,
  run,
  total
}: {
  readonly run: string
  readonly params: URLSearchParams
  readonly total: number | undefined
}) => {
  const [format, setFormat] = useState("csv")
  const [chosen, setChosen] = useState(exported)
  const query = [...params].filter(([name]) => ["f", "sort", "order"].includes(name))
  return (
    <details class="export">
      <summary>Export</summary>
      <div>
        <fieldset>
          <legend>Columns</legend>
          {exported.map((name) => (
            <label key={name}>
              <input
                type="checkbox"
                checked={chosen.includes(name)}
                onChange={(event) =>
                  setChosen(event.currentTarget.checked ? [...chosen, name] : chosen.filter((one) => one !== name))
                }
              />{" "}
              {name}
            </label>
          ))}
        </fieldset>
        <label>
          Format{" "}
          <Parts.Select
            value={format}
            options={[
              ["csv", "CSV"],
              ["jsonl", "JSONL"],
              ["parquet", "Parquet"]
            ]}
            onPick={setFormat}
          />
        </label>
        <a
          class="button"
          download
          href={Api.runPath(run, "/export", [...query, ["format", format], ["columns", chosen.join(",")]])}
        >
          Save {total === undefined ? "the" : Words.count(total)} rows
        </a>
      </div>
    </details>
  )
}

const withFilters = (params: URLSearchParams, filters: ReadonlyArray<string>): URLSearchParams => {
  const changed = new URLSearchParams(params)
  changed.delete("f")
  for (const one of filters) changed.append("f", one)
  return changed
}

const Chips = ({
  filters,
  onSet
}: {
  readonly filters: ReadonlyArray<string>
  readonly onSet: (filters: ReadonlyArray<string>) => void
}) => (
  <>
    {filters.map((filter, at) => (
      <button
        key={filter}
        type="button"
        class="chip"
        aria-label={`Remove the filter ${toText(filter)}`}
        onClick={() => onSet(filters.filter((_, index) => index !== at))}
      >
        {toText(filter)} ×
      </button>
    ))}
  </>
)

export const Filters = ({
  isWhole,
  params,
  run,
  total
}: {
  readonly run: string
  readonly params: URLSearchParams
  readonly total: number | undefined
  readonly isWhole: boolean
}) => {
  const [column, setColumn] = useState<string>("step")
  const kind = kindOf(column)
  const [is, setIs] = useState<string>("=")
  const [value, setValue] = useState("")
  const filters = params.getAll("f")
  const set = (next: ReadonlyArray<string>) => Route.go(Route.format(run, "rows", withFilters(params, next)))
  const add = (own = value) => {
    if (own === "" && is !== "unknown") return
    set([...filters, toFilter(column, is, own)])
    setValue("")
  }
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault()
        add()
      }}
    >
      <Parts.Select
        label="Column"
        value={column}
        options={names.map(([name, text]) => [name, text])}
        onPick={(name) => {
          setColumn(name)
          setIs(signs[kindOf(name)][0])
          setValue("")
        }}
      />
      <Parts.Select label="Comparison" value={is} options={signs[kind].map((sign) => [sign, sign])} onPick={setIs} />
      {kind === "values" ? (
        <Values key={column} run={run} column={column} onPick={(own) => own !== "" && add(own)} />
      ) : is === "unknown" ? (
        <button type="submit">Filter</button>
      ) : (
        <>
          <input
            aria-label="Value"
            value={value}
            inputMode={kind === "number" ? "decimal" : "text"}
            {...(kind === "number" ? { pattern: NUMBER, title: "a number, such as 0.5" } : {})}
            size={10}
            onInput={(event) => setValue(event.currentTarget.value)}
          />
          <button type="submit">Filter</button>
        </>
      )}
      <Chips filters={filters} onSet={set} />
      <span class="total" role="status">
        {total === undefined ? "" : `${Words.count(total)} rows`}
        {isWhole ? "" : ", more are being read…"}
      </span>
      <Export run={run} params={params} total={total} />
    </form>
  )
}
