/**
 * Makes the failures of a provider, by what they mean for a run: what is retried, what waits, what stops the run, and
 * what may be billed. `ModelFailure` reads them.
 *
 * **Example** (by the status of an answer)
 *
 * ```ts
 * import { Failure, ModelFailure } from "@pipe/core"
 *
 * const failureOf = (status: number, words: string) =>
 *   status === 429
 *     ? Failure.rate(words, { after: "7 seconds" })
 *     : status === 401
 *       ? Failure.auth(words)
 *       : status >= 500
 *         ? Failure.transient(words, { isBilled: false })
 *         : Failure.invalid(words)
 *
 * ModelFailure.isRetryable(failureOf(503, "out of order")) // => true
 * ModelFailure.isHopeless(failureOf(401, "no such key")) // => true
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as ModelFailure from "./ModelFailure.ts"

/** What every failure may say. */
export interface Options {
  /** The name of the provider or layer, for error reports. Default: `"provider"`. */
  readonly module?: string
  /**
   * Whether the call may be billed although it failed. Default: by the kind of failure. A call that may be billed, and
   * has no usage, is recorded at the most that it can cost.
   */
  readonly isBilled?: boolean
}

const make = (reason: AiError.AiErrorReason, { module = "provider" }: Options): AiError.AiError =>
  AiError.make({ module, method: "send", reason })

const billing = ({ isBilled }: Options): { readonly metadata?: { readonly [key: string]: boolean } } =>
  isBilled === undefined ? {} : { metadata: { [ModelFailure.billableKey]: isBilled } }

/**
 * Too many requests or tokens for now: the call is sent again, and every other call waits `after`, the time that the
 * provider asks for.
 */
export const rate = (
  description: string,
  options: Options & { readonly after?: Duration.Input } = {}
): AiError.AiError =>
  make(
    new AiError.RateLimitError({
      metadata: { description },
      ...(options.after === undefined ? undefined : { retryAfter: Duration.fromInputUnsafe(options.after) })
    }),
    options
  )

/** A temporary failure of the provider: the call is sent again. It may be billed, unless `isBilled` says otherwise. */
export const transient = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.InternalProviderError({ description, ...billing(options) }), options)

/** The account has no credit: the run stops, and can be resumed. */
export const quota = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.QuotaExhaustedError({ metadata: { description } }), options)

/** The key is missing or not valid: the run stops. */
export const auth = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.AuthenticationError({ kind: "InvalidKey", description }), options)

/** The key may not use this model, or a firewall refuses this text: the row fails. */
export const denied = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.AuthenticationError({ kind: "InsufficientPermissions", description }), options)

/** The request does not fit the model's context window: `Fallback` and `Cascade` send it to a larger one. */
export const overflow = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.InvalidRequestError({ description, constraint: ModelFailure.contextWindow }), options)

/** The model or a policy refuses the text: the row fails. */
export const refused = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.ContentPolicyError({ description, ...billing(options) }), options)

/**
 * The request is not valid: the row fails. With `isForAll`, every row would meet it, such as an unknown model or
 * setting.
 */
export const invalid = (
  description: string,
  options: Options & { readonly isForAll?: boolean } = {}
): AiError.AiError =>
  make(
    new AiError.InvalidRequestError({
      description,
      ...(options.isForAll === true ? { constraint: ModelFailure.setUp } : undefined),
      ...billing(options)
    }),
    options
  )

/** What arrived is not an answer: the call is sent again. It may be billed. */
export const unreadable = (description: string, options: Options = {}): AiError.AiError =>
  make(new AiError.InvalidResponseError({ description }), options)

/** The endpoint accepts no connection: nothing was sent or billed, and the run stops after the retries. */
export const unreachable = (description: string, options: Options & { readonly url?: string } = {}): AiError.AiError =>
  network(description, options, true)

/** The connection ended without an answer: the call is sent again, and may be billed. */
export const lost = (description: string, options: Options & { readonly url?: string } = {}): AiError.AiError =>
  network(description, options, false)

const network = (
  description: string,
  { url = "", ...options }: Options & { readonly url?: string },
  isUnreachable: boolean
): AiError.AiError =>
  make(
    new AiError.NetworkError({
      reason: "TransportError",
      method: "POST",
      url,
      description,
      cause: new ModelFailure.NoAnswer({ isUnreachable, isSent: !isUnreachable && options.isBilled !== false })
    }),
    options
  )
