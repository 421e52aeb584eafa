/**
 * A model for tests: answers by step, and a record of its calls. It replaces every provider of a flow, whatever the
 * stack: layers, retries, caches and the ledger work as they do in a run.
 *
 * **Example** (an answer for each step)
 *
 * ```ts
 * import { TestModel } from "@pipe/core/testing"
 *
 * const model = TestModel.make({
 *   english: ({ values }) => `in English: ${values["review"].text}`,
 *   verdict: { sentiment: "positive", reason: "it says so" }
 * })
 *
 * model.calls() // => []
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as CallContext from "../client/CallContext.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as RowValues from "../client/RowValues.ts"
import type * as RunHooks from "../client/RunHooks.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as TestBatches from "./TestBatches.ts"

/** A call that the model received. Retries and the calls of layers are calls of their own. */
export interface TestCall {
  readonly step: string
  /** Why a layer made the call itself, such as `judge`; `""` for the calls of the step. */
  readonly purpose: string
  /** The index of the row in its source, from 0. */
  readonly row: number
  /** The values of the step's inputs, by name. */
  readonly values: RowValues.Values
  readonly provider: string
  readonly model: string
  /** The text of all messages, or of the texts to embed. */
  readonly prompt: string
  readonly request: ModelRequest.ModelRequest
}

/**
 * An answer: a text; a value, which is sent as JSON; a failure; an effect of one of them, which may wait; or a stream of
 * pieces of text. `response` gives usage, tool calls and all other fields. Texts to embed get vectors of their own, unless
 * a function of the call returns a list of vectors or a failure.
 */
export type Answer = string | object | number | boolean | null

/** Answers by the name of the step, or by a function of the call. */
export type Answers = { readonly [step: string]: Answer | ((call: TestCall) => Answer) } | ((call: TestCall) => Answer)

/** A model for tests. */
export interface TestModel {
  /** Answers in place of the providers of a flow. `TestFlow.run` sets it; `RunHooks.provide({ standIn })` does so elsewhere. */
  readonly standIn: RunHooks.StandIn
  /**
   * The bottom of a stack, to test a layer without a flow or a stack without its provider. The provider is named `test`;
   * its models, `test-model` (the default) and `test-model-2`, cost 1 USD per million input tokens and 2 USD per million output tokens, half of that in batches.
   */
  readonly layer: Layer.Layer<ModelClient.ModelClient>
  /** The calls so far, in the order in which they came. */
  readonly calls: () => ReadonlyArray<TestCall>
}

const Response: unique symbol = Symbol("@pipe/core/TestModel/Response")

/** The fields of an answer that a test sets. */
export interface Fields extends Partial<Omit<ModelResponse.CompletionResponse, "usage">> {
  /** In place of `parts`. */
  readonly text?: string
  /** Tokens by class: those that are left out are 0. Default: estimated from the texts. */
  readonly usage?: Partial<Usage.Usage>
}

/** An answer with fields of its own, such as `usage` (tokens), `finishReason` or `parts` with tool calls. */
export const response = ({ text, usage, ...fields }: Fields): Answer => ({
  [Response]: {
    ...(text === undefined ? undefined : { parts: [{ type: "text", text }] }),
    ...(usage === undefined ? undefined : { usage: { ...Usage.zero, ...usage } }),
    ...fields
  } satisfies Partial<ModelResponse.CompletionResponse>
})

/** A failure of the provider: a server error that a retry may overcome, unless another reason is given. */
export const failure = (
  reason: AiError.AiErrorReason = new AiError.InternalProviderError({ description: "the test model fails" })
): AiError.AiError => AiError.make({ module: "TestModel", method: "send", reason })

/** Makes a model. A step without an answer fails its rows, by name. */
export const make = (answers: Answers): TestModel => {
  const calls: Array<TestCall> = []
  const answerOf = (call: TestCall): Answer => {
    if (typeof answers === "function") return answers(call)
    const answer = Object.hasOwn(answers, call.step) ? answers[call.step] : undefined
    if (answer === undefined) {
      const known = Object.keys(answers).join(", ") || "none"
      return misuse(`the test model has no answer for step ${call.step}; it has answers for: ${known}`)
    }
    return typeof answer === "function" ? answer(call) : answer
  }
  const answered = (answer: Answer): Effect.Effect<Answer, AiError.AiError> =>
    AiError.isAiError(answer)
      ? Effect.fail(answer)
      : problemOf(answer) !== undefined
        ? Effect.fail(misuse(`the test model cannot answer with ${problemOf(answer)}`))
        : Effect.isEffect(answer)
          ? Effect.flatMap(answer as Effect.Effect<Answer, AiError.AiError>, answered)
          : Stream.isStream(answer)
            ? Stream.mkString(answer as Stream.Stream<string, AiError.AiError>)
            : Effect.succeed(answer)
  const send = (
    provider: string,
    request: ModelRequest.ModelRequest,
    { purpose, row, step, values }: CallContext.CallContext
  ): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> =>
    Effect.suspend((): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> => {
      const { model = MODEL } = request
      const prompt = ModelRequest.text(request)
      const call: TestCall = { step, purpose, row, values, provider, model, prompt, request }
      calls.push(call)
      return request._tag === "Embedding"
        ? typeof answers === "function"
          ? Effect.map(
              Effect.suspend(() => answered(answers(call))),
              (answer) => vectorsFor(request, provider, model, isVectors(answer) ? answer : undefined)
            )
          : Effect.succeed(vectorsFor(request, provider, model))
        : Effect.map(
            Effect.flatMap(
              Effect.sync(() => answerOf(call)),
              answered
            ),
            (answer) =>
              request._tag === "Decision" ? toDecision(answer, call, request) : toResponse(answer, call, request)
          )
    })
  const standIn: RunHooks.StandIn = {
    send: (provider) =>
      ((request: ModelRequest.ModelRequest) =>
        Effect.flatMap(CallContext.CallContext, (call) => send(provider, request, call))) as ModelClient.Send,
    batch: (provider) => TestBatches.make(provider, (request, call) => send(provider, request, call))
  }
  return {
    standIn,
    calls: () => calls,
    layer: Layer.sync(ModelClient.ModelClient, () =>
      ModelClient.provider({
        name: PROVIDER,
        resolve: (request) => ModelRequest.withModel(request, request.model ?? MODEL),
        send: standIn.send(PROVIDER),
        batch: standIn.batch(PROVIDER),
        answers: false,
        prices: { [MODEL]: PRICE, [`${MODEL}-2`]: PRICE }
      })
    )
  }
}

/** A mistake of the test: it fails every row alike. */
const misuse = (description: string): AiError.AiError =>
  failure(new AiError.InvalidRequestError({ description, constraint: ModelFailure.setUp }))

/** What is no answer, with the way out. */
const problemOf = (answer: unknown): string | undefined => {
  if (answer === undefined) return "undefined: return a text or a value (null for JSON null)"
  if (answer instanceof Promise) return "a promise: return Effect.promise(() => …)"
  if (answer instanceof Error) return `an Error (${answer.message}): return TestModel.failure(…)`
  if (typeof answer === "function") return "a function: call it"
  if (
    typeof answer === "object"
    && answer !== null
    && "next" in answer
    && Symbol.iterator in answer
    && !Effect.isEffect(answer)
  )
    return "a generator: return Effect.gen(…)"
  return undefined
}

const isVectors = (answer: unknown): answer is ReadonlyArray<ReadonlyArray<number>> =>
  Array.isArray(answer) && answer.every((vector) => Array.isArray(vector))

/** The provider and the model of `layer`, and its price. */
const PROVIDER = "test"
const MODEL = "test-model"
const PRICE = { input: 1, output: 2, batch: { input: 0.5, output: 1 } }

/** Answers nothing in place of real providers; one made with `layer` answers itself. */
export const none: RunHooks.StandIn = { ...make({}).standIn, spares: PROVIDER }

const toResponse = (
  answer: Answer,
  { model, provider }: TestCall,
  request: ModelRequest.Completion
): ModelResponse.CompletionResponse => {
  const given =
    typeof answer === "object" && answer !== null && Response in answer
      ? (answer[Response] as Partial<ModelResponse.CompletionResponse>)
      : { parts: [{ type: "text" as const, text: typeof answer === "string" ? answer : JSON.stringify(answer) }] }
  const parts = given.parts ?? []
  const output = parts.reduce((sum, part) => sum + TokenCounter.estimate(JSON.stringify(part)), 0)
  return {
    _tag: "CompletionResponse",
    provider,
    model,
    requestedModel: model,
    finishReason: "stop",
    origin: "provider",
    usage: {
      ...Usage.zero,
      uncachedInput: TokenCounter.inputTokens(TokenCounter.estimate, request),
      output
    },
    ...given,
    parts
  }
}

/** The answers to questions, from a record of them by name: a choice or a level, whether a statement holds, or its probability. */
const toDecision = (
  answer: Answer,
  { model, provider }: TestCall,
  request: ModelRequest.Decision
): ModelResponse.DecisionResponse => {
  const given = (typeof answer === "object" && answer !== null ? answer : {}) as { readonly [name: string]: unknown }
  return {
    _tag: "DecisionResponse",
    provider,
    model,
    requestedModel: model,
    origin: "provider",
    usage: {
      ...Usage.zero,
      uncachedInput: TokenCounter.inputTokens(TokenCounter.estimate, request),
      output: request.questions.length
    },
    answers: Object.fromEntries(
      request.questions.map((question) => [question.name, answerTo(question, given[question.name])])
    )
  }
}

const answerTo = (question: ModelRequest.Question, given: unknown): ModelResponse.Answer => {
  const certain = (names: ReadonlyArray<string>, chosen: string) =>
    Object.fromEntries(names.map((name) => [name, name === chosen ? 1 : 0]))
  switch (question.type) {
    case "predicate": {
      const probability = typeof given === "number" ? given : given === true ? 1 : 0
      return { type: "predicate", value: probability >= 0.5, probability }
    }
    case "choice": {
      const names = question.choices.map(({ value }) => value)
      const value = names.find((name) => name === given) ?? names[0]!
      return { type: "choice", value, probabilities: certain(names, value) }
    }
    case "score": {
      const labels = question.levels.map(({ label }) => label)
      const value = Math.max(0, labels.indexOf(String(given)))
      return { type: "score", value, probabilities: certain(labels, labels[value]!) }
    }
  }
}

/** How many numbers a vector has. */
const DIMENSIONS = 8

/** Equal vectors for equal texts, of length 1. */
const vectorsFor = (
  request: ModelRequest.Embedding,
  provider: string,
  model: string,
  given?: ReadonlyArray<ReadonlyArray<number>>
): ModelResponse.EmbeddingResponse => ({
  _tag: "EmbeddingResponse",
  provider,
  model,
  requestedModel: model,
  origin: "provider",
  usage: {
    ...Usage.zero,
    uncachedInput: request.inputs.reduce((sum, text) => sum + TokenCounter.estimate(text), 0)
  },
  vectors:
    given
    ?? request.inputs.map((text) => {
      const hash = ContentHash.make(text)
      const raw = Array.from({ length: DIMENSIONS }, (_, at) => Number.parseInt(hash.slice(at * 4, at * 4 + 4), 16) + 1)
      const length = Math.hypot(...raw)
      return raw.map((n) => n / length)
    })
})
