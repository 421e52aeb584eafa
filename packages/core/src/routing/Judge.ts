/**
 * Judges for `Cascade`: they tell whether the answer of a cheaper model is accepted. Each returns facts about the row
 * or the answer. With manual rules, an answer needs a score of at least `atLeast` from every judge; after `pipe tune`,
 * a trained score weighs the facts of all.
 *
 * **Details** The answer's schema and the author's own check (`quality.check` of a step) always apply, without a judge.
 * The row pays for the calls of judges.
 *
 * **Example** (a custom judge: short answers are doubtful)
 *
 * ```ts
 * import { Cascade, Judge } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * const length = Judge.make({
 *   name: "length",
 *   atLeast: 0.5,
 *   answer: ({ text }) => Effect.succeed({ length: text.length > 20 ? 1 : 0 })
 * })
 *
 * export const cascade = Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"], judges: [length] })
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as Varying from "../flow/Varying.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Embedder from "../semantic/Embedder.ts"
import type * as Features from "./Features.ts"
import * as Quality from "./Quality.ts"

/** An answer to judge. */
export interface JudgedAnswer {
  /** The request as it was sent to the cheaper model. */
  readonly request: ModelRequest.Completion
  readonly response: ModelResponse.CompletionResponse
  readonly text: string
  /** Equal for answers with the same content. */
  readonly keyOf: (text: string) => string
  /** Sends further requests at the row's expense. */
  readonly send: ModelClient.Send
}

/** Returns facts about a row or an answer, by which a cascade accepts the answer or moves on to the next model. */
export interface Judge<out R = never> {
  readonly name: string
  /**
   * The part of the judge that changes its verdict, as JSON: a routing tuned with another value is not used. Default:
   * the source of its functions.
   */
  readonly by?: unknown
  /** The part of its identity that needs its services, such as the name of an embedder. */
  readonly identify?: Effect.Effect<unknown, never, R>
  /** The lowest score of an accepted answer without tuning: the fact with the judge's name. */
  readonly atLeast: number
  /** Changes the request to the cheaper model, as the judge needs it. */
  readonly prepare?: (request: ModelRequest.Completion) => ModelRequest.Completion
  /** Facts about the row, before any call. */
  readonly row?: (request: ModelRequest.Completion) => Effect.Effect<Features.Sample, AiError.AiError, R>
  /** Facts about an answer. */
  readonly answer?: (asked: JudgedAnswer) => Effect.Effect<Features.Features, AiError.AiError, R>
  /** What a model must take for it to work. Where one is known not to, the run does not start. Default: nothing. */
  readonly needs?: LayerAnnotations.JudgeNeeds
  /** The requests it makes about an answer, for a plan. Default: none. */
  readonly asks?: (request: ModelRequest.Completion) => ReadonlyArray<ModelRequest.Completion | ModelRequest.Decision>
}

/** Makes a custom judge. */
export const make = <R = never>(judge: Judge<R>): Judge<R> => judge

/**
 * The model's confidence in the tokens of its answer: the geometric mean of their probabilities (`logprobs`), and the
 * lowest (`logprobs least`). It needs models that report log-probabilities: a run with one that is known to refuse them
 * (OpenAI's models that think) does not start. Other answers without them are doubtful until tuned.
 */
export const logprobs = ({ atLeast = 0.9 }: { readonly atLeast?: number } = {}): Judge =>
  make({
    name: "logprobs",
    by: "mean and least",
    atLeast,
    needs: { settings: ["topLogprobs"] },
    prepare: (request) => ({ ...request, settings: { topLogprobs: 0, ...request.settings } }),
    answer: ({ response: { logprobs = [] } }) =>
      Effect.succeed(
        logprobs.length === 0
          ? ({} as Features.Features)
          : {
              logprobs: Math.exp(logprobs.reduce((sum, value) => sum + value, 0) / logprobs.length),
              "logprobs least": Math.exp(logprobs.reduce((least, value) => Math.min(least, value), 0))
            }
      )
  })

/**
 * Calls the same model again, `samples` times (2) at a `temperature` (0.7), and counts the answers that agree with the
 * first: "self-consistency" (Wang and others, arXiv 2203.11171). A model that does not take a temperature is called
 * without one, at its own.
 */
export const agreement = (
  options: { readonly samples?: number; readonly temperature?: number; readonly atLeast?: number } = {}
): Judge => {
  const { atLeast = 1, samples = 2, temperature = 0.7 } = options
  const asks = (request: ModelRequest.Completion) =>
    Array.from({ length: samples }, (_, at) => ({
      ...request,
      sample: (request.sample + 1) * 1_000 + at,
      settings: { ...request.settings, temperature }
    }))
  return make({
    name: "agreement",
    by: [samples, temperature],
    atLeast,
    asks,
    answer: ({ keyOf, request, send, text }) =>
      Effect.map(
        Effect.forEach(asks(request), (again) => send(again), { concurrency: "unbounded" }),
        (others) => {
          const first = keyOf(text)
          return { agreement: others.filter((other) => keyOf(ModelResponse.text(other)) === first).length / samples }
        }
      )
  })
}

const QUESTION =
  "You are shown a task and an answer to it. How probable is it that the answer is right and complete? Think of what could be wrong with it first. Give a number from 0 (certainly wrong) to 100 (certainly right)."

const schema = {
  type: "object",
  properties: { probability: { type: "number" } },
  required: ["probability"],
  additionalProperties: false
}

/** Lets a model rate the probability that the answer is right. `question` is its instruction. The row pays for it. */
export const model = (options: {
  readonly model: string
  /** The instruction of the judge. Default: it rates from 0 to 100 how probable it is that the answer is right. */
  readonly question?: string
  /** The lowest score of an accepted answer without tuning, from 0 to 1. Default: 0.8. */
  readonly atLeast?: number
}): Judge => {
  const { atLeast = 0.8, question = QUESTION } = options
  const toJudge = (request: ModelRequest.Completion, text: string) =>
    ModelRequest.completion({
      model: options.model,
      messages: [
        { role: "system", content: question },
        { role: "user", content: `<task>\n${ModelRequest.text(request)}\n</task>\n\n<answer>\n${text}\n</answer>` }
      ],
      responseFormat: { type: "json", name: "probability", schema },
      settings: { temperature: 0 }
    })
  return make({
    name: "model",
    by: [options.model, question],
    atLeast,
    asks: (request) => [toJudge(request, "")],
    answer: ({ request, send, text }) =>
      Effect.map(send(toJudge(request, text)), (response) => {
        const given = Number(/-?\d+(?:\.\d+)?/.exec(ModelResponse.text(response))?.[0])
        return Number.isFinite(given) ? { model: Math.max(0, Math.min(1, given / 100)) } : ({} as Features.Features)
      })
  })
}

/**
 * The probability that an answer is right, as a decision of a model that gives one (OpenAI's `/decisions`). It needs no
 * sampling and no log-probabilities, and costs one short call. A run with a model that is known to have none does not
 * start.
 *
 * **Example** (answers that are probably right stay with the cheap model)
 *
 * ```ts
 * import { Cascade, Judge } from "@pipe/core"
 *
 * export const cascade = Cascade.layer({
 *   models: ["gpt-4o-mini", "gpt-4o"],
 *   judges: [Judge.decision({ model: "gpt-6-luna" })]
 * })
 * ```
 */
export const decision = (options: {
  readonly model: string
  /** The statement whose probability is the score. Default: that the answer is right and complete. */
  readonly statement?: string
  /** The lowest score of an accepted answer without tuning, from 0 to 1. Default: 0.8. */
  readonly atLeast?: number
}): Judge => {
  const { atLeast = 0.8, statement = "The answer to the task is right and complete." } = options
  const toJudge = (request: ModelRequest.Completion, text: string) =>
    ModelRequest.decision({
      model: options.model,
      state: { task: ModelRequest.text(request), answer: text },
      questions: [{ type: "predicate", name: "right", instructions: statement }]
    })
  return make({
    name: "decision",
    by: [options.model, statement],
    atLeast,
    needs: { decisionsOf: options.model },
    asks: (request) => [toJudge(request, "")],
    answer: ({ request, send, text }) =>
      Effect.map(send(toJudge(request, text)), ({ answers: { right } }): Features.Features =>
        right?.type === "predicate" && right.probability !== undefined ? { decision: right.probability } : {}
      )
  })
}

/**
 * The vector of the varying text of a row's prompt (of its whole text when the step does not declare `varies`), for a
 * trained score: it has no effect until `pipe tune` has trained one. It uses the `Embedder` in context.
 */
export const embedding: Judge<Embedder.Embedder> = make({
  name: "embedding",
  by: "vector",
  identify: Effect.map(Embedder.Embedder, ({ name }) => name),
  atLeast: 0,
  row: (request) =>
    Effect.withFiber((fiber) => {
      const text = fiber.getRef(Varying.Varying)?.text ?? ModelRequest.text(request, "user")
      return Effect.flatMap(Embedder.Embedder, (embedder): Effect.Effect<Features.Sample, AiError.AiError> =>
        text.trim() === "" || embedder.unfit(text) !== undefined
          ? Effect.succeed({ features: {} })
          : Effect.map(embedder.embed(text), (vector) => ({ features: {}, vector }))
      )
    })
})

/** Decides whether an answer is accepted by its judges, without tuning. */
export const isAccepted = (
  judges: ReadonlyArray<Judge<never>>,
  facts: Features.Features,
  verdict: Quality.Verdict | undefined
): boolean =>
  (verdict === undefined || Quality.isGood(verdict))
  && judges.every(({ answer, atLeast, name }) => {
    const score = facts[name]
    return answer === undefined || (typeof score === "number" ? score >= atLeast : score === true)
  })
