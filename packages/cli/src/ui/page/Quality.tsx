/** What cascades, reuse and packs promised, beside what was measured. */
import * as Parts from "./Parts.tsx"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

const interval = (low: unknown, high: unknown): string =>
  typeof low === "number" && typeof high === "number"
    ? `${Words.percent(low)} to ${Words.percent(high)}`
    : Words.UNKNOWN

const share = (value: unknown): string => (typeof value === "number" ? Words.percent(value) : Words.UNKNOWN)

const figure = (value: unknown): string => (typeof value === "number" ? Words.count(value) : Words.UNKNOWN)

export const Quality = ({ summary: { item, report } }: ViewProps) => {
  const { packs = [], reuse = [], routes = [] } = report.summary ?? {}
  if (report.summary === null)
    return (
      <Parts.Empty>
        {item.state === "running" ? "These figures come with the end of the run." : "The run has no summary."}
      </Parts.Empty>
    )
  return (
    <>
      <h2>Cascades</h2>
      {routes.length === 0 ? (
        <Parts.Empty>No request was routed.</Parts.Empty>
      ) : (
        <Parts.Table
          caption="Agreement with the strong model, with 95 % confidence intervals"
          head={["step", "requests", "by the strong model", "audited", "measured agreement", "interval", "promised"]}
          rows={routes.map(({ agreement, audited, high, low, promised, requests, step, strong }) => [
            step,
            Words.count(requests),
            Words.percent(requests === 0 ? 0 : strong / requests),
            Words.count(audited),
            audited === 0 ? "not measured" : Words.percent(agreement),
            interval(low, high),
            promised === undefined ? (
              "nothing: pipe tune certifies a routing"
            ) : (
              <span class={high < promised.target ? "bad" : "good"}>
                at least {Words.percent(promised.target)}
                {high < promised.target ? ": broken" : ""}
              </span>
            )
          ])}
        />
      )}
      <h2>Reuse by meaning</h2>
      {reuse.length === 0 ? (
        <Parts.Empty>No answer was reused by meaning.</Parts.Empty>
      ) : (
        <Parts.Table
          caption="Wrong reuses among those that were audited, with 95 % confidence intervals"
          head={["step", "look-ups", "reused", "audited", "wrong", "interval of the error rate", "promised at most"]}
          rows={reuse.map((one) => [
            String(one["step"]),
            figure(one["lookups"]),
            figure(one["reused"]),
            figure(one["audited"]),
            figure(one["wrong"]),
            interval(one["low"], one["high"]),
            share(one["maxErrorRate"])
          ])}
        />
      )}
      <h2>Packed prompts</h2>
      {packs.length === 0 ? (
        <Parts.Empty>No prompt was packed.</Parts.Empty>
      ) : (
        <Parts.Table
          caption="Answers of packed prompts, compared with prompts of their own"
          head={["step", "prompts", "texts", "compared", "equal"]}
          rows={packs.map((one) => [
            String(one["step"]),
            figure(one["packs"]),
            figure(one["texts"]),
            figure(one["compared"]),
            figure(one["agreed"])
          ])}
        />
      )}
    </>
  )
}
