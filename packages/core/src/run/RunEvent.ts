/**
 * Events of a run, as data. The live display, `--json`, the report and custom observers read them.
 *
 * **Details** Amounts of money are exact decimal USD strings. The last event of a run is `RunFinished`, its summary.
 * Fields are stable; new ones may be added.
 *
 * **Example** (an observer that prints failed rows)
 *
 * ```ts
 * import { Flow, Runner, type RunEvent, Sink, Source } from "@pipe/core"
 * import { Console, Effect } from "effect"
 *
 * const letters = Source.fromIterable("letters", ["a", "b"])
 * const flow = Flow.make("letters", { outputs: [Sink.lines("letters.txt", letters)] })
 *
 * const observe = (event: RunEvent.RunEvent) =>
 *   event._tag === "RowFailed" ? Console.log(`${event.position}: ${event.message}`) : Effect.void
 *
 * export const run = Runner.run(flow, { observe })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"
import * as PriceTable from "../price/PriceTable.ts"

/** Tokens by class. The classes are disjoint. */
const Tokens = Schema.Struct({
  uncachedInput: Schema.Int,
  cacheRead: Schema.Int,
  cacheWrite: Schema.Int,
  cacheWrite1h: Schema.Int,
  output: Schema.Int,
  reasoning: Schema.Int,
  /** Classes that few calls have. An absent class is zero. */
  inputAudio: Schema.optionalKey(Schema.Int),
  inputImage: Schema.optionalKey(Schema.Int),
  outputAudio: Schema.optionalKey(Schema.Int),
  outputImage: Schema.optionalKey(Schema.Int),
  total: Schema.Int
})

/** The tokens of a usage by class, as events report them. */
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

/** What each strategy saved. */
const Savings = Schema.Struct({
  cache: Money.FromUsd,
  // Summaries of earlier versions lack these.
  semanticCache: Money.FromUsd.pipe(Schema.withDecodingDefaultKey(Effect.succeed("0"))),
  pack: Money.FromUsd.pipe(Schema.withDecodingDefaultKey(Effect.succeed("0"))),
  router: Money.FromUsd,
  promptCache: Money.FromUsd,
  serviceTier: Money.FromUsd,
  asides: Money.FromUsd.pipe(Schema.withDecodingDefaultKey(Effect.succeed("0")))
})

/** Answers by origin. */
const Answers = Schema.Struct({
  provider: Schema.Int,
  cache: Schema.Int,
  /** Answers of an equal call in flight. */
  shared: Schema.Int,
  /** Answers that were reused by meaning. */
  semantic: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0)))
})

/** The state of batches that rows wait for. */
export const BatchProgress = Schema.Struct({
  /** Batches without results. */
  open: Schema.Int,
  /** Requests that are collected, or wait for capacity. */
  queued: Schema.Int,
  /** Requests at the provider. */
  running: Schema.Int,
  /** Requests with an answer. */
  back: Schema.Int,
  failed: Schema.Int,
  /** When the oldest batch without results was sent, in milliseconds since 1970. */
  sentAt: Schema.optionalKey(Schema.Finite),
  /** The expected cost of batches without results. */
  expected: Money.FromUsd
})

export interface BatchProgress extends Schema.Schema.Type<typeof BatchProgress> {}

/** The progress of a node, in rows. */
export const NodeProgress = Schema.Struct({
  name: Schema.String,
  kind: Schema.String,
  /** Rows in progress. */
  running: Schema.Int,
  done: Schema.Int,
  /**
   * Reused results, one for each row that the node was given: those that left a row out count too, and an expansion has
   * one for each list.
   */
  reused: Schema.Int,
  failed: Schema.Int,
  /** Rows without a value here: filtered, or failed earlier. */
  skipped: Schema.Int,
  /** The total number of rows, when known. */
  total: Schema.optionalKey(Schema.Int),
  /** Groups that lack rows, because those have failed. Absent for none. */
  incomplete: Schema.optionalKey(Schema.Int),
  /** Rows of the first side of a join without a partner, which are dropped, and the position of the first one. Absent for none. */
  unmatched: Schema.optionalKey(Schema.Struct({ rows: Schema.Int, first: Schema.String })),
  /** The loops of `Agent` that its rows ran: their calls, the most that a row may make, and the rows that reached it. */
  loops: Schema.optionalKey(
    Schema.Struct({ rows: Schema.Int, calls: Schema.Int, most: Schema.Int, unfinished: Schema.Int })
  )
})

export interface NodeProgress extends Schema.Schema.Type<typeof NodeProgress> {}

/** A run, or another attempt of it, has started. */
export const RunStarted = Schema.TaggedStruct("RunStarted", {
  run: Schema.String,
  flow: Schema.String,
  /** Milliseconds since 1970. */
  at: Schema.Finite,
  /** The attempt: 1 for a new run, 2 or more after a resume. */
  try: Schema.Int,
  nodes: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      kind: Schema.String,
      inputs: Schema.Array(Schema.String)
    })
  )
})

/** A row of a source, an expansion, a group or a join has passed all its steps. */
export const RowDone = Schema.TaggedStruct("RowDone", {
  run: Schema.String,
  /** The node that the row comes from. */
  source: Schema.String,
  row: Schema.Int,
  status: Schema.Literals(["ok", "failed"])
})

/** A row has failed at a node. */
export const RowFailed = Schema.TaggedStruct("RowFailed", {
  run: Schema.String,
  source: Schema.String,
  row: Schema.Int,
  /** The position of the row: `reviews.jsonl:7`. */
  position: Schema.String,
  node: Schema.String,
  /** The tag of the error. */
  error: Schema.String,
  message: Schema.String
})

/** Why a row was not reused (`explain`). */
export const RowMissing = Schema.TaggedStruct("RowMissing", {
  run: Schema.String,
  node: Schema.String,
  row: Schema.Int,
  position: Schema.String,
  reason: Schema.String
})

/** A worker computes rows of the run from now on. */
export const WorkerJoined = Schema.TaggedStruct("WorkerJoined", {
  run: Schema.String,
  /** Its machine and process: `gpu-3 (process 4711)`. */
  worker: Schema.String
})

/** A worker computes no more rows of the run: it has ended, or its lease has lapsed. Others get the rows that it had. */
export const WorkerLeft = Schema.TaggedStruct("WorkerLeft", {
  run: Schema.String,
  worker: Schema.String
})

/** What a worker has computed. */
export const WorkerShare = Schema.Struct({
  worker: Schema.String,
  chunks: Schema.Int,
  /** Rows of sources, expansions, groups and joins. */
  rows: Schema.Int
})

export interface WorkerShare extends Schema.Schema.Type<typeof WorkerShare> {}

/** Totals so far, emitted several times a second. */
export const Progress = Schema.TaggedStruct("Progress", {
  run: Schema.String,
  /** Since the start of this attempt. */
  milliseconds: Schema.Finite,
  nodes: Schema.Array(NodeProgress),
  spent: Money.FromUsd,
  /** What the strategies saved. */
  saved: Money.FromUsd,
  /** What is left of the run's budget, if it has one. */
  left: Schema.optionalKey(Money.FromUsd),
  answers: Answers,
  /** Calls that wait for a rate limit or a retry. */
  waiting: Schema.Int,
  /** The total time that calls have waited, in milliseconds. */
  waited: Schema.Finite,
  /** What most of them wait for, and until when (milliseconds since 1970). Absent when none waits. */
  waitingFor: Schema.optionalKey(
    Schema.Struct({
      /** `rate limit`, `retry`, or words of a layer. */
      reason: Schema.String,
      model: Schema.String,
      /** Whose limit it is, when it is not the provider's. */
      of: Schema.optionalKey(Schema.String),
      failure: Schema.optionalKey(Schema.String),
      calls: Schema.Int,
      until: Schema.Finite
    })
  ),
  batches: Schema.optionalKey(BatchProgress),
  /** The workers that are there. Absent for a run without workers. */
  workers: Schema.optionalKey(Schema.Int)
})

/** Something the author should know. The run continues. */
export const Warning = Schema.TaggedStruct("Warning", { message: Schema.String })

/** An output is complete. */
export const OutputWritten = Schema.TaggedStruct("OutputWritten", {
  run: Schema.String,
  output: Schema.String,
  rows: Schema.Int
})

/** The reuse of answers by meaning in a step. */
export const StepReuse = Schema.Struct({
  step: Schema.String,
  maxErrorRate: Schema.Finite,
  /** Texts that were compared with earlier ones. */
  lookups: Schema.Int,
  reused: Schema.Int,
  /** Answers that could have been reused but were requested to check them. */
  audited: Schema.Int,
  /** The part of `audited` that was wrong. */
  wrong: Schema.Int,
  /** The 95 % interval of the share that is wrong. */
  low: Schema.Finite,
  high: Schema.Finite
})

export interface StepReuse extends Schema.Schema.Type<typeof StepReuse> {}

/** The packed prompts of a step. */
export const Packs = Schema.Struct({
  step: Schema.String,
  packs: Schema.Int,
  /** The texts in all packs. */
  texts: Schema.Int,
  /** Texts with a usable answer; the others were sent again. */
  answered: Schema.Int,
  /** Packed answers that were compared with single ones. */
  compared: Schema.Int,
  /** The part of `compared` that agreed. */
  agreed: Schema.Int
})

export interface Packs extends Schema.Schema.Type<typeof Packs> {}

/** How a cascade routed the requests of a step. */
export const Routes = Schema.Struct({
  step: Schema.String,
  requests: Schema.Int,
  /** Requests that needed the strong model. */
  strong: Schema.Int,
  /** Of those, requests that another model answered (a fallback). */
  substituted: Schema.Int,
  /** Other requests for which the strong model was called too. */
  audited: Schema.Int,
  /**
   * The share of all requests whose answer agrees with the strong model's, estimated from the audits, with its 95 %
   * interval.
   */
  agreement: Schema.Finite,
  low: Schema.Finite,
  high: Schema.Finite,
  /**
   * The share of the strong model's quality that its routing guarantees, and the reference. Absent without a guarantee.
   */
  promised: Schema.optionalKey(
    Schema.Struct({ target: Schema.Finite, standard: Schema.Literals(["label", "agreement"]) })
  )
})

export interface Routes extends Schema.Schema.Type<typeof Routes> {}

/** The summary of a run, over all its attempts. */
export const RunFinished = Schema.TaggedStruct("RunFinished", {
  run: Schema.String,
  flow: Schema.String,
  /**
   * `done`: every output is complete. Otherwise the run stopped early and can be resumed: it `failed`, was
   * `interrupted`, reached its `budget`, or was detached with batches at the provider (`waiting`).
   */
  status: Schema.Literals(["done", "failed", "interrupted", "budget", "waiting"]),
  /** Why it stopped. */
  failure: Schema.optionalKey(Schema.String),
  /** Milliseconds since 1970. */
  at: Schema.Finite,
  /** The duration of the last attempt. */
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
    /** Answers to steps, by origin. */
    answers: Answers,
    /** Physical attempts at providers, and how many of them failed. */
    attempts: Schema.Int,
    failedAttempts: Schema.Int,
    /** The part of `cost` on failed attempts. */
    failedCost: Schema.optionalKey(Money.FromUsd),
    /** The part of `cost` on re-asks after an invalid answer. */
    reaskCost: Schema.optionalKey(Money.FromUsd),
    /** The part of `cost` on steps without a result for their rows. */
    failedRowsCost: Schema.optionalKey(Money.FromUsd)
  }),
  tokens: Tokens,
  /** The table of the public prices. Absent when no model was called. */
  prices: Schema.optionalKey(PriceTable.Named),
  /** What was spent, as far as it is known. */
  cost: Money.FromUsd,
  /** The part of `cost` charged in addition to tokens: for requests, and for web searches. */
  fees: Schema.optionalKey(Money.FromUsd),
  /** Attempts of unknown cost. When this is not 0, `cost` is a lower bound. */
  unpriced: Schema.Int,
  /**
   * The part of `cost` that is an upper bound, for calls without a bill (most of them interrupted), and their number.
   */
  estimatedCost: Money.FromUsd,
  estimatedCalls: Schema.Int,
  /** What the run would have cost without any of the strategies. */
  baseline: Money.FromUsd,
  savings: Savings,
  steps: Schema.Array(
    Schema.Struct({
      step: Schema.String,
      provider: Schema.String,
      model: Schema.String,
      /** The service tier. Absent for the standard one. */
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
  /** The file with the failed rows, if any. */
  errorsFile: Schema.optionalKey(Schema.String),
  /** The run is not, or not completely, in a store: it cannot be resumed. */
  unkept: Schema.optionalKey(Schema.Literal(true)),
  /** The total time that calls have waited for rate limits and retries, in milliseconds. */
  waited: Schema.Finite,
  reuse: Schema.optionalKey(Schema.Array(StepReuse)),
  packs: Schema.optionalKey(Schema.Array(Packs)),
  routes: Schema.optionalKey(Schema.Array(Routes)),
  /** Batches that are still at the provider. Resuming the run collects them. */
  batches: Schema.optionalKey(BatchProgress),
  /** What each worker has computed in the last attempt. */
  workers: Schema.optionalKey(Schema.Array(WorkerShare))
})

export interface RunFinished extends Schema.Schema.Type<typeof RunFinished> {}

/**
 * Whether a run has done something: a call, an answer, the result or the failure of a step. One that stopped without could
 * not start: a key or a price is missing. What a row is read from, or mapped to, is no work.
 */
export const hasWork = ({ calls, nodes }: RunFinished): boolean =>
  calls.attempts > 0
  || Object.values(calls.answers).some((answers) => answers > 0)
  || nodes.some(({ done, failed, kind }) => (kind === "Step" && done > 0) || (kind !== "Source" && failed > 0))

/** Any event of a run. */
export const RunEvent = Schema.Union([
  RunStarted,
  RowDone,
  RowFailed,
  RowMissing,
  WorkerJoined,
  WorkerLeft,
  Progress,
  Warning,
  OutputWritten,
  RunFinished
])

export type RunEvent = typeof RunEvent.Type

const encode = Schema.encodeSync(RunEvent)

/** Encodes a summary as JSON, as the store keeps it, and decodes it. */
export const summaryToJson = (summary: RunFinished): Schema.Json => encodeSummary(summary) as Schema.Json

const encodeSummary = Schema.encodeSync(RunFinished)

/** Decodes a summary from JSON; `None` when it is not one. */
export const summaryFromJson = Schema.decodeUnknownOption(RunFinished)

/** Encodes an event as one line of JSON, without a line break. */
export const toJson = (event: RunEvent): string => JSON.stringify(encode(event))
