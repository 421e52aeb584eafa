/**
 * Reads a provider's message when it refuses, in any form.
 *
 * **Details** Supported forms: `{error: {message, code, type}}` (OpenAI, Anthropic), the same in a list (Gemini),
 * `{error: "…"}`, `{object: "error", message}` (vLLM), `{detail}` as text, as an object or as a list of `{msg}`
 * (FastAPI), `{message}`, `{errors: […]}`, plain text, and OpenRouter's `metadata.raw` with the message of the provider
 * behind it.
 *
 * @internal
 */
import * as Nesting from "@pipe/core/internal/Nesting"
import * as Fields from "./Fields.ts"

export interface Refusal {
  readonly message: string
  readonly code: string | undefined
  readonly type: string | undefined
  /** The status named in the error. */
  readonly status: number | undefined
}

/** How deep the message may be nested. */
const DEPTH = 6

/** The message of a refusal; `undefined` when there is none. */
const wordsOf = (value: unknown, depth = 0): string | undefined => {
  if (typeof value === "string") return value.trim() === "" ? undefined : value
  if (depth > DEPTH) return undefined
  if (Array.isArray(value)) {
    const all = value.slice(0, 3).flatMap((item) => wordsOf(item, depth + 1) ?? [])
    return all.length === 0 ? undefined : all.join("; ")
  }
  const fields = Fields.fields(value)
  for (const name of [
    "error",
    "message",
    "msg",
    "detail",
    "errors",
    "error_description",
    "title",
    "base_resp",
    "status_msg"
  ]) {
    const found = wordsOf(fields[name], depth + 1)
    if (found !== undefined) return withPlace(found, fields)
  }
  return undefined
}

/** FastAPI names the field of the request. */
const withPlace = (words: string, { loc }: Fields.Fields): string =>
  Array.isArray(loc) ? `${loc.map(String).join(".")}: ${words}` : words

/** Tests whether an error field has content: some servers send an empty one with each answer. */
export const isPresent = (error: unknown): boolean =>
  Fields.isRecord(error)
    ? Object.values(error).some(isPresent)
    : error !== undefined && error !== null && error !== "" && error !== false && error !== 0

/** Tests whether a body that is not an answer has an error message. */
export const hasWords = (body: unknown): boolean => wordsOf(body) !== undefined

/** The message behind a gateway's own. */
const behind = (error: Fields.Fields): string | undefined => {
  const { provider_name, raw } = Fields.fields(error["metadata"])
  const text = Fields.words(raw) ?? (raw === undefined || raw === null ? undefined : Nesting.shown(raw))
  if (text === undefined) return undefined
  const words = wordsOf(Fields.parse(text)) ?? text
  const name = Fields.words(provider_name)
  return name === undefined ? words : `${name}: ${words}`
}

/** The status of a named error (docs.anthropic.com/en/api/errors, platform.openai.com error codes). */
const byName: ReadonlyMap<string, number> = new Map([
  ["invalid_request_error", 400],
  ["invalid_prompt", 400],
  ["invalid_image", 400],
  ["bio_policy", 400],
  ["authentication_error", 401],
  ["billing_error", 402],
  ["permission_error", 403],
  ["not_found_error", 404],
  ["request_too_large", 413],
  ["rate_limit_error", 429],
  ["rate_limit_exceeded", 429],
  ["insufficient_quota", 429],
  ["api_error", 500],
  ["server_error", 500],
  ["timeout_error", 504],
  ["overloaded_error", 529]
])

const statusOf = (...values: ReadonlyArray<unknown>): number | undefined => {
  for (const value of values) {
    const status = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value
    if (typeof status === "number" && Number.isInteger(status)) return status
  }
  return undefined
}

/** The object with message, code and type: the error itself, or the body. */
const errorIn = (said: unknown): Fields.Fields => {
  const body = Fields.fields(Array.isArray(said) ? said[0] : said)
  for (const name of ["error", "detail"]) if (Fields.isRecord(body[name])) return body[name]
  return body
}

export const decode = (said: unknown): Refusal => {
  const error = errorIn(said)
  const message = wordsOf(said) ?? (said === undefined || said === "" ? "no message" : Nesting.shown(said))
  const inner = behind(error)
  const code = error["code"] ?? error["error_code"] ?? Fields.fields(error["details"])["error_code"]
  return {
    message: inner === undefined ? message : `${message}: ${inner}`,
    code: Fields.words(code),
    type: Fields.words(error["type"]),
    status:
      statusOf(error["code"], error["status"], error["status_code"], Fields.fields(said)["status"])
      ?? Fields.oneOf(byName, code)
      ?? Fields.oneOf(byName, error["type"])
  }
}
