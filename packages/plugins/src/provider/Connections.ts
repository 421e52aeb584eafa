/**
 * Connects to endpoints: directly, or through the proxy of the environment, as other tools do (`HTTPS_PROXY`,
 * `HTTP_PROXY`, `NO_PROXY`, also in lower case). Servers on this machine are never called through a proxy.
 *
 * @internal
 */
import * as Secret from "@pipe/core/internal/Secret"
import { createRequire } from "node:module"
import type * as Undici from "undici"
import * as AnswerLimit from "./AnswerLimit.ts"

interface Proxy {
  readonly url: string
  /** The variable that names it. */
  readonly from: string
}

const LOOPBACK = /^(?:localhost|.+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

const named = (names: ReadonlyArray<string>): Proxy | undefined => {
  for (const from of names) {
    const url = process.env[from]?.trim() ?? ""
    if (url !== "") return { url, from }
  }
  return undefined
}

/** Tests whether `NO_PROXY` excludes a host: by its name, its suffix, or with its port; `*` excludes all. */
const isLeftOut = ({ hostname, port }: URL): boolean =>
  (process.env["no_proxy"] ?? process.env["NO_PROXY"] ?? "").split(/[\s,]+/).some((entry) => {
    if (entry === "" || entry === "*") return entry === "*"
    const [, host = "", entryPort] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    const end = host.replace(/^\*?\.?/, "")
    return (hostname === end || hostname.endsWith(`.${end}`)) && (entryPort === undefined || entryPort === port)
  })

/** The proxy for an address; `undefined` for a direct connection. */
export const proxyFor = (address: string): Proxy | undefined => {
  const url = new URL(address)
  if (LOOPBACK.test(url.hostname) || isLeftOut(url)) return undefined
  const proxy = named(
    url.protocol === "https:"
      ? ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
      : ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
  )
  if (proxy === undefined) return undefined
  Secret.registerUrl(proxy.url)
  return proxy.url.includes("://") ? proxy : { ...proxy, url: `http://${proxy.url}` }
}

/** What is wrong with the proxy for an address, without showing a possible password. */
export const proxyProblem = (address: string): string | undefined => {
  const proxy = proxyFor(address)
  if (proxy === undefined) return undefined
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(proxy.url)?.[1]?.toLowerCase()
  if (scheme !== "http" && scheme !== "https") {
    return `${proxy.from} names a proxy of the kind ${scheme}: only http:// and https:// are supported`
  }
  try {
    const { password, username } = new URL(proxy.url)
    decodeURIComponent(username + password)
    return undefined
  } catch {
    return `${proxy.from} is not the address of a proxy: write http://host:port, with user and password percent-encoded`
  }
}

export interface Options {
  readonly baseUrl: string
  /** Milliseconds for headers, and for each piece of a body. */
  readonly timeout: number
  readonly connections?: number
}

const settings = ({ connections, timeout }: Omit<Options, "baseUrl">) => ({
  pipelining: 1,
  keepAliveTimeout: 30_000,
  headersTimeout: timeout,
  bodyTimeout: timeout,
  allowH2: false,
  ...(connections === undefined ? undefined : { connections })
})

/** Opens connections to an address. A proxy tunnels encrypted connections and forwards the others. */
export const dispatcher = (undici: typeof Undici, options: Options): Undici.Dispatcher => {
  const proxy = proxyFor(options.baseUrl)
  return proxy === undefined
    ? new undici.Agent(settings(options))
    : new undici.ProxyAgent({ ...settings(options), uri: proxy.url })
}

/** The pool alone: all of `undici` takes three times as long to load. */
const loadPool = async (): Promise<typeof Undici.Pool> => {
  try {
    return createRequire(import.meta.url)("undici/lib/dispatcher/pool.js") as typeof Undici.Pool
  } catch {
    // Where its files are elsewhere: in a bundle, or in another version.
    return (await import("undici")).Pool
  }
}

/** Opens a pool of connections to one address. */
export const pool = async (options: Options & { readonly connections: number }): Promise<Undici.Dispatcher> => {
  if (proxyFor(options.baseUrl) !== undefined) return dispatcher(await import("undici"), options)
  const Pool = await loadPool()
  return new Pool(new URL(options.baseUrl).origin, settings(options))
}

/** A `fetch` for SDKs with the endpoint's time limit, whose answers fail when they are too large. */
export const fetchFor = (options: Options): typeof globalThis.fetch => {
  let loaded: Promise<typeof globalThis.fetch> | undefined
  const load = (): Promise<typeof globalThis.fetch> =>
    import("undici").then(
      (undici) => {
        const through = dispatcher(undici, options)
        return ((input: string | URL, init?: Undici.RequestInit) =>
          undici.fetch(input, { ...init, dispatcher: through })) as unknown as typeof globalThis.fetch
      },
      // Without `undici`, Node's own is used.
      () => globalThis.fetch
    )
  return async (input, init) => AnswerLimit.within(input, await (await (loaded ??= load()))(input, init))
}
