/** The graph of a run's flow, with what each node came to. */
import { count } from "@pipe/core/internal/Format"
import * as Format from "@pipe/core/internal/Format"
import type * as Report from "@pipe/core/Report"
import type * as RunEvent from "@pipe/core/RunEvent"
import * as CostText from "./CostText.ts"
import * as GraphSvg from "./GraphSvg.ts"

/** What a step has cost. */
type Drawn = CostText.Cost & Pick<Report.Report["spent"][number], "step">

/** A box for each node, with its rows and its money. */
export const draw = (
  report: Pick<Report.Report, "nodes" | "summary"> & { readonly spent: ReadonlyArray<Drawn> }
): string => {
  const progress = new Map(report.summary?.nodes.map((node) => [node.name, node]))
  const costs = new Map<string, CostText.Cost>()
  for (const { step, ...spent } of report.spent)
    costs.set(step, CostText.sum([costs.get(step) ?? CostText.zero, spent]))
  return GraphSvg.draw(
    report.nodes.map(({ inputs, kind, name }) => {
      const node = progress.get(name)
      const cost = costs.get(name)
      return {
        name,
        inputs,
        failed: (node?.failed ?? 0) > 0,
        lines: [
          kind.toLowerCase(),
          ...(node === undefined
            ? []
            : [
                `${Format.of(node.done, "row")}${node.reused > 0 ? `, ${reusedIn(node)} reused` : ""}`,
                ...(node.failed > 0 ? [`${count(node.failed)} failed`] : []),
                ...(node.skipped > 0 ? [`${count(node.skipped)} without a value`] : [])
              ]),
          ...(cost === undefined ? [] : [CostText.of(cost)])
        ]
      }
    })
  )
}

/** The reused results of a node: lists for an expansion. */
const reusedIn = ({ kind, reused }: RunEvent.NodeProgress): string =>
  kind === "Expand" ? Format.of(reused, "list") : count(reused)
