/** The distributions of the values that a step has computed. */
import type * as FieldData from "../Fields.ts"
import * as Api from "./Api.ts"
import * as Parts from "./Parts.tsx"
import * as Route from "./Route.ts"
import type { ViewProps } from "./View.ts"
import * as Words from "./Words.ts"

const kinds = { labels: "labels", numbers: "numbers", lengths: "lengths" } as const

const Distribution = ({ field }: { readonly field: FieldData.Field }) => (
  <section class="field">
    <h2>{field.name === "" ? "the value" : field.name}</h2>
    <p class="note">
      {Words.count(field.values)} values as {kinds[field.kind]}
      {field.others > 0 ? `, ${Words.count(field.others)} of other types` : ""}
      {field.missing > 0 ? `, ${Words.count(field.missing)} without one` : ""}
      {field.least === undefined
        ? ""
        : ` · from ${field.least} to ${field.most}, ${Number((field.mean ?? 0).toPrecision(4))} on average`}
    </p>
    <table class="bars">
      <tbody>
        {field.bars.map(({ count, name }) => (
          <Parts.Bar
            key={name}
            name={name}
            value={count}
            of={Math.max(...field.bars.map((bar) => bar.count))}
            text={`${Words.count(count)} (${Words.percent(count / Math.max(1, field.values))})`}
          />
        ))}
      </tbody>
    </table>
  </section>
)

export const Fields = ({ route, run, summary: { report } }: ViewProps) => {
  const steps = report.nodes.filter(({ kind }) => kind !== "Source" && kind !== "Sink").map(({ name }) => name)
  const step = route.params.get("step") ?? steps.at(-1)
  const { problem, value } = Api.useAsked<FieldData.Fields>(
    step === undefined ? undefined : Api.runPath(run, "/fields", [["step", step]])
  )
  if (step === undefined) return <Parts.Empty>The flow has no step with values.</Parts.Empty>
  return (
    <>
      <label>
        Step{" "}
        <Parts.Select
          value={step}
          options={steps.map((name) => [name, name])}
          onPick={(name) => Route.go(Route.format(run, "fields", new URLSearchParams({ step: name })), true)}
        />
      </label>
      <Parts.Problem text={problem} />
      {value === undefined ? (
        problem === undefined ? (
          <Parts.Loading />
        ) : null
      ) : value.read === 0 ? (
        <Parts.Empty>
          The run has computed no value of this step: its rows were reused from an earlier run, or it has not come to
          it.
        </Parts.Empty>
      ) : (
        <>
          <p class="note">
            {value.isCut ? "the first " : ""}
            {Words.count(value.read)} values of this run
          </p>
          <div class="columns">
            {value.fields.map((field) => (
              <Distribution key={field.name} field={field} />
            ))}
          </div>
        </>
      )}
    </>
  )
}
