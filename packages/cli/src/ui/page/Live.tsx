/** What a run does now: its rate, its waits, its limits, its batches and workers. */
import type * as RunData from "../RunData.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import type { ViewProps } from "./View.ts"
import * as View from "./View.ts"
import * as Words from "./Words.ts"

const Batches = ({ at, batches }: Pick<RunData.Live, "at" | "batches">) => (
  <>
    <h2>Batches</h2>
    {batches.length === 0 ? (
      <Parts.Empty>No batch is open.</Parts.Empty>
    ) : (
      <Parts.Table
        caption="Batches at the provider"
        head={["batch", "model", "state", "requests", "answered", "failed", "age"]}
        rows={batches.map(({ answered, createdAt, failed, model, name, requests, sentAt, state }) => [
          name,
          model,
          state,
          Words.count(requests),
          Words.count(answered),
          Words.count(failed),
          Words.duration(at - (sentAt ?? createdAt))
        ])}
      />
    )}
  </>
)

const Workers = ({ workers }: Pick<RunData.Live, "workers">) => (
  <>
    <h2>Workers</h2>
    {workers === null ? (
      <Parts.Empty>A SQLite store has no workers: they need PostgreSQL.</Parts.Empty>
    ) : workers.length === 0 ? (
      <Parts.Empty>No worker has joined.</Parts.Empty>
    ) : (
      <Parts.Table
        caption="Workers of the store"
        head={["worker", "flow", "chunks", "since"]}
        rows={workers.map(({ chunks, flow, joinedAt, name }) => [
          name,
          flow,
          Words.count(chunks),
          Words.time(joinedAt)
        ])}
      />
    )}
  </>
)

export const Live = ({ run, summary: { item, report } }: ViewProps) => {
  const { problem, value } = Api.useAsked<RunData.Live>(Api.runPath(run, "/live"), 1_000)
  if (value === undefined) return problem === undefined ? <Parts.Loading /> : <Parts.Problem text={problem} />
  const isOver = View.isOver(value.state)
  const minute = value.span < 60_000 ? Words.duration(value.span) : "minute"
  const when = `in the last ${minute}${isOver ? " of the run" : ""}`
  const planned = report.plan?.lines.reduce((sum, { calls }) => sum + calls, 0)
  const left = planned === undefined ? undefined : Math.max(0, planned - value.answers)
  const eta = left === undefined || value.answered === 0 ? undefined : (left / value.answered) * value.span
  return (
    <>
      <Parts.Problem text={problem} />
      {isOver ? <p class="note">The run is over ({Words.state(value.state)}): these are its last figures.</p> : null}
      <dl class="figures" aria-live="polite">
        <Parts.Figure
          name="answers/s"
          value={((value.answered / value.span) * 1_000).toFixed(1)}
          note={`${Words.count(value.answers)} so far${planned === undefined ? "" : `, of about ${Words.count(planned)}`}`}
        />
        <Parts.Figure
          name="rows"
          value={Words.count(item.rows)}
          note={`${Words.count(item.failed)} failed${report.plan === null ? "" : `, of ${Words.count(report.plan.rows)} planned`}`}
        />
        <Parts.Figure name="spent" value={Words.cost(item)} note={Words.doubt(item)} />
        <Parts.Figure name="saved" value={Words.usd(item.saved)} />
        <Parts.Figure name="cache hits" value={Words.count(value.hits)} />
        {value.workers === null ? null : <Parts.Figure name="workers" value={Words.count(value.workers.length)} />}
        <Parts.Figure
          name="left"
          value={isOver ? "–" : eta === undefined ? Words.UNKNOWN : Words.duration(eta)}
          note={planned === undefined && !isOver ? "pipe plan before a run gives it an end" : undefined}
        />
      </dl>
      <dl class="figures">
        <Parts.Figure name={`calls ${when}`} value={Words.count(value.calls)} note={`${value.failed} failed`} />
        <Parts.Figure name={`rate-limited (429) ${when}`} value={Words.count(value.limited)} />
        <Parts.Figure
          name="mean time of a call"
          value={value.milliseconds === null ? "no call" : Words.duration(value.milliseconds)}
        />
        <Parts.Figure
          name="open calls"
          value={Words.count(value.open)}
          note={value.oldest === null ? undefined : `the oldest for ${Words.duration(value.at - value.oldest)}`}
        />
      </dl>
      <Batches batches={value.batches} at={value.at} />
      <Workers workers={value.workers} />
    </>
  )
}
