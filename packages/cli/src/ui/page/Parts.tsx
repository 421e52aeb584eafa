/** Small parts that several views show. */
import type { ComponentChildren } from "preact"
import * as Words from "./Words.ts"

export const Problem = ({ text }: { readonly text: string | undefined }) =>
  text === undefined ? null : (
    <p class="problem" role="alert">
      {text}
    </p>
  )

export const Empty = ({ children }: { readonly children: ComponentChildren }) => <p class="empty">{children}</p>

export const Loading = () => (
  <p class="empty" role="status">
    Loading…
  </p>
)

export const State = ({ name }: { readonly name: string }) => <span class={`state ${name}`}>{Words.state(name)}</span>

/** A figure with its name. */
export const Figure = ({
  name,
  note,
  value
}: {
  readonly name: string
  readonly value: string
  readonly note?: string | undefined
}) => (
  <div class="figure">
    <dt>{name}</dt>
    <dd>
      {value}
      {note === undefined ? null : <small>{note}</small>}
    </dd>
  </div>
)

/** A bar of a share of the longest one. */
export const Bar = ({
  name,
  of,
  text,
  value
}: {
  readonly name: string
  readonly value: number
  readonly of: number
  readonly text: string
}) => (
  <tr>
    <th scope="row" title={name}>
      {name === "" ? "(empty)" : name}
    </th>
    <td class="bar">
      <meter min={0} max={Math.max(of, 1e-12)} value={Math.max(0, value)} aria-label={`${name}: ${text}`} />
    </td>
    <td class="number">{text}</td>
  </tr>
)

/** A choice among values, each with its text. */
export const Select = ({
  label,
  onPick,
  options,
  value
}: {
  /** Its name, where nothing beside it says it. */
  readonly label?: string | undefined
  readonly value?: string | undefined
  readonly options: ReadonlyArray<readonly [value: string, text: string]>
  readonly onPick: (value: string) => void
}) => (
  <select aria-label={label} value={value} onChange={(event) => onPick(event.currentTarget.value)}>
    {options.map(([one, text]) => (
      <option key={one} value={one}>
        {text}
      </option>
    ))}
  </select>
)

/** A figure, with its unit and its bound. */
const FIGURE = /^(?:[≥≤≈] )?-?\$?[\d,.]+(?: (?:%|ms|s|min .*|h .*))?$/

const isFigure = (cell: ComponentChildren): boolean =>
  typeof cell === "string" && (cell === "–" || cell === Words.UNKNOWN || FIGURE.test(cell))

/** A plain table. Columns of figures are aligned to the right. */
export const Table = ({
  caption,
  head,
  rows
}: {
  readonly caption: string
  readonly head: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<ComponentChildren>>
}) => {
  const isNumber = head.map((_, at) => rows.length > 0 && rows.every((row) => isFigure(row[at])))
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table class="plain">
        <caption>{caption}</caption>
        <thead>
          <tr>
            {head.map((name, at) => (
              <th key={name} scope="col" class={isNumber[at] === true ? "number" : ""}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {row.map((cell, column) => (
                <td key={column} class={isNumber[column] === true ? "number" : ""}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
