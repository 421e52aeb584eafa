/**
 * Caches vectors text by text: each text has its own entry, whichever others it was sent with. Texts of concurrent rows
 * are sent as one request, so the same request as a whole hardly ever occurs again.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"

type Embedding = ModelRequest.Embedding
type Response = ModelResponse.EmbeddingResponse

/** The part of a cache that is needed here. */
export interface Texts {
  readonly read: (request: Embedding) => Effect.Effect<Response | undefined>
  readonly write: (request: Embedding, response: Response) => Effect.Effect<void>
  readonly send: (request: Embedding) => Effect.Effect<Response, AiError.AiError>
}

/** One request per text. */
export const each = (request: Embedding): ReadonlyArray<Embedding> =>
  request.inputs.map((text) => ({ ...request, inputs: [text] }))

/** Merges the answers to single texts. */
export const join = (parts: readonly [Response, ...Array<Response>]): Response => {
  const [first] = parts
  const { usage: _, ...rest } = first
  const usages = parts.flatMap(({ usage }) => usage ?? [])
  return {
    ...rest,
    origin: parts.find(({ origin }) => origin !== "provider")?.origin ?? "provider",
    vectors: parts.flatMap(({ vectors }) => vectors),
    ...(usages.length === parts.length ? { usage: usages.reduce(Usage.add) } : undefined)
  }
}

/** Merges what is known of single texts; `undefined` when one of them is not known. */
export const joined = (parts: ReadonlyArray<ModelResponse.ModelResponse | undefined>): Response | undefined => {
  const known = parts.flatMap((part) => (part?._tag === "EmbeddingResponse" ? [part] : []))
  const [first, ...rest] = known
  return first === undefined || known.length < parts.length ? undefined : join([first, ...rest])
}

/** Splits an answer by text, each with its share of the tokens. */
const parted = (response: Response, texts: ReadonlyArray<string>): ReadonlyArray<Response> => {
  const { usage, ...rest } = response
  const shares =
    usage === undefined
      ? undefined
      : Usage.split(
          usage,
          texts.map((text) => ({ input: text.length, output: 0 }))
        )
  return response.vectors.map((vector, at) => ({
    ...rest,
    vectors: [vector],
    ...(shares === undefined ? undefined : { usage: shares[at]! })
  }))
}

/**
 * Answers several texts: known ones from the cache, and the others with one request. That request is what was paid.
 */
export const send = Effect.fnUntraced(function* (
  request: Embedding,
  resolved: Embedding,
  texts: Texts
): Effect.fn.Return<Response, AiError.AiError> {
  const singles = each(resolved)
  const kept = yield* Effect.forEach(singles, texts.read, { concurrency: "unbounded" })
  const missing = new Set(singles.flatMap(({ inputs }, at) => (kept[at] === undefined ? inputs : [])))
  if (missing.size === 0) return join(kept as unknown as readonly [Response, ...Array<Response>])
  // An earlier version stored whole requests.
  const whole = missing.size === new Set(request.inputs).size ? yield* texts.read(resolved) : undefined
  if (whole !== undefined) return whole
  const inputs = [...missing]
  const response = yield* texts.send({ ...request, inputs })
  // What cannot be matched to a text is not kept. The sender checks it.
  if (response.vectors.length !== inputs.length) {
    return inputs.length === request.inputs.length ? response : yield* texts.send(request)
  }
  const parts = parted(response, inputs)
  yield* Effect.forEach(inputs, (text, at) => texts.write({ ...resolved, inputs: [text] }, parts[at]!), {
    discard: true
  })
  const byText = new Map(inputs.map((text, at) => [text, parts[at]!.vectors[0]!]))
  return {
    ...response,
    vectors: request.inputs.map((text, at) => kept[at]?.vectors[0] ?? byText.get(text)!)
  }
})
