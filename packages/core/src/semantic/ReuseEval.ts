/**
 * Evaluates reuse by meaning on questions with known answers: how many it would have reused, and how many of those
 * wrongly, compared with the best similarity threshold in hindsight.
 *
 * **Details** It accepts two kinds of data. `rows`: texts with their answers, looked up one after the other in random
 * order, as a run would; a reused answer is right when it equals that of its own row. `pairs`: two texts, and whether
 * the answer to the first is right for the second. No model is called: the known answer replaces it. Repeated texts are
 * left out, because the exact cache answers them.
 *
 * **Example** (how far the vectors of a step's questions can be trusted)
 *
 * ```ts
 * import * as ReuseEval from "@pipe/core/internal/ReuseEval"
 * import { LocalEmbedder, Usearch } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * export const evaluation = ReuseEval.rows([{ text: "Where is my card?", answer: "card_arrival" }], { maxErrorRates: [0.02] }).pipe(
 *   Effect.provide([LocalEmbedder.layer, Usearch.layer])
 * )
 * ```
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Embedder from "./Embedder.ts"
import * as ErrorBound from "./ErrorBound.ts"
import * as ReuseLookup from "./ReuseLookup.ts"
import * as VectorIndex from "./VectorIndex.ts"
import * as EquivalenceGuard from "./guard/EquivalenceGuard.ts"

/** A text and its answer. */
export interface EvalRow {
  readonly text: string
  readonly answer: string
}

/** Two texts, and whether the answer to `a` is right for `b`. */
export interface TextPair {
  readonly a: string
  readonly b: string
  readonly same: boolean
}

export interface Options {
  /** The bounds to evaluate, each on its own. Default: 0.01, 0.02, 0.03, 0.05 and 0.1. */
  readonly maxErrorRates?: ReadonlyArray<number>
  /** The number of random orders. Default: 3. */
  readonly shuffles?: number
  /** The seed of the orders and of the audits. Default: `"pipe"`. */
  readonly seed?: string
  /** The share of reusable answers for which the model would be called. Default: that of `SemanticCache`. */
  readonly audit?: number
  readonly onProgress?: (done: number, of: number, what: "vectors" | "shuffles") => void
}

/** One order of the texts. */
export interface EvalTrial {
  readonly lookups: number
  readonly reused: number
  readonly wrong: number
}

/** The result of a bound, over all orders. */
export interface EvalOutcome {
  readonly maxErrorRate: number
  readonly trials: ReadonlyArray<EvalTrial>
}

/** The result of a threshold on the similarity of the nearest text, over all orders. */
export interface Threshold extends EvalTrial {
  readonly threshold: number
}

export interface Evaluation {
  readonly of: "texts" | "pairs"
  /** The number of texts evaluated. */
  readonly size: number
  /** Texts that occurred before, word for word. */
  readonly repeated: number
  /** Texts that the embedder cannot compare: the model is called. */
  readonly unfit: number
  readonly embedder: string
  readonly outcomes: ReadonlyArray<EvalOutcome>
  /** In descending order. */
  readonly thresholds: ReadonlyArray<Threshold>
}

/** The share of look-ups whose answer was reused. */
export const reuseOf = ({ lookups, reused }: EvalTrial): number => (lookups === 0 ? 0 : reused / lookups)

/** The share of reused answers that were wrong. */
export const errorOf = ({ reused, wrong }: EvalTrial): number => (reused === 0 ? 0 : wrong / reused)

/** Adds up trials. */
export const total = (trials: ReadonlyArray<EvalTrial>): EvalTrial => ({
  lookups: trials.reduce((sum, { lookups }) => sum + lookups, 0),
  reused: trials.reduce((sum, { reused }) => sum + reused, 0),
  wrong: trials.reduce((sum, { wrong }) => sum + wrong, 0)
})

/** The lowest threshold whose error stays within a bound, in hindsight; `undefined` when none does. */
export const bestThreshold = (thresholds: ReadonlyArray<Threshold>, maxErrorRate: number): Threshold | undefined =>
  thresholds.findLast((one) => one.reused > 0 && errorOf(one) <= maxErrorRate)

const MAX_ERROR_RATES = [0.01, 0.02, 0.03, 0.05, 0.1]

/** Thresholds from 1 down, in steps of a thousandth. */
const STEPS = 1_001

interface Counted {
  readonly right: Uint32Array
  readonly wrong: Uint32Array
  lookups: number
}

const makeCounted = (): Counted => ({ right: new Uint32Array(STEPS), wrong: new Uint32Array(STEPS), lookups: 0 })

const note = (counted: Counted, similarity: number, isRight: boolean): void => {
  const at = Math.min(STEPS - 1, Math.max(0, Math.ceil((1 - similarity) * (STEPS - 1))))
  ;(isRight ? counted.right : counted.wrong)[at]!++
}

const thresholdsOf = ({ lookups, right, wrong }: Counted): ReadonlyArray<Threshold> => {
  let reused = 0
  let mistakes = 0
  return Array.from(right, (count, at) => {
    reused += count + wrong[at]!
    mistakes += wrong[at]!
    return { threshold: 1 - at / (STEPS - 1), lookups, reused, wrong: mistakes }
  })
}

interface Prepared {
  readonly text: string
  readonly vector: Float32Array
  readonly signature: EquivalenceGuard.Signature
}

/** Vectors of texts; `undefined` for a text that cannot be compared. */
const prepare = Effect.fnUntraced(function* (texts: ReadonlyArray<string>, onProgress: Options["onProgress"]) {
  const embedder = yield* Embedder.Embedder
  let done = 0
  return yield* Effect.forEach(
    texts,
    (text) =>
      text.trim() === "" || embedder.unfit(text) !== undefined
        ? Effect.undefined
        : Effect.map(embedder.embed(text), (vector): Prepared => {
            if (++done % 100 === 0) onProgress?.(done, texts.length, "vectors")
            return { text, vector, signature: EquivalenceGuard.signature(text) }
          }),
    { concurrency: 64 }
  )
})

/** Random orders, determined by the seed. */
const orders = ({ shuffles = 3 }: Options, size: number): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>> =>
  Effect.forEach(Array.from({ length: shuffles }), () =>
    Random.shuffle(Array.from({ length: size }, (_, index) => index))
  )

/** Evaluates texts with their answers, as a run meets them. */
export const rows = (
  all: ReadonlyArray<EvalRow>,
  options: Options = {}
): Effect.Effect<Evaluation, AiError.AiError | VectorIndex.VectorIndexError, Embedder.Embedder> =>
  Effect.gen(function* () {
    const { name } = yield* Embedder.Embedder
    const known = [...new Map(all.map((row) => [row.text, row])).values()]
    const prepared = yield* prepare(
      known.map(({ text }) => text),
      options.onProgress
    )
    const items = known.flatMap(({ answer }, at) => (prepared[at] === undefined ? [] : [{ ...prepared[at], answer }]))
    const counted = makeCounted()
    const maxErrorRates = options.maxErrorRates ?? MAX_ERROR_RATES
    const trials = new Map<number, Array<EvalTrial>>(maxErrorRates.map((rate) => [rate, []]))
    const shuffled = yield* orders(options, items.length)
    let done = 0
    for (const order of shuffled) {
      const sequence = order.map((at) => items[at]!)
      yield* everything(sequence, counted)
      for (const maxErrorRate of maxErrorRates) {
        trials.get(maxErrorRate)!.push(yield* asRun(sequence, maxErrorRate, options.audit ?? ReuseLookup.AUDIT))
        options.onProgress?.(++done, shuffled.length * maxErrorRates.length, "shuffles")
      }
    }
    return {
      of: "texts",
      size: known.length,
      repeated: all.length - known.length,
      unfit: known.length - items.length,
      embedder: name,
      outcomes: maxErrorRates.map((maxErrorRate): EvalOutcome => ({ maxErrorRate, trials: trials.get(maxErrorRate)! })),
      thresholds: thresholdsOf(counted)
    } satisfies Evaluation
  }).pipe(Random.withSeed(options.seed ?? "pipe"))

interface Item extends Prepared {
  readonly answer: string
}

const openIndex = (dimensions: number) =>
  Effect.flatMap(VectorIndex.VectorIndex, (indexes) =>
    indexes.open({ name: "evaluation", dimensions, folder: undefined })
  )

/** The nearest earlier text of each, when all earlier answers are known. */
const everything = (sequence: ReadonlyArray<Item>, counted: Counted) =>
  Effect.scoped(
    Effect.gen(function* () {
      const index = yield* openIndex(sequence[0]?.vector.length ?? 1)
      for (const [at, { answer, vector }] of sequence.entries()) {
        const [nearest] = yield* index.search(vector, 1)
        counted.lookups++
        if (nearest !== undefined) note(counted, nearest.similarity, sequence[nearest.id - 1]!.answer === answer)
        yield* index.add([{ id: at + 1, vector }])
      }
    })
  )

/** Bounds of texts that the guard understands, and of others. */
const boundsOf = (maxErrorRate: number): ((signature: EquivalenceGuard.Signature) => ErrorBound.ErrorBound) => {
  const [english, other] = [ErrorBound.make({ maxErrorRate }), ErrorBound.make({ maxErrorRate })]
  return ({ isEnglish }) => (isEnglish ? english : other)
}

/** A whole run: reused answers are not entries, and answers of the model are evidence. */
const asRun = (sequence: ReadonlyArray<Item>, maxErrorRate: number, audit: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const index = yield* openIndex(sequence[0]?.vector.length ?? 1)
      const boundOf = boundsOf(maxErrorRate)
      const entries: Array<Item & { right: number; wrong: number }> = []
      let reused = 0
      let wrong = 0
      for (const item of sequence) {
        const bound = boundOf(item.signature)
        const near = yield* index.search(item.vector, ErrorBound.NEIGHBOURS)
        const neighbours = near.map(({ id, similarity }) => {
          const entry = entries[id - 1]!
          return {
            ...EquivalenceGuard.compare(item.signature, entry.signature),
            similarity,
            answer: entry.answer,
            right: entry.right,
            wrong: entry.wrong,
            entry
          }
        })
        const candidate = ErrorBound.candidate(neighbours, index.size())
        const isRight = candidate?.answer === item.answer
        if (candidate !== undefined) {
          const isReused = bound.allows(candidate) && (yield* Random.next) >= audit
          bound.observe({ features: candidate.features, right: isReused ? undefined : isRight })
          if (isReused) {
            reused++
            if (!isRight) wrong++
            continue
          }
          const { entry } = neighbours[candidate.neighbour]!
          if (isRight) entry.right++
          else entry.wrong++
        }
        entries.push({ ...item, right: 0, wrong: 0 })
        yield* index.add([{ id: entries.length, vector: item.vector }])
      }
      return { lookups: sequence.length, reused, wrong }
    })
  )

/** Evaluates pairs of texts: whether the answer to the first would be reused for the second. */
export const pairs = (
  all: ReadonlyArray<TextPair>,
  options: Options = {}
): Effect.Effect<Evaluation, AiError.AiError, Embedder.Embedder> =>
  Effect.gen(function* () {
    const { name } = yield* Embedder.Embedder
    const [first, second] = [
      yield* prepare(
        all.map(({ a }) => a),
        options.onProgress
      ),
      yield* prepare(
        all.map(({ b }) => b),
        options.onProgress
      )
    ]
    const counted = makeCounted()
    const items = all.flatMap(({ same }, at) => {
      const [a, b] = [first[at], second[at]]
      if (a === undefined || b === undefined) return []
      const similarity = a.vector.reduce((sum, x, i) => sum + x * b.vector[i]!, 0)
      const neighbour = {
        ...EquivalenceGuard.compare(a.signature, b.signature),
        similarity,
        answer: "",
        right: 0,
        wrong: 0
      }
      return [{ same, similarity, signature: a.signature, candidate: ErrorBound.candidate([neighbour], all.length) }]
    })
    counted.lookups = items.length
    for (const { same, similarity } of items) note(counted, similarity, same)
    const shuffled = yield* orders(options, items.length)
    const trialOf = Effect.fnUntraced(function* (
      order: ReadonlyArray<number>,
      maxErrorRate: number
    ): Effect.fn.Return<EvalTrial> {
      const boundOf = boundsOf(maxErrorRate)
      let reused = 0
      let wrong = 0
      for (const at of order) {
        const { candidate, same, signature } = items[at]!
        const bound = boundOf(signature)
        if (candidate === undefined) continue
        const isReused = bound.allows(candidate) && (yield* Random.next) >= (options.audit ?? ReuseLookup.AUDIT)
        bound.observe({ features: candidate.features, right: isReused ? undefined : same })
        if (!isReused) continue
        reused++
        if (!same) wrong++
      }
      return { lookups: items.length, reused, wrong }
    })
    return {
      of: "pairs",
      size: all.length,
      repeated: 0,
      unfit: all.length - items.length,
      embedder: name,
      outcomes: yield* Effect.forEach(options.maxErrorRates ?? MAX_ERROR_RATES, (maxErrorRate) =>
        Effect.map(
          Effect.forEach(shuffled, (order) => trialOf(order, maxErrorRate)),
          (trials): EvalOutcome => ({ maxErrorRate, trials })
        )
      ),
      thresholds: thresholdsOf(counted)
    } satisfies Evaluation
  }).pipe(Random.withSeed(options.seed ?? "pipe"))
