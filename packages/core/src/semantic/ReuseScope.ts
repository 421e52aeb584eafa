/**
 * A scope of reuse: the index of its vectors, which follows the store, and the evidence of its look-ups.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Lru from "../store/Lru.ts"
import * as ErrorBound from "./ErrorBound.ts"
import type * as ReuseRepo from "./ReuseRepo.ts"
import type * as VectorIndex from "./VectorIndex.ts"
import * as EquivalenceGuard from "./guard/EquivalenceGuard.ts"

/** What is known of a text when its answer is requested. */
export interface FoundAnswer {
  readonly candidate: ErrorBound.ReuseCandidate
  /** The entry that supplies the answer. */
  readonly entry: ReuseRepo.ReuseEntry
}

export interface Looked {
  /** `undefined` when no near answer may be used. */
  readonly found: FoundAnswer | undefined
  /** The answers of entries with exactly this text. */
  readonly same: ReadonlyArray<string>
}

type Failure = SqlError.SqlError | VectorIndex.VectorIndexError

export interface ReuseScope {
  readonly bound: ErrorBound.ErrorBound
  readonly look: (text: string, vector: Float32Array) => Effect.Effect<Looked, Failure>
  /** Adds what the store has and the index lacks. */
  readonly follow: Effect.Effect<void, Failure>
}

/** How long entries of other processes may stay unseen, in milliseconds. */
const REFRESH = 5_000

/** The most signatures kept in memory. */
const SIGNATURES = 20_000

export const make = Effect.fnUntraced(function* (options: {
  readonly scope: string
  readonly maxErrorRate: number
  readonly dimensions: number
  readonly folder: string | undefined
  readonly repo: ReuseRepo.ReuseRepo
  readonly indexes: VectorIndex.Service
}): Effect.fn.Return<ReuseScope, Failure, Scope.Scope> {
  const { dimensions, folder, maxErrorRate, repo, scope } = options
  const index = yield* options.indexes.open({ name: scope, dimensions, folder })
  const bound = ErrorBound.make({ maxErrorRate })
  for (const { features, outcome } of yield* repo.recent(scope, 2 * ErrorBound.MEMORY)) {
    if (features !== undefined) bound.observe({ features, right: rightOf(outcome) })
  }
  const signatures = Lru.make<number, EquivalenceGuard.Signature>(SIGNATURES)
  const signatureOf = ({ id, text }: ReuseRepo.ReuseEntry): EquivalenceGuard.Signature => {
    let known = signatures.get(id)
    if (known === undefined) signatures.set(id, (known = EquivalenceGuard.signature(text)))
    return known
  }

  const add = (after: number) =>
    Stream.runForEachArray(repo.after(scope, after), (items) =>
      index.add(items.filter(({ vector }) => vector.length === dimensions))
    )

  let followedAt = Number.NEGATIVE_INFINITY
  const turn = Semaphore.makeUnsafe(1)
  const follow = turn.withPermit(
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      followedAt = now
      return Effect.suspend(() => add(index.upto()))
    })
  )

  // A kept index may belong to another store, or be older than a prune.
  if (index.upto() > 0) {
    const isOurs = index.size() <= (yield* repo.size(scope)) && (yield* knows(index, repo, scope))
    if (!isOurs) yield* index.reset
  }
  yield* follow

  return {
    bound,
    follow,
    look: (text, vector) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (now - followedAt > REFRESH) yield* follow
        const near = yield* index.search(vector, ErrorBound.NEIGHBOURS)
        const entries = new Map(
          (yield* repo.entries(
            near.map(({ id }) => id),
            now
          )).map((entry) => [entry.id, entry])
        )
        const own = EquivalenceGuard.signature(text)
        const neighbours: Array<ErrorBound.Neighbour & { readonly entry: ReuseRepo.ReuseEntry }> = []
        for (const { id, similarity } of near) {
          const entry = entries.get(id)
          if (entry === undefined) continue
          neighbours.push({
            ...EquivalenceGuard.compare(own, signatureOf(entry)),
            similarity,
            answer: entry.answer,
            right: entry.confirmed,
            wrong: entry.refuted,
            entry
          })
        }
        const candidate = ErrorBound.candidate(neighbours, index.size())
        return {
          found: candidate === undefined ? undefined : { candidate, entry: neighbours[candidate.neighbour]!.entry },
          same: neighbours.filter(({ entry }) => entry.text === text).map(({ answer }) => answer)
        }
      })
  }
})

/** Tests whether the newest vector of an index is the one that the store has under its id. */
const knows = (index: VectorIndex.Index, repo: ReuseRepo.ReuseRepo, scope: string): Effect.Effect<boolean, Failure> =>
  Effect.flatMap(Stream.runHead(repo.after(scope, index.upto() - 1)), (newest) =>
    newest._tag === "None" || newest.value.id !== index.upto()
      ? Effect.succeed(false)
      : Effect.map(index.search(newest.value.vector, 1), ([first]) => first !== undefined && first.similarity > 0.99)
  )

/** Whether an earlier answer was right, when that is known. */
const rightOf = (outcome: ReuseRepo.LookupOutcome): boolean | undefined =>
  outcome === "reused" ? undefined : outcome === "right" || outcome === "auditedRight"
