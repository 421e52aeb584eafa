/** Answers in unusual forms, each read the same by every transport, plain and streamed. */
import { assert, describe, it } from "@effect/vitest"
import { FromLanguageModel, ModelClient, ModelFailure, ModelResponse, Money, ToLanguageModel } from "@pipe/core"
import { Anthropic, OpenAi } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import * as Apis from "./Apis.ts"
import * as Wire from "./Wire.ts"
import { cases, type Case } from "./fixtures/Answers.ts"

const questionOf = ({ options }: Case) =>
  Wire.question("x", {
    settings: { maxTokens: 1_000 },
    ...(options === undefined ? undefined : { providerOptions: { openai: options } })
  })

const layerOf = (
  { api, model, provider }: Case,
  url: string,
  way: { readonly transport: "pool" | "sdk"; readonly stream: boolean }
) =>
  api === "messages"
    ? Anthropic.layer({ baseUrl: url, apiKey: "k", model: model ?? "claude-sonnet-4-6", ...way })
    : OpenAi.layer({
        baseUrl: `${url}/v1`,
        apiKey: "k",
        model: model ?? "gpt-4o-mini",
        provider: provider ?? "openai",
        api,
        ...way
      })

const replyOf = ({ api, body, events }: Case, stream: boolean): Wire.Reply => {
  const data = events?.map((event) => (typeof event === "string" ? event : JSON.stringify(event)))
  const lines = data ?? (stream ? Apis.streamed[api](JSON.stringify(body)) : undefined)
  return lines === undefined
    ? { body: body! }
    : {
        body: `: a comment\n\n${lines.map((line) => `data: ${line}\n\n`).join("")}`,
        headers: { "content-type": "text/event-stream" }
      }
}

const partsOf = (value: ModelResponse.CompletionResponse) => ({
  thoughts: value.parts.map((part) => (part.type === "reasoning" ? part.text : "")).join(""),
  calls: value.parts.flatMap((part) => (part.type === "tool-call" ? [[part.name, part.params]] : []))
})

const check = (one: Case, { error, sums, value }: Wire.Outcome<ModelResponse.CompletionResponse>): void => {
  const { atLeast, calls, estimated, failure, finish, retried, text, thoughts, unpriced, usage, usd } = one.expect
  if (failure === undefined) {
    assert.isDefined(value, String(error))
    if (text !== undefined) assert.strictEqual(ModelResponse.text(value), text)
    if (thoughts !== undefined) assert.strictEqual(partsOf(value).thoughts, thoughts)
    if (calls !== undefined) assert.deepEqual<ReadonlyArray<unknown>>(partsOf(value).calls, calls)
    if (finish !== undefined) assert.strictEqual(value.finishReason, finish)
    if (usage !== undefined) assert.deepInclude(value.usage, usage)
  } else {
    assert.isUndefined(value)
    assert.include(ModelFailure.message(error!), failure)
    if (retried !== undefined) assert.strictEqual(ModelFailure.isRetryable(error!), retried)
  }
  if (usd !== undefined) assert.strictEqual(Money.toUsd(sums.spent), usd)
  assert.strictEqual(sums.unpriced, unpriced === true ? 1 : 0)
  if (estimated !== undefined) assert.strictEqual(sums.estimated, 1)
  else if (failure === undefined) assert.strictEqual(sums.estimated, 0)
  if (estimated !== undefined) assert.isTrue(sums.spent > 0n)
  if (atLeast !== undefined) assert.isAtLeast(Number(Money.toUsd(sums.spent)), atLeast)
}

for (const way of Apis.ways) {
  describe(Apis.nameOf(way), () => {
    for (const one of cases.filter(({ events }) => way.stream || events === undefined)) {
      it.live(`${one.id}: ${one.api}, ${one.what}`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const server = yield* Wire.serve(() => replyOf(one, way.stream))
            check(one, yield* Wire.over(layerOf(one, server.url, way), ModelClient.send(questionOf(one))))
          })
        )
      )
    }
  })
}

// What `effect/ai` itself does with an answer lies between the two: its parts, its counts of tokens and its reasons of the end.
describe("through a LanguageModel of effect/ai", () => {
  const toolsOf = (one: Case) =>
    (one.expect.calls ?? []).map(([name]) => ({ name: String(name), parameters: { type: "object" as const } }))

  for (const one of cases.filter(({ events }) => events === undefined)) {
    it.live(`${one.id}: ${one.api}, ${one.what}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => replyOf(one, false))
          const theirs = Layer.provide(
            ToLanguageModel.layer,
            layerOf(one, server.url, { transport: "pool", stream: false })
          )
          const bridge = FromLanguageModel.layer({
            provider: one.provider ?? "openai",
            model: one.model ?? "gpt-4o-mini"
          })
          const asked = Wire.question("x", { tools: toolsOf(one) })
          const { error, value } = yield* Wire.over(Layer.provide(bridge, theirs), ModelClient.send(asked))
          const { calls, failure, text, thoughts, usage } = one.expect
          if (failure === undefined && error === undefined) {
            if (text !== undefined) assert.strictEqual(ModelResponse.text(value!), text)
            if (thoughts !== undefined) assert.strictEqual(partsOf(value!).thoughts, thoughts)
            if (calls !== undefined) assert.deepEqual<ReadonlyArray<unknown>>(partsOf(value!).calls, calls)
            // It has no other classes: audio is among the rest there.
            if (usage?.inputAudio !== undefined) return
            for (const name of ["uncachedInput", "cacheRead", "cacheWrite", "output", "reasoning"] as const) {
              if (name === "cacheWrite" && usage?.cacheWrite1h !== undefined) continue
              if (usage?.[name] !== undefined) assert.strictEqual(value!.usage![name], usage[name], name)
            }
          } else {
            assert.isDefined(error)
            assert.isUndefined(value)
            if (failure !== undefined) assert.include(ModelFailure.message(error), failure)
            // Only what is not whole fails here, and not there.
            else
              assert.match(
                ModelFailure.message(error),
                /the answer is empty|output limit|maxTokens|tool|unknown finish reason/
              )
          }
        })
      )
    )
  }
})
