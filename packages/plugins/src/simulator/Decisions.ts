/**
 * The simulator's answers to questions: OpenAI's decisions API.
 *
 * @internal
 */
import * as Fields from "../provider/Fields.ts"
import type * as RequestNotes from "./RequestNotes.ts"
import * as Script from "./Script.ts"
import type * as Wire from "./Wire.ts"

/** Probabilities of names that add up to 1, in six digits. The first of `sure`, if any, has nine tenths. */
const spread = (names: ReadonlyArray<string>, key: string, sure: unknown): ReadonlyArray<number> => {
  const at = names.indexOf(String(sure))
  const weights = names.map((name, index) =>
    index === at ? 9 * names.length : (at === -1 ? 0.05 : 0) + Script.chance(key, "weight", name) ** (at === -1 ? 3 : 1)
  )
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const shares = weights.map((weight) => Math.floor((weight / total) * 1e6) / 1e6)
  const largest = shares.indexOf(Math.max(...shares))
  const rest = 1 - shares.reduce((sum, share) => sum + share, 0)
  return shares.map((share, index) => (index === largest ? Math.round((share + rest) * 1e6) / 1e6 : share))
}

const largestOf = (shares: ReadonlyArray<number>): number => shares.indexOf(Math.max(...shares))

const answerTo = (question: Wire.WireJson, key: string, own: unknown): unknown => {
  const name = question["name"] ?? null
  switch (question["type"]) {
    case "choice": {
      const values: ReadonlyArray<string> = question["choices"].map(({ value }: Wire.WireJson) => value)
      const shares = spread(values, key, own)
      const best = largestOf(shares)
      return {
        type: "choice",
        name,
        choice: values[best],
        confidence: shares[best],
        probabilities: values.map((value, at) => ({ value, probability: shares[at] }))
      }
    }
    case "score": {
      const labels: ReadonlyArray<string> = question["levels"].map(({ label }: Wire.WireJson) => label)
      const shares = spread(labels, key, own)
      return {
        type: "score",
        name,
        score: shares.reduce((sum, share, at) => sum + share * at, 0),
        confidence: shares[largestOf(shares)],
        probabilities: labels.map((label, value) => ({ label, value, probability: shares[value] }))
      }
    }
    default:
      return {
        type: "predicate",
        name,
        probability:
          typeof own === "boolean"
            ? own
              ? 0.9
              : 0.1
            : typeof own === "number"
              ? own
              : Math.round(Script.chance(key, "probability") * 1e6) / 1e6
      }
  }
}

/** The author's answers by the names of the questions. */
const ownOf = (note: RequestNotes.RequestNote | undefined): { readonly [name: string]: unknown } => {
  try {
    const own: unknown = JSON.parse(note?.text ?? "{}")
    return Fields.isRecord(own) ? own : {}
  } catch {
    return {}
  }
}

/** The answer to a body, and its tokens. */
export const answer = (
  body: Wire.WireJson,
  seed: string,
  count: (text: string) => number,
  note: RequestNotes.RequestNote | undefined
): { readonly body: unknown; readonly tokens: Wire.WireTokens } => {
  const { input: state, model, questions } = body
  const text = typeof state === "string" ? state : JSON.stringify(state)
  const own = ownOf(note)
  const answers = (questions as ReadonlyArray<Wire.WireJson>).map((question) =>
    answerTo(
      question,
      [note?.seed ?? seed, model, text, JSON.stringify(question)].join("\n"),
      own[String(question["name"])]
    )
  )
  const input = count(text) + count(JSON.stringify(questions)) + 8
  const output = 2 * answers.length
  return {
    body: {
      model,
      answers,
      usage: {
        input_tokens: input,
        input_tokens_details: { cache_write_tokens: 0, cached_tokens: 0 },
        output_tokens: output,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: input + output
      }
    },
    tokens: { input, cacheRead: 0, cacheWrite: 0, output, reasoning: 0 }
  }
}
