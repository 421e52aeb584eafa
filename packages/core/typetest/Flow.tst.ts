/** What an author's editor infers; checked by the compiler alone. */
import {
  Cache,
  Cascade,
  type Embedder,
  type Flow as FlowType,
  Flow,
  Judge,
  Ledger,
  type ModelClient,
  type ModelRequest,
  type ModelResponse,
  type Node,
  Parameter,
  Retry,
  Router,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Context, Effect, type Layer, Schema, Stream } from "effect"
import { type AiError, LanguageModel } from "effect/ai"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Equal<A, B>): void => {}

class Dictionary extends Context.Service<Dictionary, { readonly look: (word: string) => string }>()("Dictionary") {}

const Review = Schema.Struct({ id: Schema.String, text: Schema.String })
const reviews = Source.jsonl("reviews", { path: "reviews.jsonl", schema: Review })
const numbers = Source.fromIterable("numbers", [1, 2, 3])

same<Node.Value<typeof reviews>, { readonly id: string; readonly text: string }>(true)
same<typeof numbers, Node.Node<number, never, never>>(true)

// A function receives the values of its inputs by name; errors and services gather.
const english = Flow.step("english", { review: reviews, n: numbers }, ({ n, review }) => {
  same<typeof review, { readonly id: string; readonly text: string }>(true)
  same<typeof n, number>(true)
  return LanguageModel.generateText({ prompt: review.text }).pipe(Effect.map((response) => response.text))
})
same<Node.Value<typeof english>, string>(true)
same<Node.Error<typeof english>, Source.SourceError | AiError.AiError>(true)
same<Node.Services<typeof english>, Source.Platform | LanguageModel.LanguageModel>(true)

// A condition adds undefined, samples make a list.
const when = Flow.step("when", { n: numbers }, ({ n }) => Effect.succeed(n), { when: ({ n }) => n > 1 })
same<Node.Value<typeof when>, number | undefined>(true)
const samples = Flow.step("samples", { n: numbers }, ({ n }) => Effect.succeed(n), { samples: 3 })
same<Node.Value<typeof samples>, ReadonlyArray<number>>(true)

// A check reads the answer and the values of the step's inputs.
Flow.step("checked", { review: reviews }, () => Effect.succeed(1), {
  check: (answer, { review }) => {
    same<typeof answer, string>(true)
    same<typeof review, { readonly id: string; readonly text: string }>(true)
    return answer.includes(review.id) || "name the review"
  }
})
// @ts-expect-error - a yes or no says nothing to the model
Flow.step("checked", { review: reviews }, () => Effect.succeed(1), { check: (answer) => answer === "x" })

// A filter yields its inputs, `where` the value itself, narrowed by a type guard. Their options receive the same.
const keptRows = Flow.filter("kept", { review: reviews, n: numbers }, ({ n }) => n > 1, {
  model: ({ n }) => (n > 1 ? "gpt-4o" : undefined)
})
same<Node.Value<typeof keptRows>, { readonly review: typeof Review.Type; readonly n: number }>(true)
const large = Flow.where("large", numbers, (n) => Effect.succeed(n > 1), { varies: (n) => String(n) })
same<Node.Value<typeof large>, number>(true)
const shapes = Source.fromIterable("shapes", [{ kind: "dot" }, { kind: "line", to: 3 }] as ReadonlyArray<
  { readonly kind: "dot" } | { readonly kind: "line"; readonly to: number }
>)
const lines = Flow.where("lines", shapes, (shape) => shape.kind === "line")
same<Node.Value<typeof lines>, { readonly kind: "line"; readonly to: number }>(true)
// @ts-expect-error - a filter has no samples
Flow.where("large", numbers, (n) => n > 1, { samples: 3 })

// Keys of groups keep their types, and both sides of a join have one.
const perKind = Flow.group("perKind", { shape: shapes }, { by: ({ shape }) => shape.kind }, ({ key, missing }) => {
  same<typeof key, "dot" | "line">(true)
  same<typeof missing, number>(true)
  return key
})
same<Node.Value<typeof perKind>, "dot" | "line">(true)
const perPair = Flow.group("perPair", { n: numbers }, { by: ({ n }) => ({ odd: n % 2 === 1, n }) }, ({ key }) => key)
same<Node.Value<typeof perPair>, { readonly odd: boolean; readonly n: number }>(true)
const unique = Flow.distinct("unique", { n: numbers }, { by: ({ n }) => n })
same<Node.Value<typeof unique>, { readonly n: number }>(true)
// @ts-expect-error - a number is no text
Flow.join("joined", { n: numbers }, { review: reviews }, { on: [(n) => n, (review) => review.id] })

// A choice stays one beside its default, and the default is one of it (pkg-07).
const language = Parameter.make("language", Schema.Literals(["en", "de"]), { default: "en" })
same<typeof language, Parameter.Parameter<"en" | "de">>(true)
// @ts-expect-error - no such language
export const wrong = Parameter.make("language", Schema.Literals(["en", "de"]), { default: "fr" })
// A rule of a router is typed by the inputs of the step.
export const rule = Router.where({ review: reviews, n: numbers }, ({ n, review }) => {
  same<typeof review, { readonly id: string; readonly text: string }>(true)
  return n > review.text.length
})
// @ts-expect-error: a review has no language
export const noRule = Router.where({ review: reviews }, ({ review }) => review.language === "de")

// A parameter is an input like any other.
const spoken = Flow.map("spoken", { n: numbers, language }, ({ language, n }) => [language, n] as const)
same<Node.Value<typeof spoken>, readonly ["en" | "de", number]>(true)
same<Node.Error<typeof spoken>, never>(true)
export const inPath = Sink.jsonl(Parameter.path`out.${language}.jsonl`, { spoken, language })
// @ts-expect-error: a list has no place in a path
export const noPath = Parameter.path`out.${Parameter.make("tags", Schema.Array(Schema.String))}.jsonl`
same<ReturnType<typeof limit>, Parameter.Parameter<number>>(true)
const limit = () => Parameter.make("limit", Schema.FiniteFromString, { default: 3 })

// What makes an answer good is read from the values of the step's inputs.
Flow.step("judged", { review: reviews, n: numbers }, ({ n }) => Effect.succeed(n), {
  quality: {
    features: ({ n, review }) => {
      same<typeof n, number>(true)
      same<typeof review, { readonly id: string; readonly text: string }>(true)
      return { words: review.text.length, many: n > 1 }
    },
    check: (answer, { review }) => {
      same<typeof answer, string>(true)
      return { quoted: answer.includes(review.id) }
    },
    label: ({ review }) => review.id
  }
})
Flow.step("judged", { n: numbers }, ({ n }) => Effect.succeed(n), {
  // @ts-expect-error a feature is a number, a word, or yes or no
  quality: { features: () => ({ when: new Date() }) }
})

// What a judge needs, its cascade needs.
type Needs<L> = L extends Layer.Layer<infer _A, infer _E, infer R> ? R : never
const vectors = Cascade.layer({ models: ["a", "b"], judges: [Judge.logprobs(), Judge.embedding] })
same<Extract<Needs<typeof vectors>, Embedder.Embedder>, Embedder.Embedder>(true)
const plain = Cascade.layer({ models: ["a", "b"], judges: [Judge.logprobs()] })
same<Extract<Needs<typeof plain>, Embedder.Embedder>, never>(true)
// @ts-expect-error one model is no choice
Cascade.layer({ models: ["a"] })

const verdict = Flow.step("verdict", { english }, ({ english }) =>
  Effect.map(
    LanguageModel.generateObject({ schema: Schema.Struct({ good: Schema.Boolean }), prompt: english }),
    (r) => r.value
  )
)
same<Node.Value<typeof verdict>, { readonly good: boolean }>(true)

const kept = Flow.filter("kept", { n: numbers }, ({ n }) => n > 1)
same<Node.Value<typeof kept>, Node.Values<{ readonly n: typeof numbers }>>(true)
const many = Flow.expand("many", { n: numbers }, ({ n }) => Array.from({ length: n }, () => "x"))
same<Node.Value<typeof many>, string>(true)
const sum = Flow.reduce("sum", { n: numbers }, { initial: () => 0, step: (total, { n }) => total + n })
same<Node.Value<typeof sum>, number>(true)
const groups = Flow.group("groups", { n: numbers }, { by: ({ n }) => String(n) }, ({ count, key }) =>
  Effect.succeed({ key, count })
)
same<Node.Value<typeof groups>, { key: string; count: number }>(true)
const left = Flow.join("left", { n: numbers }, { g: groups }, { on: [(n) => n, (g) => Number(g.key)], type: "left" })
same<Node.Value<typeof left>["n"], number>(true)
same<Node.Value<typeof left>["g"], { key: string; count: number } | undefined>(true)

// A source from a stream keeps the stream's error and needs.
const looked = Source.fromStream("looked", Stream.fromEffect(Effect.map(Dictionary, (d) => d.look("bee"))))
same<typeof looked, Node.Node<string, never, Dictionary>>(true)

const stack = Stack.make(
  Ledger.layer,
  Cache.layer(),
  Router.layer({ cheap: "a", strong: "b", when: () => true }),
  Retry.layer(),
  OpenAi.layer()
)
same<Layer.Success<typeof stack>, ModelClient.ModelClient>(true)

const flow = Flow.make("ok", { outputs: [Sink.jsonl("out.jsonl", { verdict })], stack })
same<typeof flow, FlowType.Flow<Source.SourceError | AiError.AiError>>(true)
Flow.make("no models, no stack", { outputs: [Sink.jsonl("out.jsonl", sum)] })

// @ts-expect-error the steps ask a model, and no stack gives one
Flow.make("no stack", { outputs: [Sink.jsonl("out.jsonl", { verdict })] })

// @ts-expect-error nothing provides Dictionary
Flow.make("no dictionary", { outputs: [Sink.jsonl("out.jsonl", looked)] })

// @ts-expect-error a stack without a provider at its bottom
Flow.make("no provider", {
  outputs: [Sink.jsonl("out.jsonl", { verdict })],
  stack: Stack.make(Ledger.layer, Retry.layer())
})

// @ts-expect-error a node of that name is not among the inputs
Flow.map("wrong", { n: numbers }, ({ m }) => m)

// What varies is read from the values of the inputs, and is a text.
Flow.step("reused", { review: reviews }, ({ review }) => Effect.succeed(review.text), {
  varies: ({ review }) => {
    same<typeof review, { readonly id: string; readonly text: string }>(true)
    return review.text
  },
  reuse: { maxErrorRate: 0.02, answer: (text) => text.length },
  pack: { size: "auto" }
})
Flow.step("no text", { n: numbers }, ({ n }) => Effect.succeed(n), {
  // @ts-expect-error a text is compared, no number
  varies: ({ n }) => n,
  reuse: { maxErrorRate: 0.02 }
})
// @ts-expect-error the error rate has no default
Flow.step("no rate", { n: numbers }, ({ n }) => Effect.succeed(n), { varies: ({ n }) => String(n), reuse: {} })
Flow.step("no size", { n: numbers }, ({ n }) => Effect.succeed(n), {
  varies: ({ n }) => String(n),
  // @ts-expect-error sizes are numbers or "auto"
  pack: { size: "large" }
})

// What `answer` returns is what `score` compares and `label` gives; without it, the text.
Flow.step("scored", { review: reviews }, () => Effect.succeed(1), {
  quality: {
    answer: (text) => text.length,
    score: (answer, reference) => {
      same<typeof answer, number>(true)
      same<typeof reference, number>(true)
      return answer === reference
    },
    label: ({ review }) => review.text.length
  }
})
Flow.step("scored", { review: reviews }, () => Effect.succeed(1), {
  quality: {
    score: (answer, reference) => {
      same<typeof answer, string>(true)
      return answer === reference
    }
  }
})
Flow.step("scored", { review: reviews }, () => Effect.succeed(1), {
  // @ts-expect-error - a label is what `answer` returns: a number
  quality: { answer: (text) => text.length, label: ({ review }) => review.text }
})

// The types that authors see are those of the schemas.
same<ModelRequest.Settings, typeof ModelRequest.Settings.Type>(true)
export const completion = (request: typeof ModelRequest.Completion.Type): ModelRequest.Completion => request
export const completionBack = (request: ModelRequest.Completion): typeof ModelRequest.Completion.Type => request
export const embedding = (request: typeof ModelRequest.Embedding.Type): ModelRequest.Embedding => request
export const embeddingBack = (request: ModelRequest.Embedding): typeof ModelRequest.Embedding.Type => request
export const answer = (response: typeof ModelResponse.CompletionResponse.Type): ModelResponse.CompletionResponse =>
  response
export const answerBack = (response: ModelResponse.CompletionResponse): typeof ModelResponse.CompletionResponse.Type =>
  response
export const embedded = (response: typeof ModelResponse.EmbeddingResponse.Type): ModelResponse.EmbeddingResponse =>
  response
export const embeddedBack = (response: ModelResponse.EmbeddingResponse): typeof ModelResponse.EmbeddingResponse.Type =>
  response
