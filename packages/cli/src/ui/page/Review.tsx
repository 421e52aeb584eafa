/** The review queue: a row at a time, by keys. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks"
import type * as ReviewData from "../Review.ts"
import * as Api from "./Api.ts"
import * as Keys from "./Keys.ts"
import * as Parts from "./Parts.tsx"
import { ReviewItem } from "./ReviewItem.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

const Measured = ({ measured }: Pick<ReviewData.ReviewPage, "measured">) =>
  measured.length === 0 ? null : (
    <Parts.Table
      caption="The run's answers against the labels, with 95 % confidence intervals"
      head={["step", "rows", "labelled", "right", "share", "interval"]}
      rows={measured.map(({ high, isRandom, labelled, low, right, skipped, step }) => [
        step,
        isRandom
          ? `at random, for all inputs with a stored answer${skipped > 0 ? ` (${skipped} skipped: the interval allows for them)` : ""}`
          : "chosen for their doubt: not for the others",
        Words.count(labelled),
        Words.count(right),
        Words.percent(right / labelled),
        `${Words.percent(low)} to ${Words.percent(high)}`
      ])}
    />
  )

const Bar = ({
  onSet,
  onUndo,
  order,
  run,
  step,
  steps,
  value
}: {
  readonly run: string
  readonly order: string
  readonly step: string
  readonly steps: ReadonlyArray<string>
  readonly value: ReviewData.ReviewPage | undefined
  readonly onSet: (name: string, value: string) => void
  readonly onUndo: (() => void) | undefined
}) => (
  <form class="filters" onSubmit={(event) => event.preventDefault()}>
    <label>
      Order{" "}
      <Parts.Select
        value={order}
        options={[
          ["doubt", "in doubt first"],
          ["random", "at random, to measure"]
        ]}
        onPick={(order) => onSet("order", order)}
      />
    </label>
    <label>
      Step{" "}
      <Parts.Select
        value={step}
        options={[["", "all"], ...steps.map((name) => [name, name] as const)]}
        onPick={(step) => onSet("step", step)}
      />
    </label>
    <button type="button" disabled={onUndo === undefined} onClick={onUndo}>
      Undo <kbd>u</kbd>
    </button>
    <span class="total" role="status">
      {value === undefined
        ? ""
        : `${Words.count(value.accepted + value.corrected + value.seen)} of ${Words.count(value.total)} reviewed: ${value.accepted} accepted, ${value.corrected} corrected, ${value.seen} skipped`}
    </span>
    <a href={Api.runPath(run, "/labels")} download>
      Labels as JSONL
    </a>
  </form>
)

const keyOf = ({ row, step }: ReviewData.ReviewItem): string => `${step}/${row}`

/** How many rows are read at once. */
const ROWS = 20

/** The queue, and what is said of its rows: the next row is there at once, whatever the server still does. */
const useQueue = (run: string, order: "doubt" | "random", step: string) => {
  const asked = Api.useAsked<ReviewData.ReviewPage>(
    Api.runPath(run, "/review", [
      ["order", order],
      ["count", String(ROWS)],
      ...(step === "" ? [] : ([["step", step]] as const))
    ])
  )
  const { again, value } = asked
  const [said, setSaid] = useState<ReadonlyArray<ReviewData.ReviewItem>>([])
  const [failed, setFailed] = useState<string>()
  /** When the server has kept what was said of a row. */
  const kept = useRef(new Map<string, Promise<{ readonly labelledAt: number | null }>>())
  const isSaid = new Set(said.map(keyOf))
  const say = useCallback(
    async (of: ReviewData.ReviewItem, verdict: ReviewData.Said["verdict"], label?: string) => {
      setFailed(undefined)
      const key = keyOf(of)
      const without = (all: ReadonlyArray<ReviewData.ReviewItem>) => all.filter((one) => keyOf(one) !== key)
      setSaid((before) => (verdict === "undo" ? without(before) : [...without(before), of]))
      try {
        // Of the label that was shown, or that was given here.
        const { labelledAt } = (await kept.current.get(key)) ?? of
        const { exchange, row, step } = of
        const own = label === undefined ? undefined : { label }
        const saved = Api.post<{ readonly labelledAt: number | null }>(Api.runPath(run, "/review"), {
          step,
          row,
          exchange,
          labelledAt,
          verdict,
          drawn: order,
          ...own
        })
        kept.current.set(key, saved)
        await saved
      } catch (error) {
        kept.current.delete(key)
        setSaid(without)
        setFailed(error instanceof Error ? error.message : String(error))
      }
      again()
    },
    [run, order, again]
  )
  const item = value?.items.find((item) => !isSaid.has(keyOf(item)))
  return {
    value,
    problem: asked.problem ?? failed,
    say,
    last: said.at(-1),
    item,
    /** Rows that were read are all reviewed, and the server has more. */
    isBehind: item === undefined && value?.items.length === ROWS
  }
}

const Nothing = ({ value }: { readonly value: ReviewData.ReviewPage }) => (
  <Parts.Empty>
    {value.total === 0
      ? "There is no stored answer to review: the run has called no model, its rows were reused from an earlier run, or an earlier version made it."
      : "Every stored answer is reviewed."}
  </Parts.Empty>
)

export const Review = (props: ViewProps) =>
  props.summary.item.isTuning ? (
    <Parts.Empty>A tuning run has the answers of several models to each row. Review a run of the flow.</Parts.Empty>
  ) : (
    <Queue {...props} />
  )

const Queue = ({ route, run, summary: { report } }: ViewProps) => {
  const order = route.params.get("order") === "random" ? "random" : "doubt"
  const step = route.params.get("step") ?? ""
  const { isBehind, item, last, problem, say, value } = useQueue(run, order, step)
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.key === "u" && last !== undefined && !Keys.isTyping(event.target) && !event.ctrlKey)
        void say(last, "undo")
    }
    addEventListener("keydown", key)
    return () => removeEventListener("keydown", key)
  }, [last, say])
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(route.params)
    if (value === "") next.delete(name)
    else next.set(name, value)
    Route.go(Route.format(run, "review", next), true)
  }
  const steps = [...new Set(report.spent.map(({ step }) => step))].filter((name) => !name.includes(" / "))
  return (
    <>
      <Bar
        run={run}
        order={order}
        step={step}
        steps={steps}
        value={value}
        onSet={set}
        onUndo={last === undefined ? undefined : () => void say(last, "undo")}
      />
      <Parts.Problem text={problem} />
      {value === undefined ? (
        problem === undefined ? (
          <Parts.Loading />
        ) : null
      ) : isBehind ? (
        <Parts.Loading />
      ) : item === undefined ? (
        <Nothing value={value} />
      ) : (
        <ReviewItem key={keyOf(item)} item={item} onSay={(verdict, label) => void say(item, verdict, label)} />
      )}
      <Measured measured={value?.measured ?? []} />
      {value === undefined || value.unknown === 0 ? null : (
        <p class="note">
          {Words.count(value.unknown)} answers cannot be labelled: they were made by an earlier version, or for several
          rows at once.
        </p>
      )}
      <p class="note">
        Accepted and corrected answers are labels, kept in the store by the inputs of the step: <code>pipe tune</code>{" "}
        measures models against them, and later runs are measured here.
      </p>
    </>
  )
}
