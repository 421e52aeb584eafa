/**
 * The content key of a request: SHA-256 over the canonical request, except for a short list of ignored fields.
 *
 * **Details** The key covers everything that can change the answer: messages of all roles in order, system text, tools,
 * tool choice, response format, sampling settings, provider options, the model and the sample number. Object keys are
 * sorted, so equal JSON in another key order gives the same key; arrays keep their order. Text is compared as it is
 * sent: composed and decomposed accents differ, and so do trailing spaces. The namespace is a separate element, which
 * the content of a request cannot forge.
 *
 * **Gotchas** Only `denyList` is ignored: fields of `providerOptions` that identify the caller or the billing, not the
 * request.
 *
 * **Example**
 *
 * ```ts
 * import { ModelRequest, RequestKey } from "@pipe/core"
 *
 * const ask = (content: string) => ModelRequest.completion({ messages: [{ role: "user", content }] })
 *
 * RequestKey.content(ask("Where is it?")) === RequestKey.content(ask("Where is it?")) // => true
 * RequestKey.content(ask("Where is it?")) === RequestKey.content(ask("Where is it?"), "tenant-1") // => false
 * ```
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import type * as Effect from "effect/Effect"
import type * as ModelRequest from "./ModelRequest.ts"

/** Fields of `providerOptions.<provider>` that do not change an answer. */
export const denyList: ReadonlySet<string> = new Set([
  "user",
  "safety_identifier",
  "metadata",
  "store",
  "service_tier",
  "prompt_cache_key",
  "prompt_cache_retention"
])

/** Version of the format below. An entry stored under another version is never found. */
export const version = 1

const isSorted = (keys: ReadonlyArray<string>): boolean => {
  for (let at = 1; at < keys.length; at++) if (keys[at - 1]! > keys[at]!) return false
  return true
}

/** The canonical text of values that never change and that many requests have, such as the schema of a step's answers. */
const constants = new WeakMap<object, string>()

/**
 * Makes the canonical text of a value once, for all requests that have it. It must not change from now on.
 *
 * @internal
 */
export const constant = <A extends object>(value: A): A => {
  if (!constants.has(value)) constants.set(value, canonical(value))
  return value
}

/**
 * Whether a value is one that never changes.
 *
 * @internal
 */
export const isConstant = (value: object): boolean => constants.has(value)

/** JSON with sorted object keys and without `undefined`. The caller's objects are not changed. */
export const canonical = (value: unknown): string => {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
  const known = constants.get(value)
  if (known !== undefined) return known
  if (Array.isArray(value)) {
    let out = "["
    for (let i = 0; i < value.length; i++) out += i === 0 ? canonical(value[i]) : `,${canonical(value[i])}`
    return `${out}]`
  }
  if (value instanceof Uint8Array) return `{"~bytes":"${toHex(value)}"}`
  if (value instanceof URL) return `{"~url":${JSON.stringify(value.href)}}`
  // A date, for example: it is sent as its JSON.
  if ("toJSON" in value && typeof value.toJSON === "function") return canonical(value.toJSON())
  let out = "{"
  const record = value as Record<string, unknown>
  const keys = Object.keys(record)
  if (!isSorted(keys)) keys.sort()
  for (let at = 0; at < keys.length; at++) {
    const key = keys[at]!
    const field = record[key]
    if (field === undefined) continue
    out += `${out.length === 1 ? "" : ","}${JSON.stringify(key)}:${canonical(field)}`
  }
  return `${out}}`
}

const toHex = (bytes: Uint8Array): string => {
  let out = ""
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0")
  return out
}

const NO_OPTIONS = {}

const relevantOptions = (options: ModelRequest.ModelRequest["providerOptions"]): unknown => {
  if (Object.keys(options).length === 0) return NO_OPTIONS
  const out: Record<string, unknown> = {}
  for (const [provider, fields] of Object.entries(options)) {
    out[provider] =
      fields === null || typeof fields !== "object" || Array.isArray(fields)
        ? fields
        : Object.fromEntries(Object.entries(fields).filter(([name]) => !denyList.has(name)))
  }
  return out
}

/** The messages of plain text whose canonical text was made last: a call is keyed by several layers, one after the other. */
let last: { readonly messages: ReadonlyArray<ModelRequest.Message>; readonly text: string } | undefined

const isPlain = (message: ModelRequest.Message): boolean => {
  if (typeof message.content !== "string" || typeof message.role !== "string") return false
  for (const name in message) if (name !== "role" && name !== "content") return false
  return true
}

const isAlike = (one: ReadonlyArray<ModelRequest.Message>, other: ReadonlyArray<ModelRequest.Message>): boolean => {
  if (one.length !== other.length) return false
  for (let at = 0; at < one.length; at++)
    if (one[at]!.role !== other[at]!.role || one[at]!.content !== other[at]!.content || !isPlain(other[at]!))
      return false
  return true
}

/** The canonical text of messages of plain text: their fields in the order of their names. */
const plainText = (messages: ReadonlyArray<ModelRequest.Message>): string => {
  let out = "["
  for (const { content, role } of messages)
    out += `${out.length === 1 ? "" : ","}{"content":${JSON.stringify(content)},"role":${JSON.stringify(role)}}`
  return `${out}]`
}

const messagesText = (messages: ReadonlyArray<ModelRequest.Message>): string => {
  if (last !== undefined && isAlike(last.messages, messages)) return last.text
  if (!messages.every(isPlain)) {
    last = undefined
    return canonical(messages)
  }
  // A copy: what an author changes in place is another text.
  last = { messages: messages.map((message) => ({ ...message })), text: plainText(messages) }
  return last.text
}

/** The parts of a completion's canonical text; `undefined` for a request with other fields. */
interface CompletionText {
  readonly head: string
  readonly messages: ReadonlyArray<ModelRequest.Message>
  readonly tail: string
}

/** The fields of a completion. All but the model are always there. */
const COMPLETION: ReadonlySet<string> = new Set([
  "_tag",
  "messages",
  "model",
  "providerOptions",
  "responseFormat",
  "sample",
  "settings",
  "toolChoice",
  "tools"
])

const completionText = (request: ModelRequest.ModelRequest): CompletionText | undefined => {
  if (request._tag !== "Completion") return undefined
  let fields = 0
  for (const name in request) {
    if (!COMPLETION.has(name)) return undefined
    if (name !== "model" && request[name as keyof ModelRequest.Completion] !== undefined) fields++
  }
  if (fields !== COMPLETION.size - 1) return undefined
  const { _tag, messages, model, providerOptions, responseFormat, sample, settings, toolChoice, tools } = request
  const named = model === undefined ? "" : `,"model":${canonical(model)}`
  const options = canonical(relevantOptions(providerOptions))
  return {
    head: `{"_tag":"${_tag}","messages":`,
    messages,
    tail: `${named},"providerOptions":${options},"responseFormat":${canonical(responseFormat)},"sample":${canonical(sample)},"settings":${canonical(settings)},"toolChoice":${canonical(toolChoice)},"tools":${canonical(tools)}}`
  }
}

/** The canonical text of a request with the options that count. The fields of a completion are in the order of their names. */
const textOf = (request: ModelRequest.ModelRequest): string => {
  const parts = completionText(request)
  return parts === undefined
    ? canonical({ ...request, providerOptions: relevantOptions(request.providerOptions) })
    : `${parts.head}${messagesText(parts.messages)}${parts.tail}`
}

const hashed = (namespace: string, text: string): string => `[${version},${JSON.stringify(namespace)},${text}]`

/** The hashed text: canonical JSON of version, namespace and request. */
export const content = (request: ModelRequest.ModelRequest, namespace = ""): string =>
  hashed(namespace, textOf(request))

/**
 * The hashed text of a request as it is now, made when it is needed: its author may change the messages in place meanwhile.
 *
 * @internal
 */
export const later = (request: ModelRequest.ModelRequest): (() => string) => {
  const parts = completionText(request)
  if (parts === undefined || !parts.messages.every(isPlain)) {
    const text = content(request)
    return () => text
  }
  const messages = parts.messages.map((message) => ({ ...message }))
  return () => hashed("", `${parts.head}${plainText(messages)}${parts.tail}`)
}

const encoder = new TextEncoder()

/** The key, as 64 hexadecimal digits. */
export const make = (
  request: ModelRequest.ModelRequest,
  namespace?: string
): Effect.Effect<string, never, Digest.Digest> =>
  Digest.Digest.use((digest) => digest.digestHex(Digest.sha256, encoder.encode(content(request, namespace))))
