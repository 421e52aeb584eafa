/**
 * Whether a run could start, and the rows that would fail: found without a call.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import * as CallContext from "../client/CallContext.ts"
import * as Node from "../flow/Node.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as Pricing from "../price/Pricing.ts"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import * as PlanRows from "./PlanRows.ts"
import type * as PlanRun from "./PlanRun.ts"
import * as PlanSchema from "./PlanSchema.ts"

/** A row that would fail. */
export const CheckedRow = Schema.Struct({
  node: Schema.String,
  /** The file and line, where a file has it. */
  position: Schema.String,
  message: Schema.String
})

/** The first request of a step to a model. */
export const CheckedRequest = Schema.Struct({
  step: Schema.String,
  provider: Schema.String,
  model: Schema.String,
  /** The row that it is of. */
  position: Schema.optionalKey(Schema.String),
  /** Its input. */
  tokens: Schema.Int,
  /** Whether it is made from placeholders, for answers that have not come. */
  hasPlaceholders: Schema.Boolean,
  /** What would be sent. */
  request: ModelRequest.ModelRequest
})

/** What a check of a flow has found. */
export const Check = Schema.Struct({
  flow: Schema.String,
  /** Rows that were read. */
  rows: Schema.Int,
  /** What would keep the run from starting: a missing key, package or model, or a budget for an unknown price. */
  problems: Schema.Array(Schema.String),
  /** Rows that would fail whatever the answers are: they cannot be read, or a step fails before a call. */
  failed: Schema.Int,
  /** Whether one of them ends the run. */
  isEnd: Schema.Boolean,
  /** The first of them, at most 20 for each node. */
  failures: Schema.Array(CheckedRow),
  /** Rows that failed on placeholders. Only the run shows whether they fail. */
  unknown: Schema.Int,
  requests: Schema.Array(CheckedRequest),
  plan: PlanSchema.Plan
})

export interface Check extends Schema.Schema.Type<typeof Check> {}

/** Encodes a check as JSON. */
export const toJson = (check: Check): Schema.Json => encode(check) as Schema.Json

const encode = Schema.encodeSync(Check)

/** Whether the run could start, and no more rows fail than the flow allows. */
export const isSound = ({ failed, isEnd, problems }: Check, allowFailedRows: number): boolean =>
  problems.length === 0 && !isEnd && failed <= allowFailedRows

/** Whether a failed row of a node ends the run. */
const isEndOf = ({ kind }: Node.Any): boolean =>
  ("policy" in kind ? kind.policy.onError : kind._tag === "Source" ? kind.onError : undefined) === "fail"

/** Sorts what a plan has gathered into what is certain and what is not. */
export const make = (
  gathered: PlanRun.Gathered,
  plan: PlanSchema.Plan,
  more: { readonly problems: ReadonlyArray<string>; readonly budget: BudgetAccount.BudgetLimits }
): Check => {
  const { counts, failures, flow } = gathered
  const isOpen = PlanRows.dependsOnAnswers(gathered)
  // A row that has not called, and is made from no placeholder, fails whatever the answers are.
  const certain = flow.graph.nodes.flatMap((node) =>
    Node.inputsOf(node).some(isOpen) ? [] : (failures.get(node.name)?.uncalled ?? [])
  )
  const failed = certain.reduce((sum, { count }) => sum + count, 0)
  return {
    flow: flow.name,
    rows: plan.rows,
    problems: [...more.problems, ...unpayable(gathered, plan, more.budget)],
    failed,
    isEnd:
      failed > flow.stopAfterFailedRows
      || flow.graph.nodes.some((node) => isEndOf(node) && certain.some(({ first }) => first[0]?.node === node.name)),
    failures: certain.flatMap(({ first }) => first),
    unknown: plan.unplanned - failed,
    requests: counts.flatMap(({ first, model, provider, step }) => {
      if (first === undefined) return []
      const { position, request, tokens } = first
      const node = flow.graph.nodes.find(({ name }) => name === CallContext.nodeOf(step))
      const hasPlaceholders = node !== undefined && Node.inputsOf(node).some(isOpen)
      return [
        {
          step,
          provider,
          model,
          ...(position === undefined ? undefined : { position }),
          tokens,
          hasPlaceholders,
          request
        }
      ]
    }),
    plan
  }
}

/** Calls that a run refuses: of no model, and of an unknown price under a budget of money. */
const unpayable = (
  { at, counts, flow, pricing }: PlanRun.Gathered,
  { unpriced }: PlanSchema.Plan,
  budget: BudgetAccount.BudgetLimits
): ReadonlyArray<string> =>
  unpriced.flatMap((model) => {
    const steps = [...new Set(counts.filter((one) => one.model === model).map(({ step }) => step))].join(", ")
    if (model === "") return [`no model is named for ${steps}: give one to the provider, to the step, or to a Router`]
    const own = flow.budget
    const hasMoney =
      budget.usd !== undefined
      || own.models?.[model]?.usd !== undefined
      || counts.some((one) => one.model === model && own.steps?.[one.step]?.usd !== undefined)
    if (!hasMoney) return []
    const provider = counts.find((one) => one.model === model)?.provider
    return [
      `no price is known for ${model} (${steps}), which a budget of money needs. ${Pricing.advice(pricing, { at, model, provider })}`
    ]
  })
