/**
 * Decides whether the answer to an earlier question may be reused for a new one, so that at most a share δ of all
 * reused answers differs from what the model would have given.
 *
 * **Details** It follows vCache (Schroeder et al., "vCache: Verified Semantic Prompt Caching", arXiv 2502.03771).
 * Instead of a fixed similarity threshold there is a logistic model of "the reused answer would have been right",
 * fitted to every call made although an earlier answer was available. An answer is reused only where the model's error,
 * with the uncertainty of the fit, stays within δ; otherwise the model is called, which gives the next observation. Two
 * parts go further:
 *
 * - vCache fits one model per entry, from the similarity of the nearest one alone. Here the answers of several
 *   neighbours vote, weighted by similarity, and all entries of a scope share one model. Its features are the
 *   similarity of the nearest neighbour, the clarity and margin of the vote, how many neighbours agree and how similar
 *   they are, their word overlap with the question, how much is known, and the record of the entry that would be used:
 *   evidence for each entry without waiting for dozens of look-ups of it.
 * - vCache bounds the error of each look-up by random exploration. Here the line is drawn where the mean error of all
 *   look-ups above it (including reused ones, whose features are known even if their outcome is not), plus `confidence`
 *   standard errors of that mean by the delta method, equals δ. In addition, no answer is reused whose own error, with
 *   two standard errors, exceeds 5 δ, or whose neighbour is farther away than those of 98 % of the right answers: a
 *   question about something new goes to the model.
 *
 * Neighbours whose text fails the guard may vote, because they show how answers vary, but never supply the answer. The
 * model is always called until `COLD_START` look-ups have been observed.
 *
 * **Gotchas** The bound holds for questions like those seen before. A share of reused answers is therefore audited, and
 * reuse is switched off when the audit shows an error above δ: see `interval`.
 *
 * **Example** (nothing is reused before there is evidence)
 *
 * ```ts
 * import * as ErrorBound from "@pipe/core/internal/ErrorBound"
 *
 * const bound = ErrorBound.make({ maxErrorRate: 0.02 })
 * const candidate = ErrorBound.candidate([{ similarity: 0.99, overlap: 0.5, answer: "refund", isUsable: true, right: 0, wrong: 0 }], 1)!
 * candidate.answer // => "refund"
 * bound.allows(candidate) // => false
 * ```
 *
 * @internal
 */
import * as Logistic from "../stats/Logistic.ts"

/** An earlier question close to the new one. */
export interface Neighbour {
  /** Cosine similarity, from -1 to 1. */
  readonly similarity: number
  /** The share of words that occur in both texts, from 0 to 1. */
  readonly overlap: number
  /** The content of its answer: neighbours with an equal one agree. */
  readonly answer: string
  /** Whether its answer may be used for this question: the guard found no difference. */
  readonly isUsable: boolean
  /** How often its answer would have been right for another question, and how often wrong. */
  readonly right: number
  readonly wrong: number
}

/** An answer that could be reused, with its evidence. */
export interface ReuseCandidate {
  readonly answer: string
  /** The index of the neighbour that supplies it. */
  readonly neighbour: number
  readonly features: ReadonlyArray<number>
}

/** The outcome of a look-up. `right` is unknown for an answer that was reused without an audit. */
export interface LookupObservation {
  readonly features: ReadonlyArray<number>
  readonly right: boolean | undefined
}

export interface Options {
  /** The error bound δ: the share of reused answers that may be wrong, between 0 and 1. */
  readonly maxErrorRate: number
  /** Standard errors added to the estimated error. Default: 2.33 (99 %, one-sided). */
  readonly confidence?: number
}

export interface ErrorBound {
  /** Whether the candidate may be reused. */
  readonly allows: (candidate: ReuseCandidate) => boolean
  readonly observe: (observation: LookupObservation) => void
}

/** The number of neighbours considered. */
export const NEIGHBOURS = 12

/** The observations required before the first answer is reused. */
export const COLD_START = 200

/** The observations that count. Older ones were made when less was known. */
export const MEMORY = 2_000

/** How fast a vote loses weight with distance, as a share of the nearest distance. */
const BANDWIDTH = 0.4

const FEATURES = 10

/** The fewest look-ups that must be above the line. */
const LEAST = 20

/** The feature for the similarity of the nearest neighbour. */
const NEAREST = 1

/** The share of right answers whose neighbour was farther away than any that is reused. */
const FAR = 0.02

/** How many times the bound the error of a single look-up may be, with two standard errors. */
const SINGLE = 5

/** The strength of the prior that pulls weights towards 0. */
const RIDGE = 1

const overlapOf = (neighbours: ReadonlyArray<Neighbour>): number =>
  Math.max(0, ...neighbours.map(({ overlap }) => overlap))

const surprise = (share: number): number => -Math.log(Math.max(1 - share, 1e-3))

/**
 * The answer that the neighbours vote for; `undefined` when none of those that give it may be used. `known` is the
 * number of entries to choose from. Neighbours are sorted, nearest first.
 */
export const candidate = (neighbours: ReadonlyArray<Neighbour>, known: number): ReuseCandidate | undefined => {
  const [nearest] = neighbours
  if (nearest === undefined) return undefined
  const width = Math.max(0.005, BANDWIDTH * (1 - nearest.similarity))
  const votes = new Map<string, number>()
  let all = 0
  for (const { answer, similarity } of neighbours) {
    const weight = Math.exp((similarity - nearest.similarity) / width)
    all += weight
    votes.set(answer, (votes.get(answer) ?? 0) + weight)
  }
  let answer = nearest.answer
  let most = 0
  for (const [other, weight] of votes) {
    if (weight > most) {
      most = weight
      answer = other
    }
  }
  const giver = neighbours.findIndex((neighbour) => neighbour.answer === answer && neighbour.isUsable)
  if (giver < 0) return undefined
  const own = neighbours.filter((neighbour) => neighbour.answer === answer)
  const other = neighbours.find((neighbour) => neighbour.answer !== answer)
  const closest = own.slice(0, 3)
  const words = overlapOf(own)
  const { right, wrong } = neighbours[giver]!
  return {
    answer,
    neighbour: giver,
    features: [
      1,
      surprise(nearest.similarity) - 2,
      surprise(most / all) / 2,
      (own[0]!.similarity - (other ?? neighbours.at(-1)!).similarity) * 10,
      Math.log1p(own.length) - 1.5,
      surprise(closest.reduce((sum, { similarity }) => sum + similarity, 0) / closest.length) - 2,
      Math.log((1 + right) / (1 + 4 * wrong)),
      Math.log(Math.max(known, 1) / 2_000),
      (words - 0.5) * 4,
      (words - overlapOf(neighbours.filter((neighbour) => neighbour.answer !== answer))) * 4
    ]
  }
}

/** Fits the observations, starting from earlier weights. */
const fit = (observations: ReadonlyArray<LookupObservation>, from: Float64Array): Logistic.LogisticFit =>
  Logistic.fitFrom(
    observations.map(({ features, right }) => ({ x: features, y: right === true ? 1 : 0 })),
    from,
    RIDGE
  )

/** The distance of nearly all right answers. Beyond it the model would extrapolate. */
const farthest = (known: ReadonlyArray<LookupObservation>): number => {
  const near = known
    .flatMap(({ features, right }) => (right === true ? [features[NEAREST]!] : []))
    .toSorted((a, b) => a - b)
  return near[Math.floor(FAR * near.length)] ?? Number.POSITIVE_INFINITY
}

/** The lowest score above which the mean error stays within the bound; infinite when there is none. */
const lineOf = (
  { covariance, weights }: Logistic.LogisticFit,
  lookups: ReadonlyArray<LookupObservation>,
  limit: number,
  confidence: number
): number => {
  const scored = lookups
    .map(({ features }) => ({ features, score: Logistic.dot(weights, features) }))
    .toSorted((a, b) => b.score - a.score)
  const slope = new Float64Array(FEATURES)
  let errors = 0
  let line = Number.POSITIVE_INFINITY
  scored.forEach(({ features, score }, at) => {
    const p = Logistic.sigmoid(score)
    errors += 1 - p
    for (let i = 0; i < FEATURES; i++) slope[i]! += p * (1 - p) * features[i]!
    const n = at + 1
    if (n < LEAST) return
    if (errors / n + (confidence * Logistic.deviation({ covariance }, slope)) / n <= limit) line = score
  })
  return line
}

/** Keeps the newest elements of a list, trimming it occasionally. */
const remember = <A>(list: Array<A>, item: A): void => {
  list.push(item)
  if (list.length > 2 * MEMORY) list.splice(0, list.length - MEMORY)
}

export const make = ({ confidence = 2.33, maxErrorRate }: Options): ErrorBound => {
  const known: Array<LookupObservation> = []
  const lookups: Array<LookupObservation> = []
  let observed = 0
  let next = COLD_START
  let current: (Logistic.LogisticFit & { readonly line: number; readonly nearest: number }) | undefined
  const update = () => {
    next = Math.ceil(observed * 1.05) + 20
    const fitted = fit(known.slice(-MEMORY), current?.weights ?? new Float64Array(FEATURES))
    current = {
      ...fitted,
      line: lineOf(fitted, lookups.slice(-MEMORY), maxErrorRate, confidence),
      nearest: farthest(known.slice(-MEMORY))
    }
  }
  return {
    observe: (observation) => {
      remember(lookups, observation)
      if (observation.right === undefined) return
      remember(known, observation)
      observed++
    },
    allows: ({ features }) => {
      if (observed >= next) update()
      if (current === undefined) return false
      const score = Logistic.dot(current.weights, features)
      return (
        score >= current.line
        && features[NEAREST]! >= current.nearest
        && 1 - Logistic.sigmoid(score - 2 * Logistic.deviation(current, features)) <= SINGLE * maxErrorRate
      )
    }
  }
}
