/**
 * Looks up an answer by meaning: reuses one where the error bound allows it, and otherwise learns from the model's
 * answer.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as SqlError from "effect/sql/SqlError"
import * as CallContext from "../client/CallContext.ts"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as Format from "../encoding/Format.ts"
import * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Store from "../store/Store.ts"
import type * as Embedder from "./Embedder.ts"
import * as EquivalenceGuard from "./guard/EquivalenceGuard.ts"
import * as Binomial from "../stats/Binomial.ts"
import type * as OpenScopes from "./OpenScopes.ts"
import type * as ReuseRepo from "./ReuseRepo.ts"
import type * as ReuseScope from "./ReuseScope.ts"
import type * as VectorIndex from "./VectorIndex.ts"

/** The default share of reusable answers for which the model is called anyway. */
export const AUDIT = 0.02

/** The audits of a step so far. */
interface Audits {
  audited: number
  wrong: number
}

export interface Options {
  readonly next: ModelClient.Service
  readonly embedder: Embedder.Service
  readonly namespace: string | undefined
  readonly timeToLive: Duration.Duration
  readonly repo: ReuseRepo.ReuseRepo
  readonly scopes: OpenScopes.OpenScopes<SqlError.SqlError | VectorIndex.VectorIndexError>
  readonly run: Suspension.SuspendedRun | undefined
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** The reuse of a stack. */
export interface ReuseLookup extends Options {
  readonly audits: Map<string, Audits>
  /** Interrupted requests, and whether they were audits: a request that is sent again is not looked up. */
  readonly sent: Map<string, boolean>
  /** The store or the index has failed: the run continues without it. */
  isBroken: boolean
}

export const make = (options: Options): ReuseLookup => ({
  ...options,
  audits: new Map(),
  sent: new Map(),
  isBroken: false
})

/** A request whose answer may be reused. */
export interface Question<R extends ModelRequest.Completion> {
  readonly request: R
  /** The request as it will reach the provider. */
  readonly resolved: R
  /** The request with a mark in place of its text. */
  readonly template: ModelRequest.Completion
  readonly text: string
  readonly reuse: Varying.Reuse
}

/** Where an answer may be found, and the audits of the step. */
interface Place {
  readonly step: string
  readonly audits: Audits
  readonly name: string
  readonly opened: ReuseScope.ReuseScope
  readonly looked: ReuseScope.Looked
  /** The id of the text's vector in the store. */
  readonly vector: number
}

const isOff = ({ audited, wrong }: Audits, { maxErrorRate }: Varying.Reuse): boolean =>
  Binomial.interval(wrong, audited)[0] > maxErrorRate

/** Continues without what the store or the index cannot do. */
const proceed = <A>(
  reuse: ReuseLookup,
  effect: Effect.Effect<A, { readonly message: string }>
): Effect.Effect<A | undefined> =>
  reuse.isBroken
    ? Effect.undefined
    : Effect.catch(effect, (error) => {
        reuse.isBroken = true
        return Effect.as(
          reuse.warn(`the semantic cache failed: ${Store.messageOf(error)}; the run continues without it`),
          undefined
        )
      })

const auditsOf = ({ audits, repo, run }: ReuseLookup, step: string) =>
  Effect.suspend(() => {
    const known = audits.get(step)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(repo.audits(run?.flow ?? "", step), (found): Audits => {
      const read = audits.get(step) ?? { ...found }
      audits.set(step, read)
      return read
    })
  })

/** The vector of a text: from the store, or computed and kept. */
const vectorOf = (reuse: ReuseLookup, text: string) =>
  Effect.gen(function* () {
    const { embedder, repo, warn } = reuse
    const key = ContentHash.make(RequestKey.canonical([embedder.name, text]))
    const known = yield* proceed(reuse, repo.vector(key))
    if (known !== undefined || reuse.isBroken) return known
    const vector = yield* Effect.catch(embedder.embed(text), (error: AiError.AiError) =>
      Effect.as(warn(`no vector for the semantic cache, so the model is called: ${error.message}`), undefined)
    )
    const row = vector === undefined ? undefined : yield* proceed(reuse, repo.keepVector(key, vector))
    return vector === undefined || row === undefined ? undefined : { row, vector }
  })

/** The scope of answers that may replace each other. */
const scopeOf = (
  { embedder, namespace, next }: ReuseLookup,
  { step, values }: CallContext.CallContext,
  { resolved, template, text }: Question<ModelRequest.Completion>
): string => {
  const endpoint = ModelClient.endpointOf(next.layers, resolved.model ?? "")
  const apart = LayerAnnotations.apartBy(next.layers)(values)
  return ContentHash.make(
    RequestKey.canonical([
      step,
      embedder.name,
      RequestKey.content(template, namespace),
      ...(endpoint === "" ? [] : [endpoint]),
      ...(apart === "" ? [] : [`apart ${apart}`]),
      // What is learned from questions that the guard understands says nothing about others.
      ...(EquivalenceGuard.signature(text).isEnglish ? [] : ["another language"])
    ])
  )
}

/** Looks among the kept answers; `undefined` when nothing can be looked up or reused. */
const placeOf = Effect.fnUntraced(function* (reuse: ReuseLookup, question: Question<ModelRequest.Completion>) {
  const { maxErrorRate } = question.reuse
  const call = yield* CallContext.CallContext
  const { step } = call
  const audits = yield* proceed(reuse, auditsOf(reuse, step))
  if (audits === undefined || isOff(audits, question.reuse)) return undefined
  const embedded = yield* vectorOf(reuse, question.text)
  if (embedded === undefined) return undefined
  const name = scopeOf(reuse, call, question)
  const opened = yield* proceed(
    reuse,
    reuse.scopes.get({ scope: name, maxErrorRate, dimensions: embedded.vector.length })
  )
  const looked = opened === undefined ? undefined : yield* proceed(reuse, opened.look(question.text, embedded.vector))
  if (opened === undefined || looked === undefined) return undefined
  const place: Place = { step, audits, name, opened, looked, vector: embedded.row }
  return place
})

/** The answer to a question: a kept one, or the model's. */
export const answer = <R extends ModelRequest.Completion>(
  reuse: ReuseLookup,
  question: Question<R>
): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
  Effect.gen(function* () {
    const { next, repo, sent } = reuse
    const { request } = question
    const place = yield* placeOf(reuse, question)
    if (place === undefined) return yield* next.send(request)
    const { name, opened } = place
    const { found } = place.looked
    const content = () => ContentHash.make(RequestKey.content(question.resolved)).slice(0, 16)
    const waitedFor = sent.size === 0 ? undefined : sent.get(content())
    const kept =
      found === undefined || waitedFor !== undefined || !opened.bound.allows(found.candidate)
        ? undefined
        : yield* responseOf<R>(found.entry)
    const isAudit = waitedFor ?? (kept !== undefined && (yield* Random.next) < (question.reuse.audit ?? AUDIT))
    if (found !== undefined && kept !== undefined && !isAudit) {
      const { features } = found.candidate
      opened.bound.observe({ features, right: undefined })
      repo.record(sourceOf(reuse, place, question), name, { outcome: "reused", features })
      return kept
    }
    const response = yield* Effect.onInterrupt(next.send(request), () =>
      Effect.sync(() => void sent.set(content(), isAudit))
    )
    if (
      !ModelResponse.isComplete(response)
      || response.origin === "shared"
      || (yield* CallContext.CallContext).accept(response) !== undefined
    ) {
      return response
    }
    yield* learn(reuse, question, place, response, isAudit)
    return response
  })

const sourceOf = ({ run }: ReuseLookup, { step }: Place, { reuse }: Question<ModelRequest.Completion>) => ({
  run: run?.id ?? 0,
  flow: run?.flow ?? "",
  step,
  maxErrorRate: reuse.maxErrorRate
})

/** Learns from the model's answer whether the nearest one would have been right, and keeps it. */
const learn = Effect.fnUntraced(function* (
  reuse: ReuseLookup,
  question: Question<ModelRequest.Completion>,
  place: Place,
  response: ModelResponse.CompletionResponse,
  isAudit: boolean
) {
  const { repo, warn } = reuse
  const { looked, name, opened, step } = place
  const asker = sourceOf(reuse, place, question)
  let failure: unknown
  const said = answerOf(response, question.reuse, (error) => (failure = error))
  if (failure !== undefined) yield* warn(Varying.answerFailed(step, "reuse", failure), `answer ${step}`)
  if (looked.found === undefined) repo.record(asker, name, { outcome: "alone", features: undefined })
  else {
    const { candidate, entry } = looked.found
    const { features } = candidate
    const right = candidate.answer === said
    opened.bound.observe({ features, right })
    const outcome = isAudit ? (right ? "auditedRight" : "auditedWrong") : right ? "right" : "wrong"
    repo.record(asker, name, { outcome, features }, entry.id)
    if (isAudit) yield* count(reuse, place, question.reuse, right)
  }
  if (looked.same.includes(said)) return
  const now = yield* Clock.currentTimeMillis
  const { timeToLive } = reuse
  const added = repo.add({
    scope: name,
    vector: place.vector,
    text: question.text,
    answer: said,
    value: JSON.stringify(response),
    model: response.model,
    createdAt: now,
    expiresAt: Duration.isFinite(timeToLive) ? now + Duration.toMillis(timeToLive) : undefined
  })
  yield* proceed(reuse, Effect.andThen(added, opened.follow))
})

/** Counts an audit. A step whose audits are wrong too often stops reusing. */
const count = ({ warn }: ReuseLookup, { audits, step }: Place, reuse: Varying.Reuse, right: boolean) =>
  Effect.suspend(() => {
    audits.audited++
    if (!right) audits.wrong++
    if (!isOff(audits, reuse)) return Effect.void
    const [low, high] = Binomial.interval(audits.wrong, audits.audited)
    return warn(
      `step ${step} stops reusing answers: ${audits.wrong} of ${audits.audited} audited answers were wrong (${Format.share(low)} to ${Format.share(high)}), above its maxErrorRate of ${Format.share(reuse.maxErrorRate)}. Change \`varies\`, allow a higher rate, or remove \`reuse\``
    )
  })

/** The content of an answer, for comparison. */
const answerOf = (
  response: ModelResponse.CompletionResponse,
  reuse: Varying.Reuse,
  failed: (error: unknown) => void
): string => {
  const calls = response.parts.filter((part) => part.type === "tool-call").map(({ name, params }) => [name, params])
  const text = Varying.answerKey(ModelResponse.text(response), reuse.answer, RequestKey.canonical, failed)
  return ContentHash.make(calls.length === 0 ? text : RequestKey.canonical([text, calls]))
}

/** The answer of an entry, if the caller accepts it. */
const responseOf = <R extends ModelRequest.Completion>(
  entry: ReuseRepo.ReuseEntry
): Effect.Effect<ModelResponse.ResponseTo<R> | undefined> =>
  Effect.map(CallContext.CallContext, ({ accept }) => {
    const kept = ModelResponse.decode(entry.value)
    if (Option.isNone(kept)) return undefined
    const response = ModelResponse.again(kept.value, "semantic")
    return accept(response) === undefined ? (response as ModelResponse.ResponseTo<R>) : undefined
  })
