/**
 * Uses the provider's own prompt cache well: a common prefix of prompts is cheaper from the second time on, when it is
 * at the beginning and long enough.
 *
 * **Details**
 *
 * - Requests with the same prefix stay together: the first is sent alone, and when it is answered, which means that the
 *   provider has the prefix, the others follow. The same applies after a pause longer than the provider's cache
 *   lifetime.
 * - The prefix is everything before the text that varies, when a step declares it (`varies`); otherwise tools and
 *   system prompt.
 * - For Anthropic its end is marked (`cache_control`). A write costs 1.25 times the standard price there, a read a
 *   tenth: a prefix that no step declares is marked from its second occurrence on, and one that is too short for the
 *   model never.
 * - Requests that go in batches are left as they are: they run in parallel, so none finds what another wrote.
 *
 * Put it under `Retry` and `Pack`, and above `RateLimit` and `Concurrency`. It saves input tokens of calls that are
 * made; `Cache` saves whole calls.
 *
 * **Example** (a long instruction is paid for once)
 *
 * ```ts
 * import { Cache, Ledger, PromptCache, RateLimit, Retry, Stack } from "@pipe/core"
 * import { Anthropic } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Retry.layer(),
 *   PromptCache.layer(),
 *   RateLimit.layer({ requestsPerMinute: 500 }),
 *   Anthropic.layer({ model: "claude-sonnet-4-6" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Lru from "../store/Lru.ts"

/** The options of `PromptCache.layer`. */
export interface Options {
  /**
   * Tokens of the shortest prefix that the provider caches. Default: by provider and model.
   */
  readonly minTokens?: number
  /** How long the provider keeps a prefix after each use. Anthropic offers both. Default: `"5 minutes"`. */
  readonly timeToLive?: "5 minutes" | "1 hour"
}

/** The most prefixes that are remembered. */
const REMEMBERED = 10_000

/** What is known of a prefix. */
interface Prefix {
  /** Whether it is long enough for the provider to cache. Counted once. */
  readonly isKept: boolean
  /** How often it has occurred. */
  seen: number
  /** Until when the provider keeps it, in milliseconds since 1970. */
  warmUntil: number
  /** The request that writes it. */
  lead: Deferred.Deferred<void> | undefined
}

/**
 * Sends the first of several requests with the same prefix before the others, and marks the end of the prefix where
 * needed.
 */
export const layer = (options: Options = {}): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  ModelClient.middlewareEffect((next) => Effect.succeed(make(next, options)), {
    name: "PromptCache",
    answers: false,
    annotations: Context.make(LayerAnnotations.UsesPromptCache, true)
  })

const make = (next: ModelClient.Service, options: Options): ModelClient.Send => {
  const timeToLive = Duration.toMillis(options.timeToLive ?? "5 minutes")
  const prefixes = Lru.make<string, Prefix>(REMEMBERED)

  const prefixOf = (key: string, isKept: () => boolean): Prefix => {
    const known = prefixes.get(key)
    if (known !== undefined) return known
    const prefix = { isKept: isKept(), seen: 0, warmUntil: 0, lead: undefined }
    prefixes.set(key, prefix)
    return prefix
  }

  const go = (prefix: Prefix, send: ReturnType<ModelClient.Send>): typeof send =>
    Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      const noteUse = <A, E>(effect: Effect.Effect<A, E>, lead?: Deferred.Deferred<void>) =>
        Effect.onExitPrimitive(effect, (exit) => {
          if (Exit.isSuccess(exit)) prefix.warmUntil = clock.currentTimeMillisUnsafe() + timeToLive
          if (lead !== undefined) {
            prefix.lead = undefined
            Deferred.doneUnsafe(lead, Effect.void)
          }
          return undefined
        })
      if (prefix.warmUntil > clock.currentTimeMillisUnsafe()) return noteUse(send)
      if (prefix.lead !== undefined)
        return Effect.andThen(
          Deferred.await(prefix.lead),
          Effect.suspend(() => go(prefix, send))
        )
      return noteUse(send, (prefix.lead = Deferred.makeUnsafe()))
    })

  const send = (request: ModelRequest.ModelRequest): ReturnType<ModelClient.Send> =>
    Effect.withFiber((fiber) => {
      if (request._tag !== "Completion") return next.send(request)
      const call = fiber.getRef(CallContext.CallContext)
      const model = next.resolve(request, call).model ?? ""
      const rule = ModelClient.promptCacheOf(next.layers, model)
      const minimum = options.minTokens ?? rule?.minimum
      // The requests of a batch run in parallel, and rarely find each other's prefix.
      if (minimum === undefined || LayerAnnotations.tierOf(next.layers, call.step, model) === "batch")
        return next.send(request)
      const text = fiber.getRef(Varying.Varying)?.text
      const place = text === undefined ? undefined : Varying.find(request, text)
      const common = place === undefined ? systemOf(request) : Varying.before(request, place)
      const prefix = prefixOf(
        ContentHash.make(RequestKey.canonical([model, common])),
        () => TokenCounter.inputTokens(fiber.getRef(TokenCounter.TokenCounter), common) >= minimum
      )
      if (!prefix.isKept) return next.send(request)
      prefix.seen++
      if (rule?.isMarked !== true) return go(prefix, next.send(request))
      // It may never occur again, and writing costs more than sending.
      if (place === undefined && prefix.seen === 1) return next.send(request)
      const control = { type: "ephemeral", ...(options.timeToLive === "1 hour" ? { ttl: "1h" } : undefined) }
      const endsBefore = place === undefined || (place.from === 0 && (place.part ?? 0) === 0)
      return go(
        prefix,
        next.send(
          endsBefore
            ? markSystem(request, control)
            : Varying.split(request, place, { anthropic: { cacheControl: control } })
        )
      )
    })
  return send as ModelClient.Send
}

/** The tools and the leading system messages. */
const systemOf = (request: ModelRequest.Completion): ModelRequest.Completion => {
  const other = request.messages.findIndex(({ role }) => role !== "system")
  return { ...request, messages: request.messages.slice(0, other < 0 ? undefined : other) }
}

const markSystem = (
  request: ModelRequest.Completion,
  cacheControl: { readonly type: string }
): ModelRequest.Completion => {
  const last = systemOf(request).messages.length - 1
  const message = request.messages[last]
  return message === undefined
    ? request
    : {
        ...request,
        messages: request.messages.with(last, {
          ...message,
          options: { ...message.options, anthropic: { cacheControl } }
        } as ModelRequest.Message)
      }
}
