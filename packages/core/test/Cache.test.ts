/** Every exact case of kind `cache` that users reported elsewhere. */
import { assert, describe, it } from "@effect/vitest"
import {
  CallContext,
  Cache,
  CacheStore,
  ModelClient,
  ModelRequest,
  ModelResponse,
  RequestKey,
  Retry,
  Router,
  Stack,
  Usage
} from "@pipe/core"
import { Deferred, Effect, Fiber, Layer, Exit } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

type Fields = Partial<Omit<ModelRequest.Completion, "_tag">>

const request = (fields: Fields = {}) =>
  ModelRequest.completion({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Capital of Peru?" }],
    ...fields
  })

const content = (fields: Fields, namespace?: string) => RequestKey.content(request(fields), namespace)

const down = AiError.make({
  module: "test",
  method: "send",
  reason: new AiError.InternalProviderError({ description: "down" })
})

/** Runs an effect over a cache in memory above a scripted model. */
const cached = <A, E>(
  model: Scripted.Scripted,
  effect: Effect.Effect<A, E, ModelClient.ModelClient>,
  options?: Cache.Options
) =>
  effect.pipe(
    Effect.provide(Stack.make(Cache.layer(options), model.layer)),
    Effect.provide(Layer.merge(Host.layerMemory, CacheStore.layerMemory()))
  )

describe("the key", () => {
  const different: ReadonlyArray<readonly [string, Fields, Fields]> = [
    ["output limit (lobster#129)", { settings: { maxTokens: 16 } }, { settings: { maxTokens: 4_000 } }],
    ["temperature", { settings: { temperature: 0 } }, { settings: { temperature: 1 } }],
    [
      "a date in a tool's result",
      ...([2, 3].map((day) => ({
        messages: [
          {
            role: "tool" as const,
            content: [
              { type: "tool-result" as const, id: "1", name: "f", isFailure: false, result: { at: new Date(day) } }
            ]
          }
        ]
      })) as unknown as [Fields, Fields])
    ],
    ["tool choice (autogen#7968)", { toolChoice: "none" }, { toolChoice: "required" }],
    [
      "system text (GPTCache#526)",
      {
        messages: [
          { role: "system", content: "Answer in French" },
          { role: "user", content: "x" }
        ]
      },
      {
        messages: [
          { role: "system", content: "Upper case" },
          { role: "user", content: "x" }
        ]
      }
    ],
    [
      "earlier turns (GPTCache#8)",
      {
        messages: [
          { role: "user", content: "Who wrote Emma?" },
          { role: "user", content: "When?" }
        ]
      },
      {
        messages: [
          { role: "user", content: "Who wrote Persepolis?" },
          { role: "user", content: "When?" }
        ]
      }
    ],
    [
      "tool description of equal length (opencode-cursor#100)",
      { tools: [{ name: "find", description: "search by title", parameters: { required: ["q", "a"] } }] },
      { tools: [{ name: "find", description: "search by genre", parameters: { required: ["q", "a"] } }] }
    ],
    [
      "answer schema",
      { responseFormat: { type: "json", name: "a", schema: { type: "object" } } },
      { responseFormat: { type: "json", name: "a", schema: { type: "array" } } }
    ],
    ["model", { model: "a" }, { model: "b" }],
    ["sample (promptfoo#360)", { sample: 0 }, { sample: 1 }],
    [
      "provider option",
      { providerOptions: { openai: { verbosity: "low" } } },
      { providerOptions: { openai: { verbosity: "high" } } }
    ],
    [
      "composed and decomposed letters: text is compared as sent",
      { messages: [{ role: "user", content: "caf\u00e9" }] },
      { messages: [{ role: "user", content: "cafe\u0301" }] }
    ]
  ]
  for (const [what, a, b] of different) {
    it(`differs by ${what}`, () => assert.notStrictEqual(content(a), content(b)))
  }

  it("keeps tenants apart, and content cannot forge one (litellm#29955)", () => {
    assert.notStrictEqual(content({}, "acme"), content({}, "birch"))
    assert.notStrictEqual(
      content({ messages: [{ role: "user", content: "acme:x" }] }),
      content({ messages: [{ role: "user", content: "x" }] }, "acme")
    )
  })

  it("ignores who asks and how it is billed", () => {
    assert.strictEqual(
      content({ providerOptions: { openai: { user: "a", service_tier: "flex" } } }),
      content({ providerOptions: { openai: { user: "b" } } })
    )
  })

  it("is the same for equal JSON in another key order, and leaves the caller's objects alone", () => {
    const shuffle = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(shuffle)
        : typeof value === "object" && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([key, field]) => [key, shuffle(field)])
            )
          : value
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const before = JSON.stringify(value)
        assert.strictEqual(RequestKey.canonical(value), RequestKey.canonical(shuffle(value)))
        assert.strictEqual(JSON.stringify(value), before)
      })
    )
  })
})

describe("the cache", () => {
  it.effect("answers an equal request once paid, with a copy (dspy#10348)", () => {
    const model = Scripted.make(() => Scripted.response("Lima"))
    return cached(
      model,
      Effect.gen(function* () {
        const first = yield* ModelClient.send(request())
        ;(first.parts as Array<unknown>).push("changed by the caller")
        const second = yield* ModelClient.send(request())
        assert.strictEqual(second.origin, "cache")
        assert.deepStrictEqual(second.parts, [{ type: "text", text: "Lima" }])
        assert.strictEqual(model.requests.length, 1)
      })
    )
  })

  it.effect("makes one call of equal ones in flight; none are shared when it is off (wuphf#823)", () =>
    Effect.gen(function* () {
      for (const [mode, calls] of [
        ["on", 1],
        ["off", 30]
      ] as const) {
        const gate = yield* Deferred.make<void>()
        const model = Scripted.make(() => Effect.as(Deferred.await(gate), Scripted.response("x")))
        const origins = yield* cached(
          model,
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(
              Effect.forEach(Array.from({ length: 30 }), () => ModelClient.send(request()), {
                concurrency: "unbounded"
              })
            )
            yield* Effect.yieldNow
            yield* Deferred.succeed(gate, undefined)
            return (yield* Fiber.join(fiber)).map((response) => response.origin)
          })
        ).pipe(CallContext.provide({ cache: mode }))
        assert.strictEqual(model.requests.length, calls)
        assert.strictEqual(origins.filter((origin) => origin === "shared").length, 30 - calls)
      }
    })
  )

  const unkept: ReadonlyArray<readonly [string, ModelResponse.CompletionResponse | AiError.AiError]> = [
    [
      "a cut answer (OmniRoute#12885)",
      Scripted.response("The three steps are: 1) open the", { finishReason: "length" })
    ],
    ["an empty answer", Scripted.response("")],
    ["an answer that was stopped by an error", Scripted.response("x", { finishReason: "error" })],
    ["a refusal", Scripted.response("", { refusal: "no" })],
    ["an error", down]
  ]
  it.effect("fails for all who share the call when the provider interrupts itself, which is named", () => {
    const model = Scripted.make(() => Effect.interrupt)
    return cached(
      model,
      Effect.gen(function* () {
        const exits = yield* Effect.all(
          [1, 2].map(() => Effect.exit(ModelClient.send(request()))),
          { concurrency: 2 }
        )
        for (const exit of exits) {
          assert.isTrue(Exit.isFailure(exit) && String(exit.cause).includes("interrupted the call"), String(exit))
        }
        assert.isAtMost(model.requests.length, 2)
      })
    )
  })

  for (const [what, answer] of unkept) {
    it.effect(`does not keep ${what}`, () => {
      const model = Scripted.make(() => answer)
      return cached(
        model,
        Effect.gen(function* () {
          yield* Effect.exit(ModelClient.send(request()))
          yield* Effect.exit(ModelClient.send(request()))
          assert.strictEqual(model.requests.length, 2)
        })
      )
    })
  }

  it.effect("does not keep an interruption (Effect#7608)", () => {
    const model = Scripted.make((_, index) => (index === 0 ? Effect.interrupt : Scripted.response("42")))
    return cached(
      model,
      Effect.gen(function* () {
        yield* Effect.exit(ModelClient.send(request()))
        assert.strictEqual(ModelResponse.text(yield* ModelClient.send(request())), "42")
      })
    )
  })

  it.effect("keeps five samples as five, and replays them (promptfoo#360, inspect_ai#2580)", () => {
    const colours = ["red", "blue", "teal", "grey", "pink"]
    const model = Scripted.make((r) => Scripted.response(colours[r.sample]!))
    const five = Effect.forEach(colours, (_, sample) =>
      Effect.map(ModelClient.send(request({ sample })), ModelResponse.text)
    )
    return cached(
      model,
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* five, colours)
        assert.deepStrictEqual(yield* five, colours)
        assert.strictEqual(model.requests.length, 5)
      })
    )
  })

  it.effect("forgets after its time to live, never without one, and keeps nothing with 0 (litellm#6010)", () =>
    Effect.gen(function* () {
      for (const [options, calls] of [
        [{ timeToLive: "300 seconds" }, 2],
        [{}, 1],
        [{ timeToLive: 0 }, 2]
      ] as const) {
        const model = Scripted.make(() => Scripted.response("x"))
        yield* cached(
          model,
          Effect.gen(function* () {
            yield* ModelClient.send(request())
            yield* TestClock.adjust("301 seconds")
            yield* ModelClient.send(request())
          }),
          options
        )
        assert.strictEqual(model.requests.length, calls, JSON.stringify(options))
      }
    })
  )

  it.effect("does not keep an answer that the caller does not accept; the mended one is kept (daimon#532)", () => {
    const model = Scripted.make((_, index) => Scripted.response(index === 0 ? "not json" : '{"ok":true}'))
    const ask = CallContext.provide({ accept: (r) => (ModelResponse.text(r) === "not json" ? "not JSON" : undefined) })(
      ModelClient.send(request())
    )
    return Effect.gen(function* () {
      assert.strictEqual(ModelResponse.text(yield* ask), '{"ok":true}')
      assert.strictEqual((yield* ask).origin, "cache")
      assert.strictEqual(model.requests.length, 2)
      assert.include(JSON.stringify(model.requests[1]!.messages), "not JSON")
    }).pipe(Effect.provide(Stack.make(Cache.layer(), Retry.layer(), model.layer)), Effect.provide(Host.layerMemory))
  })

  it.effect("keys by the model that a router below chooses, and keeps under the model that answered", () => {
    const model = Scripted.make((r) => Scripted.response(`by ${r.model}`))
    const bare: Fields = { messages: [{ role: "user", content: "hi" }] }
    const { model: _, ...unnamed } = request(bare)
    const ask = (threshold: number) =>
      Effect.provide(
        ModelClient.send(unnamed),
        Stack.make(
          Cache.layer(),
          Router.layer({ cheap: "cheap", strong: "strong", when: Router.promptShorterThan(threshold) }),
          model.layer
        )
      )
    return Effect.gen(function* () {
      assert.strictEqual(ModelResponse.text(yield* ask(10)), "by cheap")
      assert.strictEqual(ModelResponse.text(yield* ask(1)), "by strong")
      assert.strictEqual((yield* ask(10)).origin, "cache")
      assert.strictEqual((yield* ask(10)).baselineModel, "strong")
    }).pipe(Effect.provide(Host.layerMemory))
  })

  for (const value of [
    "",
    "{",
    "null",
    "[]",
    '{"_tag":"CompletionResponse"}',
    '{"_tag":"CompletionResponse","requestedModel":"m","model":"m","provider":"p","origin":"provider","finishReason":"stop","parts":[{"type":"text"}]}',
    '{"_tag":"EmbeddingResponse","requestedModel":"m","model":"m","provider":"p","origin":"provider","vectors":5}'
  ]) {
    it.effect(`takes what is no answer for none: ${value.slice(0, 40)}`, () => {
      const model = Scripted.make(() => Scripted.response("x"))
      const odd = Layer.succeed(CacheStore.CacheStore, { get: () => Effect.succeed(value), set: () => Effect.void })
      return Effect.gen(function* () {
        assert.strictEqual(ModelResponse.text(yield* ModelClient.send(request())), "x")
        assert.strictEqual(model.requests.length, 1)
      }).pipe(
        Effect.provide(Stack.make(Cache.layer(), model.layer)),
        Effect.provide(Layer.provideMerge(odd, Host.layerMemory))
      )
    })
  }

  it.effect("keeps each text's vector, whichever others it was sent with", () => {
    const sent: Array<ReadonlyArray<string>> = []
    const model = Layer.sync(ModelClient.ModelClient, () =>
      ModelClient.provider({
        name: "openai",
        send: ((request: ModelRequest.Embedding) =>
          Effect.sync(() => {
            sent.push(request.inputs)
            return {
              _tag: "EmbeddingResponse",
              provider: "openai",
              model: "m",
              requestedModel: "m",
              origin: "provider",
              usage: { ...Usage.zero, uncachedInput: 10 * request.inputs.length },
              vectors: request.inputs.map((text) => [text.length, text.charCodeAt(0)])
            }
          })) as unknown as ModelClient.Send
      })
    )
    const embed = (inputs: ReadonlyArray<string>) => ModelClient.send(ModelRequest.embedding({ model: "m", inputs }))
    return Effect.gen(function* () {
      const first = yield* embed(["a", "bb", "ccc"])
      assert.strictEqual(Usage.inputTokens(first.usage!), 30)
      const second = yield* embed(["bb", "dddd", "bb", "dddd"])
      assert.deepStrictEqual(sent, [["a", "bb", "ccc"], ["dddd"]])
      assert.strictEqual(Usage.inputTokens(second.usage!), 10)
      const third = yield* embed(["dddd", "a"])
      assert.strictEqual(third.origin, "cache")
      assert.deepStrictEqual(third.vectors, [
        [4, 100],
        [1, 97]
      ])
      assert.strictEqual((yield* embed(["ccc"])).origin, "cache")
      for (let i = 0; i < 50; i++) {
        const texts = Array.from({ length: 1 + (i % 5) }, (_, at) => "xyz".repeat(1 + ((i * 7 + at * 3) % 11)))
        const { vectors } = yield* embed(texts)
        assert.deepStrictEqual(
          vectors,
          texts.map((text) => [text.length, 120])
        )
      }
      assert.strictEqual(new Set(sent.flat()).size, sent.flat().length)
    }).pipe(Effect.provide(Stack.make(Cache.layer(), model)), Effect.provide(Host.layerMemory))
  })

  it.effect("resumesout a store that fails", () => {
    const model = Scripted.make(() => Scripted.response("x"))
    const broken = Layer.succeed(CacheStore.CacheStore, {
      get: () => Effect.fail(new CacheStore.CacheStoreError({ message: "disk on fire" })),
      set: () => Effect.fail(new CacheStore.CacheStoreError({ message: "disk on fire" }))
    })
    return Effect.gen(function* () {
      yield* ModelClient.send(request())
      yield* ModelClient.send(request())
      assert.strictEqual(model.requests.length, 2)
    }).pipe(
      Effect.provide(Stack.make(Cache.layer(), model.layer)),
      Effect.provide(Layer.provideMerge(broken, Host.layerMemory))
    )
  })
})
