/** A run: its head, and the views of it. */
import { useRef } from "preact/hooks"
import * as Api from "./Api.ts"
import { Compare } from "./Compare.tsx"
import { Errors } from "./Errors.tsx"
import { Fields } from "./Fields.tsx"
import { Graph } from "./Graph.tsx"
import { Live } from "./Live.tsx"
import { Money } from "./Money.tsx"
import { Overview } from "./Overview.tsx"
import * as Parts from "./Parts.tsx"
import { Quality } from "./Quality.tsx"
import { Review } from "./Review.tsx"
import * as Route from "./Route.ts"
import { Rows } from "./Rows.tsx"
import * as View from "./View.ts"
import * as Words from "./Words.ts"

const views: { readonly [T in Route.Tab]: (props: View.ViewProps) => preact.JSX.Element | null } = {
  overview: Overview,
  rows: Rows,
  errors: Errors,
  money: Money,
  live: Live,
  fields: Fields,
  quality: Quality,
  review: Review,
  compare: Compare,
  graph: Graph
}

export const Run = ({ route, run }: { readonly run: string; readonly route: Route.Route }) => {
  const every = useRef(3_000)
  const asked = Api.useAsked<View.Summary>(Api.runPath(run, "/summary"), every.current)
  const { problem, value } = asked
  every.current = View.isOver(value?.item.state) ? 3_000 : 1_000
  const Shown = views[route.tab]
  // A view is as it was left.
  const left = useRef(new Map<Route.Tab, URLSearchParams>())
  left.current.set(route.tab, route.params)
  const tabs = Route.tabs.map((tab) => (
    <a
      key={tab}
      href={Route.format(run, tab, left.current.get(tab))}
      aria-current={tab === route.tab ? "page" : undefined}
      class={tab === route.tab ? "here" : ""}
    >
      {tab}
    </a>
  ))
  return (
    <>
      <h1 class="run">
        {value?.item.flow ?? run}
        {value === undefined ? null : <Parts.State name={value.item.state} />}
        {value?.item.isSimulated === true ? (
          <span class="tag">simulated: no provider was called, nothing was paid</span>
        ) : null}
      </h1>
      <Parts.Problem text={problem} />
      {value === undefined ? null : (
        <p class="sub">
          {Words.count(value.item.rows)} rows · {Words.count(value.item.failed)} failed · {Words.cost(value.item)} spent
          {Number(value.item.estimatedCost) > 0
            ? ` (${Words.usd(value.item.estimatedCost)} of it an upper bound)`
            : ""}{" "}
          · {Words.usd(value.item.saved)} saved
          {View.isOver(value.item.state) ? "" : ", so far"} · attempt {value.item.tries} · started{" "}
          {Words.time(value.item.startedAt)} · {value.item.store}
          {value.item.failure === null ? null : (
            <strong class="bad"> · {Words.shortened(value.item.failure, 300)}</strong>
          )}
        </p>
      )}
      <nav class="tabs" aria-label="Views of the run">
        {tabs}
      </nav>
      {value === undefined ? (
        problem === undefined ? (
          <Parts.Loading />
        ) : null
      ) : (
        <Shown run={run} route={route} summary={value} again={asked.again} />
      )}
    </>
  )
}
