/** The list of runs. */
import type * as RunData from "../RunData.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import * as Words from "./Words.ts"

const EVERY = 2_000

const ended = ({ endedAt, startedAt, state }: RunData.RunItem): string =>
  endedAt === null
    ? state === "running"
      ? `since ${Words.time(startedAt)}`
      : "–"
    : Words.duration(endedAt - startedAt)

const Row = ({ item }: { readonly item: RunData.RunItem }) => (
  <tr>
    <th scope="row">
      <a href={Route.format(item.name)}>{item.name}</a>
      {item.isSimulated ? <span class="tag">simulated</span> : null}
      {item.isTuning ? <span class="tag">tuning</span> : null}
    </th>
    <td>{item.flow}</td>
    <td>
      <Parts.State name={item.state} />
      {item.failure === null ? null : <small class="why">{Words.shortened(item.failure)}</small>}
    </td>
    <td class="number">{item.rows === null ? "–" : Words.count(item.rows)}</td>
    <td class={`number ${(item.failed ?? 0) > 0 ? "bad" : ""}`}>
      {item.failed === null ? "–" : Words.count(item.failed)}
    </td>
    <td class="number" title={Words.doubt(item)}>
      {Words.cost(item)}
    </td>
    <td class="number">{item.saved === null ? "–" : Words.usd(item.saved)}</td>
    <td>{Words.time(item.startedAt)}</td>
    <td class="number">{ended(item)}</td>
  </tr>
)

const HEAD = ["run", "flow", "state", "rows", "failed", "cost", "saved", "started", "time"]

const FIGURES: ReadonlySet<string> = new Set(["rows", "failed", "cost", "saved", "time"])

export const Runs = () => {
  const { problem, value } = Api.useAsked<{
    readonly runs: ReadonlyArray<RunData.RunItem>
    readonly problems: ReadonlyArray<string>
  }>("/api/runs", EVERY)
  return (
    <>
      <h1>Runs</h1>
      <Parts.Problem text={problem} />
      {value?.problems.map((text) => (
        <Parts.Problem key={text} text={text} />
      ))}
      {value === undefined ? (
        problem === undefined ? (
          <Parts.Loading />
        ) : null
      ) : value.runs.length === 0 ? (
        <Parts.Empty>
          No run yet. <code>pipe run flow.ts</code> makes one, and it shows up here.
        </Parts.Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Runs">
          <table class="plain runs">
            <thead>
              <tr>
                {HEAD.map((name) => (
                  <th key={name} scope="col" class={FIGURES.has(name) ? "number" : ""}>
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {value.runs.map((item) => (
                <Row key={item.name} item={item} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}
