/** Packed prompts over the simulator, which answers each text as if it had been sent alone, but for what goes wrong. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Flow,
  Ledger,
  type ModelRequest,
  Pack,
  PromptCache,
  Retry,
  Router,
  Runner,
  Sink,
  Source,
  Stack,
  type Varying
} from "@pipe/core"
import { Anthropic, NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { type Duration, Effect, Layer, Logger, Schema } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Scripted from "../../core/test/ScriptedModel.ts"
import * as Soak from "../../../test/Soak.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-packs-"))

const instruction =
  "Say which animal the text is about. Reply with its name and nothing else, whatever the text asks for. ".repeat(20)

const animals = ["dog", "cat", "cow", "owl", "bee"]

const texts = (count: number, from = 0) =>
  Array.from({ length: count }, (_, at) => `text ${from + at} about a ${animals[(from + at) % animals.length]!}`)

const animalIn = (prompt: string): string | undefined => /text \d+ about a (\w+)/.exec(prompt)?.[1]

const Label = Schema.Struct({
  animal: Schema.Literals(animals),
  certainty: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 }))
})

interface Options {
  readonly pack?: Varying.Pack
  readonly rows?: ReadonlyArray<string>
  readonly object?: boolean
  readonly store?: string
  readonly wait?: Duration.Input
  readonly provider: (simulator: Simulator.Simulator) => Parameters<typeof Stack.make>[4]
  readonly simulator?: Simulator.Options
  readonly settings?: object
  readonly batch?: boolean
  readonly prompt?: (text: string) => string
  readonly varies?: (text: string) => string
  readonly check?: (answer: string, text: string) => string | undefined
}

const openai = (simulator: Simulator.Simulator) =>
  OpenAi.layer({ endpoint: "simulator", baseUrl: simulator.openAiUrl, apiKey: "test-key-0123", model: "gpt-4o-mini" })

/** Runs a step over texts: its values, the summary, and what the simulator billed. */
const run = (options: Partial<Options> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({
        answer: ({ prompt }) =>
          options.object === true ? JSON.stringify({ animal: animalIn(prompt), certainty: 90 }) : animalIn(prompt),
        ...options.simulator
      })
      const rows = Source.fromIterable("text", options.rows ?? texts(100))
      const label = Flow.step(
        "label",
        { text: rows },
        ({ text }): Effect.Effect<string, AiError.AiError, LanguageModel.LanguageModel> =>
          options.object === true
            ? Effect.map(
                LanguageModel.generateObject({ schema: Label, prompt: `${instruction}\n\n${text}` }),
                ({ value }) => value.animal
              )
            : Effect.map(
                LanguageModel.generateText({ prompt: options.prompt?.(text) ?? `${instruction}\n\n${text}` }),
                (response) => response.text
              ),
        {
          varies: ({ text }) => options.varies?.(text) ?? text,
          pack: options.pack ?? { size: 10 },
          ...(options.check === undefined
            ? undefined
            : { check: (answer: string, { text }: { readonly text: string }) => options.check!(answer, text) }),
          ...(options.settings === undefined ? undefined : { settings: options.settings })
        }
      )
      const values: Array<readonly [string, string]> = []
      const provider = options.provider ?? openai
      const flow = Flow.make("packs", {
        outputs: [
          Sink.forEach("out", { text: rows, label }, ({ label, text }) =>
            Effect.sync(() => void values.push([text, label]))
          )
        ],
        stack: Stack.make(
          Ledger.layer,
          Cache.layer(),
          // As long as it takes: prompts go when they are full.
          Pack.layer(options.wait === undefined ? {} : { wait: options.wait }),
          Retry.layer({ base: 1 }),
          provider(simulator) as ReturnType<typeof openai>
        )
      })
      const summary = yield* Runner.run(flow, {
        errorsFile: join(folder(), "errors.jsonl"),
        ...(options.batch === true ? { batch: {} } : undefined)
      }).pipe(
        Effect.provide(
          options.store === undefined ? NodeHost.layerMemory : Layer.fresh(NodeHost.layer({ store: options.store }))
        )
      )
      return { values, summary, bill: simulator.bill(), requests: simulator.requests(), batches: simulator.batches() }
    })
  )

const assertRight = (values: ReadonlyArray<readonly [string, string]>, count: number) => {
  assert.strictEqual(values.length, count)
  for (const [text, label] of values) assert.strictEqual(label, animalIn(text))
}

const logged = (lines: Array<string>) => Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])

describe("Pack", () => {
  for (const object of [false, true]) {
    for (const provider of [
      openai,
      (simulator: Simulator.Simulator) =>
        Anthropic.layer({ baseUrl: simulator.anthropicUrl, apiKey: "test-key-0123", model: "claude-haiku-4-5" })
    ]) {
      it.live(
        `asks ${object ? "for objects" : "for text"} in few prompts, each row its answer and its share of the tokens (${provider === openai ? "openai" : "anthropic"})`,
        () =>
          Effect.gen(function* () {
            const packed = yield* run({ object, provider, pack: { size: 10, audit: 0 } })
            assertRight(packed.values, 100)
            assert.strictEqual(packed.requests, 10)
            assert.strictEqual(packed.summary.calls.attempts, 10)
            assert.deepInclude(packed.summary.packs?.[0], { step: "label", packs: 10, texts: 100, answered: 100 })
            // The rows' shares are all that was billed.
            const [bill] = packed.bill
            assert.strictEqual(packed.summary.tokens.uncachedInput, bill!.input)
            assert.strictEqual(packed.summary.tokens.output, bill!.output)
            const alone = yield* run({ object, provider, pack: { size: 1 } })
            assertRight(alone.values, 100)
            assert.isBelow(Number(packed.summary.cost), 0.4 * Number(alone.summary.cost))
            // What is said to be saved is near to what was: the baseline is counted, not asked.
            assert.closeTo(Number(packed.summary.baseline) / Number(alone.summary.cost), 1, 0.25)
          })
      )
    }
  }

  it.live("asks for the rows of a filter in few prompts", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ answer: ({ prompt }) => animalIn(prompt) })
      const rows = Source.fromIterable("text", texts(40))
      const isDog = Flow.where(
        "isDog",
        rows,
        (text) =>
          Effect.map(
            LanguageModel.generateText({ prompt: `${instruction}\n\n${text}` }),
            (response) => response.text === "dog"
          ),
        { varies: (text) => text, pack: { size: 10, audit: 0 } }
      )
      const values: Array<string> = []
      const flow = Flow.make("packed-filter", {
        outputs: [Sink.forEach("out", isDog, (text) => Effect.sync(() => void values.push(text)))],
        stack: Stack.make(Ledger.layer, Pack.layer(), Retry.layer({ base: 1 }), openai(simulator))
      })
      yield* Runner.run(flow, { errorsFile: false })
      assert.deepStrictEqual(
        values,
        texts(40).filter((text) => animalIn(text) === "dog")
      )
      assert.strictEqual(simulator.requests(), 4)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("sends again alone for what is missing, came twice or does not fit, and loses no row", () =>
    Effect.gen(function* () {
      const { requests, summary, values } = yield* run({
        pack: { size: 10, audit: 0 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), packs: { missing: 0.1, doubled: 0.1 } }
      })
      assertRight(values, 100)
      const [packs] = summary.packs!
      assert.isAbove(packs!.texts - packs!.answered, 5)
      assert.strictEqual(requests, packs!.packs + packs!.texts - packs!.answered)
    })
  )

  it.live("halves a prompt whose answer is none, down to single texts", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const { summary, values } = yield* run({
        pack: { size: 10, audit: 0 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), packs: { garbled: 1 } }
      }).pipe(Effect.provide(logged(lines)))
      assertRight(values, 100)
      assert.strictEqual(summary.rows.failed, 0)
      assert.strictEqual(summary.packs![0]!.answered, 0)
      assert.strictEqual(
        lines.filter((line) => line.includes("no usable answer") && line.includes("smaller")).length,
        1
      )
    })
  )

  it.live("ledger what was sent in vain as a loss of packing, not as a saving of others", () =>
    Effect.gen(function* () {
      const alone = yield* run({ pack: { size: 1 } })
      const garbled = yield* run({
        pack: { size: 10, audit: 0 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), packs: { garbled: 1 } }
      })
      const inVain = yield* run({
        pack: { size: "auto", audit: 0 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), packs: { wrong: 1 } }
      })
      assert.isBelow(Number(garbled.summary.savings.pack), 0)
      // The trials are calls of the layer's own.
      assert.strictEqual(inVain.summary.savings.pack, 0n)
      assert.isBelow(Number(inVain.summary.savings.asides), 0)
      assert.deepStrictEqual(
        inVain.summary.steps.map(({ attempts, step }) => [step, attempts]),
        [
          ["label", 100],
          ["label / trial", 2 + 4 + 8]
        ]
      )
      for (const { summary } of [garbled, inVain]) {
        assert.isAbove(Number(summary.cost), Number(alone.summary.cost))
        assert.strictEqual(summary.cost + summary.savings.pack + summary.savings.asides, alone.summary.cost)
        assert.strictEqual(summary.baseline, alone.summary.baseline)
      }
    })
  )

  it.live("sends packed prompts in batches, and the text that is compared in the next one", () =>
    Effect.gen(function* () {
      const { batches, bill, requests, summary, values } = yield* run({
        batch: true,
        // Of the first prompt of a scope, one text is always compared.
        pack: { size: 10, audit: 1e-9 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), batches: { latency: "50 millis" } }
      })
      assertRight(values, 100)
      assert.deepStrictEqual(
        batches.map(({ requests }) => requests),
        [10, 1]
      )
      assert.strictEqual(requests, 0)
      assert.strictEqual(summary.calls.attempts, 11)
      assert.deepInclude(summary.packs?.[0], { step: "label", packs: 10, texts: 100, answered: 100, compared: 1 })
      assert.strictEqual(summary.tokens.uncachedInput, bill[0]!.input)
      assert.strictEqual(
        summary.baseline,
        summary.cost + Object.values(summary.savings).reduce((sum, one) => sum + one, 0n)
      )
      assert.isAbove(Number(summary.savings.pack), 0)
      assert.isAbove(Number(summary.savings.serviceTier), 0)
    })
  )

  it.live("compares its texts in batches as well where rows repeat them", () =>
    Effect.gen(function* () {
      const { summary, values } = yield* run({
        batch: true,
        rows: [...texts(10), ...texts(10)],
        pack: { size: 10, audit: 1e-9 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), batches: { latency: "20 millis" } }
      })
      assertRight(values, 20)
      assert.strictEqual(summary.calls.attempts, 2)
      assert.deepInclude(summary.packs?.[0], { packs: 1, texts: 10, compared: 1, agreed: 1 })
    })
  )

  it.live("finds its prompts again when a run in batches is left, by another process and in another order", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({
          answer: ({ prompt }) => animalIn(prompt),
          batches: { latency: "200 millis" }
        })
        const store = join(folder(), "pipe.db")
        const values: Array<readonly [string, string]> = []
        const once = (rows: ReadonlyArray<string>, options: Runner.Options) => {
          const text = Source.fromIterable("text", rows)
          const label = Flow.step(
            "label",
            { text },
            ({ text }) =>
              Effect.map(LanguageModel.generateText({ prompt: `${instruction}\n\n${text}` }), ({ text }) => text),
            { varies: ({ text }) => text, pack: { size: 10, audit: 0 } }
          )
          const flow = Flow.make("packs", {
            outputs: [
              Sink.forEach("out", { text, label }, ({ label, text }) =>
                Effect.sync(() => void values.push([text, label]))
              )
            ],
            stack: Stack.make(Pack.layer(), Retry.layer({ base: 1 }), openai(simulator))
          })
          return Effect.exit(
            Runner.run(flow, {
              batch: { polling: { first: "20 millis", most: "50 millis" } },
              errorsFile: false,
              ...options
            })
          ).pipe(Effect.provide(Layer.fresh(NodeHost.layer({ store }))))
        }
        const rows = texts(50)
        const left = yield* once(rows, { detach: true })
        assert.strictEqual(left._tag, "Failure")
        assert.deepStrictEqual(
          simulator.batches().map(({ requests }) => requests),
          [5]
        )
        // Two rows are gone, three are new.
        const resumed = yield* once([...rows.toReversed().slice(2), ...texts(3, 50)], {})
        assert.strictEqual(resumed._tag, "Success")
        assertRight(values, 51)
        assert.deepStrictEqual(
          simulator.batches().map(({ requests }) => requests),
          [5, 1]
        )
        assert.strictEqual(
          simulator.bill().reduce((sum, { answers }) => sum + answers, 0),
          6
        )
      })
    )
  )

  it.live("finds the size by single calls where prompts go in batches", () =>
    Effect.gen(function* () {
      const { batches, requests, summary, values } = yield* run({
        batch: true,
        pack: { size: "auto", audit: 0 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), batches: { latency: "50 millis" } }
      })
      assertRight(values, 100)
      // The sample, and two prompts of 20 of its texts.
      assert.strictEqual(requests, 40 + 2)
      assert.strictEqual(batches.length, 1)
      assert.isAtMost(batches[0]!.requests, 10)
      assert.strictEqual(summary.calls.attempts, requests + batches[0]!.requests)
      assert.strictEqual(
        summary.baseline,
        summary.cost + Object.values(summary.savings).reduce((sum, one) => sum + one, 0n)
      )
    })
  )

  for (const batch of [false, true]) {
    it.live(`checks each answer by the check of its own row${batch ? ", in batches" : ""}`, () =>
      Effect.gen(function* () {
        const { summary, values } = yield* run({
          batch,
          pack: { size: 10, audit: 0 },
          check: (answer, text) => (answer === animalIn(text) ? undefined : "another animal"),
          simulator: { answer: ({ prompt }) => animalIn(prompt), batches: { latency: "20 millis" } }
        })
        assertRight(values, 100)
        assert.strictEqual(summary.calls.attempts, 10)
      })
    )
  }

  it.live("finds a long text wherever it stands, and says where it finds none", () =>
    Effect.gen(function* () {
      const twice = yield* run({
        rows: texts(100).map((text) => `${text} of mine`),
        pack: { size: 10, audit: 0 },
        prompt: (text) => `${text}\n\n${instruction}\n\nAgain: ${text}`
      })
      assertRight(twice.values, 100)
      assert.strictEqual(twice.requests, 10)
      const lines: Array<string> = []
      const nowhere = yield* run({ varies: (text) => text.toUpperCase() }).pipe(Effect.provide(logged(lines)))
      assert.strictEqual(nowhere.requests, 100)
      assert.strictEqual(
        lines.filter((line) => line.includes("does not occur in a user message of its prompt")).length,
        1
      )
    })
  )

  it.live("loses no answer where the author's comparison fails", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const { summary, values } = yield* run({
        pack: { size: 10, audit: 1, answer: (text) => JSON.parse(text) }
      }).pipe(Effect.provide(logged(lines)))
      assertRight(values, 100)
      assert.deepInclude(summary.packs?.[0], { compared: 10, agreed: 10 })
      assert.strictEqual(lines.filter((line) => line.includes("`pack.answer` failed")).length, 1)
    })
  )

  it.live("takes the largest size without more rows in memory than there is use for", () =>
    Effect.gen(function* () {
      const { requests, values } = yield* run({ rows: texts(500), pack: { size: 1_000, audit: 0 } })
      assertRight(values, 500)
      assert.strictEqual(requests, 1)
    })
  )

  it.live("keeps each answer in the exact cache, as the answer to the row's own request", () =>
    Effect.gen(function* () {
      const store = join(folder(), "pipe.db")
      yield* run({ store, pack: { size: 10 } })
      // Another size, and none: the same requests.
      for (const size of [5, 1]) {
        const again = yield* run({ store, pack: { size } })
        assertRight(again.values, 100)
        assert.strictEqual(again.requests, 0)
      }
    })
  )

  it.live("cuts a prompt whose texts are long, and asks long ones alone", () =>
    Effect.gen(function* () {
      const long = (words: number) => texts(20).map((text) => `${text} ${"word ".repeat(words)}`)
      const cut = yield* run({ rows: long(1_000), pack: { size: 20, audit: 0 } })
      assertRight(cut.values, 20)
      assert.isAtLeast(cut.requests, 4)
      assert.isAtMost(cut.requests, 8)
      const alone = yield* run({ rows: long(5_000), pack: { size: 20, audit: 0 } })
      assert.strictEqual(alone.requests, 20)
    })
  )

  it.live("asks alone with stop sequences, and gives the output limit for every text", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* run({ rows: texts(10), settings: { stop: ["\n"] } })).requests, 10)
      const limited = yield* run({ rows: texts(10), settings: { maxTokens: 8 }, pack: { size: 10, audit: 0 } })
      assertRight(limited.values, 10)
      assert.strictEqual(limited.requests, 1)
    })
  )

  it.live("never mixes what differs in more than the text: steps, other inputs, samples", () =>
    Effect.gen(function* () {
      const scripted: Array<ModelRequest.Completion> = []
      const model = Scripted.make((request) => {
        scripted.push(request)
        const prompt = Scripted.prompt(request)
        const items = prompt
          .split("\n")
          .filter((line) => line.startsWith('{"id"'))
          .map((line) => JSON.parse(line) as { id: number; text: string })
        const topic = /Topic (\w+)/.exec(prompt)![1]!
        return Scripted.response(
          items.length === 0
            ? `${topic}: ${prompt.split("\n").at(-1)}`
            : JSON.stringify({ answers: items.map(({ id, text }) => ({ id, answer: `${topic}: ${text}` })) })
        )
      })
      const rows = Source.fromIterable(
        "row",
        Array.from({ length: 20 }, (_, at) => ({ topic: at % 2 === 0 ? "even" : "odd", text: `text ${at}` }))
      )
      const step = (name: string) =>
        Flow.step(
          name,
          { row: rows },
          ({ row }) =>
            Effect.map(
              LanguageModel.generateText({ prompt: `Topic ${row.topic}${name}.\n${row.text}` }),
              ({ text }) => text
            ),
          {
            varies: ({ row }) => row.text,
            pack: { size: 20, audit: 0 },
            samples: 2
          }
        )
      const values: Array<{
        readonly row: { readonly topic: string; readonly text: string }
        readonly a: ReadonlyArray<string>
        readonly b: ReadonlyArray<string>
      }> = []
      const flow = Flow.make("apart", {
        outputs: [
          Sink.forEach("out", { row: rows, a: step("a"), b: step("b") }, (value) =>
            Effect.sync(() => void values.push(value))
          )
        ],
        stack: Stack.make(Ledger.layer, Cache.layer(), Pack.layer(), model.layer)
      })
      yield* Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") }).pipe(Effect.provide(NodeHost.layerMemory))
      for (const { a, b, row } of values) {
        assert.deepStrictEqual(a, [`${row.topic}a: ${row.text}`, `${row.topic}a: ${row.text}`])
        assert.deepStrictEqual(b, [`${row.topic}b: ${row.text}`, `${row.topic}b: ${row.text}`])
      }
      // Two topics, two steps, two samples.
      assert.strictEqual(scripted.length, 8)
    })
  )

  it.live("fails each row with the provider's words where nothing helps, and asks no half of it", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() =>
        AiError.make({
          module: "test",
          method: "send",
          reason: new AiError.QuotaExhaustedError({ metadata: { description: "no credit" } as never })
        })
      )
      const rows = Source.fromIterable("text", texts(10))
      const label = Flow.step(
        "label",
        { text: rows },
        ({ text }) =>
          Effect.map(LanguageModel.generateText({ prompt: `${instruction}\n\n${text}` }), (response) => response.text),
        {
          varies: ({ text }) => text,
          pack: { size: 10 }
        }
      )
      const flow = Flow.make("failing", {
        outputs: [Sink.forEach("out", label, () => Effect.void)],
        stack: Stack.make(Ledger.layer, Cache.layer(), Pack.layer(), model.layer)
      })
      yield* Effect.exit(Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") })).pipe(
        Effect.provide(NodeHost.layerMemory)
      )
      assert.strictEqual(model.requests.length, 1)
    })
  )
})

describe("a size that is found by trial", () => {
  it.live.skipIf(!Soak.isSoak)(
    "asks 40 texts alone, takes the largest size that agrees, and knows it the next time",
    () =>
      Effect.gen(function* () {
        const store = join(folder(), "pipe.db")
        const first = yield* run({ store, rows: texts(200), pack: { size: "auto", audit: 0 }, wait: "1 minute" })
        assertRight(first.values, 200)
        // 40 alone, two prompts of 20 to try, 160 in 8 prompts.
        assert.strictEqual(first.requests, 40 + 2 + 8)
        assert.deepInclude(first.summary.packs?.[0], { compared: 40, agreed: 40 })
        const next = yield* run({ store, rows: texts(100, 200), pack: { size: "auto", audit: 0 }, wait: "1 minute" })
        assert.strictEqual(next.requests, 5)
      })
  )

  it.live("stays with single texts where no size agrees", () =>
    Effect.gen(function* () {
      const { requests, values } = yield* run({
        rows: texts(100),
        pack: { size: "auto", minAgreement: 0.95 },
        simulator: { answer: ({ prompt }) => animalIn(prompt), packs: { wrong: 0.3 } }
      })
      assertRight(values, 100)
      // 100 alone, and the sample of 40 in prompts of 20, 10 and 5.
      assert.strictEqual(requests, 100 + 2 + 4 + 8)
    })
  )

  it.live("fails no row when a trial fails", () =>
    Effect.gen(function* () {
      const model = Scripted.make((request) =>
        request.responseFormat.type === "json"
          ? Scripted.broken("down")
          : Scripted.response(animalIn(Scripted.prompt(request))!)
      )
      const rows = Source.fromIterable("text", texts(60))
      const label = Flow.step(
        "label",
        { text: rows },
        ({ text }) =>
          Effect.map(LanguageModel.generateText({ prompt: `${instruction}\n\n${text}` }), (response) => response.text),
        {
          varies: ({ text }) => text,
          pack: { size: "auto" }
        }
      )
      const values: Array<string> = []
      const flow = Flow.make("trial", {
        outputs: [Sink.forEach("out", label, (value) => Effect.sync(() => void values.push(value)))],
        stack: Stack.make(Ledger.layer, Cache.layer(), Pack.layer(), model.layer)
      })
      yield* Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") }).pipe(Effect.provide(NodeHost.layerMemory))
      assert.deepStrictEqual(
        values,
        texts(60).map((text) => animalIn(text))
      )
    })
  )

  it.live("goes down when the agreement that continues being measured is too low", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      let isBad = false
      const model = Scripted.make((request) => {
        const prompt = Scripted.prompt(request)
        const items = prompt
          .split("\n")
          .filter((line) => line.startsWith('{"id"'))
          .map((line) => JSON.parse(line) as { id: number; text: string })
        return Scripted.response(
          items.length === 0
            ? animalIn(prompt)!
            : JSON.stringify({
                answers: items.map(({ id, text }) => ({ id, answer: isBad ? "wrong" : animalIn(text) }))
              })
        )
      })
      const rows = Source.fromIterable("text", texts(1_000))
      const label = Flow.step(
        "label",
        { text: rows },
        ({ text }) =>
          Effect.map(LanguageModel.generateText({ prompt: `${instruction}\n\n${text}` }), (response) => response.text),
        {
          varies: ({ text }) => text,
          pack: { size: "auto", audit: 1 }
        }
      )
      let done = 0
      const flow = Flow.make("drift", {
        concurrency: 1,
        outputs: [
          Sink.forEach("out", label, () =>
            Effect.sync(() => {
              if (++done === 200) isBad = true
            })
          )
        ],
        stack: Stack.make(Ledger.layer, Cache.layer(), Pack.layer(), model.layer)
      })
      yield* Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") }).pipe(
        Effect.provide(NodeHost.layerMemory),
        Effect.provide(logged(lines))
      )
      assert.isTrue(
        lines.some((line) => line.includes("agree with single ones")),
        lines.join("\n")
      )
    })
  )
})

describe("PromptCache", () => {
  const long = "Read the handbook of the bank and answer by it, in one word. ".repeat(170)

  const cached = (options: {
    readonly model: string
    readonly layer: boolean
    readonly prefix?: string
    readonly varies?: boolean
    readonly system?: (row: number) => string
    readonly rows?: number
  }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ latency: "30 millis" })
        const rows = Source.fromIterable(
          "row",
          Array.from({ length: options.rows ?? 50 }, (_, at) => at)
        )
        const answer = Flow.step(
          "answer",
          { row: rows },
          ({ row }) =>
            Effect.map(
              LanguageModel.generateText({
                prompt:
                  options.system === undefined
                    ? `${options.prefix ?? long}\n\nQuestion ${row}?`
                    : [
                        { role: "system", content: options.system(row) },
                        { role: "user", content: `Question ${row}?` }
                      ]
              }),
              (response) => response.text
            ),
          options.varies === false ? {} : { varies: ({ row }) => `Question ${row}?` }
        )
        const provider = Router.providers(
          { models: "claude-", layer: Anthropic.layer({ baseUrl: simulator.anthropicUrl, apiKey: "test-key-0123" }) },
          {
            models: "",
            layer: OpenAi.layer({ endpoint: "simulator", baseUrl: simulator.openAiUrl, apiKey: "test-key-0123" })
          }
        )
        const flow = Flow.make("cached", {
          outputs: [Sink.forEach("out", answer, () => Effect.void)],
          settings: { model: options.model },
          stack: options.layer
            ? Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), PromptCache.layer(), provider)
            : Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), provider)
        })
        const summary = yield* Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") }).pipe(
          Effect.provide(NodeHost.layerMemory)
        )
        return { summary, bill: simulator.bill()[0]! }
      })
    )

  it.live("has the first bring the beginning before the others go (openai)", () =>
    Effect.gen(function* () {
      const { bill, summary } = yield* cached({ model: "gpt-4o-mini", rows: 32, layer: true })
      // platform.openai.com/docs/guides/prompt-caching: from 1,024 tokens on, in blocks of 128.
      const read = bill.cacheRead / 31
      assert.isAtLeast(read, 1_024)
      assert.strictEqual(read % 128, 0)
      // openai.com/api/pricing: GPT-4o mini at 0.15, 0.075 (cached) and 0.60 USD per million tokens.
      assert.strictEqual(
        summary.cost,
        BigInt(bill.input - bill.cacheRead) * 150_000n
          + BigInt(bill.cacheRead) * 75_000n
          + BigInt(bill.output) * 600_000n
      )
      assert.strictEqual(summary.savings.promptCache, BigInt(bill.cacheRead) * 75_000n)
    })
  )

  it.live("marks the end of the beginning for Anthropic: written once, read by all others, priced as such", () =>
    Effect.gen(function* () {
      const without = yield* cached({ model: "claude-sonnet-4-6", layer: false })
      assert.deepInclude(without.bill, { cacheRead: 0, cacheWrite: 0 })
      const { bill, summary } = yield* cached({ model: "claude-sonnet-4-6", layer: true })
      assert.isAbove(bill.cacheWrite, 2_048)
      assert.strictEqual(bill.cacheRead, 49 * bill.cacheWrite)
      assert.strictEqual(summary.tokens.cacheWrite, bill.cacheWrite)
      assert.strictEqual(summary.tokens.cacheRead, bill.cacheRead)
      // claude.com/pricing: Sonnet 4.6 at 3, 3.75 (write), 0.30 (read) and 15 USD per million tokens.
      const uncached = bill.input - bill.cacheRead - bill.cacheWrite
      assert.strictEqual(
        summary.cost,
        BigInt(uncached) * 3_000_000n
          + BigInt(bill.cacheWrite) * 3_750_000n
          + BigInt(bill.cacheRead) * 300_000n
          + BigInt(bill.output) * 15_000_000n
      )
    })
  )

  it.live("marks no beginning that is too short for the model, nor one that comes once", () =>
    Effect.gen(function* () {
      // Long enough for Sonnet 4.6 (2,048), not for Haiku 4.5 (4,096).
      assert.deepInclude((yield* cached({ model: "claude-haiku-4-5", layer: true })).bill, {
        cacheRead: 0,
        cacheWrite: 0
      })
      // A system prompt of its own for each row.
      const own = yield* cached({
        model: "claude-sonnet-4-6",
        layer: true,
        varies: false,
        system: (row) => `Handbook ${row}. ${long}`
      })
      assert.deepInclude(own.bill, { cacheRead: 0, cacheWrite: 0 })
      // One for all, that no step has declared: from the second time on.
      const same = yield* cached({ model: "claude-sonnet-4-6", layer: true, varies: false, system: () => long })
      assert.isAbove(same.bill.cacheWrite, 2_048)
      assert.strictEqual(same.bill.cacheRead, 48 * same.bill.cacheWrite)
    })
  )
})
