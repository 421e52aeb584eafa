/**
 * Who may read the page: this machine, through the address that the command prints. A page of another site cannot, whatever
 * name it has for this machine (DNS rebinding), because the `Host` and the `Origin` of its requests are its own.
 */
import { timingSafeEqual } from "node:crypto"

/** What a request says of itself. */
export interface Asked {
  readonly method: string
  readonly headers: { readonly [name: string]: string | undefined }
}

/** The server's own names. */
export interface Place {
  readonly port: number
  readonly token: string
}

const COOKIE = "pipe_ui"

const hostsOf = ({ port }: Place): ReadonlySet<string> => new Set([`127.0.0.1:${port}`, `localhost:${port}`])

const isEqual = (a: string, b: string): boolean => {
  const [one, other] = [Buffer.from(a), Buffer.from(b)]
  return one.length === other.length && timingSafeEqual(one, other)
}

/** What a request's cookies say is the token: another server of this machine may have set one of the same name. */
const cookiesOf = (header: string | undefined, port: number): ReadonlyArray<string> =>
  (header ?? "")
    .split(";")
    .map((part) => part.trim().split("=", 2))
    .flatMap(([name, value]) => (name === `${COOKIE}_${port}` && value !== undefined ? [value] : []))

/** Why a request is refused before anything is looked at; `undefined` when it may be served. */
export const refuse = ({ headers, method }: Asked, place: Place): string | undefined => {
  const hosts = hostsOf(place)
  if (!hosts.has(headers["host"] ?? "")) return "this server answers to 127.0.0.1 and localhost only"
  const origin = headers["origin"]
  if (origin !== undefined && !hosts.has(origin.replace(/^http:\/\//, ""))) return "another site may not read this page"
  const site = headers["sec-fetch-site"]
  if (site !== undefined && site !== "same-origin" && site !== "none") return "another site may not read this page"
  // A change comes from the page itself, which says so.
  return method === "GET" || method === "HEAD" || origin !== undefined ? undefined : "a change needs the page's origin"
}

/** Tests whether a request has the token of this server. */
export const isKnown = ({ headers }: Asked, { port, token }: Place): boolean =>
  cookiesOf(headers["cookie"], port).some((given) => isEqual(given, token))

/** Tests whether a token that was given in the address is this server's. */
export const isToken = (given: string | null, { token }: Place): boolean => given !== null && isEqual(given, token)

/** The cookie that takes the place of the token in the address. Ports of a machine share cookies, so it names its port. */
export const cookie = ({ port, token }: Place): string =>
  `${COOKIE}_${port}=${token}; HttpOnly; SameSite=Strict; Path=/`

/** Sent with answers of the server that no handler has made, such as that to a path that cannot be read. */
export const bare: { readonly [name: string]: string } = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store"
}

/** Sent with every answer: nothing of another origin is loaded, and nothing is framed, sniffed or kept. */
export const headers = (nonce: string): { readonly [name: string]: string } => ({
  "content-security-policy": [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store"
})
