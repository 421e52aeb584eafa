/** Runs as the page shows them. */
import * as Report from "@pipe/core/Report"
import type * as RunEvent from "@pipe/core/RunEvent"
import * as Money from "@pipe/core/Money"
import * as WorkerList from "@pipe/core/internal/WorkerList"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Problem from "./Problem.ts"
import type * as LedgerCosts from "./LedgerCosts.ts"
import type * as Located from "./Located.ts"
import type * as RowIndex from "./RowIndex.ts"
import * as CostText from "../view/CostText.ts"
import type * as Totals from "./Totals.ts"
import type * as Stores from "./Stores.ts"

/** A line of the list of runs. Money is in USD, as text; what is not known is `null`. */
export interface RunItem {
  readonly name: string
  readonly flow: string
  readonly isSimulated: boolean
  readonly isTuning: boolean
  /** `abandoned`: its process is gone without a word. */
  readonly state: string
  readonly tries: number
  readonly startedAt: number
  readonly endedAt: number | null
  /** Of a run that has not ended, those so far. */
  readonly rows: number | null
  readonly failed: number | null
  readonly attempts: number
  readonly failedAttempts: number | null
  readonly cost: string | null
  /** The part of `cost` that is an upper bound, for calls without a bill. */
  readonly estimatedCost: string
  /** Calls of unknown cost: `cost` is then a lower bound. */
  readonly unpriced: number
  readonly saved: string | null
  readonly failure: string | null
  readonly store: string
}

/** What a run has come to. */
type Sums = Pick<
  RunItem,
  "rows" | "failed" | "attempts" | "failedAttempts" | "cost" | "estimatedCost" | "unpriced" | "saved"
>

const stateOf = ({ run }: Located.Located): string => (run.isAbandoned ? "abandoned" : run.status)

const itemOf = (located: Located.Located, sums: Sums): RunItem => {
  const { run, store } = located
  return {
    name: run.name,
    flow: run.flow,
    isSimulated: run.options.simulate === true,
    isTuning: run.options.tuning === true,
    state: stateOf(located),
    tries: run.tries,
    startedAt: run.startedAt,
    endedAt: run.endedAt ?? null,
    ...sums,
    failure: summaryOf(located)?.failure ?? null,
    store: store.name
  }
}

/** The summary of a run. While a later attempt runs, or when it was killed, the ledger has more. */
const summaryOf = ({ run }: Located.Located): RunEvent.RunFinished | undefined =>
  run.isAbandoned || run.status === "running" || run.status === "waiting" ? undefined : Report.summaryOf(run)

/** What a run came to, by its summary; `undefined` for one that has not ended. */
const ofSummary = (located: Located.Located): Sums | undefined => {
  const summary = summaryOf(located)
  return summary === undefined
    ? undefined
    : {
        rows: summary.rows.read,
        failed: summary.rows.failed,
        attempts: summary.calls.attempts,
        failedAttempts: summary.calls.failedAttempts,
        cost: Money.toUsd(summary.cost),
        estimatedCost: Money.toUsd(summary.estimatedCost),
        unpriced: summary.unpriced,
        saved: Money.toUsd(Money.sum(Object.values(summary.savings)))
      }
}

/** What a run has cost, by its ledger. */
const ofCost = ({ attempts, cost, estimated, unpriced }: LedgerCosts.LedgerCost): Sums => ({
  rows: null,
  failed: null,
  attempts,
  failedAttempts: null,
  cost: Money.toUsd(cost),
  estimatedCost: Money.toUsd(estimated),
  unpriced,
  saved: null
})

/** What a step and model have cost, as JSON: amounts are USD, as text. */
const toJson = ({ cost, estimatedCost, ...spent }: Totals.Spent) => ({
  ...spent,
  cost: Money.toUsd(cost),
  estimatedCost: Money.toUsd(estimatedCost)
})

export type Spent = ReturnType<typeof toJson>

/** What a run has come to, by an index that has read the whole ledger. */
const ofIndex = ({ failed, totals }: RowIndex.RowIndex): Sums => {
  const spent = totals.spent()
  const { attempts, cost, estimatedCost = Money.zero, unpriced } = CostText.sum(spent)
  return {
    rows: totals.rows(),
    failed: failed(),
    attempts,
    failedAttempts: spent.reduce((all, { failedAttempts }) => all + failedAttempts, 0),
    cost: Money.toUsd(cost),
    estimatedCost: Money.toUsd(estimatedCost),
    unpriced,
    saved: Money.toUsd(totals.savedInAll())
  }
}

/** The most runs of the list. */
const MOST = 500

/** The newest runs. What a run that has ended has cost is in its summary; of the others the ledger is added up. */
export const list = Effect.fnUntraced(function* (stores: Stores.Stores) {
  const runs = yield* stores.runs(MOST)
  const items = yield* Effect.forEach(runs, (located) => {
    const known = ofSummary(located)
    return Effect.map(known === undefined ? Effect.map(stores.cost(located), ofCost) : Effect.succeed(known), (sums) =>
      itemOf(located, sums)
    )
  })
  return items.toSorted((a, b) => b.startedAt - a.startedAt)
})

/** What a run came to, as data: its summary and plan as the store has them, and the ledger as far as it was read. */
export const one = Effect.fnUntraced(function* (located: Located.Located, stores: Stores.Stores) {
  const { run } = located
  const index = yield* stores.index(located)
  const isWhole = index.isWhole()
  const sums = ofSummary(located) ?? (isWhole ? ofIndex(index) : ofCost(yield* stores.cost(located)))
  return {
    item: itemOf(located, sums),
    options: run.options as unknown as Schema.Json,
    isWhole,
    report: {
      nodes: Report.nodesOf(run),
      spent: index.totals.spent().map(toJson),
      summary: summaryOf(located) === undefined ? null : (run.summary ?? null),
      plan: run.plan ?? null
    }
  }
})

/** What a run does now. */
export const live = Effect.fnUntraced(function* (located: Located.Located, stores: Stores.Stores, at: number) {
  const { run, store } = located
  const { totals } = yield* stores.index(located)
  const open = yield* Problem.dead(store.ledger.open(run.id))
  const batches = yield* Problem.dead(store.batches.open(run.id))
  const { server } = store.database
  const workers = server === undefined ? null : yield* Problem.dead(WorkerList.make(store.database, server).all)
  return {
    at,
    state: stateOf(located),
    ...totals.recent(run.endedAt ?? at, run.startedAt),
    open: open.count,
    oldest: open.oldest ?? null,
    answers: totals.answers(),
    hits: totals.hits(),
    workers:
      workers?.map((worker) => ({
        name: WorkerList.nameOf(worker),
        flow: worker.flow,
        chunks: worker.chunks,
        joinedAt: worker.joinedAt
      })) ?? null,
    batches: batches.map(({ answered, createdAt, failed, model, name, requests, sentAt, state }) => ({
      name,
      model,
      state,
      requests,
      answered,
      failed,
      createdAt,
      sentAt: sentAt ?? null
    }))
  }
})

export type Live = Effect.Success<ReturnType<typeof live>>

/** Money over time, and by strategy. */
export const money = Effect.fnUntraced(function* (located: Located.Located, stores: Stores.Stores) {
  const { isWhole, totals } = yield* stores.index(located)
  return { points: totals.points(), strategies: totals.saved(), isWhole: isWhole() }
})

/** The graph with counts and money, as a picture with its own style. */
export const graph = Effect.fnUntraced(function* (located: Located.Located, stores: Stores.Stores) {
  const { totals } = yield* stores.index(located)
  const { draw } = yield* Effect.promise(() => import("../view/ReportGraph.ts"))
  const summary = summaryOf(located)
  const drawn = draw({
    nodes: Report.nodesOf(located.run),
    spent: totals.spent(),
    ...(summary === undefined ? undefined : { summary })
  })
  return drawn.replace("<svg ", `<svg xmlns="http://www.w3.org/2000/svg" `).replace(">", `><style>${GRAPH}</style>`)
})

const GRAPH = `text{font:12px system-ui,sans-serif;fill:#1f2430}.name{font-weight:600}.line{fill:#5b6270}.box{fill:#fff;stroke:#b9bfca}.box.failed{stroke:#c43d3d;stroke-width:2}.edge{fill:none;stroke:#8b93a1}.arrow{fill:#8b93a1}
@media (prefers-color-scheme:dark){text{fill:#e6e9ef}.line{fill:#a4acba}.box{fill:#20242c;stroke:#4a5160}}`
