/**
 * What every call to an endpoint needs, and what its failures report.
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import type { Tokens } from "./Tokens.ts"

/** Headers by name. */
export type Headers = { readonly [name: string]: string }

/** A refusal, as the endpoint sent it. */
export interface RefusedCall {
  readonly status: number
  /** The body: parsed if it is JSON, otherwise text. */
  readonly body: unknown
  /** The message in it, however it is nested. */
  readonly message: string
  readonly header: (name: string) => string | null | undefined
}

/** An address, with what its calls carry. */
export interface Endpoint {
  /** The name in errors. */
  readonly module: string
  readonly baseUrl: string
  /** The headers of every call, with the key unless it expires. */
  readonly headers: Headers
  /** The tokens in place of a key, and the headers that carry one. */
  readonly tokens?: Tokens | undefined
  readonly authorize?: ((key: string) => Headers) | undefined
  /** Milliseconds for a whole call. */
  readonly timeout: number
  /** The source of the key, for display. */
  readonly keySource: string
  /** Matches the endpoint's own message for a request that is too long. */
  readonly overflow?: RegExp | undefined
  /** Reads refusals of an unusual form; `undefined` for those that are read as usual. */
  readonly failure?: ((refused: RefusedCall) => AiError.AiError | undefined) | undefined
  /** How addresses of this API usually end, such as `/v1`: for messages about a wrong one. */
  readonly addressEnd?: string | undefined
  /** Set to `false` when only answers are billed: a call that failed with a status of 5xx then costs nothing. */
  readonly billsFailures?: boolean | undefined
}
