/**
 * Finds the cheapest routing of a flow's cascade that keeps a share of the strong model's quality, on a sample of the
 * flow's own rows, with a certificate; and checks later whether it still holds for new rows.
 *
 * **Details** A tuning is a run over the sample in which the cascade calls every model: it is recorded in the ledger,
 * keeps to a budget, and leaves its answers in the exact cache, so the run that follows does not pay for them again.
 * Outputs are not written. `Calibration` has the statistics.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as LayerAnnotations from "../../client/LayerAnnotations.ts"
import * as RunHooks from "../../client/RunHooks.ts"
import type * as Flow from "../../flow/Flow.ts"
import type * as ModelResponse from "../../model/ModelResponse.ts"
import * as Money from "../../price/Money.ts"
import * as Pricing from "../../price/Pricing.ts"
import * as FlowContext from "../../run/FlowContext.ts"
import type * as RunEvent from "../../run/RunEvent.ts"
import * as Runner from "../../run/Runner.ts"
import * as Cascade from "../Cascade.ts"
import type * as Trials from "../Trials.ts"
import type * as Routing from "../Routing.ts"
import * as Baselines from "./Baselines.ts"
import type * as Observation from "./Observation.ts"
import * as Calibration from "./Calibration.ts"

export interface Options extends Pick<
  Runner.Options,
  "parameters" | "concurrency" | "budget" | "observe" | "record" | "errorsFile" | "batch" | "drain" | "grace"
> {
  /** The rows of the sample. Default: 300. */
  readonly sample?: number
  /** The seed of the sample and its order. Default: `"pipe"`. */
  readonly seed?: string
  /** The highest probability that the guarantee is wrong. Default: 0.05. */
  readonly delta?: number
}

export interface TuneOptions extends Options {
  /** The share of the strong model's quality to keep, from 0 to 1. */
  readonly target: number
}

/**
 * The flow cannot be tuned: it has no cascade, too few rows, a model without a price, or labels for some rows only.
 *
 * **Remedy** The message names what is missing: add it to the flow, or use a larger sample.
 */
export class TuneError extends Schema.TaggedError<TuneError>()("TuneError", {
  message: Schema.String
}) {}

/** The result for a step. */
export interface TunedStep {
  readonly name: string
  readonly standard: Routing.Certificate["standard"]
  readonly rows: number
  /** Those measured against an answer that a person has accepted or corrected. */
  readonly reviewed: number
  readonly calibration: Calibration.Calibration
  readonly baselines: ReadonlyArray<Baselines.Baseline>
}

export interface Tuned {
  readonly routing: Routing.Routing
  /** The file that the flow reads; `undefined` when it names none. */
  readonly file: string | undefined
  readonly steps: ReadonlyArray<TunedStep>
  readonly summary: RunEvent.RunFinished
}

/**
 * - `holds`: it is certain again that the target is kept
 * - `broken`: it is certain that it is not
 * - `open`: there are too few rows to decide
 */
export type CheckVerdict = "holds" | "broken" | "open"

/** The result of a routing on rows that it was not tuned on. */
export interface Checked extends Calibration.Measured, Pick<Routing.Certificate, "target" | "delta" | "standard"> {
  readonly name: string
  readonly standing: CheckVerdict
  /** The interval of the share of the strong model's quality that is kept, each end with confidence 1 − delta. */
  readonly low: number
  readonly high: number
}

export interface TuneCheck {
  readonly steps: ReadonlyArray<Checked>
  readonly rows: number
  readonly summary: RunEvent.RunFinished
}

/** The default number of sample rows. */
export const SAMPLE = 300

/** The share of sample rows that may fail. Beyond it the rest is not a representative sample. */
const MOST_FAILED = 0.1

/** The cascade of a flow, whose models must have known prices. */
const cascadeOf = Effect.fnUntraced(function* (flow: Flow.Any) {
  const host = yield* Effect.context<Flow.Host>()
  const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
  const client = yield* Effect.scoped(
    Effect.map(FlowContext.services(flow, { isPlan: true }), ({ client }) => client)
  ).pipe(
    Effect.provideService(Pricing.Pricing, pricing),
    Effect.mapError((error) => new TuneError({ message: error instanceof Error ? error.message : String(error) }))
  )
  const layers = client?.layers ?? []
  const cascade = Option.getOrUndefined(Cascade.of(layers))
  if (cascade === undefined)
    return yield* new TuneError({
      message: `flow ${flow.name} has no cascade to tune: add Cascade.layer({ models: ["<cheap>", "<strong>"], routing: new URL("./${flow.name}.routing.json", import.meta.url) }) to its stack, above Cache.layer()`
    })
  const [cache, own] = [
    LayerAnnotations.indexOf(layers, LayerAnnotations.Cached),
    LayerAnnotations.indexOf(layers, LayerAnnotations.Cascades)
  ]
  if (cache >= 0 && cache < own) {
    yield* Effect.logWarning(
      "Cache.layer is above Cascade.layer: rows that it answers are missing in the sample, and answers are not cached by model; put it below"
    )
  }
  const at = yield* Clock.currentTimeMillis
  const unpriced = cascade.models.find((model) => Option.isNone(pricing.lookup({ model, at })))
  if (unpriced !== undefined) return yield* unknownPrice(unpriced)
  return cascade
})

const unknownPrice = (model: string) =>
  new TuneError({
    message: `the price of ${model} is unknown, so no routing can be called cheaper: set a price in the flow, ${Pricing.example(model)}`
  })

interface Sampled {
  readonly trials: ReadonlyMap<string, ReadonlyArray<Trials.CascadeTrial>>
  /** The number of drawn rows. */
  readonly rows: number
  readonly upTo: string
  readonly summary: RunEvent.RunFinished
  /** Why the first failed row failed. */
  readonly failure: string | undefined
}

/** Which rows are drawn. */
interface Draw {
  readonly size: number
  readonly seed: string
  readonly above?: string
  /** The fewest rows; fewer are refused before any call. */
  readonly least: number
}

/** What is collected from a sample while it runs. */
interface Seen {
  /** By step and row. */
  readonly trials: Map<string, Map<number, Trials.CascadeTrial>>
  readonly stopped: Deferred.Deferred<void>
  /** Steps that make several calls for a row. */
  readonly several: Set<string>
  taken: { readonly rows: number; readonly upTo: string }
  failure: string | undefined
  /** Why the sample is unusable. */
  problem: TuneError | undefined
}

/** Calls every model for a sample of the rows. A spent budget ends the sample. */
const sampleOf = Effect.fnUntraced(function* (
  flow: Flow.Any,
  options: Options,
  draw: Draw
): Effect.fn.Return<Sampled, TuneError | Runner.RunFailed | Runner.StartError, Flow.Host> {
  const seen: Seen = {
    trials: new Map(),
    stopped: Deferred.makeUnsafe(),
    several: new Set(),
    taken: { rows: 0, upTo: draw.above ?? "" },
    failure: undefined,
    problem: undefined
  }
  const isStopped = Deferred.await(seen.stopped)
  const run = Runner.run(flow, {
    ...options,
    record: { ...options.record, tuning: true },
    outputs: false,
    drain: options.drain === undefined ? isStopped : Effect.raceFirst(options.drain, isStopped),
    observe: (event) => {
      if (event._tag === "RowFailed") seen.failure ??= `${event.position}: ${event.node}: ${event.message}`
      return options.observe?.(event) ?? Effect.void
    },
    sample: { ...draw, onTaken: (taken) => take(seen, draw, taken) },
    trials: (trial) => note(seen, trial)
  })
  const summary = yield* Effect.catch(run, (error) =>
    error._tag === "RunFailed" && (seen.problem !== undefined || error.summary.status === "budget")
      ? Effect.succeed(error.summary)
      : Effect.fail(error)
  )
  const problem = seen.problem ?? problemOf(seen, summary)
  if (problem !== undefined) return yield* problem
  return { ...seen.taken, failure: seen.failure, summary, trials: trialsOf(seen, flow) }
})

/** Takes the drawn rows of a source, and rejects too few. */
const take = (
  seen: Seen,
  { above, least }: Draw,
  { rows, upTo }: { readonly rows: number; readonly upTo: string }
): Effect.Effect<void, TuneError> => {
  const { taken } = seen
  seen.taken = { rows: taken.rows + rows, upTo: upTo > taken.upTo ? upTo : taken.upTo }
  if (rows >= least) return Effect.void
  const message =
    above === undefined
      ? `there are only ${rows} different rows, and nothing is certain with fewer than ${least}: use more, a lower target or a larger delta`
      : `every row was in the tuning sample: a check needs other rows`
  return Effect.fail(new TuneError({ message }))
}

/** Records the result of a row. A sample in which only some rows have labels is stopped, so nothing more is paid. */
const note = (seen: Seen, trial: Trials.CascadeTrial): void => {
  let own = seen.trials.get(trial.step)
  if (own === undefined) seen.trials.set(trial.step, (own = new Map()))
  // Rows are independent, the calls of one row are not: one counts.
  if (own.has(trial.index)) seen.several.add(trial.step)
  else own.set(trial.index, trial)
  const [first] = own.values()
  if (first!.isLabelled === trial.isLabelled) return
  seen.problem ??= new TuneError({
    message: `step ${trial.step}: \`quality.label\` returns a label for only some rows of the sample: return one for all, or for none`
  })
  Deferred.doneUnsafe(seen.stopped, Effect.void)
}

/** Why the answered rows do not represent all of them. */
const problemOf = ({ failure, trials }: Seen, summary: RunEvent.RunFinished): TuneError | undefined => {
  const { failed, read } = summary.rows
  if (failed > MOST_FAILED * read) {
    return new TuneError({
      message: `${failed} of ${read} rows of the sample failed, so the others do not represent all; the first: ${failure}`
    })
  }
  for (const [step, own] of trials) {
    const others = [...own.values()].filter(({ isSubstituted }) => isSubstituted).length
    if (others > MOST_FAILED * own.size) {
      return new TuneError({
        message: `step ${step}: ${others} of ${own.size} rows were answered by another model than requested (a fallback), which says nothing about this one: tune when all models answer`
      })
    }
  }
  return undefined
}

/** The trials of each step, in row order. */
const trialsOf = ({ several, trials }: Seen, flow: Flow.Any): Sampled["trials"] =>
  new Map(
    flow.graph.nodes.flatMap(({ name }) => {
      const own = trials.get(name)
      if (own === undefined) return []
      const ordered = [...own].toSorted(([a], [b]) => a - b).map(([, trial]) => trial)
      const usable = ordered.filter(({ isSubstituted }) => !isSubstituted)
      return [[name, several.has(name) ? usable.map(withoutReview) : usable] as const]
    })
  )

/** The answer that a person has reviewed is that of one of the row's calls, which need not be this one. */
const withoutReview = (trial: Trials.CascadeTrial): Trials.CascadeTrial => ({
  ...trial,
  isReviewed: false,
  tried: trial.tried.map(({ unreviewed, ...one }) => ({ ...one, quality: unreviewed ?? one.quality }))
})

const costOf = (asked: ReadonlyArray<ModelResponse.Discarded>, pricing: Pricing.Service, at: number) =>
  Effect.map(
    Effect.forEach(asked, (one) => {
      const { cost } =
        one.usage === undefined ? { cost: undefined } : Pricing.charge(pricing, { ...one, usage: one.usage }, at)
      return cost === undefined ? Effect.fail(unknownPrice(one.model)) : Effect.succeed(cost)
    }),
    Money.sum
  )

/** Trials as observations, with the cost of each model. */
export const observationsOf = (trials: ReadonlyArray<Trials.CascadeTrial>, pricing: Pricing.Service, at: number) =>
  Effect.forEach(trials, ({ row, tried }) =>
    Effect.map(
      Effect.forEach(tried, ({ calls: asked, judging, model, quality, sample }) =>
        Effect.map(
          Effect.all([costOf(asked, pricing, at), costOf(judging, pricing, at)]),
          ([cost, judging]): Observation.ModelAnswer => ({ model, quality, sample, cost, judging })
        )
      ),
      (answers): Observation.Observation => ({ row, answers })
    )
  )

/** Prices, including those of a flow and of its providers. */
export const pricingOf = Effect.fnUntraced(function* (flow: Flow.Any) {
  const pricing = yield* Pricing.override(yield* Pricing.Pricing, flow.prices)
  yield* Effect.scoped(FlowContext.services(flow, { isPlan: true })).pipe(
    Effect.provideService(Pricing.Pricing, pricing),
    Effect.ignore
  )
  return pricing
})

/** Labels count when every row of the sample has one. */
const standardOf = (trials: ReadonlyArray<Trials.CascadeTrial>): Routing.Certificate["standard"] =>
  trials.every(({ isLabelled }) => isLabelled) ? "label" : "agreement"

/** Tunes a flow. */
export const make = <E>(
  flow: Flow.Flow<E>,
  options: TuneOptions
): Effect.Effect<Tuned, TuneError | Pricing.PriceError | Runner.RunFailed | Runner.StartError, Flow.Host> =>
  Effect.gen(function* () {
    const { delta = 0.05, sample: size = SAMPLE, seed = "pipe", target } = options
    // Whether there is anything to tune is checked before anything is paid. An unusable file is no obstacle.
    const cascade = yield* RunHooks.provide({ onTrial: () => {} })(cascadeOf(flow))
    const { failure, rows, summary, trials, upTo } = yield* sampleOf(flow, options, {
      size,
      seed,
      least: Calibration.leastSample({ target, delta })
    })
    const pricing = yield* pricingOf(flow)
    const at = yield* Clock.currentTimeMillis
    if (trials.size === 0) {
      return yield* new TuneError({
        message:
          failure === undefined
            ? `flow ${flow.name} sent nothing through its cascade: steps that name a model bypass it`
            : `every row of the sample failed; the first: ${failure}`
      })
    }
    const keyOf = yield* keysOf(flow, options)
    const steps = yield* Effect.forEach(trials, ([name, own]) =>
      Effect.gen(function* () {
        const standard = standardOf(own)
        const observations = yield* Random.shuffle(yield* observationsOf(own, pricing, at)).pipe(
          Random.withSeed(`${seed} ${name}`)
        )
        return {
          name,
          standard,
          rows: own.length,
          reviewed: own.filter(({ isReviewed }) => isReviewed).length,
          calibration: Calibration.make(observations, { target, delta, standard }),
          baselines: Baselines.of(observations, target, ({ features }) => Number(features["prompt length"]))
        } satisfies TunedStep
      })
    )
    return {
      file: cascade.file,
      steps,
      summary,
      routing: {
        version: 1,
        flow: flow.name,
        tunedAt: new Date(at).toISOString(),
        models: cascade.models,
        judges: cascade.judges.map(({ key, name }) => ({ name, key })),
        sample: { rows, seed, upTo, spent: summary.cost },
        steps: Object.fromEntries(
          steps.map(({ calibration: { certificate, policy, refused }, name }) => [
            name,
            {
              key: keyOf(name) ?? "",
              ...(policy === undefined ? undefined : { policy }),
              ...(certificate === undefined ? undefined : { certificate }),
              ...(refused === undefined ? undefined : { refused })
            }
          ])
        )
      }
    }
  })

const keysOf = (flow: Flow.Any, options: Options) =>
  Effect.gen(function* () {
    const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
    const closures = yield* FlowContext.closures(flow)
    const keys = FlowContext.stepKeys(flow, { settings: yield* FlowContext.settings(flow), parameters, closures })
    closures.close()
    return keys
  })

/** Checks how the routing of a flow performs on rows that were not in its sample. */
export const check = <E>(
  flow: Flow.Flow<E>,
  options: Options = {}
): Effect.Effect<TuneCheck, TuneError | Pricing.PriceError | Runner.RunFailed | Runner.StartError, Flow.Host> =>
  Effect.gen(function* () {
    const { file, routing } = yield* cascadeOf(flow)
    if (file === undefined)
      return yield* new TuneError({
        message: `flow ${flow.name} has no routing to check: its cascade names no file (routing: new URL("./${flow.name}.routing.json", import.meta.url))`
      })
    if (routing === undefined) return yield* new TuneError({ message: `${file} does not exist: pipe tune creates it` })
    const tuned = routing as Routing.Routing
    const keyOf = yield* keysOf(flow, options)
    if (Object.values(tuned.steps).every(({ policy }) => policy === undefined)) {
      return yield* new TuneError({
        message: `${file} certifies nothing, so there is nothing to check: tune again with pipe tune`
      })
    }
    const changed = Object.entries(tuned.steps).find(
      ([name, { key, policy }]) => policy !== undefined && keyOf(name) !== key
    )
    if (changed !== undefined)
      return yield* new TuneError({
        message: `step ${changed[0]} has changed since it was tuned, so there is nothing to check: tune again with pipe tune`
      })
    const { rows, summary, trials } = yield* sampleOf(flow, options, {
      size: options.sample ?? SAMPLE,
      seed: tuned.sample.seed,
      above: tuned.sample.upTo,
      least: 1
    })
    const pricing = yield* pricingOf(flow)
    const at = yield* Clock.currentTimeMillis
    const steps = yield* Effect.forEach(trials, ([name, own]) =>
      Effect.gen(function* () {
        const certificate = tuned.steps[name]?.certificate
        const policy = tuned.steps[name]?.policy
        if (certificate === undefined || policy === undefined) return []
        const observations = yield* observationsOf(own, pricing, at)
        const { target } = certificate
        const delta = options.delta ?? certificate.delta
        const measured = Calibration.measure(policy, observations, delta)
        const standing: CheckVerdict =
          measured.low >= target - 1e-4 ? "holds" : measured.high < target ? "broken" : "open"
        return [{ ...measured, name, standing, target, delta, standard: standardOf(own) } satisfies Checked]
      })
    )
    return { rows, summary, steps: steps.flat() }
  })
