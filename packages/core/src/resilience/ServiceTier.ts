/**
 * Sends calls in a cheaper service tier, and those that it has no room for in the ordinary one: half the price where the
 * provider has a flex tier, and no row waits for hours as in a batch.
 *
 * **Details** A call goes in the ordinary tier when the provider refuses it for now (429, Groq's 498) or fails (5xx), when
 * it has no answer after `timeout`, and after `deadline`. When three calls in a row are refused, fail or have no answer, the calls to that model skip the
 * cheaper tier for the wait that the provider asks for, or ten seconds. A model without the tier is called in the
 * ordinary one, which a warning says once. The tier that an answer names decides its price: one without a name is
 * charged as ordinary. Budgets reserve the ordinary price. `RateLimit`, below, learns the limits of each tier apart, and a
 * call does not wait for those of the cheaper one; `requestsPerMinute` and `tokensPerMinute` count for each.
 * Requests of batches keep the price of batches.
 *
 * OpenAI, Google, Groq and Amazon Bedrock (its OpenAI-compatible endpoint) have a tier named `flex`.
 *
 * **Example** (half price, and the ordinary tier after an hour)
 *
 * ```ts
 * import { Retry, RateLimit, ServiceTier, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Retry.layer(),
 *   ServiceTier.layer({ use: "flex", otherwise: "default", deadline: "1 hour" }),
 *   RateLimit.layer(),
 *   OpenAi.layer({ model: "gpt-6-luna" })
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
import type * as Layer from "effect/Layer"
import * as CallContext from "../client/CallContext.ts"
import * as CallTimeout from "../client/CallTimeout.ts"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Cooldown from "./Cooldown.ts"
import * as Patience from "./Patience.ts"

/** The options of `ServiceTier.layer`. */
export interface Options {
  /** The tier to use, by the provider's name for it, such as `"flex"`. */
  readonly use: string
  /** The tier of calls that it does not take. Default: `"default"`, the ordinary one, for which nothing is requested. */
  readonly otherwise?: string
  /** How long an answer of the tier is waited for. Default: 15 minutes, as OpenAI advises for flex. */
  readonly timeout?: Duration.Input
  /** Counted from the start of the run: calls after it go in the other tier. Default: none. */
  readonly deadline?: Duration.Input
  /** Uses the tier for these steps only. Default: all. */
  readonly steps?: ReadonlyArray<string>
}

/** How long a tier is skipped after three refusals, when the provider asks for no wait. */
const SKIPPED = "10 seconds"

/** How long a call waits for a limit of the tier that is used up, in milliseconds: the other tier has room. */
const PATIENCE = 1_000

/** Added to the time limit of the provider's own, which must not end a call first. */
const SLACK = 60_000

/** Sends calls in a tier, and in another one what it does not take. */
export const layer = (options: Options): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> => {
  OptionNames.check("ServiceTier.layer", options, ["use", "otherwise", "timeout", "deadline", "steps"])
  OptionNames.checkDurations("ServiceTier.layer", options, ["timeout", "deadline"])
  const { otherwise = "default", steps, use } = options
  const timeout = Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "15 minutes"))
  return ModelClient.middlewareService(
    (next) =>
      Effect.gen(function* () {
        const { suspension } = yield* RunHooks.RunHooks
        const deadline =
          options.deadline === undefined
            ? Number.POSITIVE_INFINITY
            : (suspension?.startedAt ?? (yield* Clock.currentTimeMillis))
              + Duration.toMillis(Duration.fromInputUnsafe(options.deadline))
        const tier: Tier = {
          next,
          use,
          otherwise,
          timeout,
          deadline,
          refused: new Set(),
          cooldown: yield* Cooldown.make({ failures: 3, cooldown: SKIPPED }),
          warn: LayerEvent.once()
        }
        return {
          resolve: next.resolve,
          send: <R extends ModelRequest.ModelRequest>(request: R) =>
            Effect.flatMap(CallContext.CallContext, (call) =>
              steps === undefined || steps.includes(call.step) ? send(tier, request, call) : next.send(request)
            ),
          annotations: Context.make(LayerAnnotations.ServiceTier, {
            tier: use,
            steps,
            models: (model) => ModelClient.inTier(next.layers, model, use) !== undefined
          })
        }
      }),
    {
      name: "ServiceTier",
      answers: false,
      annotations: Context.make(LayerAnnotations.Paces, true).pipe(
        Context.add(LayerAnnotations.Order, {
          once: "a call has one service tier. Keep one, and name its `steps`",
          below: [
            {
              key: LayerAnnotations.Retries,
              because: "a refused call would be retried in the tier that has no room, before the other one is used"
            }
          ]
        })
      )
    }
  )
}

/** What the calls of a layer share. */
interface Tier extends Pick<Required<Options>, "use" | "otherwise"> {
  readonly next: ModelClient.Service
  /** Milliseconds. */
  readonly timeout: number
  /** Milliseconds since 1970. */
  readonly deadline: number
  /** Models that have refused the tier itself. */
  readonly refused: Set<string>
  readonly cooldown: Cooldown.Cooldown
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** The request in a tier; `undefined` when the provider does not have it for the model. */
const inTier = <R extends ModelRequest.ModelRequest>(
  { next }: Tier,
  request: R,
  model: string,
  name: string
): R | undefined => {
  const tier = ModelClient.inTier(next.layers, model, name)
  if (tier === undefined) return undefined
  const providerOptions = { ...request.providerOptions }
  for (const [provider, fields] of Object.entries(tier)) {
    const own = providerOptions[provider]
    providerOptions[provider] =
      typeof own === "object" && own !== null && !Array.isArray(own) ? { ...own, ...fields } : fields
  }
  return { ...request, providerOptions }
}

const send = <R extends ModelRequest.ModelRequest>(
  tier: Tier,
  request: R,
  call: CallContext.CallContext
): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
  const { cooldown, deadline, next, otherwise, refused, timeout, use, warn } = tier
  const resolved = next.resolve(request, call)
  const model = resolved.model ?? ""
  // The author has chosen a tier for this call.
  if (ModelClient.tierAsked(next.layers, resolved) !== undefined) return next.send(request)
  const ordinary = Effect.suspend(() =>
    next.send(otherwise === "default" ? request : (inTier(tier, request, model, otherwise) ?? request))
  )
  const cheaper = refused.has(model) ? undefined : inTier(tier, request, model, use)
  if (cheaper === undefined)
    return Effect.andThen(
      warn(
        `step ${call.step}: ${ModelClient.providerOf(next.layers, model)} has no service tier ${use} for ${model}, so its calls are in the ordinary tier`,
        model
      ),
      ordinary
    )
  const sent = next.send(cheaper).pipe(
    CallTimeout.provide(timeout + SLACK),
    Patience.provide(PATIENCE),
    // Interrupted without an answer: whether it is billed is not known, and the ledger has it at the most.
    Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(unanswered(use, timeout)) })
  )
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now >= deadline
      ? ordinary
      : Effect.matchEffect(cooldown(`${model} ${use}`)(sent), {
          onSuccess: (response) => (response === undefined ? ordinary : Effect.succeed(response)),
          onFailure: (error) => {
            if (ModelFailure.kind(error) === "rate" || error.reason._tag === "InternalProviderError") return ordinary
            if (!isAboutTier(error)) return Effect.fail(error)
            refused.add(model)
            return Effect.andThen(
              warn(
                `step ${call.step}: ${model} does not accept the service tier ${use} (${ModelFailure.message(error).slice(0, 200)}): its calls are in the ordinary tier`,
                `refused ${model}`
              ),
              ordinary
            )
          }
        })
  )
}

/** The failure of a call that a tier has not answered: for its cooldown, and never the row's. */
const unanswered = (tier: string, milliseconds: number): AiError.AiError =>
  AiError.make({
    module: "ServiceTier",
    method: "send",
    reason: new AiError.InternalProviderError({
      description: `no answer in the service tier ${tier} within ${Duration.format(Duration.millis(milliseconds))}`
    })
  })

/** Tests whether a request was refused because of its tier: refusals also quote prompts. */
const isAboutTier = (error: AiError.AiError): boolean =>
  ["final", "auth"].includes(ModelFailure.kind(error))
  && /service[_ ]?tier|\bflex (?:tier|processing)|\b(?:access to|support(?:s|ed)?|available (?:in|for)) flex\b/i.test(
    ModelFailure.message(error)
  )
