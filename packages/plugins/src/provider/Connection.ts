/**
 * Connects to the endpoint of a provider: finds its address and its key, and opens the pool through which calls go.
 *
 * @since 0.1.0
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import * as Overrides from "@pipe/core/Endpoint"
import * as Secret from "@pipe/core/internal/Secret"
import * as OptionNames from "@pipe/core/internal/OptionNames"
import type * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Authorized from "./Authorized.ts"
import * as BatchAccount from "./BatchAccount.ts"
import * as Credentials from "./Credentials.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as Http from "./Http.ts"
import * as PoolTransport from "./PoolTransport.ts"
import type * as Reply from "./Reply.ts"
import * as Tokens from "./Tokens.ts"

/** The options that the layer of every provider has. */
export interface Options {
  /** The model of requests that name none. */
  readonly model?: string
  /**
   * The model of embeddings, where a request names none or names a model that answers in text. Default: `model`, which
   * must then be an embedding model.
   */
  readonly embeddings?: string
  /** Default: the environment variable of the provider, such as `OPENAI_API_KEY`. */
  readonly apiKey?: string | Redacted.Redacted
  /** Tokens that expire, in place of a key. A token is fetched once for all calls, and renewed in time. */
  readonly token?: Effect.Effect<Tokens.Token, AiError.AiError>
  /** Identifies the account, when several have tokens at one address: limits and batches belong to an account. */
  readonly account?: string
  /** Default: the environment variable of the provider, such as `OPENAI_BASE_URL`, or the provider's own address. */
  readonly baseUrl?: string
  /**
   * Identifies the endpoint in keys, when its address is not the provider's own: give two addresses of one service the
   * same name. Default: the address, because another server may answer differently for the same model.
   */
  readonly endpoint?: string
  /** Streams completions, which keeps connections alive behind proxies that close silent ones. Default: `false`. */
  readonly stream?: boolean
  /** The time limit of a call. Default: 10 minutes. */
  readonly timeout?: Duration.Input
  /** The most connections of the pool. As many are opened as calls are open at once. Default: 1,024. */
  readonly connections?: number
  /**
   * Matches the endpoint's own message for a request that exceeds its context window: such a request goes to a larger
   * model and is not retried.
   */
  readonly overflow?: RegExp
  /** Additional headers of every call. */
  readonly headers?: Endpoint.Headers
}

/** The names of the options that every provider has. */
export const optionNames = [
  "model",
  "embeddings",
  "apiKey",
  "token",
  "account",
  "baseUrl",
  "endpoint",
  "stream",
  "timeout",
  "connections",
  "overflow",
  "headers"
] as const

/** Where the API of a provider is, and how its calls are authorized. */
export interface Address {
  /** The name in errors, such as `OpenAi`. */
  readonly module: string
  /** The provider's own address. */
  readonly baseUrl: string
  /** The environment variables of key and address. */
  readonly environment: { readonly apiKey: string; readonly baseUrl: string }
  /** The headers that carry a key or a token. Default: `authorization: Bearer …`. */
  readonly authorize?: (key: string) => Endpoint.Headers
  /** Headers of every call, such as the version of the API. */
  readonly headers?: Endpoint.Headers
  /** The name by which `Endpoint.Overrides` replaces the address, such as `openai`. Default: it is not replaced. */
  readonly wire?: string
  /** How addresses of this API usually end, such as `/v1`: for messages about a wrong one. */
  readonly addressEnd?: string
  /** Reads refusals of an unusual form; `undefined` for those that are read as usual. */
  readonly failure?: Endpoint.Endpoint["failure"]
  /** Set to `false` when only answers are billed. Default: a call that failed with 5xx may be billed. */
  readonly billsFailures?: boolean
}

/** The endpoint of a provider, with its key. */
export interface Connection extends Endpoint.Endpoint {
  /** The key; `"none"` where tokens take its place, or none is needed. */
  readonly apiKey: string
  /** Whether a key is set. */
  readonly isSet: boolean
  /** Identifies the address in keys, unless it is the provider's own. */
  readonly place: string | undefined
  /** Whether a run may replace the address, by that of a simulator or a gateway. */
  readonly isRedirectable: boolean
  /** The most connections of the pool. */
  readonly connections: number
  /** Identifies the account that owns batches, without revealing the key. */
  readonly account: BatchProvider.Account
  /** The calls beside those for answers: files, jobs, lists. */
  readonly http: Http.Http
}

/** Checks the options of a layer, which may have those with these names. Keys in them are known as secrets from then on. */
export const check = (what: string, options: Options, names: ReadonlyArray<string>): void => {
  Credentials.remember(options)
  OptionNames.check(what, options, names)
  OptionNames.checkDurations(what, options, ["timeout"])
  OptionNames.checkNumbers(what, options, { connections: OptionNames.COUNT })
}

/** Finds the endpoint of a provider. Fails without a key for the provider's own address. */
export const make = Effect.fnUntraced(function* (
  address: Address,
  options: Options
): Effect.fn.Return<Connection, AiError.AiError, Scope.Scope> {
  const { addressEnd, authorize = Authorized.bearer, billsFailures, environment, failure, module } = address
  const override = address.wire === undefined ? undefined : (yield* Overrides.Overrides)[address.wire]
  const { apiKey, baseUrl, isSet, keySource } = yield* Credentials.resolve({
    module,
    override,
    apiKey: options.apiKey,
    hasTokens: options.token !== undefined,
    baseUrl: options.baseUrl,
    keyName: environment.apiKey,
    urlName: environment.baseUrl,
    official: address.baseUrl,
    headers: options.headers ?? {}
  })
  const given = lower(options.headers)
  /** Headers that carry the key. They are not shown, however they are made from it. */
  const authorized = (key: string): Endpoint.Headers => {
    const headers = lower(authorize(key))
    // A short one is a word that stands for no key.
    if (key.length >= LEAST_KEY) for (const value of Object.values(headers)) Secret.register(value)
    return headers
  }
  const tokens = options.token === undefined || override !== undefined ? undefined : yield* Tokens.make(options.token)
  const endpoint: Endpoint.Endpoint = {
    module,
    baseUrl,
    headers: { ...(tokens === undefined ? authorized(apiKey) : undefined), ...lower(address.headers), ...given },
    tokens,
    authorize: authorized,
    timeout: Math.min(MOST_MILLIS, Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "10 minutes"))),
    keySource,
    // Without `g` and `y`: such a pattern remembers where it matched.
    overflow: options.overflow && new RegExp(options.overflow.source, options.overflow.flags.replace(/[gy]/g, "")),
    failure,
    addressEnd,
    billsFailures
  }
  return {
    ...endpoint,
    apiKey,
    isSet,
    place: override === undefined ? (options.endpoint ?? Credentials.endpointOf(baseUrl, address.baseUrl)) : undefined,
    isRedirectable: address.wire !== undefined,
    connections: options.connections ?? 1_024,
    account: BatchAccount.make({
      baseUrl,
      apiKey: [
        options.account ?? apiKey,
        ...Object.entries(given).flatMap(([name, value]) => (KEY.test(name) ? [value] : []))
      ].join("\n"),
      keySource
    }),
    http: Http.make(endpoint)
  }
})

/** The fewest characters of a key whose other forms are masked too. */
const LEAST_KEY = 8

/** The longest time of a timer (2³¹ − 1 milliseconds). */
const MOST_MILLIS = 2_147_483_647

/** Headers whose values belong to an account. */
const KEY = /key|auth|token|secret/

/** Names of headers are equal in any case. */
const lower = (headers: Endpoint.Headers = {}): Endpoint.Headers =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/** Opens the pool of an endpoint, closed with the scope. */
export const pool = (connection: Connection): Effect.Effect<Reply.Transport, never, Scope.Scope> =>
  PoolTransport.make(connection, connection.connections)
