/** Two runs side by side. */
import { useState } from "preact/hooks"
import type * as Compared from "../Compare.ts"
import type * as RunData from "../RunData.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

interface Comparison extends Compared.Comparison {
  readonly sides: readonly [Side, Side]
}

interface Side {
  readonly item: RunData.RunItem
  readonly isWhole: boolean
  readonly report: { readonly spent: ReadonlyArray<RunData.Spent> }
}

const Money = ({ sides }: Pick<Comparison, "sides">) => {
  const spent = sides.map(({ report }) => report.spent)
  const keys = [...new Set(spent.flat().map(({ model, step }) => `${step}\n${model}`))]
  const of = (side: 0 | 1, key: string) => {
    const found = spent[side]!.find(({ model, step }) => `${step}\n${model}` === key)
    return found === undefined ? "–" : Words.cost(found)
  }
  return (
    <Parts.Table
      caption="Money by step and model"
      head={["step", "model", "this run", "the other"]}
      rows={keys.map((key) => [...key.split("\n"), of(0, key), of(1, key)])}
    />
  )
}

/** How many changed rows are shown at first, and with each "more". */
const SHOWN = 50

const Changed = ({ run, value }: { readonly run: string; readonly value: Comparison }) => {
  const [shown, setShown] = useState(SHOWN)
  return value.changed.length === 0 ? null : (
    <>
      <h2>
        Rows that changed
        {value.changes > value.changed.length ? ` (the first ${value.changed.length} of ${value.changes})` : ""}
      </h2>
      {value.changed.slice(0, shown).map(({ answers, models, position, rows, step }, at) => (
        <section class="change" key={at}>
          <h3>
            <a href={Route.format(run, "rows", new URLSearchParams({ step, row: String(rows[0]) }))}>
              {position === "" ? `row ${rows[0]}` : Words.place(position)}
            </a>{" "}
            <small>{step}</small>
          </h3>
          <div class="sides">
            {answers.map((answer, side) => (
              <div key={side}>
                <small>{models[side]}</small>
                <pre>{answer}</pre>
              </div>
            ))}
          </div>
        </section>
      ))}
      {value.changed.length <= shown ? null : (
        <button type="button" onClick={() => setShown(shown + SHOWN)}>
          Show more of {Words.count(value.changed.length)}
        </button>
      )}
    </>
  )
}

export const Compare = ({ route, run, summary: { item } }: ViewProps) => {
  const other = route.params.get("with")
  const runs = Api.useAsked<{ readonly runs: ReadonlyArray<RunData.RunItem> }>("/api/runs")
  const { problem, value } = Api.useAsked<Comparison>(
    other === null ? undefined : Api.runPath(run, "/compare", [["with", other]])
  )
  const items = value?.sides.map(({ item }) => item) ?? []
  const others = runs.value?.runs.filter(({ name }) => name !== run) ?? []
  const same = others.toSorted((a, b) => Number(b.flow === item.flow) - Number(a.flow === item.flow))
  return (
    <>
      <label>
        Compare with{" "}
        <Parts.Select
          value={other ?? ""}
          options={[
            ["", "choose a run…"],
            ...same.map(
              ({ flow, name, startedAt, state }) =>
                [name, `${name} (${flow}, ${Words.time(startedAt)}, ${Words.state(state)})`] as const
            )
          ]}
          onPick={(name) => Route.go(Route.format(run, "compare", new URLSearchParams({ with: name })))}
        />
      </label>
      <Parts.Problem text={problem} />
      {other === null ? (
        <Parts.Empty>{others.length === 0 ? "There is no other run." : "Choose a run."}</Parts.Empty>
      ) : value === undefined ? (
        problem === undefined ? (
          <Parts.Loading />
        ) : null
      ) : (
        <>
          <Parts.Table
            caption="The runs"
            head={["", "this run", "the other"]}
            rows={[
              ["run", ...items.map(({ name }) => <a href={Route.format(name)}>{name}</a>)],
              ["state", ...items.map(({ state }) => <Parts.State name={state} />)],
              ["rows", ...items.map(({ rows }) => Words.count(rows))],
              ["failed", ...items.map(({ failed }) => Words.count(failed))],
              ["cost", ...items.map(Words.cost)],
              ["saved", ...items.map(({ saved }) => Words.usd(saved))],
              ["stored answers that the other lacks", ...value.only.map((one) => Words.count(one))]
            ]}
          />
          <Money sides={value.sides} />
          {value.steps.length === 0 ? (
            <Parts.Empty>
              The runs have no stored answer to the same row: one of them reused its rows, or called no model.
            </Parts.Empty>
          ) : (
            <Parts.Table
              caption="Answers to the same rows"
              head={["step", "compared", "equal", "share", "95 % confidence interval"]}
              rows={value.steps.map(({ compared, equal, high, low, step }) => [
                step,
                Words.count(compared),
                Words.count(equal),
                Words.percent(equal / compared),
                `${Words.percent(low)} to ${Words.percent(high)}`
              ])}
            />
          )}
          <Changed run={run} value={value} />
        </>
      )}
    </>
  )
}
