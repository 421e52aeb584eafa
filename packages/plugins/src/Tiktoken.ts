/**
 * Counts tokens as OpenAI's models do (encoding `o200k_base`), with `gpt-tokenizer`.
 *
 * **Details** Text that looks like a special token is counted as text. For models of other makers the count is an
 * estimate. The encoding takes about 0.2 s to load, with the layer and not with the module.
 *
 * **Example** (better estimates for token limits)
 *
 * ```ts
 * import { Tiktoken } from "@pipe/plugins"
 *
 * export const tokens = Tiktoken.layer
 * ```
 *
 * @since 0.1.0
 */
import * as TokenCounter from "@pipe/core/TokenCounter"
import * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Tokenizer from "effect/ai/Tokenizer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * The longest run of letters, or of white space, encoded at once: the encoder's time grows with the square of a run,
 * and 90,000 Chinese characters without a space took 24 s.
 */
const RUN = 2_000

const load = Effect.promise(() => import("gpt-tokenizer/encoding/o200k_base"))

const options = { disallowedSpecial: new Set<string>() }

/**
 * The whole text, or pieces of it when it has a run that is too long. Only such runs are cut, so other text is counted
 * exactly.
 */
const pieces = (text: string): ReadonlyArray<string> => {
  if (text.length <= RUN) return [text]
  const out: Array<string> = []
  let start = 0
  for (const { 0: run, index } of text.matchAll(/\s+|\S+/g)) {
    if (run.length <= RUN) continue
    if (index > start) out.push(text.slice(start, index))
    for (let at = 0; at < run.length;) {
      let end = Math.min(run.length, at + RUN)
      // A surrogate pair is one character.
      if (end < run.length && /[\ud800-\udbff]/.test(run[end - 1]!)) end--
      out.push(run.slice(at, end))
      at = end
    }
    start = index + run.length
  }
  if (start < text.length) out.push(text.slice(start))
  return out
}

/** The counter, and the function that returns the tokens. */
export const make = Effect.map(load, ({ countTokens, encode }) => ({
  count: ((text) => {
    let total = 0
    for (const piece of pieces(text)) total += countTokens(piece, options)
    return total
  }) satisfies TokenCounter.Count,
  encode: (text: string): Array<number> => pieces(text).flatMap((piece) => encode(piece, options))
}))

/** Sets the `TokenCounter`. */
export const layer: Layer.Layer<never> = Layer.effect(
  TokenCounter.TokenCounter,
  Effect.map(make, ({ count }) => count)
) as Layer.Layer<never>

/** `effect/ai`'s `Tokenizer`. */
export const layerTokenizer: Layer.Layer<Tokenizer.Tokenizer> = Layer.effect(
  Tokenizer.Tokenizer,
  Effect.map(make, ({ encode }) =>
    Tokenizer.make({
      tokenize: (prompt) =>
        Effect.try({
          try: () => encode(textOf(prompt)),
          catch: (error) =>
            AiError.make({
              module: "Tiktoken",
              method: "tokenize",
              reason: new AiError.InvalidUserInputError({ description: String(error) })
            })
        })
    })
  )
)

const textOf = (prompt: Prompt.Prompt): string =>
  prompt.content
    .map((message) =>
      typeof message.content === "string"
        ? message.content
        : message.content.map((part) => (part.type === "text" ? part.text : "")).join("")
    )
    .join("\n")
