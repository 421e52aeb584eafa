/** Plans and what came: a plan is right, or says that it cannot know and what would tell it. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, Flow, Ledger, type Node, Plan, Runner, Sink, Source, Stack, Store } from "@pipe/core"
import { TestModel } from "@pipe/core/testing"
import { Effect, Schema } from "effect"
import { type AiError, type EmbeddingModel, LanguageModel } from "effect/ai"
import * as fc from "fast-check"
import * as Soak from "../../../test/Soak.ts"
import * as Host from "./Host.ts"

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

/** Answers end in a digit that follows from the prompt. */
const digit = (text: string): number => Number(/\d$/.exec(text)?.[0] ?? 0)

const model = () =>
  TestModel.make(({ prompt, request }) => {
    const number = Array.from(prompt).reduce((sum, char) => sum + char.charCodeAt(0), 0) % 10
    if (request._tag === "Completion" && request.responseFormat.type === "json")
      return prompt.trimEnd().endsWith("missing or wrong.")
        ? { complete: number > 4, missing: `part ${number}` }
        : { text: `answer ${number}` }
    return request._tag === "Embedding" ? request.inputs.map((text) => [1, digit(text)]) : `answer ${number}`
  })

type Text = Node.Node<string, AiError.AiError, LanguageModel.LanguageModel | EmbeddingModel.EmbeddingModel>

const listOfInput = (name: string, text: Text) => Flow.expand(name, { text }, ({ text }) => [`${text}x`, `${text}y`])

const filterByText = (name: string, text: Text) => {
  const kept = Flow.filter(`${name}-filter`, { text }, ({ text }) => text.length % 3 !== 0)
  return Flow.map(name, { kept }, ({ kept }) => kept.text)
}

/** What a generated flow does with the texts so far. */
const operations = {
  step: (name: string, text: Text) => Flow.step(name, { text }, ({ text }) => ask(`${name} ${text}`)),
  twice: (name: string, text: Text) =>
    Flow.step(name, { text }, ({ text }) =>
      Effect.flatMap(ask(`${name} a ${text}`), (more) => ask(`${name} b ${more}`))
    ),
  loop: (name: string, text: Text) =>
    Flow.step(name, { text }, ({ text }) =>
      Effect.gen(function* () {
        let answer = yield* ask(`${name} ${text}`)
        for (let n = 0; n < 4 && digit(answer) < 7; n++) answer = yield* ask(`${name} ${n} ${answer}`)
        return answer
      })
    ),
  listOfAnswer: (name: string, text: Text) =>
    Flow.expand(name, { text }, ({ text }) =>
      Effect.map(ask(`${name} ${text}`), (answer) =>
        Array.from({ length: digit(answer) % 4 }, (_, n) => `${answer}.${n}`)
      )
    ),
  listOfInput,
  filterByAnswer: (name: string, text: Text) =>
    Flow.map(
      name,
      {
        kept: Flow.filter(`${name}-filter`, { text }, ({ text }) =>
          Effect.map(ask(`${name} ${text}`), (answer) => digit(answer) % 2 === 0)
        )
      },
      ({ kept }) => kept.text
    ),
  filterByText,
  where: (name: string, text: Text) => Flow.where(name, text, (text) => digit(text) % 3 !== 1),
  whereAnswer: (name: string, text: Text) =>
    Flow.where(name, text, (text) => Effect.map(ask(`${name} ${text}`), (answer) => digit(answer) % 2 === 1)),
  choice: (name: string, text: Text) =>
    Flow.step(name, { text }, ({ text }) => (digit(text) > 4 ? ask(`${name} ${text}`) : Effect.succeed(text))),
  each: (name: string, text: Text) =>
    Flow.step(name, { text }, ({ text }) =>
      Effect.map(
        Effect.forEach(
          Array.from({ length: digit(text) % 3 }, (_, n) => n),
          (n) => ask(`${name} ${n} ${text}`)
        ),
        (answers) => `${text} ${answers.length}`
      )
    ),
  refined: (name: string, text: Text) =>
    Flow.step(name, { text }, ({ text }) =>
      Effect.map(
        Agent.refine({
          schema: Schema.Struct({ text: Schema.String }),
          prompt: `${name} ${text}`,
          review: "All?",
          rounds: 2
        }),
        ({ value }) => value.text
      )
    ),
  nearest: (name: string, text: Text) => {
    const vector = Flow.embed(`${name}-vector`, { text }, ({ text }) => text)
    const near = Flow.nearest(`${name}-near`, { text }, { others: text }, { by: [vector, vector], count: 2 })
    return Flow.map(name, { near }, ({ near }) => near.others.map(({ value }) => value).join(" "))
  },
  group: (name: string, text: Text) =>
    Flow.group(name, { text }, { by: ({ text }) => digit(text) }, ({ count, key }) => ask(`${name} ${key} ${count}`)),
  whole: (name: string, text: Text) =>
    Flow.reduce(
      name,
      { text },
      {
        initial: () => "",
        step: (all, { text }) => all + text,
        finish: (all) => ask(`${name} ${all.length}`)
      }
    ),
  when: (name: string, text: Text) =>
    Flow.map(
      name,
      {
        text,
        more: Flow.step(`${name}-when`, { text }, ({ text }) => ask(`${name} ${text}`), {
          when: ({ text }) => digit(text) > 4
        })
      },
      ({ more, text }) => more ?? text
    )
} satisfies { readonly [name: string]: (name: string, text: Text) => Text }

const names = Object.keys(operations) as ReadonlyArray<keyof typeof operations>

const flowOf = (rows: number, chain: ReadonlyArray<keyof typeof operations>) => {
  let text: Text = Source.fromIterable(
    "text",
    Array.from({ length: rows }, (_, n) => `row ${n}`)
  )
  chain.forEach((operation, n) => (text = operations[operation](`${operation}${n}`, text)))
  return Flow.make("generated", {
    outputs: [Sink.forEach("out", text, () => Effect.void)],
    allowFailedRows: 1_000,
    stack: Stack.make(Ledger.layer, model().layer)
  })
}

const callsOf = (plan: Plan.Plan, step: string) => plan.lines.find((line) => line.step === step)

describe("a plan", () => {
  it.live("is right, or says what it does not know (generated flows)", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 0, max: 6 }),
          fc.array(fc.constantFrom(...names), { maxLength: 4 }),
          (rows, chain) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const flow = flowOf(rows, chain)
                const plan = yield* Plan.make(flow)
                const summary = yield* Runner.run(flow, { errorsFile: false })
                for (const { attempts, step } of summary.steps) {
                  const line = callsOf(plan, step)
                  if (line === undefined) {
                    assert.include(plan.unreached ?? [], step)
                    continue
                  }
                  if (line.counted === undefined) assert.strictEqual(line.calls, attempts, step)
                }
                for (const line of plan.lines) {
                  if (line.counted !== undefined || line.calls === 0) continue
                  assert.strictEqual(
                    summary.steps.find(({ step }) => step === line.step)?.attempts,
                    line.calls,
                    line.step
                  )
                }
                // The run has told it.
                const again = yield* Plan.make(flow, { cache: false })
                for (const { attempts, cost, step } of summary.steps) {
                  const line = callsOf(again, step)
                  if (line?.counted === undefined && line?.cost !== undefined) {
                    const { high, low } = line.cost
                    assert.isTrue(cost >= low && cost <= high, `${step}: ${cost} in ${low} to ${high}`)
                  }
                  // How many texts share a request depends on when they come.
                  if (line?.counted !== "learned" || step.endsWith("-vector")) continue
                  assert.closeTo(line.calls, attempts, Math.max(1, attempts * 0.35), step)
                }
              }).pipe(Effect.provide(Host.layerMemory))
            )
        ),
        { numRuns: Soak.times(25, 200) }
      )
    )
  )

  it.live("is that of one run, of the same version of the flow (B9)", () =>
    Effect.gen(function* () {
      const store = yield* Store.Store
      const flow = (what: string) => {
        const text = Source.fromIterable("text", ["a", "b"])
        return Flow.make("planned", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("poem", { text }, ({ text }) => ask(`${what} ${text}`)),
              () => Effect.void
            )
          ],
          stack: Stack.make(Ledger.layer, model().layer)
        })
      }
      const planOf = (of: ReturnType<typeof flow>, run: ReturnType<typeof flow>) =>
        Effect.gen(function* () {
          yield* store.runs.savePlan("id", Plan.toJson(yield* Plan.make(of)))
          yield* Runner.run(run, { identity: "id", errorsFile: false })
          return (yield* store.runs.latest("id"))?.plan
        })
      const [poem, song] = [flow("poem"), flow("song")]
      assert.isDefined(yield* planOf(poem, poem))
      yield* Runner.run(poem, { identity: "id", errorsFile: false })
      assert.isUndefined((yield* store.runs.latest("id"))?.plan)
      assert.isUndefined(yield* planOf(poem, song))
      assert.isDefined(yield* planOf(song, song))
      // A plan in batches is one of a run in batches.
      yield* store.runs.savePlan("id", Plan.toJson(yield* Plan.make(song, { batch: true })))
      yield* Runner.run(song, { identity: "id", errorsFile: false })
      assert.isUndefined((yield* store.runs.latest("id"))?.plan)
      // A plan without what is kept is one of a run without it.
      yield* store.runs.savePlan("id", Plan.toJson(yield* Plan.make(song, { cache: false })))
      yield* Runner.run(song, { identity: "id", errorsFile: false })
      assert.isUndefined((yield* store.runs.latest("id"))?.plan)
      yield* store.runs.savePlan("id", Plan.toJson(yield* Plan.make(song, { cache: false })))
      yield* Runner.run(song, { identity: "id", errorsFile: false, cache: false })
      assert.isDefined((yield* store.runs.latest("id"))?.plan)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("says when the flow's budget is less than what is expected", () =>
    Effect.gen(function* () {
      const text = Source.fromIterable("text", ["bee", "ant"])
      const first = Flow.step("first", { text }, ({ text }) => ask(text))
      // TestModel: 1 and 2 USD per million tokens.
      const plan = (budget: { readonly usd: number; readonly onExceeded?: "warn" }) =>
        Plan.make(
          Flow.make("capped", {
            outputs: [Sink.forEach("out", { first }, () => Effect.void)],
            stack: Stack.make(Ledger.layer, model().layer),
            budget
          })
        )
      const notesOf = ({ notes = [] }: Plan.Plan) => notes.filter((note) => note.includes("budget"))
      assert.match(notesOf(yield* plan({ usd: 0.000001 }))[0]!, /^the flow's budget of \$0\.000001 .*: the run stops/)
      assert.match(notesOf(yield* plan({ usd: 0.000001, onExceeded: "warn" }))[0]!, /the run warns/)
      assert.deepStrictEqual(notesOf(yield* plan({ usd: 1 })), [])
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("counts rows that share an answer at a temperature of 0 once, as a run does", () =>
    Effect.gen(function* () {
      const answers = model()
      const text = Source.fromIterable("text", ["bee", "ant", "bee", "bee"])
      const first = Flow.step("first", { text }, ({ text }) => ask(text), { settings: { temperature: 0 } })
      const second = Flow.step("second", { first }, ({ first }) => ask(`More of ${first}`))
      const flow = Flow.make("cold", {
        outputs: [Sink.forEach("out", { second }, () => Effect.void)],
        stack: Stack.make(Ledger.layer, answers.layer)
      })
      const plan = yield* Plan.make(flow)
      const { calls } = yield* Runner.run(flow, { errorsFile: false })
      assert.deepStrictEqual([callsOf(plan, "first")?.calls, callsOf(plan, "second")?.calls], [2, 4])
      assert.strictEqual(calls.attempts, 6)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("counts what lists of new rows will have beside those that are reused", () =>
    Effect.gen(function* () {
      const answers = TestModel.make({ topic: () => "0,1,2,3,4,5,6,7,8,9", rate: () => "5" })
      for (const [counted, policy] of [
        ["learned", {}],
        ["expected", { expect: 10 }]
      ] as const) {
        const text = Source.fromIterable(
          "text",
          Array.from({ length: 12 }, (_, at) => `${counted} ${at}`)
        )
        const topic = Flow.expand(
          "topic",
          { text },
          ({ text }) => Effect.map(ask(`Name 10 topics of ${text}`), (answer) => answer.split(",")),
          policy
        )
        const rate = Flow.step("rate", { text, topic }, ({ text, topic }) => ask(`Rate ${topic} of ${text}`))
        const flow = Flow.make(counted, {
          outputs: [Sink.forEach("out", { rate }, () => Effect.void)],
          stack: Stack.make(Ledger.layer, answers.layer)
        })
        yield* Runner.run(flow, { errorsFile: false, limit: 2 })
        const plan = yield* Plan.make(flow)
        assert.deepInclude(callsOf(plan, "rate"), { calls: 100, counted })
        assert.strictEqual(callsOf(plan, "topic")!.calls, 10)
      }
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("counts the rows of an expansion by `expect`, and the calls of a step", () =>
    Effect.gen(function* () {
      const text = Source.fromIterable("text", ["a", "b"])
      const topic = Flow.expand("topic", { text }, ({ text }) => Effect.map(ask(text), (answer) => [answer]), {
        expect: 10
      })
      const poem = Flow.step("poem", { topic }, ({ topic }) => ask(`poem ${topic}`), { expect: 3 })
      const flow = Flow.make("expected", {
        outputs: [Sink.forEach("out", poem, () => Effect.void)],
        stack: Stack.make(Ledger.layer, model().layer)
      })
      const plan = yield* Plan.make(flow)
      assert.deepStrictEqual(
        plan.lines.map(({ calls, counted, step }) => [step, calls, counted]),
        [
          ["topic", 2, undefined],
          ["poem", 60, "expected"]
        ]
      )
    }).pipe(Effect.provide(Host.layerMemory))
  )
})
