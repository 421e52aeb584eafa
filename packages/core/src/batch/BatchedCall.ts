/**
 * Sends a request through a batch: adds it to the next one, waits for it, or returns the answer that is there.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Attempt from "../client/Attempt.ts"
import * as CallContext from "../client/CallContext.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as Occurrences from "../client/Occurrences.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as Simulation from "../client/Simulation.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import type * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as Charge from "../price/Charge.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import type * as Pricing from "../price/Pricing.ts"
import * as BatchFailure from "./BatchFailure.ts"
import type * as BatchLine from "./BatchLine.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchQueue from "./BatchQueue.ts"

export interface Options {
  /** Sends single requests. */
  readonly next: ModelClient.Service
  readonly queue: BatchQueue.BatchQueue
  readonly provider: BatchProvider.BatchProvider
  readonly pricing: Pricing.Service
  readonly run: Suspension.SuspendedRun | undefined
  readonly expected: ExpectedUsage.ExpectedUsage
  /** Uses batches for these steps only. Default: all. */
  readonly steps: ReadonlyArray<string> | undefined
  /** How many batches a request is put in before it is sent as a single call. */
  readonly tries: number
}

interface Sender extends Options {
  /** Numbers the rows with equal requests, where each gets an answer of its own. */
  readonly equal: Occurrences.Occurrences
  /** The row that received each answer first, by key: another row with the same request shares it. */
  readonly delivered: Map<string, string>
  readonly warn: ReturnType<typeof LayerEvent.once>
  /** For each row, the replays in which it sent new requests and received no answer. */
  readonly unanswered: Map<string, Replays>
}

interface Replays {
  /** The number of the last one. */
  last: number
  count: number
}

/** A request, with its key. */
interface BatchedRequest<R extends ModelRequest.ModelRequest> {
  readonly request: R
  /** The request as it will reach the provider. */
  readonly resolved: R
  /** The hash of its content. */
  readonly content: string
  readonly line: BatchLine.New
  /** It must not go in a batch. */
  readonly isSingle: boolean
}

type Answer<R extends ModelRequest.ModelRequest> = Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError>

/** Sends requests through batches; those of other steps, and those that must not wait, as single calls. */
export const make = (options: Options): ModelClient.Send => {
  const { next, steps } = options
  const sender: Sender = {
    ...options,
    equal: Occurrences.make(),
    delivered: new Map(),
    warn: LayerEvent.once(),
    unanswered: new Map()
  }
  return (request) =>
    Effect.withFiber((fiber) => {
      const call = fiber.getRef(CallContext.CallContext)
      const { row, step } = call
      const { single } = call.state
      if (single === "passing" || (steps !== undefined && !steps.includes(step))) return next.send(request)
      const resolved = next.resolve(request, fiber.getRef(CallContext.CallContext))
      const content = contentOf(sender, resolved, call)
      // A layer above that repeats a request, because the answer was not good enough, wants a new one.
      const times = CallContext.stateOf(fiber).row?.given.get(content) ?? 0
      const key = times === 0 ? content : ContentHash.make(`${content}\n${times}`)
      const { step: name } = CallContext.callerOf(call)
      const sent = send(sender, {
        request,
        resolved,
        content,
        line: { key, step: name, row, tries: 1 },
        isSingle: single === "kept"
      })
      const words = resolved === request ? [] : ModelClient.leftOut(next.layers, request)
      return words.length === 0
        ? sent
        : Effect.andThen(
            Effect.forEach(words, (text) => sender.warn(text), { discard: true }),
            sent
          )
    })
}

/**
 * The hash of a request. Equal requests share a line, unless each row gets an answer of its own: then those after the first
 * are numbered. The number does not depend on the step's code, or on the names of its inputs: what is at the provider is
 * found after an edit.
 */
const contentOf = (
  { equal, provider, run }: Sender,
  request: ModelRequest.ModelRequest,
  call: CallContext.CallContext
): string => {
  const content = ContentHash.make(`batch\n${provider.name}\n${RequestKey.content(request, run?.scope)}`)
  const { equalBefore } = call.state
  if (equalBefore === undefined) return content
  const { row, step } = CallContext.callerOf(call)
  const number = equal.of(ContentHash.make(`${content}\n${equalBefore}`), placeOf({ row, step }))
  return equalBefore === 0 && number === 0 ? content : ContentHash.make(`${content}\n${equalBefore}\n${number}`)
}

const send = <R extends ModelRequest.ModelRequest>(sender: Sender, asked: BatchedRequest<R>): Answer<R> => {
  const { queue, tries } = sender
  const { line } = asked
  return Effect.flatMap(queue.find(line.key), (known) =>
    Effect.withFiber((fiber) => {
      if (known?.state === "waiting") return wait(sender, asked)
      if (known?.state === "answered") return deliver(sender, asked, known)
      if (known?.state === "failed") return Effect.fail(BatchFailure.decode(known.value!))
      const again = known === undefined ? asked : { ...asked, line: { ...line, tries: known.tries + 1 } }
      if (asked.isSingle || queue.isOver() || again.line.tries > tries) return single(sender, again)
      if (known === undefined && isOther(sender, line, fiber))
        return Effect.andThen(sayOther(sender, line.step), single(sender, again))
      return Effect.flatMap(gather(sender, again), (how) => {
        if (how === "single") return Effect.andThen(sayNoBatch(sender, line.step, again.request), single(sender, again))
        if (how === "gathered") noteSent(sender, line, fiber)
        return wait(sender, again)
      })
    })
  )
}

/**
 * Tests whether a row has sent other requests in each replay, such as prompts with the time: no batch would ever answer it.
 */
const isOther = ({ tries, unanswered }: Sender, line: BatchLine.New, fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  const { row } = CallContext.stateOf(fiber)
  const before = unanswered.get(placeOf(line))
  if (row === undefined || before === undefined) return false
  return (before.last === row.replay ? before.count - 1 : before.count) >= tries
}

/** Notes that a row has sent a request in this replay. A row that the budget holds has sent none. */
const noteSent = ({ unanswered }: Sender, line: BatchLine.New, fiber: Fiber.Fiber<unknown, unknown>): void => {
  const { row } = CallContext.stateOf(fiber)
  if (row === undefined) return
  const before = unanswered.get(placeOf(line))
  if (before === undefined) unanswered.set(placeOf(line), { last: row.replay, count: 1 })
  else if (before.last !== row.replay) {
    before.last = row.replay
    before.count++
  }
}

const placeOf = ({ row, step }: Pick<BatchLine.New, "row" | "step">): string => `${step}\n${row}`

/** Waits for an answer; in a run, the row is suspended until it is there. */
const wait = <R extends ModelRequest.ModelRequest>(sender: Sender, asked: BatchedRequest<R>): Answer<R> =>
  Effect.withFiber((fiber) => {
    const { queue } = sender
    if (queue.isOver()) return single(sender, asked)
    const row = CallContext.stateOf(fiber).row
    if (row !== undefined) return Suspension.suspend
    return Effect.andThen(
      queue.back(asked.line.key),
      Effect.suspend(() => send(sender, asked))
    )
  })

/** Sends a single call. A row that is suspended for another call will not pay for it again. */
const single = <R extends ModelRequest.ModelRequest>(
  { next, queue }: Sender,
  { line, request }: BatchedRequest<R>
): Answer<R> =>
  Effect.withFiber((fiber) => {
    const online = CallContext.provideState({ single: "passing" })(next.send(request))
    return CallContext.stateOf(fiber).row === undefined || queue.isOver()
      ? online
      : Effect.tap(online, (response) => queue.keep({ ...line, value: JSON.stringify(response) }))
  })

const sayOther = (sender: Sender, step: string): Effect.Effect<void> =>
  sender.warn(
    `step ${step}: a row sends other requests each time it is replayed (the time or a random number in its prompt?), so no batch can answer it: it is sent as a single call, and so are others like it. Make the prompt the same for equal rows, or run the flow with --online`,
    `other ${step}`
  )

const sayNoBatch = (
  { provider, warn }: Sender,
  step: string,
  { _tag }: ModelRequest.ModelRequest
): Effect.Effect<void> =>
  _tag === "Decision"
    ? warn(`step ${step}: decisions have no batches at ${provider.name}: they are sent as single calls`, "decisions")
    : warn(
        `step ${step}: a request is not eligible for a batch of ${provider.name} (too large, or an unsupported kind): it is sent as a single call, and so are others like it`,
        "not eligible"
      )

/** Returns the answer of a batch. */
const deliver = <R extends ModelRequest.ModelRequest>(
  { delivered, queue, unanswered }: Sender,
  { content, request }: BatchedRequest<R>,
  line: BatchLine.BatchLine
): Answer<R> =>
  Effect.withFiber((fiber) => {
    const kept = Option.flatMap(Option.fromUndefinedOr(line.value), ModelResponse.decode)
    if (Option.isNone(kept)) return queue.spoiled(line)
    const response = kept.value as ModelResponse.ResponseTo<R>
    const refused = ModelFailure.refusal(response) ?? missingVectors(request, response)
    if (refused !== undefined) return Effect.fail(refused)
    const row = CallContext.stateOf(fiber).row
    if (row !== undefined) row.given.set(content, (row.given.get(content) ?? 0) + 1)
    // A replayed row has paid for its answer itself.
    const { row: number, step } = CallContext.callerOf(fiber.getRef(CallContext.CallContext))
    const place = placeOf({ step, row: number })
    // An answer that each replay has again is no progress.
    if (!delivered.has(line.key)) unanswered.delete(place)
    const payer = delivered.get(line.key) ?? place
    delivered.set(line.key, payer)
    return Effect.succeed(payer === place ? response : { ...response, origin: "shared" })
  })

const missingVectors = (
  request: ModelRequest.ModelRequest,
  response: ModelResponse.ModelResponse
): AiError.AiError | undefined =>
  request._tag === "Embedding"
  && response._tag === "EmbeddingResponse"
  && response.vectors.length !== request.inputs.length
    ? BatchFailure.invalid(`${response.vectors.length} vectors returned for ${request.inputs.length} texts`)
    : undefined

/**
 * Adds a request to the next batch. Returns `"single"` when it cannot go in a batch, and `"held"` when the budget has
 * no room until other requests end.
 */
const gather = <R extends ModelRequest.ModelRequest>(
  sender: Sender,
  { line, resolved }: BatchedRequest<R>
): Effect.Effect<"gathered" | "single" | "held", AiError.AiError> =>
  Effect.withFiber((fiber) => {
    const { provider } = sender
    const { attempts } = fiber.getRef(RunHooks.RunHooks)
    const count = fiber.getRef(TokenCounter.TokenCounter)
    const at = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const admission = Attempt.admit(attempts, {
      request: resolved,
      provider: provider.name,
      startedAt: at,
      serviceTier: "batch",
      isBatched: true,
      ...(fiber.getRef(Simulation.Simulation) === undefined ? undefined : { isSimulated: true })
    })
    const put = ({ end, held, limited, request }: Attempt.Admitted) =>
      add(sender, request, line, { at, count, admission: { end, held, limited } })
    const admitted = Attempt.immediate(admission)
    if (admitted !== undefined) return put(admitted)
    if (CallContext.stateOf(fiber).row === undefined) return Effect.flatMap(admission, put)
    // Reservations of other requests are released when their batch ends: the row waits for that as for its own answer.
    const held = Effect.as(Effect.andThen(Effect.yieldNow, Effect.yieldNow), "held" as const)
    return Effect.flatMap(Effect.raceFirst(admission, held), (admitted) =>
      admitted === "held" ? Effect.succeed(admitted) : put(admitted)
    )
  })

const add = (
  sender: Sender,
  request: ModelRequest.ModelRequest,
  line: BatchLine.New,
  {
    admission,
    at,
    count
  }: {
    readonly at: number
    readonly count: TokenCounter.Count
    readonly admission: Pick<Attempt.Admitted, "end" | "held" | "limited">
  }
): Effect.Effect<"gathered" | "single", AiError.AiError> => {
  const { pricing, provider, queue } = sender
  const tokens = TokenCounter.inputTokens(count, request)
  const added = queue.add(request, {
    ...line,
    tokens,
    expected: expectedCost(sender, request, line.step, tokens, at),
    most: Charge.most(pricing, { request, provider: provider.name, startedAt: at, serviceTier: "batch" }),
    admission
  })
  return Effect.onExitPrimitive(
    Effect.map(added, (how) => {
      if (how !== "gathered") admission.end({ billed: "no" })
      return how === "single" ? how : ("gathered" as const)
    }),
    (exit) => {
      if (exit._tag === "Failure") admission.end({ billed: "no" })
      return undefined
    }
  )
}

const expectedCost = (
  { expected, pricing, provider }: Sender,
  request: ModelRequest.ModelRequest,
  step: string,
  tokens: number,
  at: number
): Money.Money => {
  const price = Option.getOrUndefined(pricing.lookup({ model: request.model ?? "", provider: provider.name, at }))
  const usage = {
    ...Usage.zero,
    uncachedInput: tokens,
    output: Math.round(expected.of(step, request).expected)
  }
  const service = { serviceTier: "batch", provider: provider.name }
  return price === undefined ? Money.zero : (Price.cost(price, usage, service) ?? Money.zero)
}
