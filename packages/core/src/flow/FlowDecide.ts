/**
 * Decisions for each row: labels, statements and scores, by a model that gives probabilities.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as ToDecisionModel from "../client/ToDecisionModel.ts"
import * as JsonForm from "../encoding/JsonForm.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as CallOptions from "./CallOptions.ts"
import * as Node from "./Node.ts"

/** Names to choose from: a list, or a record of descriptions. */
type Names<L extends string> = ReadonlyArray<L> | { readonly [K in L]: string | null }

/** A question of `decide`. */
export type Question =
  | { readonly instructions: string; readonly options: Names<string>; readonly levels?: never }
  | { readonly instructions: string; readonly levels: Names<string>; readonly options?: never }
  | { readonly instructions: string; readonly options?: never; readonly levels?: never }

type NameOf<N> = N extends ReadonlyArray<infer L> ? L & string : N extends object ? keyof N & string : never

/** What has been decided. */
export type Decided<Q> = Q extends { readonly options: infer N }
  ? {
      readonly value: NameOf<N>
      /** That of the value; `undefined` where the model gives none. */
      readonly probability: number | undefined
      /** Those of all options; `undefined` where the model gives none. */
      readonly probabilities: { readonly [K in NameOf<N>]: number } | undefined
    }
  : Q extends { readonly levels: infer N }
    ? {
        /** The place on the scale: 0 for the lowest level. */
        readonly value: number
        /** The nearest level. */
        readonly level: NameOf<N>
        /** That of the level; `undefined` where the model gives none. */
        readonly probability: number | undefined
      }
    : {
        readonly value: boolean
        /** That the statement holds; `undefined` where the model gives none. */
        readonly probability: number | undefined
      }

/** The most questions of a request. */
const MOST_QUESTIONS = 200

/** The most names to choose from (openai 7.57, `resources/decisions.d.ts`). */
const MOST_NAMES = 255

const entriesOf = (names: Names<string>): ReadonlyArray<readonly [name: string, description: string | null]> =>
  Array.isArray(names) ? (names as ReadonlyArray<string>).map((name) => [name, null] as const) : Object.entries(names)

const described = (description: string | null) => (description === null ? undefined : { description })

/** A question as it is sent. Throws a `FlowError` for one that no model can answer. */
const toQuestion = (what: string, name: string, question: Question): ModelRequest.Question => {
  OptionNames.check(`${what}: question ${name}`, question, ["instructions", "options", "levels"])
  const { instructions } = question
  if (typeof instructions !== "string" || instructions.trim() === "")
    throw new Node.FlowError({
      message: `${what}: question ${name} needs instructions: what is to be decided, in words`
    })
  if (question.options !== undefined && question.levels !== undefined)
    throw new Node.FlowError({
      message: `${what}: question ${name} has options and levels: give the ones to choose from, or the levels of a scale`
    })
  const names = question.options ?? question.levels
  if (names === undefined) return { type: "predicate", name, instructions }
  const entries = entriesOf(names)
  const distinct = new Set(entries.map(([one]) => one))
  if (entries.length < 2 || entries.length > MOST_NAMES || distinct.size !== entries.length)
    throw new Node.FlowError({
      message: `${what}: question ${name} needs 2 to ${MOST_NAMES} different ${question.options === undefined ? "levels" : "options"}: it has ${entries.length}${distinct.size < entries.length ? `, of which ${distinct.size} different` : ""}`
    })
  return question.options === undefined
    ? { type: "score", name, instructions, levels: entries.map(([label, text]) => ({ label, ...described(text) })) }
    : { type: "choice", name, instructions, choices: entries.map(([value, text]) => ({ value, ...described(text) })) }
}

/** The result of a question, from its answer; `undefined` for a refusal, or no answer. */
const toDecided = (question: ModelRequest.Question, answer: ModelResponse.Answer | undefined): unknown => {
  if (answer === undefined || answer.type === "refusal" || answer.type !== question.type) return undefined
  switch (answer.type) {
    case "predicate":
      return { value: answer.value, probability: answer.probability }
    case "choice":
      return {
        value: answer.value,
        probability: answer.probabilities?.[answer.value],
        probabilities: answer.probabilities
      }
    case "score": {
      const level = (question as Extract<ModelRequest.Question, { readonly type: "score" }>).levels[
        Math.round(answer.value)
      ]!.label
      return { value: answer.value, level, probability: answer.probabilities?.[level] }
    }
  }
}

const refused = (names: ReadonlyArray<string>): AiError.AiError =>
  AiError.make({
    module: "Flow",
    method: "decide",
    reason: new AiError.ContentPolicyError({ description: `the model refused to decide ${names.join(", ")}` })
  })

/** Sends the questions about a state, and reads the answers by name. */
const ask = (
  state: Schema.Json,
  questions: ReadonlyArray<ModelRequest.Question>
): Effect.Effect<{ readonly [name: string]: unknown }, AiError.AiError, ModelClient.ModelClient> =>
  Effect.flatMap(ModelClient.ModelClient, (client) =>
    Effect.withFiber((fiber) =>
      Effect.flatMap(
        client.send(ToDecisionModel.requestOf(state, questions, fiber.getRef(ModelSettings.ModelSettings))),
        ({ answers }) => {
          const decided = questions.map(
            (question) => [question.name, toDecided(question, answers[question.name])] as const
          )
          const missing = decided.flatMap(([name, value]) => (value === undefined ? [name] : []))
          return missing.length > 0 ? Effect.fail(refused(missing)) : Effect.succeed(Object.fromEntries(decided))
        }
      )
    )
  )

/** What the questions are about, when nothing is said: the only input, or the record of all. */
const stateOf = (values: { readonly [name: string]: unknown }): unknown => {
  const all = Object.values(values)
  return all.length === 1 ? all[0] : values
}

/** The name of the question of a step with one. */
const ONE = "decision"

type Common<In extends Node.Inputs> = Omit<Node.NodePolicy, "truncated"> & {
  /** What the questions are about: a text, or a value that is sent as JSON. Default: the only input, or the record of all. */
  readonly state?: (values: Node.Values<In>) => unknown
}

/** One question, or several by name, which are answered in one call. */
export type DecideOptions<In extends Node.Inputs> = Common<In>
  & (Question | { readonly questions: { readonly [name: string]: Question } })

/** The options, whichever question they have. */
interface Loose<In extends Node.Inputs> extends Common<In> {
  readonly instructions?: string
  readonly options?: Names<string>
  readonly levels?: Names<string>
  readonly questions?: { readonly [name: string]: Question }
}

/** The value of `decide`: what has been decided, or a record of it by the names of the questions. */
export type DecideValue<O> = O extends { readonly questions: infer Q }
  ? { readonly [K in keyof Q]: Decided<Q[K]> }
  : Decided<O>

/**
 * Decides something about each row: which of some options it is, whether a statement holds, or where on a scale it is.
 * Several questions about a row are one call.
 *
 * **When to use** For labels, filters and judgements. A model with decisions (`gpt-6-luna`) reads the input and writes
 * nothing, so a decision costs a fraction of a chat answer, and has a probability.
 *
 * **Details** Models without decisions answer by a chat completion, with `probability: undefined`. The provider's
 * `model`, or that of the step, says which is called. A refusal fails the row.
 */
export const decide = <In extends Node.Inputs, const O extends DecideOptions<In>>(
  name: string,
  inputs: In,
  options: O & DecideOptions<In>,
  ...more: ReadonlyArray<never>
): Node.Node<
  DecideValue<O>,
  AiError.AiError | Node.InputsError<In>,
  ModelClient.ModelClient | Node.InputsServices<In>
> => {
  const what = `decide ${name}`
  if (typeof options !== "object" || options === null)
    throw new Node.FlowError({
      message: `${what}: its third argument is an object, such as { instructions: "…", options: ["yes", "no"] }; \`state\` of it says what the question is about`
    })
  if (more.length > 0)
    throw new Node.FlowError({ message: `${what}: its policies go into its third argument, beside instructions` })
  const { instructions = "", levels, options: choices, questions: several, state, ...policy } = options as Loose<In>
  CallOptions.checkPolicy(what, policy)
  const one = { instructions, ...(choices && { options: choices }), ...(levels && { levels }) } as Question
  const given = several ?? { [ONE]: one }
  const questions = Object.entries(given).map(([key, question]) => toQuestion(what, key, question))
  if (questions.length === 0 || questions.length > MOST_QUESTIONS)
    throw new Node.FlowError({ message: `${what}: it needs 1 to ${MOST_QUESTIONS} questions` })
  return Node.make(
    name,
    {
      _tag: "Step",
      inputs,
      run: (values: Node.Values<In>) =>
        Effect.map(
          Effect.suspend(() => ask(JsonForm.of((state ?? stateOf)(values)) as Schema.Json, questions)),
          (decided) => (several === undefined ? decided[ONE] : decided)
        ),
      when: undefined,
      samples: undefined,
      subject: undefined,
      gathers: false,
      ...Node.noCalls,
      computed: false,
      meaning: state === undefined ? [] : [state],
      policy: { ...policy, by: [questions, policy.by ?? null] }
    },
    Node.commonDomain(what, inputs)
  )
}
