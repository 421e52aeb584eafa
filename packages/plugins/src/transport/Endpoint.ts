/**
 * What every call to an endpoint needs, and what its failures say of it.
 *
 * @internal
 */

export interface Endpoint {
  /** Named in errors. */
  readonly module: string
  readonly baseUrl: string
  readonly headers: { readonly [name: string]: string }
  /** Milliseconds for a whole call. */
  readonly timeout: number
  /** Where the key came from, for people. */
  readonly keySource: string
  /** How the endpoint says that a request is too long, where it has words of its own. */
  readonly overflow?: RegExp | undefined
}
