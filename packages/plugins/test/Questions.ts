/** Questions of a bank with their topics, and a semantic cache over them with vectors of the local embedder. */
import { CallContext, Embedder, ModelClient, ModelRequest, SemanticCache, Stack, Varying } from "@pipe/core"
import { LocalEmbedder, NodeHost, Usearch } from "@pipe/plugins"
import { Effect, Layer, Logger, Random } from "effect"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Scripted from "../../core/test/ScriptedModel.ts"

export const folder = () => mkdtempSync(join(tmpdir(), "pipe-reuse-"))

const topics = {
  arrival: ["where is my card", "my card has not arrived yet", "when will my card arrive"],
  pin: ["my pin is blocked", "the pin does not work any more", "how do I unblock my pin"],
  refund: ["how do I get a refund", "I want my money back", "please refund what I paid"],
  rate: ["what is the exchange rate today", "which exchange rate do you use", "is the exchange rate fair"],
  topUp: ["my top up failed", "why did the top up not work", "the top up was declined"],
  limit: ["what is my limit for cash", "how much cash can I take out", "is there a limit for withdrawals"]
}

const openings = ["", "hello, ", "hi there, ", "good morning, ", "dear bank, ", "tell me, ", "excuse me, "]
const ends = ["", " please", " thanks", " if I may ask"]

/** All questions with their topics, in an order of a seed. */
export const questions = Effect.runSync(
  Random.withSeed(
    Random.shuffle(
      Object.entries(topics).flatMap(([topic, cores]) =>
        cores.flatMap((core) =>
          openings.flatMap((opening) => ends.map((end) => ({ topic, text: `${opening}${core}${end}` })))
        )
      )
    ),
    "questions"
  )
)

export const topicOf = new Map(questions.map(({ text, topic }) => [text, topic]))

/** Answers with the topic of a known question, with the text itself to any other. */
export const model = () =>
  Scripted.make((request) => {
    const text = Scripted.prompt(request).split("Question: ").at(-1)!
    return Scripted.response(topicOf.get(text) ?? `answer to ${text}`)
  })

export interface Asked {
  readonly step?: string
  readonly template?: (text: string) => string
  readonly fields?: Partial<ModelRequest.Completion>
  readonly before?: ReadonlyArray<string>
  readonly reuse?: Varying.Reuse | "off"
}

export const ask = (
  text: string,
  {
    before = [],
    fields,
    reuse = { maxErrorRate: 0.05, audit: 0 },
    step = "answer",
    template = (t) => `Question: ${t}`
  }: Asked = {}
) =>
  ModelClient.send(
    ModelRequest.completion({
      model: "gpt-4o-mini",
      messages: [...before, template(text)].map((content) => ({ role: "user" as const, content })),
      ...fields
    })
  ).pipe(Varying.provide({ text, reuse: reuse === "off" ? undefined : reuse }), CallContext.provide({ step }))

const vectors = new Map<string, Float32Array>()

/** The local embedder, which makes the vector of a text once for all tests of the process. */
export const embedder = Layer.effect(
  Embedder.Embedder,
  Effect.map(Embedder.Embedder, (real) => ({
    ...real,
    embed: (text: string) =>
      Effect.suspend(() => {
        const known = vectors.get(text)
        return known === undefined
          ? Effect.tap(real.embed(text), (vector) => Effect.sync(() => void vectors.set(text, vector)))
          : Effect.succeed(known)
      })
  }))
).pipe(Layer.provide(LocalEmbedder.layer))

const stack = (scripted: Scripted.Scripted, options?: SemanticCache.Options) =>
  Stack.make(SemanticCache.layer(options).pipe(Layer.provide([embedder, Usearch.layer])), scripted.layer)

/** What was logged. */
export const logged = (lines: Array<string>) =>
  Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])

export const within = <A, E>(
  store: string,
  scripted: Scripted.Scripted,
  effect: Effect.Effect<A, E, ModelClient.ModelClient>,
  options?: SemanticCache.Options
): Effect.Effect<A, unknown> =>
  Effect.scoped(
    Effect.flatMap(
      Layer.build(Layer.fresh(stack(scripted, options)).pipe(Layer.provide(Layer.fresh(NodeHost.layer({ store }))))),
      (context) => Effect.provideContext(effect, context)
    )
  )

export const askAll = (some: ReadonlyArray<{ readonly text: string }>, asked?: Asked) =>
  Effect.forEach(some, ({ text }) => ask(text, asked))
