/**
 * Bounded loops over a model: `run` lets it call tools until it answers, `refine` has an answer reviewed and improved.
 *
 * **Details** Every call is a call of its own in the ledger, in a budget and in a cache. A plan knows the fewest and the
 * most calls of a row, and the report has how many there were.
 *
 * **Example** (a step whose model may look things up)
 *
 * ```ts
 * import { Agent, Flow, Source } from "@pipe/core"
 * import { Effect, Schema } from "effect"
 * import { Tool, Toolkit } from "effect/ai"
 *
 * const questions = Source.fromIterable("questions", ["What is the weather in Oslo?"])
 * const Weather = Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
 * const toolkit = Toolkit.make(Weather)
 * const handlers = toolkit.toLayer({ weather: ({ city }) => Effect.succeed(`sunny in ${city}`) })
 *
 * export const answer = Flow.step("answer", { question: questions }, ({ question }) =>
 *   Agent.run({ prompt: question, toolkit, steps: 5 }).pipe(
 *     Effect.map(({ text }) => text),
 *     Effect.provide(handlers)
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Chat from "effect/ai/Chat"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as CallContext from "../client/CallContext.ts"
import type * as CallState from "../client/CallState.ts"
import * as OptionNames from "../client/OptionNames.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as RunHooks from "../client/RunHooks.ts"

/** The most steps of a loop. */
const MOST = 1_000

/** The options of `run`. */
export interface RunOptions<Tools extends Record<string, Tool.Any>> {
  readonly prompt: Prompt.RawInput
  readonly toolkit: LanguageModel.ToolkitInput<Tools>
  /** The most calls of the model, 2 or more. The last one may call no tool, so that there is always an answer. */
  readonly steps: number
}

/** A tool that the model called, and what came of it. */
export interface ToolUse {
  readonly name: string
  readonly params: unknown
  /** As the model received it. */
  readonly result: unknown
  readonly isFailure: boolean
}

/** What a loop came to, as plain data. */
export interface RunResult {
  /** The last answer. */
  readonly text: string
  /** The calls of the model. */
  readonly steps: number
  /** Whether the model ended by itself: with `false` it had to answer without the tools that it wanted. */
  readonly finished: boolean
  /** In the order of the calls. */
  readonly tools: ReadonlyArray<ToolUse>
}

/** Runs calls as parts of one loop, and reports it when it has ended. */
const looping = <A extends { readonly finished: boolean }, E, R>(
  loop: CallState.Loop,
  body: Effect.Effect<{ readonly calls: number; readonly result: A }, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(CallContext.provideState({ loop })(body), ({ calls, result }) =>
    Effect.withFiber((fiber) => {
      const { step } = fiber.getRef(CallContext.CallContext)
      fiber.getRef(RunHooks.RunHooks).onEvent({
        _tag: "Loop",
        step,
        calls,
        most: loop.most,
        isFinished: result.finished
      })
      return Effect.succeed(result)
    })
  )

const noAnswer = AiError.make({
  module: "Agent",
  method: "run",
  reason: new AiError.InvalidOutputError({
    description: "the model called a tool in its last step, where it may call none, and did not answer"
  })
})

/**
 * Calls the model until it calls no tool any more, at most `steps` times. Tools run after each call, and their results go
 * to the next one.
 *
 * **When to use** For answers that need look-ups whose number is not known. A fixed sequence of calls is a sequence of
 * steps.
 */
export const run = <Tools extends Record<string, Tool.Any>, O extends RunOptions<Tools>>(
  options: O & RunOptions<Tools>
): Effect.Effect<
  RunResult,
  LanguageModel.ExtractError<O>,
  LanguageModel.LanguageModel | LanguageModel.ExtractServices<O>
> => {
  const { prompt, steps, toolkit } = options
  OptionNames.check("Agent.run", options, ["prompt", "toolkit", "steps"])
  OptionNames.checkNumbers("Agent.run", { steps }, { steps: { least: 2, most: MOST, isWhole: true } })
  const from = (
    chat: Chat.Chat,
    step: number,
    tools: ReadonlyArray<ToolUse>
  ): Effect.Effect<
    { readonly calls: number; readonly result: RunResult },
    AiError.AiError,
    LanguageModel.LanguageModel
  > =>
    Effect.flatMap(
      chat.generateText({
        prompt: [],
        // Its errors and services are those of the result.
        toolkit: toolkit as Toolkit.WithHandler<Record<string, Tool.Any>>,
        // Tools that a model calls all the same do not run.
        toolChoice: step === steps ? "none" : "auto",
        disableToolCallResolution: step === steps
      }),
      (response) => {
        if (step === steps && response.text === "") return Effect.fail(noAnswer)
        // Models may give several calls one id.
        const results = Map.groupBy(response.toolResults, ({ id, name }) => `${id}\n${name}`)
        const used = response.toolCalls.map(({ id, name, params }): ToolUse => {
          const result = results.get(`${id}\n${name}`)?.shift()
          return { name, params, result: result?.encodedResult, isFailure: result?.isFailure ?? true }
        })
        const all = [...tools, ...used]
        if (used.length > 0 && step < steps) return from(chat, step + 1, all)
        // In the last step the model cannot say that it wants more.
        const finished = step < steps
        const result = { text: response.text, steps: step, finished, tools: finished ? all : tools }
        return Effect.succeed({ calls: step, result })
      }
    )
  return looping(
    { least: 1, most: steps },
    Effect.flatMap(Chat.fromPrompt(prompt), (chat) => from(chat, 1, []))
  ) as ReturnType<typeof run<Tools, O>>
}

/** The encoded form of an answer. */
type Answer = Record<string, RowValues.Erased>

/** The options of `refine`. */
export interface RefineOptions<S extends Schema.Encoder<Answer, unknown>> {
  readonly prompt: Prompt.RawInput
  /** The answer. */
  readonly schema: S
  /** What the review looks for, such as `Are all themes there?`. */
  readonly review: string
  /** The most reviews, each with one more answer if something is missing. Default: 1. */
  readonly rounds?: number
}

/** A refined answer. */
export interface RefineResult<A> {
  readonly value: A
  /** The reviews that found something missing. */
  readonly rounds: number
  /** Whether the last review found nothing missing. With `false` the last answer is not reviewed. */
  readonly finished: boolean
}

const Review = Schema.Struct({
  complete: Schema.Boolean,
  missing: Schema.String.annotate({ description: "what is missing or wrong; empty when the answer is complete" })
})

/**
 * Asks for an answer, has the model review it, and has it send another with what is missing, at most `rounds` times: one call and
 * up to two for each round. This is what extraction tools call gleaning.
 *
 * **When to use** For long lists out of long texts, where one answer leaves some out.
 */
export const refine = <S extends Schema.Encoder<Answer, unknown>>(
  options: RefineOptions<S>
): Effect.Effect<RefineResult<S["Type"]>, AiError.AiError, LanguageModel.LanguageModel | S["DecodingServices"]> => {
  const { prompt, review, rounds = 1, schema } = options
  OptionNames.check("Agent.refine", options, ["prompt", "schema", "review", "rounds"])
  OptionNames.checkNumbers("Agent.refine", { rounds }, { rounds: { ...OptionNames.COUNT, most: MOST } })
  const body = Effect.gen(function* () {
    const chat = yield* Chat.fromPrompt(prompt)
    let { value } = yield* chat.generateObject({ prompt: [], schema })
    for (let round = 0; round < rounds; round++) {
      const { value: verdict } = yield* chat.generateObject({
        prompt: `Review your answer. ${review}\nSay whether it is complete and right, and otherwise what is missing or wrong.`,
        schema: Review,
        objectName: "review"
      })
      if (verdict.complete) return { calls: 2 + 2 * round, result: { value, rounds: round, finished: true } }
      const answer = yield* chat.generateObject({
        prompt: `Answer again, in full. This was missing or wrong: ${verdict.missing}`,
        schema
      })
      value = answer.value
    }
    return { calls: 1 + 2 * rounds, result: { value, rounds, finished: false } }
  })
  return looping({ least: 2, most: 1 + 2 * rounds }, body)
}
