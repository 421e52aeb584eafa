/**
 * Whether the answer to an earlier question may stand for the answer to a new one, so that of all answers that are reused at
 * most a share δ is another than the model would have given.
 *
 * **Details** It follows vCache (Schroeder et al., "vCache: Verified Semantic Prompt Caching", arXiv 2502.03771): no threshold
 * on similarity that somebody chose, but a logistic model of "the reused answer would have been right", fitted to what
 * was seen whenever the model was asked although an earlier answer was at hand, and reuse only where its error, with the
 * uncertainty of the fit, keeps within δ; else the model is asked, which is the next observation. Two things are carried
 * further:
 *
 * - vCache fits one model an entry, from the similarity of the nearest alone. Here the answers of several neighbours vote,
 *   weighed by similarity, and one model is shared by all entries of a scope. It sees how alike the nearest is, how
 *   clearly the vote was won, by which margin, how many neighbours agree, how alike those are, how many words they share with
 *   the question, how much is known by then, and the record of the entry that would be used: evidence of each entry, without
 *   waiting for dozens of lookups of it.
 * - vCache bounds the error of each lookup by exploring at random. Here the line is drawn where the mean error of all that
 *   lies above it, weighed over the lookups that came (reused ones too: their features are known though their outcome is
 *   not), plus `confidence` standard errors of that mean by the delta method, meets δ. And no single answer is reused whose own
 *   error, with two standard errors, is over 5 δ, or whose neighbour is farther away than those of 98 % of the answers that
 *   were right: a question about something new is asked.
 *
 * Neighbours whose text fails the guard may vote, since they say how answers vary, and never give the answer. Until
 * `COLD_START` lookups were observed, the model is always asked.
 *
 * **Gotchas** The bound holds for questions like those that were seen. That is why a share of reused answers is audited, and
 * why reuse is switched off where the audit shows more errors than δ: see `interval`.
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

/** An earlier question near to the new one. */
export interface Neighbour {
  /** Cosine, -1 to 1. */
  readonly similarity: number
  /** Share of the words of both texts that are in both, 0 to 1. */
  readonly overlap: number
  /** What its answer says: neighbours with an equal one agree. */
  readonly answer: string
  /** Whether its answer may be used for this question: the guard found nothing that differs. */
  readonly isUsable: boolean
  /** How often its answer would have been right for another question, and how often not. */
  readonly right: number
  readonly wrong: number
}

/** An answer that could be reused, with what speaks for it. */
export interface ReuseCandidate {
  readonly answer: string
  /** Which of the neighbours gives it. */
  readonly neighbour: number
  readonly features: ReadonlyArray<number>
}

/** What became of a lookup; `right` is not known of one that was reused and not audited. */
export interface LookupObservation {
  readonly features: ReadonlyArray<number>
  readonly right: boolean | undefined
}

export interface Options {
  /** δ: the share of reused answers that may be wrong, between 0 and 1. */
  readonly maxErrorRate: number
  /** Standard errors of the estimated error that are added to it. Default: 2.33 (99 % of one side). */
  readonly confidence?: number
}

export interface ErrorBound {
  /** Whether the candidate may be reused. */
  readonly allows: (candidate: ReuseCandidate) => boolean
  readonly observe: (observation: LookupObservation) => void
}

/** Neighbours that are looked at. */
export const NEIGHBOURS = 12

/** Observations before the first answer is reused. */
export const COLD_START = 200

/** Observations that count: older ones were made when less was known. */
export const MEMORY = 2_000

/** How fast a vote loses weight with distance, as a share of the distance of the nearest. */
const BANDWIDTH = 0.4

const FEATURES = 10

/** At least so many lookups must lie above the line. */
const LEAST = 20

/** The feature that says how near the nearest is. */
const NEAREST = 1

/** Share of the answers that were right whose neighbour was farther away than anything that is reused. */
const FAR = 0.02

/** How many times the bound the error of a single lookup may be, with two of its standard errors. */
const SINGLE = 5

/** Strength of the prior that pulls weights to 0. */
const RIDGE = 1

const overlapOf = (neighbours: ReadonlyArray<Neighbour>): number =>
  Math.max(0, ...neighbours.map(({ overlap }) => overlap))

const surprise = (share: number): number => -Math.log(Math.max(1 - share, 1e-3))

/**
 * The answer for which the neighbours vote, `undefined` where none of those that give it may be used. `known` is the number of
 * entries that there were to choose from. Neighbours come nearest first.
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

/** A fit to what was seen, from earlier weights. */
const fit = (observations: ReadonlyArray<LookupObservation>, from: Float64Array): Logistic.LogisticFit =>
  Logistic.fitFrom(
    observations.map(({ features, right }) => ({ x: features, y: right === true ? 1 : 0 })),
    from,
    RIDGE
  )

/** How near the nearest was for nearly all answers that were right: beyond that the model would speak of what it has not seen. */
const farthest = (known: ReadonlyArray<LookupObservation>): number => {
  const near = known
    .flatMap(({ features, right }) => (right === true ? [features[NEAREST]!] : []))
    .toSorted((a, b) => a - b)
  return near[Math.floor(FAR * near.length)] ?? Number.POSITIVE_INFINITY
}

/** The lowest score above which the error of all lookups keeps within the bound; infinite where there is none. */
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

/** Keeps the newest of a list, cutting it now and then. */
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
