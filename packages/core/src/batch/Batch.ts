/**
 * The provider's batch API: half of the price, for answers within a day. The same requests, keys, cache and books as calls
 * that are made at once.
 *
 * **Details** Requests are gathered by model and API, split by the provider's limits (with a margin) and by the tokens that
 * the account may have waiting, and followed until their results are in the store. While they are away their rows are put
 * down: memory holds a key for each, and a run can be left and gone on with another day. A request that is known is never
 * sent twice, whichever process sent it. What expired, was cancelled or failed for now is sent again in a smaller batch,
 * and asked at once after three batches in vain. After a deadline, what is not back is cancelled and asked at once.
 *
 * It stands above what paces single calls (`RateLimit`, `Concurrency`), which batches do not count against. The command line
 * puts it there: `pipe run flow.ts --batch`.
 *
 * **Example** (batches until two hours have passed)
 *
 * ```ts
 * import { Batch, Cache, Ledger, RateLimit, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Retry.layer(),
 *   Batch.layer({ deadline: "2 hours" }),
 *   RateLimit.layer({ requestsPerMinute: 500 }),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as Scope from "effect/Scope"
import * as Caller from "../client/Caller.ts"
import * as Attempt from "../client/Attempt.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as Charge from "../price/Charge.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Store from "../store/Store.ts"
import * as BatchFailure from "./BatchFailure.ts"
import type * as BatchJobState from "./BatchJobState.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchQueue from "./BatchQueue.ts"
import type * as BatchLine from "./BatchLine.ts"

export interface Options {
  /** Only requests of these steps. Default: all. */
  readonly steps?: ReadonlyArray<string>
  /** From the beginning of the run; what is not back then is cancelled and asked at once. Default: none. */
  readonly deadline?: Duration.Input
  /** How often a request is in a batch before it is asked at once. Default: 3. */
  readonly tries?: number
  /** Most requests of a batch. Default: the provider's limit. */
  readonly maxRequests?: number
  /** Most bytes of a batch. Default: the provider's limit, less 2 %. */
  readonly maxBytes?: number
  /** Tokens of one model that the account may have waiting. Default: learned when the provider refuses. */
  readonly enqueuedTokens?: number
  /** How often batches are looked after. Default: after 1 second, then ever slower, up to a minute. */
  readonly polling?: BatchJobState.Polling
  /** How often a call of the batch API (an upload, a look) is tried while the provider is in trouble, in all. Default: 8. */
  readonly attempts?: number
}

/** The layer's name in `ModelClient.LayerInfo`. */
export const NAME = "Batch"

/** What the command line says: `off` asks everything at once, options stand over those of the layer. */
export const Override = Context.Reference<Options | "off" | undefined>("@pipe/core/Batch/Override", {
  defaultValue: () => undefined
})

type Needs = Store.Store | Pricing.Pricing | FileSystem.FileSystem | Path.Path

/** Sends requests in batches, where the provider has them. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, AiError.AiError, ModelClient.ModelClient | Needs> => {
  OptionNames.checkNumbers("Batch.layer", options, {
    tries: OptionNames.COUNT,
    maxRequests: OptionNames.COUNT,
    maxBytes: OptionNames.COUNT,
    enqueuedTokens: OptionNames.COUNT,
    attempts: OptionNames.COUNT
  })
  return ModelClient.middlewareEffect((next) => make(next, options), {
    name: NAME,
    service: { tier: "batch", steps: options.steps }
  })
}

/** The same, put over a client. */
export const make = Effect.fnUntraced(function* (
  next: ModelClient.Service,
  given: Options
): Effect.fn.Return<ModelClient.Service, AiError.AiError, Needs | Scope.Scope> {
  const override = yield* Override
  if (override === "off") return next
  const options = { ...given, ...override }
  const { batch } = next
  if (batch === undefined) {
    return yield* AiError.make({
      module: "Batch",
      method: "layer",
      reason: new AiError.InvalidRequestError({
        description: `${next.layers?.at(-1)?.name ?? "the provider"} has no batch API: leave --batch and Batch.layer out`
      })
    })
  }
  const store = yield* Store.Store
  const pricing = yield* Pricing.Pricing
  const run = yield* Suspension.Run
  const deadline =
    options.deadline === undefined
      ? undefined
      : (run?.startedAt ?? (yield* Clock.currentTimeMillis))
        + Duration.toMillis(Duration.fromInputUnsafe(options.deadline))
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const expected = yield* ExpectedUsage.ExpectedUsage
  yield* expected.seeded
  const senders = new Map<BatchProvider.BatchProvider, ModelClient.Send>()
  for (const provider of batch.all) {
    const desk = yield* BatchQueue.make({
      provider,
      store,
      pricing,
      fs,
      path,
      run,
      limits: { requests: options.maxRequests, bytes: options.maxBytes },
      enqueuedTokens: options.enqueuedTokens,
      polling: options.polling ?? {},
      attempts: options.attempts,
      deadline
    })
    run?.register(desk)
    senders.set(provider, sender(next, desk, { provider, pricing, run, options, expected }))
  }
  return {
    ...next,
    send: (request) => {
      const provider = batch.of(next.resolve(request))
      return (provider === undefined ? undefined : senders.get(provider))?.(request) ?? next.send(request)
    }
  }
})

const sender = (
  next: ModelClient.Service,
  desk: BatchQueue.BatchDesk,
  env: {
    readonly provider: BatchProvider.BatchProvider
    readonly pricing: Pricing.Service
    readonly run: Suspension.Run | undefined
    readonly options: Options
    readonly expected: ExpectedUsage.ExpectedUsage
  }
): ModelClient.Send => {
  const { expected, options, pricing, provider, run } = env
  const tries = options.tries ?? 3
  /** Answers that a row has had, by the row: another that asks the same shares them. */
  const delivered = new Map<string, string>()
  let warned = false

  const online = <R extends ModelRequest.ModelRequest>(request: R) =>
    Effect.provideService(next.send(request), Suspension.AtOnce, true)

  /** Asks at once; a row that is put down for another call will not pay again. */
  const single = <R extends ModelRequest.ModelRequest>(request: R, line: BatchLine.New) =>
    Effect.withFiber<ModelResponse.ResponseTo<R>, AiError.AiError>((fiber) =>
      fiber.getRef(Suspension.Row) === undefined || desk.isOver()
        ? online(request)
        : Effect.tap(online(request), (response) => desk.keep({ ...line, value: JSON.stringify(response) }))
    )

  const deliver = <R extends ModelRequest.ModelRequest>(
    request: R,
    content: string,
    line: BatchLine.BatchLine
  ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
    Effect.withFiber((fiber) => {
      const kept = Option.flatMap(Option.fromUndefinedOr(line.value), ModelResponse.decode)
      if (Option.isNone(kept)) return desk.spoiled(line)
      const response = kept.value as ModelResponse.ResponseTo<R>
      const refused = ModelFailure.refusal(response)
      if (refused !== undefined) return Effect.fail(refused)
      if (
        request._tag === "Embedding"
        && response._tag === "EmbeddingResponse"
        && response.vectors.length !== request.inputs.length
      ) {
        return Effect.fail(
          BatchFailure.invalid(`${response.vectors.length} vectors came for ${request.inputs.length} texts`)
        )
      }
      const row = fiber.getRef(Suspension.Row)
      if (row !== undefined) row.given.set(content, (row.given.get(content) ?? 0) + 1)
      // A row that is gone through again has paid for its answer itself.
      const { row: number, step } = fiber.getRef(Caller.Caller)
      const place = `${step}\n${number}`
      const payer = delivered.get(line.key) ?? place
      delivered.set(line.key, payer)
      return Effect.succeed(payer === place ? response : { ...response, origin: "shared" })
    })

  /**
   * Puts a request into the next batch: `"single"` for one that is none for a batch, `"held"` when the budget has no room
   * until other requests are back.
   */
  const gather = <R extends ModelRequest.ModelRequest>(
    resolved: R,
    line: BatchLine.New
  ): Effect.Effect<"gathered" | "single" | "held", AiError.AiError> =>
    Effect.withFiber((fiber) => {
      const guard = fiber.getRef(Attempt.Guard)
      const count = fiber.getRef(TokenCounter.TokenCounter)
      const at = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      const row = fiber.getRef(Suspension.Row)
      const add = (request: ModelRequest.ModelRequest, admission: Attempt.Admission | undefined) => {
        const tokens = TokenCounter.inputTokens(count, request)
        return Effect.onExitPrimitive(
          Effect.map(
            desk.add(request, {
              ...line,
              tokens,
              expected: expectedCost(request, line.step, tokens, at),
              most: Charge.most(pricing, { request, provider: provider.name, startedAt: at, serviceTier: "batch" }),
              admission
            }),
            (added) => {
              if (added !== "gathered") admission?.end({ billed: "no" })
              return added === "single" ? added : ("gathered" as const)
            }
          ),
          (exit) => {
            if (exit._tag === "Failure") admission?.end({ billed: "no" })
            return undefined
          }
        )
      }
      if (guard === undefined) return add(resolved, undefined)
      const admission = guard({ request: resolved, provider: provider.name, startedAt: at, serviceTier: "batch" })
      // What others hold comes back when their batch does: a row waits for it as for its own answer.
      const held = Effect.as(Effect.andThen(Effect.yieldNow, Effect.yieldNow), "held" as const)
      return Effect.flatMap(row === undefined ? admission : Effect.raceFirst(admission, held), (admitted) =>
        admitted === "held" ? Effect.succeed(admitted) : add(admitted.request, admitted)
      )
    })

  const expectedCost = (request: ModelRequest.ModelRequest, step: string, tokens: number, at: number): Money.Money => {
    const model = request.model ?? ""
    const price = Option.getOrUndefined(pricing.lookup({ model, provider: provider.name, at }))
    const output = Math.round(expected.of(step, request).expected)
    return price === undefined
      ? Money.zero
      : (Price.cost(
          price,
          { ...Usage.zero, uncachedInput: tokens, output },
          { serviceTier: "batch", provider: provider.name }
        ) ?? Money.zero)
  }

  const wait = <R extends ModelRequest.ModelRequest>(request: R, resolved: R, content: string, line: BatchLine.New) =>
    Effect.withFiber<ModelResponse.ResponseTo<R>, AiError.AiError>((fiber) => {
      if (desk.isOver()) return single(request, line)
      const row = fiber.getRef(Suspension.Row)
      return row !== undefined
        ? Suspension.park(row)
        : Effect.andThen(
            desk.back(line.key),
            Effect.suspend(() => ask(request, resolved, content, line))
          )
    })

  const ask = <R extends ModelRequest.ModelRequest>(
    request: R,
    resolved: R,
    content: string,
    line: BatchLine.New
  ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
    Effect.flatMap(desk.find(line.key), (known) => {
      if (known?.state === "waiting") return wait(request, resolved, content, line)
      if (known?.state === "answered") return deliver(request, content, known)
      if (known?.state === "failed") return Effect.fail(BatchFailure.decode(known.value!))
      const again = known === undefined ? line : { ...line, tries: known.tries + 1 }
      if (desk.isOver() || again.tries > tries) return single(request, again)
      return Effect.flatMap(gather(resolved, again), (how) => {
        if (how !== "single") return wait(request, resolved, content, again)
        const said = warned
          ? Effect.void
          : Effect.logWarning(
              `a request of step ${line.step} is none for a batch of ${provider.name} (too large alone, or of another kind): it is asked at once, and so are others like it`
            )
        warned = true
        return Effect.andThen(said, single(request, again))
      })
    })

  return (request) =>
    Effect.withFiber((fiber) => {
      const { row, step } = fiber.getRef(Caller.Caller)
      if (fiber.getRef(Suspension.AtOnce) || (options.steps !== undefined && !options.steps.includes(step)))
        return next.send(request)
      const resolved = next.resolve(request)
      const content = ContentHash.make(`batch\n${provider.name}\n${RequestKey.content(resolved, run?.scope)}`)
      // A layer above that asks the same again, since the answer was not good enough, wants another.
      const times = fiber.getRef(Suspension.Row)?.given.get(content) ?? 0
      const key = times === 0 ? content : ContentHash.make(`${content}\n${times}`)
      return ask(request, resolved, content, { key, step, row, tries: 1 })
    })
}
