/** What a run came to: its figures, its steps, what saved money. */
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

const Figures = ({ summary: { item, report } }: Pick<ViewProps, "summary">) => {
  const plan = report.plan ?? undefined
  const summary = report.summary ?? undefined
  return (
    <dl class="figures">
      <Parts.Figure name="spent" value={Words.cost(item)} note={Words.doubt(item)} />
      {summary === undefined ? null : (
        <Parts.Figure
          name="without the layers"
          value={Words.cost({ ...item, cost: summary.baseline, estimatedCost: "0" })}
        />
      )}
      <Parts.Figure name="saved" value={Words.usd(item.saved)} />
      <Parts.Figure name="planned" value={plan === undefined ? "no plan" : Words.usd(plan.cost.expected)} />
      <Parts.Figure name="rows" value={Words.count(item.rows)} note={`${Words.count(item.failed)} failed`} />
      <Parts.Figure
        name="calls"
        value={Words.count(item.attempts)}
        note={`${Words.count(item.failedAttempts)} failed`}
      />
      <Parts.Figure
        name={summary !== undefined && item.tries > 1 ? "time of the last attempt" : "time"}
        value={Words.duration(summary?.milliseconds ?? (item.endedAt ?? Date.now()) - item.startedAt)}
        note={summary === undefined ? undefined : `calls waited ${Words.duration(summary.waited)} in all`}
      />
    </dl>
  )
}

export const Overview = (props: ViewProps) => {
  const { run } = props
  const { isWhole, item, options, report } = props.summary
  const summary = report.summary ?? undefined
  return (
    <>
      <Figures summary={props.summary} />
      {summary === undefined ? (
        <p class="note">
          {item.state === "running"
            ? "The run is not over: these are its figures so far."
            : item.state === "abandoned"
              ? `The process of the run was killed: these are the figures that it had recorded, without the calls that were open. pipe resume ${run} continues it.`
              : "The run has no summary: these are the figures of its ledger."}
        </p>
      ) : null}
      <h2>Steps and models</h2>
      {isWhole ? null : <p class="note">The ledger is still being read: some calls are missing.</p>}
      {report.spent.length === 0 ? (
        <Parts.Empty>No model was called: rows were reused, or the flow calls none.</Parts.Empty>
      ) : (
        <Parts.Table
          caption="Cost by step and model"
          head={["step", "model", "provider", "calls", "failed", "tokens", "cost"]}
          rows={report.spent.map((spent) => [
            <a href={Route.format(run, "rows", new URLSearchParams({ f: `step:=:${spent.step}` }))}>{spent.step}</a>,
            spent.serviceTier === null ? spent.model : `${spent.model} (${spent.serviceTier})`,
            spent.provider,
            Words.count(spent.attempts),
            Words.count(spent.failedAttempts),
            Words.count(spent.tokens),
            Words.cost(spent)
          ])}
        />
      )}
      {summary === undefined ? null : (
        <>
          <h2>Nodes</h2>
          <Parts.Table
            caption="Rows of each node"
            head={["node", "kind", "done", "reused", "failed", "without a value"]}
            rows={summary.nodes.map(({ done, failed, kind, name, reused, skipped }) => [
              name,
              kind.toLowerCase(),
              Words.count(done),
              Words.count(reused),
              Words.count(failed),
              Words.count(skipped)
            ])}
          />
          <h2>Outputs</h2>
          <Parts.Table
            caption="Written files"
            head={["output", "rows"]}
            rows={summary.outputs.map(({ name, rows }) => [name, Words.count(rows)])}
          />
        </>
      )}
      <p class="note">
        {options.file === undefined ? null : <>flow file {options.file} · </>}
        {options.budget === undefined || options.budget.length === 0 ? null : (
          <>budget {options.budget.join(", ")} · </>
        )}
        {summary?.prices === undefined ? null : (
          <>
            prices: {summary.prices.name} of {summary.prices.date}
          </>
        )}
      </p>
    </>
  )
}
