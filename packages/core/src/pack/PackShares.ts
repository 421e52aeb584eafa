/**
 * Divides the tokens of a packed prompt among its rows, and estimates what each would have used alone. The shares add
 * up to the usage, including tokens that gave no row an answer.
 *
 * @internal
 */
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as PackPrompt from "./PackPrompt.ts"

type Response = ModelResponse.CompletionResponse

export interface PackShares {
  /** Adds usage that gave no row an answer. The next answers share it. */
  readonly waste: (usage: Usage.Usage | undefined) => void
  /** The answer to a request that was sent alone. */
  readonly single: (request: ModelRequest.Completion, response: Response) => Response
  /**
   * The answers to a prompt's texts: input shared by text length, output by answer length; `undefined` where a text has
   * none.
   */
  readonly shares: (
    template: ModelRequest.Completion,
    texts: ReadonlyArray<string>,
    answers: ReadonlyArray<string | undefined>,
    response: Response
  ) => ReadonlyArray<Response | undefined>
}

/** The answer of a row, from that of a prompt. */
export const withText = (response: Response, text: string): Response => ({
  ...response,
  parts: [{ type: "text", text }],
  finishReason: "stop"
})

/** The tokens around each of several answers. */
const FRAME = 8

/** The counted tokens of a request alone. */
const count = (request: ModelRequest.Completion, answer: string) => ({
  input: TokenCounter.inputTokens(TokenCounter.estimate, request),
  output: TokenCounter.estimate(answer)
})

/** `baseline` is the model that would be called without a router below. */
export const make = (baseline: string | undefined): PackShares => {
  /** What single requests were counted to use, and what they used: this calibrates the counts to the provider's. */
  const counted = { input: 0, output: 0 }
  const used = { input: 0, output: 0 }
  let wasted = Usage.zero

  /** Adds the share of unanswered usage. */
  const bearing = (usage: Usage.Usage): Usage.Usage => {
    const whole = { ...usage, ...Usage.add(usage, wasted) }
    wasted = Usage.zero
    return whole
  }

  return {
    waste: (usage) => {
      if (usage !== undefined) wasted = Usage.add(wasted, usage)
    },
    single: (request, response) => {
      const { usage } = response
      if (usage === undefined || response.origin !== "provider") return response
      const alone = count(request, ModelResponse.text(response))
      counted.input += alone.input
      counted.output += alone.output
      used.input += Usage.inputTokens(usage)
      used.output += Usage.outputTokens(usage)
      return Usage.totalTokens(wasted) === 0 ? response : { ...response, usage: bearing(usage), unpacked: usage }
    },
    shares: (template, texts, answers, response) => {
      const { usage } = response
      const common = TokenCounter.inputTokens(TokenCounter.estimate, template)
      const there = answers.flatMap((answer, at) => (answer === undefined ? [] : [{ answer, at, text: texts[at]! }]))
      const weights = there.map(({ answer, text }) => ({
        input: common / there.length + TokenCounter.estimate(text),
        output: FRAME + TokenCounter.estimate(answer)
      }))
      const ratio = (kind: "input" | "output", of: () => number): number =>
        counted[kind] > 0 ? used[kind] / counted[kind] : of()
      const perInput = ratio("input", () =>
        usage === undefined
          ? 1
          : Usage.inputTokens(usage) / TokenCounter.inputTokens(TokenCounter.estimate, PackPrompt.make(template, texts))
      )
      const perOutput = ratio("output", () =>
        usage === undefined ? 1 : Usage.outputTokens(usage) / weights.reduce((sum, { output }) => sum + output, 0)
      )
      const usages = usage === undefined || there.length === 0 ? undefined : Usage.split(bearing(usage), weights)
      const shares = new Array<Response | undefined>(texts.length).fill(undefined)
      there.forEach(({ answer, at, text }, index) => {
        const alone = count(PackPrompt.single(template, text), answer)
        shares[at] = {
          ...withText(response, answer),
          ...(baseline === undefined || response.baselineModel !== undefined || response.requestedModel === baseline
            ? undefined
            : { baselineModel: baseline }),
          ...(usages === undefined
            ? undefined
            : {
                usage: usages[index]!,
                unpacked: {
                  ...Usage.zero,
                  uncachedInput: Math.round(perInput * alone.input),
                  output: Math.round(perOutput * alone.output)
                }
              })
        }
      })
      return shares
    }
  }
}
