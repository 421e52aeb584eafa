/** Failed rows by kind, with a way to their rows, and to run them again. */
import { useState } from "preact/hooks"
import type * as ErrorGroups from "../ErrorGroups.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

const Retry = ({ again, run, summary }: Pick<ViewProps, "again" | "run" | "summary">) => {
  const [budget, setBudget] = useState("")
  const [problem, setProblem] = useState<string>()
  const { item, retry } = summary
  const isUnderWay = retry !== null && retry.code === undefined
  const start = async (event: Event) => {
    event.preventDefault()
    setProblem(undefined)
    try {
      await Api.post(Api.runPath(run, "/retry"), budget.trim() === "" ? {} : { budget: budget.trim() })
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
    again()
  }
  return (
    <section class="retry">
      <form onSubmit={start}>
        <label>
          Budget
          <input
            value={budget}
            placeholder={item.isSimulated ? "none" : "such as 2usd"}
            size={12}
            onInput={(event) => setBudget(event.currentTarget.value)}
          />
        </label>
        <button type="submit" disabled={isUnderWay || item.state === "running"}>
          Retry the failed rows
        </button>
        <small>
          {item.state === "running" ? "It can be started when the run is over. " : ""}
          {item.isSimulated
            ? "The run is simulated: nothing is paid."
            : "It sends them to the provider again, which costs money. The command is "}
          {item.isSimulated ? null : <code>pipe retry {run} --failed</code>}
        </small>
      </form>
      <Parts.Problem text={problem} />
      {retry === null ? null : (
        <div role="status">
          <p>
            {retry.code === undefined
              ? `Retrying since ${Words.time(retry.startedAt)}…`
              : retry.code === 0
                ? "The retry is done."
                : retry.code === 1
                  ? "The retry is over, and rows still fail (exit code 1)."
                  : `The retry has not ended well (exit code ${retry.code}).`}
          </p>
          {retry.said.length === 0 ? null : <pre>{retry.said.join("\n")}</pre>}
        </div>
      )}
    </section>
  )
}

export const Errors = ({ again, run, summary }: ViewProps) => {
  const { problem, value } = Api.useAsked<{ readonly groups: ReadonlyArray<ErrorGroups.ErrorGroup> }>(
    Api.runPath(run, "/errors"),
    5_000
  )
  if (value === undefined) return problem === undefined ? <Parts.Loading /> : <Parts.Problem text={problem} />
  return (
    <>
      <Parts.Problem text={problem} />
      {value.groups.length === 0 ? (
        <>
          {summary.retry === null ? null : <Retry run={run} summary={summary} again={again} />}
          <Parts.Empty>No row has failed.</Parts.Empty>
        </>
      ) : (
        <>
          <Retry run={run} summary={summary} again={again} />
          {value.groups.map(({ count, error, kind, node, rows, shape }) => (
            <section class="kind" key={`${node}\n${kind}`}>
              <h2>
                {Words.count(count)} × {error} at {node}
              </h2>
              <p class="message">{shape}</p>
              <p>
                <a
                  href={Route.format(
                    run,
                    "rows",
                    new URLSearchParams([
                      ["f", `step:=:${node}`],
                      ["f", `kind:=:${kind}`]
                    ])
                  )}
                >
                  {count === 1 ? "The row" : `The ${Words.count(count)} rows`}
                </a>
              </p>
              <ul>
                {rows.slice(0, 5).map(({ message, position, row }) => (
                  <li key={row}>
                    <a href={Route.format(run, "rows", new URLSearchParams({ step: node, row: String(row) }))}>
                      {position === "" ? `row ${row}` : Words.place(position)}
                    </a>
                    : {Words.shortened(message, 240)}
                  </li>
                ))}
              </ul>
            </section>
          ))}
        </>
      )}
    </>
  )
}
