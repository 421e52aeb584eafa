/**
 * What the processes of a run have in common: the same flow, by the keys of its steps, and the same parameters. Code is
 * never sent; it is compared.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import type * as Flow from "../flow/Flow.ts"
import * as StepKey from "../flow/StepKey.ts"
import * as PriceTable from "../price/PriceTable.ts"
import * as Migrations from "../store/Migrations.ts"

const Parts = Schema.Record(Schema.String, Schema.Json)

export const WorkCode = Schema.Struct({
  /** The form of the store. */
  store: Schema.Int,
  /** Functions are identified by their text, which another major version of Node may print otherwise. */
  node: Schema.Int,
  /** The public prices, as budgets of the run count by them. */
  prices: Schema.optionalKey(Schema.String),
  /** The parts of the key of each step. */
  steps: Schema.Record(Schema.String, Parts)
})

export interface WorkCode extends Schema.Schema.Type<typeof WorkCode> {}

export const of = (flow: Flow.Any, environment: StepKey.StepKeyEnvironment, prices: PriceTable.Named): WorkCode => ({
  store: Migrations.latest,
  node: Number(process.versions.node.split(".")[0]),
  prices: `${PriceTable.describe(prices)}${prices.hash === undefined ? "" : ` (${prices.hash.slice(0, 12)})`}`,
  steps: Object.fromEntries(
    flow.graph.nodes.flatMap((node) => {
      const parts = StepKey.parts(node, environment)
      return parts === undefined ? [] : [[node.name, parts]]
    })
  )
})

/** What differs between the code of two processes, in words; `undefined` when nothing does. */
export const difference = (mine: WorkCode, wanted: WorkCode): string | undefined => {
  if (mine.store !== wanted.store) return "another version of pipe"
  if (mine.node !== wanted.node) return `Node.js ${mine.node} in place of ${wanted.node}`
  if (mine.prices !== wanted.prices)
    return `prices of ${mine.prices} in place of ${wanted.prices}: give the worker the run's ${PriceTable.FILE}`
  for (const [name, parts] of Object.entries(wanted.steps)) {
    const own = mine.steps[name]
    if (own === undefined) return `no step ${name}`
    if (StepKey.make(name, own) !== StepKey.make(name, parts)) return `step ${name} ${StepKey.difference(own, parts)}`
  }
  const more = Object.keys(mine.steps).find((name) => wanted.steps[name] === undefined)
  return more === undefined ? undefined : `step ${more}, which the run does not have`
}

/** What workers need to know of a run. */
export const JobContent = Schema.Struct({
  code: WorkCode,
  /** Parameters, encoded by their schemas. */
  parameters: Schema.Record(Schema.String, Schema.Json),
  /** The limits of the run, as an author writes them. */
  budget: Schema.optionalKey(Schema.Json),
  cache: Schema.Boolean
})

export interface JobContent extends Schema.Schema.Type<typeof JobContent> {}

const jobCodec = Schema.fromJsonString(JobContent)

export const encodeJob = Schema.encodeSync(jobCodec)
export const decodeJob = Schema.decodeUnknownOption(jobCodec)

/** What a worker says of itself. */
export const WorkerState = Schema.Struct({
  /** The run that it works on. */
  run: Schema.optionalKey(Schema.Int),
  /** Why it cannot work on runs. */
  refused: Schema.optionalKey(Schema.Array(Schema.Struct({ run: Schema.Int, why: Schema.String }))),
  rows: Schema.Int
})

export interface WorkerState extends Schema.Schema.Type<typeof WorkerState> {}

const stateCodec = Schema.fromJsonString(WorkerState)

export const encodeState = Schema.encodeSync(stateCodec)
export const decodeState = Schema.decodeUnknownOption(stateCodec)
