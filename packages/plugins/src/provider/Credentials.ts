/**
 * Finds the key and the address of a provider: from options, then from the environment.
 *
 * @internal
 */
import * as RunHooks from "@pipe/core/RunHooks"
import type * as Endpoint from "@pipe/core/Endpoint"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Simulation from "@pipe/core/internal/Simulation"
import * as Secret from "@pipe/core/internal/Secret"
import * as AiError from "effect/ai/AiError"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { hash } from "node:crypto"
import * as Connections from "./Connections.ts"

export interface Credentials {
  readonly apiKey: string
  readonly baseUrl: string
  /** The source of the key, for display. */
  readonly keySource: string
  readonly isSet: boolean
}

/** Registers the keys in options, before anything can fail with them. */
export const remember = (options: {
  readonly apiKey?: string | Redacted.Redacted | undefined
  readonly baseUrl?: string | undefined
  readonly headers?: { readonly [name: string]: string } | undefined
}): void => {
  const { apiKey, baseUrl, headers } = options
  if (apiKey !== undefined) Secret.register(textOf(apiKey))
  if (baseUrl !== undefined) Secret.registerUrl(baseUrl)
  Secret.registerHeaders(headers ?? {})
}

const textOf = (key: string | Redacted.Redacted): string => (typeof key === "string" ? key : Redacted.value(key))

/** Fails without a key for the provider's own address; another address may need none. */
export const resolve = Effect.fnUntraced(function* (options: {
  readonly module: string
  readonly override: Endpoint.Endpoint | undefined
  readonly apiKey: string | Redacted.Redacted | undefined
  /** Whether tokens take the place of a key. */
  readonly hasTokens?: boolean
  readonly baseUrl: string | undefined
  readonly keyName: string
  readonly urlName: string
  readonly official: string
  readonly headers: { readonly [name: string]: string }
}): Effect.fn.Return<Credentials, AiError.AiError> {
  const { keyName, module, official, override, urlName } = options
  if (override !== undefined) {
    Secret.register(override.apiKey)
    return { ...override, keySource: "the run's endpoint", isSet: true }
  }
  const address = (options.baseUrl ?? (yield* fromEnvironment(urlName)) ?? official).replace(/\/+$/, "")
  Secret.registerUrl(address)
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    return yield* failure(
      module,
      `${options.baseUrl === undefined ? urlName : "baseUrl"} is ${JSON.stringify(SafeText.line(address, 200))}, which is not a URL: it must start with https:// or http://, as in https://host/v1; special characters in a user name or password must be percent-encoded`
    )
  }
  const baseUrl = withoutUser(address)
  const proxyProblem = Connections.proxyProblem(baseUrl)
  if (proxyProblem !== undefined) return yield* failure(module, proxyProblem, "Unknown")
  if (options.hasTokens === true) return { apiKey: "none", baseUrl, keySource: "the token", isSet: true }
  const given = options.apiKey === undefined ? undefined : textOf(options.apiKey)
  const apiKey = given ?? (yield* fromEnvironment(keyName)) ?? (baseUrl === official ? undefined : "none")
  if (apiKey === undefined || apiKey === "") {
    const { isPlan, standIn } = yield* RunHooks.RunHooks
    const isReplaced = standIn !== undefined || (yield* Simulation.Simulation) !== undefined
    if (isPlan === true || isReplaced) return { apiKey: "none", baseUrl, keySource: keyName, isSet: false }
    return yield* failure(
      module,
      `${keyName} is not set: export it, add it to a .env file in the working directory, or try the flow without a key with --simulate`
    )
  }
  Secret.register(apiKey)
  const keySource = given === undefined ? keyName : "the options"
  const problem = oddIn(apiKey.trim())
  if (problem !== undefined) {
    return yield* failure(
      module,
      `the key from ${keySource} ${problem}, which no key contains: copy it again`,
      "InvalidKey"
    )
  }
  for (const [name, value] of Object.entries(options.headers)) {
    const odd = oddIn(value, /[^\t\x20-\x7e\xa0-\xff]/)
    if (odd !== undefined) return yield* failure(module, `the header ${name} ${odd}, which cannot be sent`, "Unknown")
  }
  return { apiKey: apiKey.trim(), baseUrl, keySource, isSet: true }
})

/** The characters of a text that a header cannot contain, without showing the text. */
const oddIn = (text: string, odd = /[^\t\x20-\x7e]/): string | undefined => {
  const at = text.search(odd)
  if (at === -1) return undefined
  const character = String.fromCodePoint(text.codePointAt(at)!)
  const what = /[\r\n]/.test(character)
    ? "a line break"
    : /[\p{L}\p{P}\p{S}]/u.test(character)
      ? `the character ${character}`
      : `the character U+${text.codePointAt(at)!.toString(16).toUpperCase().padStart(4, "0")}`
  return `has ${what} at place ${at + 1}`
}

/** Identifies an address that is not the provider's own, without what may be a key. */
export const endpointOf = (baseUrl: string, official: string): string | undefined =>
  baseUrl === official ? undefined : `${new URL(baseUrl).host} ${hash("sha256", baseUrl, "hex").slice(0, 12)}`

/** `fetch` refuses an address with user and password. */
const withoutUser = (address: string): string => {
  const url = new URL(address)
  if (url.username === "" && url.password === "") return address
  url.username = url.password = ""
  return url.href.replace(/\/+$/, "")
}

const fromEnvironment = (name: string): Effect.Effect<string | undefined> =>
  Effect.orElseSucceed(Config.String(name), () => undefined).pipe(
    Effect.map((value) => (value === "" ? undefined : value))
  )

const failure = (
  module: string,
  description: string,
  kind: AiError.AuthenticationError["kind"] = "MissingKey"
): AiError.AiError =>
  AiError.make({ module, method: "layer", reason: new AiError.AuthenticationError({ kind, description }) })
