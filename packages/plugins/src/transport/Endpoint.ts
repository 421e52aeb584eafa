/**
 * What every call to an endpoint needs, and what its failures report.
 *
 * @internal
 */

export interface Endpoint {
  /** The name in errors. */
  readonly module: string
  readonly baseUrl: string
  readonly headers: { readonly [name: string]: string }
  /** Milliseconds for a whole call. */
  readonly timeout: number
  /** The source of the key, for display. */
  readonly keySource: string
  /** Matches the endpoint's own message for a request that is too long. */
  readonly overflow?: RegExp | undefined
}
