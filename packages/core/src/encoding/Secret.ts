/**
 * Keeps keys out of everything that leaves the process: errors, logs, events, the store and reports.
 *
 * Secrets are known by value, and registered where they come from: the options of a provider, its headers, the address
 * with user and password, the environment. `mask` replaces each of them wherever it occurs in a text, as it is,
 * URL-encoded, JSON-escaped or in base64. It also masks whatever follows `Bearer` and looks like a key.
 *
 * **Example** (a key repeated in an error)
 *
 * ```ts
 * import * as Secret from "@pipe/core/internal/Secret"
 *
 * Secret.register("key-0123456789")
 * Secret.mask("wrong key: key-0123456789") // => "wrong key: [secret]"
 * Secret.registerUrl("https://me:pa55word@example.com/v1")
 * Secret.mask("https://me:pa55word@example.com/v1") // => "https://me:[secret]@example.com/v1"
 * ```
 *
 * @internal
 */
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"

const MASK = "[secret]"

/** Longest first, so one secret that contains another is replaced as a whole. */
let known: ReadonlyArray<string> = []

/**
 * Shorter secrets are masked only as separate words, unless they look like a key: within words they would be ordinary
 * text.
 */
const LONG = 8

/** Letters and digits mixed, too long for an ordinary word. */
const isRandom = (form: string): boolean => form.length >= 6 && /\p{L}\d+\p{L}/u.test(form)

/** The fewest characters of a secret. Shorter values occur in every text. */
const LEAST = 4

/** After an escape of JSON: in `\\nkey` the key begins after the `n`. */
const AFTER_ESCAPE = String.raw`(?<=\\[bfnrt]|\\u[\da-f]{4})`

/** Expressions for texts, and slower ones for texts that may be JSON. */
interface Expressions {
  readonly plain: RegExp
  readonly escaped: RegExp
}

const expressions = (start: string, rest: string, flags: string): Expressions => ({
  plain: new RegExp(start + rest, flags),
  escaped: new RegExp(`(?:${start}|${AFTER_ESCAPE})${rest}`, flags)
})

let short: Expressions | undefined
const shortOnes = new Set<string>()

/** Values that people write where no key is needed. */
const DUMMIES = new Set(["none", "null", "empty", "dummy", "test", "no-key", "not-needed", "ollama", "lm-studio", "x"])

/** Registers a secret, as it is and without surrounding white space. */
export const register = (value: string): void => {
  const trimmed = value.trim()
  if (trimmed.length < LEAST || DUMMIES.has(trimmed.toLowerCase())) return
  for (const form of formsOf(value)) add(form)
  // As it is sent, and as an answer may repeat it.
  const bare = trimmed.replace(/^Bearer\s+/i, "").replace(/^(["'])(.*)\1$/, "$2")
  for (const other of new Set([trimmed, bare])) {
    if (other !== value && other.length >= LEAST) for (const form of formsOf(other)) add(form)
  }
}

const formsOf = (value: string): ReadonlyArray<string> => [
  value,
  encodeURIComponent(value.toWellFormed()),
  JSON.stringify(value).slice(1, -1),
  JSON.stringify(value).slice(1, -1).replaceAll("/", "\\/"),
  ...(value.length < LONG ? [] : [Base64.encode(value), Base64Url.encode(value)])
]

const add = (form: string): void => {
  if (form.length >= LONG || isRandom(form)) {
    if (!known.includes(form)) known = [...known, form].sort((a, b) => b.length - a.length)
  } else if (!shortOnes.has(form)) {
    shortOnes.add(form)
    const words = Array.from(shortOnes, (word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|")
    short = expressions("(?<![\\p{L}\\p{N}_])", `(?:${words})(?![\\p{L}\\p{N}_])`, "gu")
  }
}

/** Registers the user and password of an address, and query values whose names indicate keys. */
export const registerUrl = (text: string): void => {
  if (!URL.canParse(text)) {
    // An invalid address may contain a password all the same.
    const [, user] = /^[a-z][a-z0-9+.-]*:\/\/(.+)@/i.exec(text) ?? []
    if (user !== undefined) register(user.slice(user.indexOf(":") + 1))
    return
  }
  const { password, search, searchParams, username } = new URL(text)
  // A token may be in place of the user.
  if (password === "" && username !== "") for (const form of [username, decoded(username)]) register(form)
  if (password !== "") {
    for (const form of [password, decoded(password)]) register(form)
    register(Base64.encode(`${decoded(username)}:${decoded(password)}`))
  }
  const isQueryKey = (name: string) => isSecretName(name) || name === "code"
  for (const [name, value] of searchParams) if (isQueryKey(name)) register(value)
  for (const part of search.slice(1).split("&")) {
    const [name = "", value = ""] = part.split("=", 2)
    if (isQueryKey(decoded(name))) register(value)
  }
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Registers the values of headers whose names indicate keys. */
export const registerHeaders = (headers: { readonly [name: string]: string }): void => {
  for (const [name, value] of Object.entries(headers)) {
    if (!isSecretName(name)) continue
    register(value)
    // `Bearer …`, `Token token=…`, cookies
    for (const part of value.split(/[\s;,]+/)) {
      for (const token of [part, part.slice(part.indexOf("=") + 1)]) if (token.length >= LONG) register(token)
    }
    const [, basic] = /^Basic (\S+)$/i.exec(value) ?? []
    const user = basic === undefined ? undefined : Option.getOrUndefined(Result.getSuccess(Base64.decodeString(basic)))
    if (user !== undefined) register(user.slice(user.indexOf(":") + 1))
  }
}

/** The fewest characters of an environment variable that counts as a key by its name alone. */
const LEAST_OF_ENVIRONMENT = 6

/** Registers environment variables whose names indicate keys, and passwords in addresses. */
export const registerEnvironment = (environment: { readonly [name: string]: string | undefined }): void => {
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined) continue
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) registerUrl(value)
    else if (isSecretName(name) && value.trim().length >= LEAST_OF_ENVIRONMENT && !isPath(name, value)) register(value)
  }
}

/** `GOOGLE_APPLICATION_CREDENTIALS=/etc/key.json`; a key itself may begin with a slash. */
const isPath = (name: string, value: string): boolean => value.startsWith("/") && /credential/i.test(name)

const SECRET_WORDS = new Set(
  "key apikey token secret password passwd pass pwd pgpassword pat credential credentials auth authorization cookie signature sig".split(
    " "
  )
)

/** Names with these endings describe a key and do not contain it. */
const ABOUT = new Set(
  "id sock file path dir url uri type endpoint name host user algorithm alg limit max count size length mode ttl timeout".split(
    " "
  )
)

/** Tests whether a variable, a header or a parameter with this name holds a key. */
const isSecretName = (name: string): boolean => {
  const words = name
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
  return name !== "PWD" && !ABOUT.has(words.at(-1)!) && words.some((word) => SECRET_WORDS.has(word))
}

const bearer = expressions("\\b", String.raw`(Bearer\s+)[\w.~+/=-]{8,}`, "gi")
const key = expressions("\\b", String.raw`sk-[\w-]{16,}`, "g")

/** What a text has that one of the two may match: most texts are names without it. */
const MAY_HAVE_KEY = /bearer\s|sk-/i

/** How many secrets are known. They become more, and never fewer. */
export const count = (): number => known.length + shortOnes.size

/** Replaces every known secret, and whatever follows `Bearer`, with `[secret]`. */
export const mask = (text: string): string => {
  const of = text.includes("\\") ? "escaped" : "plain"
  let out = text
  for (const value of known) if (out.includes(value)) out = out.replaceAll(value, MASK)
  if (short !== undefined) out = out.replace(short[of], MASK)
  return MAY_HAVE_KEY.test(out) ? out.replace(bearer[of], `$1${MASK}`).replace(key[of], MASK) : out
}

/** Encodes a value as JSON whose texts are masked: a secret that is a number leaves the numbers alone. */
export const json = (value: unknown): string =>
  JSON.stringify(value, (_, own: unknown) => (typeof own === "string" ? mask(own) : own))
