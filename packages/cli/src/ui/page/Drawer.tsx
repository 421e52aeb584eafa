/** Everything that is kept of a row: prompts, answers, attempts with their tokens and prices, the way it took. */
import { useEffect, useRef } from "preact/hooks"
import type * as RowData from "../RowData.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Words from "./Words.ts"

const Attempts = ({ attempts }: Pick<RowData.Row, "attempts">) =>
  attempts.length === 0 ? (
    <Parts.Empty>Nothing was sent for it.</Parts.Empty>
  ) : (
    <Parts.Table
      caption="Attempts at a provider"
      head={["step", "at", "time", "model", "tier", "tokens", "cost", "error"]}
      rows={attempts.map(
        ({ at, cost, error, isEstimate, milliseconds, model, requested, serviceTier, step, tokens, unknown }) => [
          step,
          Words.time(at),
          Words.duration(milliseconds),
          requested === null ? model : `${model} (requested: ${requested})`,
          serviceTier ?? "ordinary",
          tokens.length === 0
            ? Words.UNKNOWN
            : `${isEstimate ? "at most " : ""}${tokens.map(([name, value]) => `${Words.count(value)} ${name}`).join(", ")}`,
          cost === null
            ? `${Words.UNKNOWN}${unknown === null ? "" : ` (no ${unknown})`}`
            : `${isEstimate ? "at most " : ""}${Words.usd(cost)}`,
          error === null ? "" : <span class="bad">{error}</span>
        ]
      )}
    />
  )

const Answers = ({ answers }: Pick<RowData.Row, "answers">) => (
  <Parts.Table
    caption="Where its answers came from"
    head={["step", "from", "model", "without routing", "saved"]}
    rows={answers.map(({ baselineModel, model, origin, saved, step }) => [
      step,
      origin,
      model,
      baselineModel ?? "–",
      saved.length === 0 ? "nothing" : saved.map(([name, amount]) => `${Words.usd(amount)} by ${name}`).join(", ")
    ])}
  />
)

const Failures = ({ failures }: Pick<RowData.Row, "failures">) => (
  <>
    {failures.map(({ error, input, message }, at) => (
      <section key={at}>
        <h3 class="bad">It failed: {error}</h3>
        <pre>{message}</pre>
        <details>
          <summary>Its input</summary>
          <pre>{input}</pre>
        </details>
      </section>
    ))}
  </>
)

const Exchanges = ({ exchanges }: Pick<RowData.Row, "exchanges">) => (
  <>
    {exchanges.map(({ answer, at, certainty, error, model, origin, prompt, sample, step }, index) => (
      <section key={index}>
        <h3>
          {step}: {origin === "attempt" ? "sent to" : `from ${origin}, by`} {model}
          {sample > 0 ? `, sample ${sample}` : ""} <small>{Words.time(at)}</small>
        </h3>
        {prompt === exchanges[index - 1]?.prompt ? (
          <p class="note">The prompt is the one above.</p>
        ) : (
          <>
            <h4>Prompt</h4>
            <pre>{prompt}</pre>
          </>
        )}
        <h4>Answer {certainty === null ? null : <small>{Words.percent(certainty)} certain</small>}</h4>
        {answer === null ? <p class="bad">none{error === null ? "" : `: ${error}`}</p> : <pre>{answer}</pre>}
        {answer !== null && error !== null ? <p class="bad">not accepted: {error}</p> : null}
      </section>
    ))}
  </>
)

/** Why there is no prompt to show. */
const withoutPrompt = ({ answers, attempts, failures }: RowData.Row): string =>
  attempts.length > 0
    ? "Its prompt and answer are not kept: a run keeps its first 10,000 calls, those that failed or are in doubt, and the last two of each step."
    : failures.length > 0
      ? "It failed before a call: nothing was sent."
      : answers.length > 0
        ? "Nothing was sent for it: its answer was reused."
        : "The run has no call, answer or failure of this row: it is not in the data, or an earlier run has its result."

const withoutAnswer = ({ attempts, failures }: RowData.Row): string =>
  failures.length > 0
    ? "It has no answer: it failed."
    : attempts.length > 0
      ? "It has no answer yet."
      : "It has no answer in this run."

export const Drawer = ({
  onClose,
  row,
  run,
  step
}: {
  readonly run: string
  readonly step: string
  readonly row: number
  readonly onClose: () => void
}) => {
  const { problem, value } = Api.useAsked<RowData.Row>(
    Api.runPath(run, "/row", [
      ["step", step],
      ["row", String(row)]
    ])
  )
  const box = useRef<HTMLElement>(null)
  useEffect(() => {
    box.current?.focus()
    const key = (event: KeyboardEvent) => {
      if (event.key === "Escape") onClose()
    }
    addEventListener("keydown", key)
    return () => removeEventListener("keydown", key)
  }, [])
  const position = value?.exchanges[0]?.position ?? value?.failures[0]?.position
  return (
    <section class="drawer" ref={box} tabIndex={-1} role="dialog" aria-label={`Row ${position ?? row} of ${step}`}>
      <header>
        <h2>
          {position === undefined || position === "" ? `row ${row}` : Words.place(position)} <small>{step}</small>
        </h2>
        <button type="button" onClick={onClose} aria-label="Close">
          ×
        </button>
      </header>
      {position === undefined || position === "" ? null : <p class="position">{position}</p>}
      <Parts.Problem text={problem} />
      {value === undefined ? (
        problem === undefined ? (
          <Parts.Loading />
        ) : null
      ) : (
        <>
          <Failures failures={value.failures} />
          <Exchanges exchanges={value.exchanges} />
          {value.exchanges.length === 0 ? <p class="note">{withoutPrompt(value)}</p> : null}
          <h3>Layers</h3>
          {value.answers.length === 0 ? (
            <p class="note">{withoutAnswer(value)}</p>
          ) : (
            <Answers answers={value.answers} />
          )}
          <Attempts attempts={value.attempts} />
          {value.routes.length === 0 ? null : (
            <Parts.Table
              caption="Routing"
              head={["model", "is the strong one", "agreement of an audit"]}
              rows={value.routes.map(({ agreement, isStrong, model }) => [
                model,
                isStrong ? "yes" : "no",
                agreement === null ? "not audited" : Words.percent(agreement)
              ])}
            />
          )}
          <p class="note">{value.why}</p>
          {position === undefined || position === "" ? null : (
            <p class="note">
              In the terminal:{" "}
              <code>
                pipe show {run} --row {position}
              </code>
            </p>
          )}
        </>
      )}
    </section>
  )
}
