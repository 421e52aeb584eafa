/** The flow's graph, with counts and money. */
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

export const Graph = ({ run, summary: { report } }: ViewProps) =>
  report.nodes.length === 0 ? (
    <Parts.Empty>The run has no graph.</Parts.Empty>
  ) : (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label="The flow's graph">
        <img
          class="graph"
          src={Api.runPath(run, "/graph.svg")}
          alt={`The flow's graph: ${report.nodes.map(({ name }) => name).join(", ")}`}
        />
      </div>
      <details>
        <summary>As a table</summary>
        <Parts.Table
          caption="Nodes"
          head={["node", "kind", "rows", "failed", "cost"]}
          rows={report.nodes.map(({ kind, name }) => {
            const node = report.summary?.nodes.find((one) => one.name === name)
            const spent = report.spent.filter(({ step }) => step === name)
            return [
              name,
              kind.toLowerCase(),
              node === undefined ? "–" : Words.count(node.done),
              node === undefined ? "–" : Words.count(node.failed),
              spent.length === 0 ? "–" : Words.costs(spent)
            ]
          })}
        />
      </details>
    </>
  )
