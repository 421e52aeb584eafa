/** Answers that a person has accepted or corrected: kept by the inputs of their step, and what tuning measures against. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Cascade, Flow, Judge, Quality, Sink, Source, Stack, Store } from "@pipe/core"
import * as LabelRepo from "@pipe/core/internal/LabelRepo"
import * as Tune from "@pipe/core/internal/Tune"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Layer, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import * as Wire from "./Wire.ts"

const ROWS = 120

const wordOf = (at: number): string => `word ${at}`

/** The small model is right of even words, the strong one of all but those that end in 7. */
const answer = (model: string, at: number): string =>
  model === "gpt-4o-mini" ? (at % 2 === 0 ? "right" : "wrong") : at % 10 === 7 ? "wrong" : "right"

const serve = Wire.serve((body) => {
  const { messages, model } = JSON.parse(body) as {
    readonly model: string
    readonly messages: ReadonlyArray<{ readonly content: string }>
  }
  const at = Number(/word (\d+)/.exec(messages.at(-1)!.content)![1])
  return {
    body: {
      model,
      choices: [{ message: { content: answer(model, at) }, finish_reason: "stop" }],
      usage: { prompt_tokens: 10, completion_tokens: 2 }
    }
  }
})

const flowOf = (url: string, prompt = "Judge", quality: Quality.Quality = {}, calls = 1) => {
  const word = Source.fromIterable(
    "word",
    Array.from({ length: ROWS }, (_, at) => wordOf(at))
  )
  const verdict = Flow.step("verdict", { word }, ({ word }) =>
    Effect.forEach(Array.from({ length: calls }), (_, at) =>
      LanguageModel.generateText({ prompt: `${prompt} ${at} ${word}` })
    ).pipe(
      Effect.map((answers) => answers.at(-1)!.text),
      Quality.provide(quality)
    )
  )
  const length = Judge.make({
    name: "length",
    atLeast: 0,
    answer: ({ text }) => Effect.succeed({ length: text.length })
  })
  return Flow.make("verdicts", {
    outputs: [Sink.forEach("out", verdict, () => Effect.void)],
    stack: Stack.make(
      Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"], judges: [length] }),
      Cache.layer(),
      OpenAi.layer({ apiKey: "k", baseUrl: `${url}/v1`, provider: "openai" })
    )
  })
}

const label = (at: number, text: string): LabelRepo.Label => ({
  flow: "verdicts",
  step: "verdict",
  key: LabelRepo.keyOf({ word: wordOf(at) })!,
  verdict: text === answer("gpt-4o", at) ? "accepted" : "corrected",
  label: text,
  answer: answer("gpt-4o", at),
  model: "gpt-4o",
  drawn: "random",
  run: "earlier",
  row: at,
  position: `word:${at}`,
  prompt: `Judge ${wordOf(at)}`,
  at: 1
})

const singlesOf = (tuned: Tune.Tuned) =>
  Object.fromEntries(tuned.steps[0]!.calibration.singles.map(({ model, quality }) => [model, quality]))

describe("labels", () => {
  it.live("are what tuning measures the answers to their rows against, whatever the prompt", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const options = { target: 0.5, sample: ROWS }
      const before = yield* Tune.make(flowOf(server.url), options)
      assert.strictEqual(before.steps[0]!.reviewed, 0)
      // Without labels the strong model's answers are right, and the small one's are as far as they agree with them.
      const agreed = Array.from({ length: ROWS }, (_, at) => answer("gpt-4o-mini", at) === answer("gpt-4o", at))
      assert.deepStrictEqual(singlesOf(before), {
        "gpt-4o-mini": agreed.filter(Boolean).length / ROWS,
        "gpt-4o": 1
      })
      const { labels } = yield* Store.Store
      for (let at = 0; at < ROWS; at++) yield* labels.save(label(at, "right"))
      const after = yield* Tune.make(flowOf(server.url, "Say of"), options)
      assert.strictEqual(after.steps[0]!.reviewed, ROWS)
      const right = (model: string) =>
        Array.from({ length: ROWS }, (_, at) => answer(model, at)).filter((text) => text === "right").length / ROWS
      const singles = singlesOf(after)
      assert.closeTo(singles["gpt-4o-mini"]!, right("gpt-4o-mini"), 1e-9)
      assert.closeTo(singles["gpt-4o"]!, right("gpt-4o"), 1e-9)
      // Rows that were only looked at are no labels, and a label can be forgotten.
      yield* labels.remove("verdicts", "verdict", label(3, "").key)
      const { label: _, ...seen } = label(4, "right")
      yield* labels.save({ ...seen, verdict: "seen" })
      const fewer = yield* Tune.make(flowOf(server.url), options)
      assert.strictEqual(fewer.steps[0]!.reviewed, ROWS - 2)
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(NodeHost.layerMemory)))
  )

  it.live("that are texts, or that the step cannot read, are not what other texts are measured against", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const options = { target: 0.5, sample: ROWS }
      const { labels } = yield* Store.Store
      for (let at = 0; at < ROWS; at++) yield* labels.save(label(at, `a long ${"answer ".repeat(20)}${at}`))
      const texts = yield* Tune.make(flowOf(server.url), options)
      assert.strictEqual(texts.steps[0]!.reviewed, 0)
      assert.strictEqual(singlesOf(texts)["gpt-4o"], 1)
      // A step that says what counts can compare them.
      const answer = (text: string) => {
        if (text.startsWith("a long")) return "right"
        if (text === "none of it") throw new Error("no verdict")
        return text
      }
      const compared = yield* Tune.make(flowOf(server.url, "Judge", { answer }), options)
      assert.strictEqual(compared.steps[0]!.reviewed, ROWS)
      yield* labels.save(label(0, "none of it"))
      const unread = yield* Tune.make(flowOf(server.url, "Judge", { answer }), options)
      assert.strictEqual(unread.steps[0]!.reviewed, ROWS - 1)
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(NodeHost.layerMemory)))
  )

  it.live("are not used for a step that makes several calls, of which one was reviewed", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const { labels } = yield* Store.Store
      for (let at = 0; at < ROWS; at++) yield* labels.save(label(at, "right"))
      const tuned = yield* Tune.make(flowOf(server.url, "Judge", {}, 2), { target: 0.5, sample: ROWS })
      assert.strictEqual(tuned.steps[0]!.reviewed, 0)
      assert.strictEqual(singlesOf(tuned)["gpt-4o"], 1)
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(NodeHost.layerMemory)))
  )

  it.live("are kept once for the same inputs, and counted", () =>
    Effect.gen(function* () {
      const { labels } = yield* Store.Store
      yield* labels.save(label(1, "right"))
      yield* labels.save(label(1, "wrong"))
      yield* labels.save({ ...label(2, "right"), flow: "another" })
      const all = yield* Stream.runCollect(labels.all("verdicts"))
      assert.deepStrictEqual(all, [label(1, "wrong")])
      assert.deepStrictEqual(yield* labels.counts, [
        { flow: "another", step: "verdict", accepted: 1, corrected: 0, seen: 0 },
        { flow: "verdicts", step: "verdict", accepted: 0, corrected: 1, seen: 0 }
      ])
    }).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)))
  )

  it("have one key for equal inputs, whatever the order of their fields", () => {
    assert.strictEqual(LabelRepo.keyOf({ row: { a: 1, b: [2, "x"] } }), LabelRepo.keyOf({ row: { b: [2, "x"], a: 1 } }))
    assert.notStrictEqual(LabelRepo.keyOf({ row: 1 }), LabelRepo.keyOf({ row: "1" }))
    assert.isUndefined(LabelRepo.keyOf({ row: () => 1 }))
  })
})
