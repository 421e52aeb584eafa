/**
 * What happens in a run, as data: the live display, `--json`, the report and anybody's own watcher read these.
 *
 * **Details** Amounts of money are exact decimal USD strings. The last event of a run is `RunFinished`, its summary. The
 * fields here are kept stable; new ones may be added.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"

const Tokens = Schema.Struct({
  uncachedInput: Schema.Int,
  cacheRead: Schema.Int,
  cacheWrite: Schema.Int,
  cacheWrite1h: Schema.Int,
  output: Schema.Int,
  reasoning: Schema.Int,
  /** Classes that few calls have: left out, there are none. */
  inputAudio: Schema.optionalKey(Schema.Int),
  inputImage: Schema.optionalKey(Schema.Int),
  outputAudio: Schema.optionalKey(Schema.Int),
  outputImage: Schema.optionalKey(Schema.Int),
  total: Schema.Int
})

export const tokensOf = (usage: Usage.Usage): typeof Tokens.Type => ({
  uncachedInput: usage.uncachedInput,
  cacheRead: usage.cacheRead,
  cacheWrite: usage.cacheWrite,
  cacheWrite1h: usage.cacheWrite1h,
  output: usage.output,
  reasoning: usage.reasoning,
  ...Object.fromEntries(Usage.rareClasses.flatMap((name) => (usage[name] === undefined ? [] : [[name, usage[name]]]))),
  total: Usage.totalTokens(usage)
})

const Savings = Schema.Struct({
  cache: Money.FromUsd,
  // Summaries of earlier versions have none of these.
  semanticCache: Money.FromUsd.pipe(Schema.withDecodingDefaultKey(Effect.succeed("0"))),
  pack: Money.FromUsd.pipe(Schema.withDecodingDefaultKey(Effect.succeed("0"))),
  router: Money.FromUsd,
  promptCache: Money.FromUsd,
  serviceTier: Money.FromUsd
})

const Answers = Schema.Struct({
  provider: Schema.Int,
  cache: Schema.Int,
  shared: Schema.Int,
  semantic: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0)))
})

/** How batches stand, where rows wait for them. */
export const BatchProgress = Schema.Struct({
  /** Not back yet. */
  open: Schema.Int,
  /** Requests that are gathered or wait for room. */
  queued: Schema.Int,
  /** Requests at the provider. */
  running: Schema.Int,
  back: Schema.Int,
  failed: Schema.Int,
  /** When the oldest that is not back was sent, in milliseconds since 1970. */
  sentAt: Schema.optionalKey(Schema.Finite),
  /** What those that are not back will probably cost. */
  expected: Money.FromUsd
})

export interface BatchProgress extends Schema.Schema.Type<typeof BatchProgress> {}

/** How far a node is, in rows. */
export const NodeProgress = Schema.Struct({
  name: Schema.String,
  kind: Schema.String,
  /** Rows begun and not yet ended. */
  running: Schema.Int,
  done: Schema.Int,
  /** Of `done`: reused from earlier work. */
  reused: Schema.Int,
  failed: Schema.Int,
  /** Rows without a value here: filtered away, or failed before. */
  skipped: Schema.Int,
  /** Rows in all, where that can be told. */
  total: Schema.optionalKey(Schema.Int)
})

export interface NodeProgress extends Schema.Schema.Type<typeof NodeProgress> {}

export const RunStarted = Schema.TaggedStruct("RunStarted", {
  run: Schema.String,
  flow: Schema.String,
  /** Milliseconds since 1970. */
  at: Schema.Finite,
  /** 1, or more when an unfinished run is gone on with. */
  try: Schema.Int,
  nodes: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      kind: Schema.String,
      inputs: Schema.Array(Schema.String)
    })
  )
})

/** A row of a source, an expansion, a group or a join has been through all its steps. */
export const RowDone = Schema.TaggedStruct("RowDone", {
  run: Schema.String,
  /** The node that the row comes from. */
  source: Schema.String,
  row: Schema.Int,
  status: Schema.Literals(["ok", "failed"])
})

export const RowFailed = Schema.TaggedStruct("RowFailed", {
  run: Schema.String,
  source: Schema.String,
  row: Schema.Int,
  /** Where the row stands: `reviews.jsonl:7`. */
  position: Schema.String,
  node: Schema.String,
  /** The tag of the error. */
  error: Schema.String,
  message: Schema.String
})

/** Why a row was not reused from earlier work (`explain`). */
export const RowMissing = Schema.TaggedStruct("RowMissing", {
  run: Schema.String,
  node: Schema.String,
  row: Schema.Int,
  position: Schema.String,
  reason: Schema.String
})

/** Sums so far; several times a second. */
export const Progress = Schema.TaggedStruct("Progress", {
  run: Schema.String,
  milliseconds: Schema.Finite,
  nodes: Schema.Array(NodeProgress),
  spent: Money.FromUsd,
  saved: Money.FromUsd,
  /** What is left of the run's budget, where it has one. */
  left: Schema.optionalKey(Money.FromUsd),
  answers: Answers,
  /** Calls that wait for a rate limit or a retry now, and the time (milliseconds) that calls have waited in all. */
  waiting: Schema.Int,
  waited: Schema.Finite,
  /** What most of them wait for, and until when (milliseconds since 1970); left out: none waits. */
  waitingFor: Schema.optionalKey(
    Schema.Struct({
      reason: Schema.Literals(["rate limit", "retry"]),
      model: Schema.String,
      failure: Schema.optionalKey(Schema.String),
      calls: Schema.Int,
      until: Schema.Finite
    })
  ),
  batches: Schema.optionalKey(BatchProgress)
})

export const Warning = Schema.TaggedStruct("Warning", { message: Schema.String })

export const OutputWritten = Schema.TaggedStruct("OutputWritten", {
  run: Schema.String,
  output: Schema.String,
  rows: Schema.Int
})

/** How answers were reused by meaning in a step. */
export const StepReuse = Schema.Struct({
  step: Schema.String,
  maxErrorRate: Schema.Finite,
  /** Texts that were compared with earlier ones. */
  lookups: Schema.Int,
  reused: Schema.Int,
  /** Answers that could have been reused, and were asked for to see whether they are right; and how many were not. */
  audited: Schema.Int,
  wrong: Schema.Int,
  /** The share that is wrong lies between these with 95 %. */
  low: Schema.Finite,
  high: Schema.Finite
})

export interface StepReuse extends Schema.Schema.Type<typeof StepReuse> {}

/** How packed prompts fared in a step. */
export const Packs = Schema.Struct({
  step: Schema.String,
  packs: Schema.Int,
  /** Texts in them, and how many had a usable answer there; the others were asked again. */
  texts: Schema.Int,
  answered: Schema.Int,
  /** Packed answers that were compared with single ones, and how many agreed. */
  compared: Schema.Int,
  agreed: Schema.Int
})

export interface Packs extends Schema.Schema.Type<typeof Packs> {}

/** How a cascade has routed the requests of a step. */
export const Routes = Schema.Struct({
  step: Schema.String,
  requests: Schema.Int,
  /** Of them, those that needed the strong model. */
  strong: Schema.Int,
  /** Of those, the ones that another model answered in its place: a fallback. */
  substituted: Schema.Int,
  /** Of the others, those for which the strong model was asked too. */
  audited: Schema.Int,
  /** Share of all requests whose answer agrees with the strong model's, as the audits have it, and the interval in which it lies with 95 %. */
  agreement: Schema.Finite,
  low: Schema.Finite,
  high: Schema.Finite,
  /** Share of the strong model's quality that its routing promises, and what that is measured by; left out: it promises nothing. */
  promised: Schema.optionalKey(
    Schema.Struct({ target: Schema.Finite, standard: Schema.Literals(["label", "agreement"]) })
  )
})

export interface Routes extends Schema.Schema.Type<typeof Routes> {}

/** The summary of a run: of all its tries together. */
export const RunFinished = Schema.TaggedStruct("RunFinished", {
  run: Schema.String,
  flow: Schema.String,
  /**
   * `done`: every output is in its place; otherwise the run stopped before its end, and can be gone on with: it `failed`,
   * was `interrupted`, its `budget` was reached, or it was left while batches were at the provider (`waiting`).
   */
  status: Schema.Literals(["done", "failed", "interrupted", "budget", "waiting"]),
  /** Why it stopped. */
  failure: Schema.optionalKey(Schema.String),
  at: Schema.Finite,
  /** Of the last try. */
  milliseconds: Schema.Finite,
  try: Schema.Int,
  rows: Schema.Struct({
    /** Rows that the sources gave. */
    read: Schema.Int,
    /** Rows with a failure, wherever it happened. */
    failed: Schema.Int,
    /** Rows dropped by `onError: "skip"`. */
    dropped: Schema.Int
  }),
  nodes: Schema.Array(NodeProgress),
  calls: Schema.Struct({
    /** Answers to steps, by where they came from. */
    answers: Answers,
    /** Physical attempts at providers, and how many of them failed. */
    attempts: Schema.Int,
    failedAttempts: Schema.Int,
    /** What of `cost` went to attempts that failed. */
    failedCost: Schema.optionalKey(Money.FromUsd),
    /** What of `cost` went to requests that were sent again, since the answer did not fit. */
    reaskCost: Schema.optionalKey(Money.FromUsd),
    /** What of `cost` went to steps that gave nothing for their rows. */
    failedRowsCost: Schema.optionalKey(Money.FromUsd)
  }),
  tokens: Tokens,
  /** What was spent, as far as it is known. */
  cost: Money.FromUsd,
  /** What of `cost` is charged beside tokens: for requests, and for searches of the web. */
  fees: Schema.optionalKey(Money.FromUsd),
  /** Attempts whose cost is not known: when this is not 0, `cost` is a lower bound. */
  unpriced: Schema.Int,
  /** What of `cost` is a bound: the most that calls without a bill can have cost (most were cut); and how many. */
  estimatedCost: Money.FromUsd,
  estimatedCalls: Schema.Int,
  /** What the run would have cost with none of the strategies. */
  baseline: Money.FromUsd,
  savings: Savings,
  steps: Schema.Array(
    Schema.Struct({
      step: Schema.String,
      provider: Schema.String,
      model: Schema.String,
      /** The class of service; left out: the ordinary one. */
      serviceTier: Schema.optionalKey(Schema.String),
      answers: Answers,
      attempts: Schema.Int,
      failedAttempts: Schema.Int,
      tokens: Tokens,
      cost: Money.FromUsd,
      fees: Schema.optionalKey(Money.FromUsd),
      unpriced: Schema.Int,
      estimatedCost: Money.FromUsd,
      estimatedCalls: Schema.Int,
      baseline: Money.FromUsd,
      savings: Savings
    })
  ),
  outputs: Schema.Array(Schema.Struct({ name: Schema.String, rows: Schema.Int })),
  /** The file with the failed rows, where there are any. */
  errorsFile: Schema.optionalKey(Schema.String),
  /** Nothing of the run is in a store, or not all of it: it cannot be resumed. */
  unkept: Schema.optionalKey(Schema.Literal(true)),
  waited: Schema.Finite,
  reuse: Schema.optionalKey(Schema.Array(StepReuse)),
  packs: Schema.optionalKey(Schema.Array(Packs)),
  routes: Schema.optionalKey(Schema.Array(Routes)),
  /** Batches that are still at the provider: going on with the run collects them. */
  batches: Schema.optionalKey(BatchProgress)
})

export interface RunFinished extends Schema.Schema.Type<typeof RunFinished> {}

export const RunEvent = Schema.Union([
  RunStarted,
  RowDone,
  RowFailed,
  RowMissing,
  Progress,
  Warning,
  OutputWritten,
  RunFinished
])

export type RunEvent = typeof RunEvent.Type

const encode = Schema.encodeSync(RunEvent)

/** A summary as JSON, as it is kept in the store, and back. */
export const summaryToJson = (summary: RunFinished): Schema.Json => encodeSummary(summary) as Schema.Json

const encodeSummary = Schema.encodeSync(RunFinished)

export const summaryFromJson = Schema.decodeUnknownOption(RunFinished)

/** One event as one line of JSON, without the line's end. */
export const toJson = (event: RunEvent): string => JSON.stringify(encode(event))
