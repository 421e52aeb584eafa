/** Cascades, rules and fallbacks over a scripted model: who is called, what is recorded, what is kept. */
import { assert, describe, it } from "@effect/vitest"
import {
  RunHooks,
  Cache,
  Cascade,
  Embedder,
  Fallback,
  Flow,
  Hedge,
  Judge,
  Ledger,
  ModelClient,
  ModelRequest,
  Money,
  Pricing,
  Quality,
  Retry,
  Router,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import type * as Trials from "../src/routing/Trials.ts"
import * as ReportText from "../../cli/src/view/ReportText.ts"
import * as Routing from "../src/routing/Routing.ts"
import * as RunTotals from "../src/ledger/RunTotals.ts"
import { Effect, Fiber, Layer, Logger, Schema } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as RoutingFile from "../src/routing/RoutingFile.ts"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const error = (reason: AiError.AiErrorReason) => AiError.make({ module: "test", method: "send", reason })

const completion = (text: string, fields: Partial<ModelRequest.Completion> = {}) =>
  ModelRequest.completion({ messages: [{ role: "user", content: text }], ...fields })

const CHEAP = "gpt-4o-mini-2024-07-18"
const STRONG = "gpt-4o"

/** Sends through a stack, with its ledger. */
const through = <E, R>(
  stack: Layer.Layer<ModelClient.ModelClient, E, R>,
  ask: Effect.Effect<unknown, AiError.AiError, ModelClient.ModelClient>
) => {
  const totals = RunTotals.make()
  return ask.pipe(
    Effect.exit,
    RunHooks.provide({ onEntry: totals.record }),
    Effect.provide(stack as Layer.Layer<ModelClient.ModelClient, E, never>),
    Effect.provide(Host.layerMemory),
    Effect.map((exit) => ({ exit, total: totals.total(), lines: totals.lines() }))
  )
}

const textOf = (model: string) => (model === STRONG ? "sure" : "hm")

const models = (model: Scripted.Scripted) => model.requests.map(({ model }) => model)

describe("Cascade", () => {
  const cascade = (judges: ReadonlyArray<Judge.Judge> = []) => Cascade.layer({ models: [CHEAP, STRONG], judges })

  it.effect(
    "lets an answer stand that the step's check lets, and asks the strong model for the others; both are in the cost",
    () =>
      Effect.gen(function* () {
        const model = Scripted.make(({ model: asked, ...request }) =>
          Scripted.response(Scripted.prompt({ ...request }).includes("hard") ? textOf(asked!) : "sure")
        )
        const stack = Stack.make(Ledger.layer, cascade(), model.layer)
        const ask = (text: string) =>
          ModelClient.send(completion(text)).pipe(Quality.provide({ check: (answer) => answer === "sure" }))
        const easy = yield* through(stack, ask("easy"))
        assert.deepStrictEqual(models(model), [CHEAP])
        assert.isTrue(easy.total.savings.router > 0n)
        const hard = yield* through(stack, ask("hard"))
        assert.deepStrictEqual(models(model).slice(1), [CHEAP, STRONG])
        // gpt-4o 2.50/10, gpt-4o-mini 0.15/0.60 (openai.com/api/pricing): 10 tokens in, 5 out of each.
        assert.strictEqual(Money.toUsd(hard.total.spent), "0.0000795")
        // What routing saved of the strong model's price is less than nothing here: the doubted answer.
        assert.strictEqual(Money.toUsd(hard.total.savings.router), "-0.0000045")
        for (const { total } of [easy, hard]) assert.strictEqual(Money.toUsd(RunTotals.baseline(total)), "0.000075")
      })
  )

  it.effect("has more rungs than two", () =>
    Effect.gen(function* () {
      const model = Scripted.make(({ model }) => Scripted.response(model === "b" ? "sure" : "hm"))
      const stack = Stack.make(Cascade.layer({ models: ["a", "b", "c"] }), model.layer)
      yield* through(
        stack,
        ModelClient.send(completion("x")).pipe(
          Quality.provide({ check: (answer) => (answer === "sure" ? 0.7 : { long: false, short: true }) })
        )
      )
      assert.deepStrictEqual(models(model), ["a", "b"])
    })
  )

  it.effect("asks the next where the answer is cut, refused, unfit or too long; what is down fails", () =>
    Effect.gen(function* () {
      const beyond: ReadonlyArray<AiError.AiError | ReturnType<typeof Scripted.response>> = [
        Scripted.response("cut", { finishReason: "length" }),
        error(new AiError.ContentPolicyError({ description: "no" })),
        error(new AiError.InvalidRequestError({ constraint: "context window", description: "too long" })),
        error(new AiError.StructuredOutputError({ description: "unfit", responseText: "x" }))
      ]
      for (const first of beyond) {
        const model = Scripted.make((_, index) => (index === 0 ? first : Scripted.response("ok")))
        const { exit } = yield* through(Stack.make(cascade(), model.layer), ModelClient.send(completion("x")))
        assert.strictEqual(exit._tag, "Success")
        assert.deepStrictEqual(models(model), [CHEAP, STRONG])
      }
      const down = Scripted.make(() => Scripted.broken("down"))
      const { exit } = yield* through(Stack.make(cascade(), down.layer), ModelClient.send(completion("x")))
      assert.strictEqual(exit._tag, "Failure")
      assert.deepStrictEqual(models(down), [CHEAP])
    })
  )

  it.effect("keeps tools, schema, settings and who calls for every model, and lets a model that is named pass", () =>
    Effect.gen(function* () {
      const model = Scripted.make(({ model }) => Scripted.response(textOf(model!)))
      const request = completion("x", {
        tools: [{ name: "look", parameters: {} }],
        responseFormat: { type: "json", name: "n", schema: { type: "object" } },
        settings: { temperature: 0.3, maxTokens: 99 }
      })
      const stack = Stack.make(cascade(), model.layer)
      yield* through(stack, ModelClient.send(request).pipe(Quality.provide({ check: () => false })))
      const [first, second] = model.requests
      assert.deepStrictEqual({ ...first, model: undefined }, { ...second, model: undefined })
      assert.deepStrictEqual({ ...first, model: undefined }, { ...request, model: undefined })
      yield* through(stack, ModelClient.send({ ...request, model: "other" }))
      assert.strictEqual(models(model)[2], "other")
    })
  )

  it.effect("judges by log-probabilities: their geometric mean", () =>
    Effect.gen(function* () {
      const sure = [Math.log(0.99), Math.log(0.97)]
      for (const [logprobs, asked] of [
        [sure, 1],
        [[...sure, Math.log(0.5)], 2],
        [undefined, 2]
      ] as const) {
        const model = Scripted.make(() =>
          Scripted.response("x", logprobs === undefined ? {} : { logprobs: [...logprobs] })
        )
        yield* through(
          Stack.make(cascade([Judge.logprobs({ atLeast: 0.95 })]), model.layer),
          ModelClient.send(completion("x"))
        )
        assert.strictEqual(model.requests.length, asked)
        assert.strictEqual(model.requests[0]!.settings.topLogprobs, 0)
        assert.isUndefined(model.requests[1]?.settings.topLogprobs)
      }
    })
  )

  it.effect("judges by agreement of samples, compared by what of the answer counts, and records them", () =>
    Effect.gen(function* () {
      for (const [others, strong] of [
        [["A, since", "a: so"], false],
        [["A", "b"], true]
      ] as const) {
        const model = Scripted.make(({ model, sample }) =>
          Scripted.response(model === STRONG ? "A" : sample === 0 ? "a" : others[sample % 1_000]!)
        )
        const { total } = yield* through(
          Stack.make(Ledger.layer, cascade([Judge.agreement({ samples: 2 })]), model.layer),
          ModelClient.send(completion("x")).pipe(Quality.provide({ answer: (text) => text[0]!.toLowerCase() }))
        )
        assert.strictEqual(models(model).includes(STRONG), strong)
        assert.strictEqual(total.attempts, strong ? 4 : 3)
        assert.strictEqual(Money.toUsd(RunTotals.baseline(total)), "0.000075")
        assert.deepStrictEqual(
          model.requests.slice(1, 3).map(({ settings }) => settings.temperature),
          [0.7, 0.7]
        )
      }
    })
  )

  it.effect("judges by a model, whose cost is in the row's; one that fails leaves the answer in doubt", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const log = Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))])
      for (const [verdict, asked] of [
        ['{"probability": 91}', [CHEAP, "judge"]],
        ['{"probability": 40}', [CHEAP, "judge", STRONG]],
        ["down", [CHEAP, "judge", STRONG]]
      ] as const) {
        const model = Scripted.make(({ model }) =>
          model !== "judge"
            ? Scripted.response("x")
            : verdict === "down"
              ? Scripted.broken("down")
              : Scripted.response(verdict)
        )
        const stack = Stack.make(Ledger.layer, cascade([Judge.model({ model: "judge" })]), model.layer)
        const { total } = yield* through(stack, ModelClient.send(completion("What is 2 + 2?"))).pipe(
          Effect.provide(log)
        )
        assert.deepStrictEqual(models(model), [...asked])
        assert.include(Scripted.prompt(model.requests[1]!), "What is 2 + 2?")
        assert.strictEqual(total.attempts, asked.length)
      }
      assert.lengthOf(
        warnings.filter((text) => text.includes("the judge model failed")),
        1
      )
    })
  )

  it.effect("gives a trained score the vector of what varies", () =>
    Effect.gen(function* () {
      const embedder = Layer.succeed(Embedder.Embedder, {
        name: "test",
        unfit: () => undefined,
        embed: (text: string) => Effect.succeed(Float32Array.of(text.length))
      })
      const model = Scripted.make(() => Scripted.response("x"))
      const trials: Array<Trials.CascadeTrial> = []
      const stack = Stack.make(
        Cascade.layer({ models: [CHEAP, STRONG], judges: [Judge.embedding] }).pipe(Layer.provide(embedder)),
        model.layer
      )
      yield* through(stack, ModelClient.send(completion("four"))).pipe(
        RunHooks.provide({ onTrial: (trial) => void trials.push(trial) })
      )
      assert.deepStrictEqual([...(trials[0]!.row.vector as Float32Array)], [4])
      assert.deepStrictEqual(
        trials[0]!.tried.map(({ model, quality }) => [model, quality]),
        [
          [CHEAP, 1],
          [STRONG, 1]
        ]
      )
    })
  )

  it.effect("takes a judge that throws for doubt, by its name, and what cannot be meant for an error", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const log = Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
      for (const answer of [
        () => {
          throw new Error("oh")
        },
        () => Effect.die("oh")
      ]) {
        const model = Scripted.make(() => Scripted.response("x"))
        yield* through(
          Stack.make(cascade([Judge.make({ name: "own", atLeast: 1, answer })]), model.layer),
          ModelClient.send(completion("x"))
        ).pipe(log)
        assert.deepStrictEqual(models(model), [CHEAP, STRONG])
      }
      assert.isTrue(warnings.every((text) => text === "the judge own failed, so answers are doubtful: oh"))
      const model = Scripted.make(() => Scripted.response("x"))
      const problem = (options: Cascade.Options) =>
        Effect.map(
          Effect.flip(
            Layer.build(Stack.make(Cascade.layer(options), model.layer)).pipe(
              Effect.scoped,
              Effect.provide(Host.layerMemory)
            )
          ),
          ({ message }) => message
        )
      assert.include(yield* problem({ models: ["a", "a"] }), "lists the model a twice")
      assert.include(yield* problem({ models: ["a", "b"], audit: 5 }), "between 0 and 1, not 5")
      assert.include(
        yield* problem({ models: ["a", "b"], judges: [Judge.logprobs(), Judge.logprobs()] }),
        "two judges named logprobs"
      )
    })
  )

  it.effect("takes what a function of the author's throws for doubt, and says it once", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const model = Scripted.make(() => Scripted.response("x"))
      const ask = ModelClient.send(completion("x")).pipe(
        Quality.provide({ check: (text) => JSON.parse(text) as boolean })
      )
      yield* through(Stack.make(cascade(), model.layer), Effect.andThen(ask, ask)).pipe(
        Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
      )
      assert.deepStrictEqual(models(model), [CHEAP, STRONG, CHEAP, STRONG])
      assert.lengthOf(
        warnings.filter((text) => text.includes("`quality.check` failed")),
        1
      )
    })
  )

  it.effect("has each model's answer kept by itself below, and none under the strong model's name above", () =>
    Effect.gen(function* () {
      const ask = ModelClient.send(completion("x")).pipe(Quality.provide({ check: (answer) => answer === "sure" }))
      const model = Scripted.make(({ model }) => Scripted.response(textOf(model!)))
      const below = yield* through(
        Stack.make(Ledger.layer, cascade(), Cache.layer(), model.layer),
        Effect.andThen(ask, ask)
      )
      assert.deepStrictEqual(models(model), [CHEAP, STRONG])
      // The second time nothing is paid: cache and routing make up all of the baseline.
      assert.strictEqual(Money.toUsd(RunTotals.baseline(below.total)), "0.00015")
      assert.strictEqual(Money.toUsd(below.total.savings.cache), "0.0000795")

      const other = Scripted.make(({ model }) => Scripted.response(model === STRONG ? "strong" : "sure"))
      const named = ModelClient.send(completion("x", { model: STRONG }))
      const above = yield* through(
        Stack.make(Ledger.layer, Cache.layer(), cascade(), other.layer),
        Effect.andThen(ask, Effect.andThen(named, ask))
      )
      assert.deepStrictEqual(models(other), [CHEAP, STRONG])
      assert.strictEqual(above.total.answers.cache, 1)
    })
  )
})

describe("a run with a cascade", () => {
  const flow = (
    model: Scripted.Scripted,
    options: {
      readonly audit?: number
      readonly routing?: string
      readonly budget?: object
      readonly rows?: number
    } = {}
  ) => {
    const rows = Source.fromIterable(
      "rows",
      Array.from({ length: options.rows ?? 20 }, (_, n) => ({ n, hard: n % 4 === 0 }))
    )
    const answer = Flow.step(
      "answer",
      { row: rows },
      ({ row }) =>
        Effect.map(
          LanguageModel.generateText({ prompt: `row ${row.n}${row.hard ? " hard" : ""}` }),
          ({ text }) => text
        ),
      {
        quality: { check: (text, { row }) => text === "sure" || !row.hard }
      }
    )
    return Flow.make("cascaded", {
      outputs: [Sink.forEach("out", answer, () => Effect.void)],
      ...(options.budget === undefined ? undefined : { budget: options.budget }),
      stack: Stack.make(
        Ledger.layer,
        Cascade.layer({
          models: [CHEAP, STRONG],
          ...(options.audit === undefined ? undefined : { audit: options.audit }),
          ...(options.routing === undefined ? undefined : { routing: options.routing })
        }),
        Cache.layer(),
        model.layer
      )
    })
  }
  /** With a store of its own. */
  const run = (made: ReturnType<typeof flow>) => Effect.provide(Runner.run(made), Layer.fresh(Host.layerMemory))

  const answers = () => Scripted.make(({ model }) => Scripted.response(textOf(model!)))

  it.effect("reports who was needed, and the agreement that audits show, with its interval", () =>
    Effect.gen(function* () {
      const plain = yield* run(flow(answers()))
      assert.deepInclude(plain.routes![0], { step: "answer", requests: 20, strong: 5, audited: 0, low: 0.25, high: 1 })
      const model = answers()
      const audited = yield* run(flow(model, { audit: 1 }))
      const [routes] = audited.routes!
      // All that stood were audited, and none agrees: "hm" is not "sure". 15 of 20 rows.
      assert.deepInclude(routes, { requests: 20, strong: 5, audited: 15, agreement: 0.25, low: 0.25 })
      // 1 - 0.025^(1/15) of the 15 (Clopper and Pearson for none of them).
      assert.closeTo(routes!.high, 0.25 + 0.75 * (1 - 0.025 ** (1 / 15)), 1e-3)
      assert.strictEqual(models(model).filter((name) => name === STRONG).length, 20)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("stops at a budget in its middle, and leaves an audit out that does not fit", () =>
    Effect.gen(function* () {
      const stopped = yield* Effect.flip(run(flow(answers(), { budget: { usd: "0.005" }, rows: 400 })))
      assert.strictEqual(stopped._tag, "RunFailed")
      if (stopped._tag === "RunFailed") {
        assert.strictEqual(stopped.summary.status, "budget")
        assert.isTrue(stopped.summary.cost <= Money.perMillionTokens(5_000))
        assert.strictEqual(stopped.summary.rows.failed, 0)
      }
      // The strong model has nothing left at all: no audit is made, and no row fails.
      const easy = yield* run(
        flow(
          Scripted.make(() => Scripted.response("sure")),
          { audit: 1, budget: { models: { [STRONG]: { usd: "0.0000001" } } } }
        )
      )
      assert.strictEqual(easy.status, "done")
      assert.deepInclude(easy.routes![0], { requests: 20, strong: 0, audited: 0 })
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect(
    "asks the strong model where a routing file is not there, and says so once; a broken one is refused by name",
    () =>
      Effect.gen(function* () {
        const warnings: Array<string> = []
        const log = Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))])
        const folder = mkdtempSync(join(tmpdir(), "pipe-cascade-"))
        const model = answers()
        yield* Runner.run(flow(model, { routing: join(folder, "none.json") })).pipe(Effect.provide(log))
        assert.deepStrictEqual([...new Set(models(model))], [STRONG])
        assert.lengthOf(
          warnings.filter((text) => text.includes("none.json does not exist yet: pipe tune")),
          1
        )
        const broken = yield* Effect.flip(Runner.run(flow(answers(), { routing: import.meta.filename })))
        assert.include(broken.message, "Cascade.test.ts: is not a routing file")
      }).pipe(Effect.provide(Host.layerMemory))
  )
})

/** As a routing file names a judge. */
const keyOf = (judge: Judge.Judge): string =>
  createHash("sha256")
    .update(Effect.runSync(RoutingFile.identityOf(judge)))
    .digest("hex")
    .slice(0, 12)

describe("a routing file", () => {
  /** A score of ln(p / (1 - p)) where the fact holds, and of its opposite where not. */
  const scorer = (fact: string) => ({
    intercept: 0,
    numbers: { [fact]: { mean: 0.5, scale: 0.5, weight: 4 } },
    words: {}
  })

  const certificate = {
    target: 0.95,
    delta: 0.05,
    standard: "agreement" as const,
    training: 100,
    rows: 200,
    quality: 0.98,
    strongQuality: 1,
    kept: 0.955,
    strongShare: 0.3,
    cost: Money.perMillionTokens(1),
    strongCost: Money.perMillionTokens(3)
  }

  const written = (by: "row" | "answer", fact: string, judges: ReadonlyArray<Judge.Judge>): string => {
    const file = join(mkdtempSync(join(tmpdir(), "pipe-cascade-")), "f.routing.json")
    writeFileSync(
      file,
      Routing.encode({
        version: 1,
        flow: "f",
        tunedAt: "2026-11-27T00:00:00.000Z",
        models: [CHEAP, STRONG],
        judges: judges.map((judge) => ({ name: judge.name, key: keyOf(judge) })),
        sample: { rows: 300, seed: "pipe", upTo: "5", spent: Money.zero },
        steps: {
          "": {
            key: "as it was",
            policy: { by, strong: STRONG, threshold: 0.5, rungs: [{ model: CHEAP, own: scorer(fact) }] },
            certificate
          }
        }
      })
    )
    return file
  }

  const ask = (easy: boolean, quality: Quality.Quality = {}) =>
    ModelClient.send(completion("x")).pipe(Quality.provide({ features: { easy }, ...quality }))

  it.effect(
    "chooses by the row before anything is called, and has no judge work then; a check that says no still counts",
    () =>
      Effect.gen(function* () {
        const model = Scripted.make(() => Scripted.response("x"))
        const stack = Stack.make(
          Cascade.layer({
            models: [CHEAP, STRONG],
            judges: [Judge.agreement()],
            audit: 0,
            routing: written("row", "easy", [Judge.agreement()])
          }),
          model.layer
        )
        yield* through(stack, ask(true))
        assert.deepStrictEqual(models(model), [CHEAP])
        yield* through(stack, ask(false))
        assert.deepStrictEqual(models(model).slice(1), [STRONG])
        yield* through(stack, ask(true, { check: () => false }))
        assert.deepStrictEqual(models(model).slice(2), [CHEAP, STRONG])
      })
  )

  it.effect(
    "judges by the answer with the scores of the file; an answer that cannot be read agrees with no other",
    () =>
      Effect.gen(function* () {
        const model = Scripted.make(({ model, sample }) =>
          Scripted.response(model === STRONG ? "{}" : sample === 0 ? '{"a": 1}' : "not JSON")
        )
        const file = written("answer", "agreement", [Judge.agreement()])
        const stack = Stack.make(
          Cascade.layer({ models: [CHEAP, STRONG], judges: [Judge.agreement()], audit: 0, routing: file }),
          model.layer
        )
        const { exit } = yield* through(stack, ask(true, { answer: (text) => JSON.parse(text) as unknown }))
        assert.strictEqual(exit._tag, "Success")
        assert.deepStrictEqual(models(model), [CHEAP, CHEAP, CHEAP, STRONG])
        const sure = Scripted.make(() => Scripted.response("{}"))
        yield* through(
          Stack.make(
            Cascade.layer({ models: [CHEAP, STRONG], judges: [Judge.agreement()], audit: 0, routing: file }),
            sure.layer
          ),
          ask(true)
        )
        assert.deepStrictEqual(models(sure), [CHEAP, CHEAP, CHEAP])
      })
  )
})

describe("a cascade over a fallback", () => {
  // The strong model is down: the cheap one answers in its place.
  const down = () =>
    Scripted.make(({ model }) => (model === STRONG ? Scripted.broken("down") : Scripted.response("hm")))
  const over = (model: Scripted.Scripted, audit: number) =>
    Stack.make(
      Ledger.layer,
      Cascade.layer({ models: [CHEAP, STRONG], audit }),
      Fallback.layer([STRONG, CHEAP]),
      model.layer
    )

  const run = (audit: number, check: (text: string) => boolean) => {
    const rows = Source.fromIterable("rows", [1, 2, 3, 4])
    const answer = Flow.step(
      "answer",
      { row: rows },
      ({ row }) => Effect.map(LanguageModel.generateText({ prompt: `row ${row}` }), ({ text }) => text),
      { quality: { check } }
    )
    return Runner.run(
      Flow.make("f", { outputs: [Sink.forEach("out", answer, () => Effect.void)], stack: over(down(), audit) })
    ).pipe(Effect.provide(Layer.fresh(Host.layerMemory)))
  }

  it.effect("has no audit by another model than the strong one, and says who answered in its place", () =>
    Effect.gen(function* () {
      const audited = yield* run(1, () => true)
      assert.deepInclude(audited.routes![0], { requests: 4, strong: 0, substituted: 0, audited: 0 })
      const doubted = yield* run(0, () => false)
      assert.deepInclude(doubted.routes![0], { requests: 4, strong: 4, substituted: 4 })
      assert.include(ReportText.render(doubted), "another model answered 4 of them")
    })
  )

  it.effect("marks a trial that another model has answered", () =>
    Effect.gen(function* () {
      const trials: Array<Trials.CascadeTrial> = []
      yield* through(over(down(), 0), ModelClient.send(completion("x"))).pipe(
        RunHooks.provide({ onTrial: (trial) => void trials.push(trial) })
      )
      assert.deepStrictEqual(
        trials.map(({ isSubstituted }) => isSubstituted),
        [true]
      )
      const well = Scripted.make(() => Scripted.response("hm"))
      yield* through(over(well, 0), ModelClient.send(completion("x"))).pipe(
        RunHooks.provide({ onTrial: (trial) => void trials.push(trial) })
      )
      assert.deepStrictEqual(
        trials.map(({ isSubstituted }) => isSubstituted),
        [true, false]
      )
    })
  )
})

describe("Router", () => {
  const run = (layer: (typeof Router)["layer"] extends (...args: infer _) => infer L ? L : never) =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("x"))
      const rows = Source.fromIterable("rows", [
        { lang: "de", text: "kurz" },
        { lang: "en", text: "short" },
        { lang: "en", text: "a long text" }
      ])
      const step = Flow.step(
        "step",
        { row: rows },
        ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row.text }), (r) => r.text),
        { concurrency: 1 }
      )
      yield* Runner.run(
        Flow.make("routed", {
          outputs: [Sink.forEach("out", step, () => Effect.void)],
          concurrency: 1,
          stack: Stack.make(Ledger.layer, Cache.layer(), layer, model.layer)
        })
      )
      return models(model)
    }).pipe(Effect.provide(Host.layerMemory))

  it.effect("goes by fields of the row, and by rules put together", () =>
    Effect.gen(function* () {
      const english = Router.where(({ row }) => row.lang === "en")
      const cheap = (when: Router.RoutingRule) => run(Router.layer({ cheap: "cheap", strong: "strong", when }))
      assert.deepStrictEqual(yield* cheap(english), ["strong", "cheap", "cheap"])
      const row = Source.fromIterable("typed", [{ lang: "de" }])
      const typed = Router.where({ row }, ({ row }) => row.lang === "en")
      assert.deepStrictEqual(yield* cheap(typed), ["strong", "cheap", "cheap"])
      // The step has no input of that name.
      const other = Router.where({ review: row }, ({ review }) => review.lang === "en")
      assert.deepStrictEqual(yield* cheap(other), ["strong", "strong", "strong"])
      assert.deepStrictEqual(yield* cheap(Router.all(english, Router.promptShorterThan(8))), [
        "strong",
        "cheap",
        "strong"
      ])
      assert.deepStrictEqual(yield* cheap(Router.not(Router.any(english, Router.promptShorterThan(3)))), [
        "cheap",
        "strong",
        "strong"
      ])
      assert.deepStrictEqual(yield* run(Router.choose((_, { row }) => `model-${row.lang}`, { baseline: "strong" })), [
        "model-de",
        "model-en",
        "model-en"
      ])
    })
  )

  it.effect("takes the cheapest in which the request has room (windows and prices of the table)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("x"))
      const stack = Stack.make(Router.cheapest(["gpt-4.1", "gpt-4o-mini", "unknown-model"]), model.layer)
      yield* through(stack, ModelClient.send(completion("short")))
      // 150,000 tokens do not fit the 128,000 of gpt-4o-mini; gpt-4.1 has a million.
      yield* through(stack, ModelClient.send(completion("word ".repeat(120_000))))
      assert.deepStrictEqual(models(model), ["gpt-4o-mini", "gpt-4.1"])
    })
  )
})

describe("Fallback", () => {
  const overflow = error(new AiError.InvalidRequestError({ constraint: "context window", description: "too long" }))
  const limited = error(new AiError.RateLimitError({}))

  it.effect(
    "leaves settings out that a target does not take, keeps tools and schema, and says so once (route-01)",
    () =>
      Effect.gen(function* () {
        const warnings: Array<string> = []
        const model = Scripted.make(({ model }) => (model === "m1" ? limited : Scripted.response("ok")))
        const request = completion("x", {
          tools: [{ name: "t", parameters: {} }],
          settings: { temperature: 0, parallelToolCalls: true, maxTokens: 9 }
        })
        const stack = Stack.make(
          Fallback.layer([
            "m1",
            { model: "r1", settings: { temperature: "unset", parallelToolCalls: "unset", maxTokens: 50 } }
          ]),
          model.layer
        )
        yield* through(stack, Effect.andThen(ModelClient.send(request), ModelClient.send(request))).pipe(
          Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
        )
        const [, second] = model.requests
        assert.deepStrictEqual(second!.settings, { maxTokens: 50 })
        assert.deepStrictEqual(second!.tools, request.tools)
        assert.deepStrictEqual(warnings.filter((text) => text.includes("r1 is called without")).length, 2)
      })
  )

  it.effect("skips what is known to be too small, and lays no blame for a request that is too long (route-04)", () =>
    Effect.gen(function* () {
      const chain = [
        { model: "big", contextWindow: 128_000 },
        { model: "small", contextWindow: 8_000 },
        { model: "mid", contextWindow: 32_000 }
      ] as const
      const model = Scripted.make(({ model }) => (model === "big" ? limited : Scripted.response("ok")))
      yield* through(
        Stack.make(Fallback.layer(chain), model.layer),
        ModelClient.send(completion("word ".repeat(9_600)))
      )
      assert.deepStrictEqual(models(model), ["big", "mid"])

      // A context error of the first goes to a larger model only, as often as it comes; the first is sent again for the next request.
      const full = Scripted.make(({ model }) => (model === "mid" ? overflow : Scripted.response("ok")))
      const stack = Stack.make(
        Fallback.layer([
          { model: "mid", contextWindow: 32_000 },
          { model: "unknown" },
          { model: "small", contextWindow: 8_000 },
          { model: "big", contextWindow: 128_000 }
        ]),
        Retry.layer({ base: 1 }),
        full.layer
      )
      const ask = ModelClient.send(completion("short"))
      yield* through(
        stack,
        Effect.forEach([1, 2, 3, 4, 5], () => ask)
      )
      assert.deepStrictEqual(models(full), Array.from({ length: 5 }, () => ["mid", "big"]).flat())
    })
  )

  it.effect("leaves a model alone for a while that keeps failing, and tries it again after", () =>
    Effect.gen(function* () {
      let down = true
      const model = Scripted.make(({ model }) =>
        model === "a" && down ? Scripted.broken("down") : Scripted.response("ok")
      )
      const fiber = yield* Effect.forkChild(
        through(
          Stack.make(Fallback.layer(["a", "b"], { failures: 2, cooldown: "1 minute" }), model.layer),
          Effect.gen(function* () {
            for (let i = 0; i < 4; i++) yield* ModelClient.send(completion("x"))
            down = false
            yield* Effect.sleep("61 seconds")
            yield* ModelClient.send(completion("x"))
          })
        )
      )
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(models(model), ["a", "b", "a", "b", "b", "b", "a"])
    })
  )

  it.effect("does not ask another where the request itself is wrong", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => error(new AiError.InvalidRequestError({ description: "no such tool" })))
      const { exit } = yield* through(
        Stack.make(Fallback.layer(["a", "b"]), model.layer),
        ModelClient.send(completion("x"))
      )
      assert.strictEqual(exit._tag, "Failure")
      assert.lengthOf(model.requests, 1)
    })
  )
})

describe("Hedge", () => {
  it.effect(
    "sends a late request again, takes the first answer, and ledger the other as an estimate; this many at most",
    () =>
      Effect.gen(function* () {
        // Twenty answers in 100 ms; from then on every request's first try hangs.
        let sent = 0
        const model = Scripted.make(() => {
          sent++
          return Effect.delay(
            Effect.succeed(Scripted.response(String(sent))),
            sent > 20 && sent % 2 === 1 ? "1 hour" : "100 millis"
          )
        })
        const fiber = yield* Effect.forkChild(
          through(
            Stack.make(Ledger.layer, Hedge.layer({ atLeast: "1 second", atMost: 0.1 }), model.layer),
            Effect.forEach(Array.from({ length: 22 }), () => ModelClient.send(completion("x", { model: CHEAP })))
          )
        )
        yield* TestClock.adjust("10 seconds")
        // Two of 22 are a tenth, and no more.
        assert.strictEqual(sent, 24)
        const { exit, total } = yield* Fiber.join(fiber)
        assert.strictEqual(exit._tag, "Success")
        assert.strictEqual(total.estimated, 2)
        assert.isTrue(total.estimatedSpent > 0n)
      })
  )
})

it("knows rules as plain data for the key of a step", () => {
  const a = Router.all(Router.promptShorterThan(5))
  assert.notDeepEqual(a.by, Router.all(Router.promptShorterThan(6)).by)
  assert.isTrue(Schema.is(Schema.Unknown)(a.by))
  assert.isDefined(Pricing.Pricing.key)
})
