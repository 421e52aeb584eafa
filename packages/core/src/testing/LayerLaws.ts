/**
 * The laws that every layer of a stack holds to: a plan says what a run does, an unchanged run sends nothing, results do
 * not depend on the order of rows, batches answer like single calls, a run that is cut and resumed pays nothing twice,
 * a failure stays with its row, and the ledger has every call to the token.
 *
 * **Example** (a layer that translates prompts)
 *
 * ```ts
 * import { ModelClient, ModelRequest } from "@pipe/core"
 * import { LayerLaws } from "@pipe/core/testing"
 * import { NodeHost } from "@pipe/plugins"
 *
 * const polite = ModelClient.mapRequest((request) => ModelRequest.mapText(request, (text) => `${text}, please`))
 *
 * const cases = LayerLaws.cases({ layers: [polite], host: NodeHost.layerMemory })
 * for (const { run } of cases) await run()
 * cases.length // => 9
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import type * as ModelClient from "../client/ModelClient.ts"
import * as Stack from "../client/Stack.ts"
import * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import * as Source from "../flow/Source.ts"
import * as Usage from "../model/Usage.ts"
import * as Plan from "../plan/Plan.ts"
import type * as RunEvent from "../run/RunEvent.ts"
import * as Runner from "../run/Runner.ts"
import type * as Store from "../store/Store.ts"
import * as Case from "./Case.ts"
import * as TestModel from "./TestModel.ts"

/** What is tested. */
export interface Options<E> {
  /** The layer that is tested, or several from the top. The provider below them is a `TestModel`. */
  readonly layers: ReadonlyArray<Layer.Layer<ModelClient.ModelClient, E, ModelClient.ModelClient | Flow.Host>>
  /** Files and a store in memory: `NodeHost.layerMemory`. Each case builds one of its own. */
  readonly host: Layer.Layer<Flow.Host, Store.StoreError>
  /** The prompts of the rows, some of them equal. Default: ten. */
  readonly rows?: ReadonlyArray<string>
  /** The kind of request that the rows make. Default: `"completion"`. */
  readonly kind?: "completion" | "decision"
  /** What the provider answers to a prompt. Default: a text that repeats it, or a decision that depends on it. */
  readonly answer?: (call: TestModel.TestCall) => TestModel.Answer
  /**
   * Whether a plan knows each call. Set it to `false` for a layer that decides by answers, such as a cascade: its plan
   * then has at least as many calls as the run. Default: `true`.
   */
  readonly isPlanned?: boolean
  /** Whether the layer may answer when the provider fails, by words of its own. Default: `false`. */
  readonly answersAlone?: boolean
}

const ROWS = ["a tree", "two bees", "a tree", "the sea", "a stone", "two bees", "a house", "the sky", "a tree", "rain"]

/** Rows at the same time. */
const CONCURRENCY = 4

const QUESTION = { instructions: "Is it alive?", options: ["yes", "no"] } as const

/** What the provider answers, unless it is said. */
const answerOf =
  <E>({ kind }: Options<E>) =>
  ({ prompt }: TestModel.TestCall): TestModel.Answer =>
    kind === "decision" ? { decision: /tree|bees/.test(prompt) ? "yes" : "no" } : `on ${prompt}`

const BATCH = { polling: { first: "5 millis", most: "10 millis" } } as const

/** What is tested, and the source of its rows. It is made where `cases` is called: the layer's code is looked for there. */
interface Tested<E> extends Options<E> {
  readonly source: Node.Node<string>
}

/** A flow of one step over the rows, and what came out. */
const scenario = <E>(options: Tested<E>, more: { readonly onCall?: (count: number) => void } = {}) => {
  const { answer = answerOf(options), layers } = options
  const answers = new Map<string, Array<string>>()
  const model = TestModel.make((call) => {
    more.onCall?.(model.calls().length)
    return answer(call)
  })
  const flow = (version = "1") => {
    const row = options.source
    // The step stays the same, whatever this module is built into.
    const policy = { version, by: "laws" }
    const reply =
      options.kind === "decision"
        ? Flow.map(
            "decided",
            { reply: Flow.decide("reply", { row }, { ...QUESTION, ...policy }) },
            ({ reply }) => `${reply.value} ${reply.probability}`
          )
        : Flow.step(
            "reply",
            { row },
            ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text),
            policy
          )
    const [first = model.layer, ...rest] = [...layers, model.layer]
    // The last one needs no other.
    const stack = Stack.make(first, ...rest) as Layer.Layer<ModelClient.ModelClient, E, Flow.Host>
    return Flow.make("laws", {
      outputs: [
        Sink.forEach("out", { row, reply }, ({ reply, row }) =>
          Effect.sync(() => void answers.set(row, [...(answers.get(row) ?? []), reply]))
        )
      ],
      concurrency: CONCURRENCY,
      stack
    })
  }
  let seen = 0
  return {
    flow,
    /** The prompts of the calls since the last time, sorted. */
    prompts: () => {
      const prompts = model.calls().slice(seen)
      seen = model.calls().length
      return prompts.map(({ prompt }) => prompt).toSorted()
    },
    /** The answers since the last time, by row. */
    answers: () => {
      const taken = Object.fromEntries([...answers].toSorted(([a], [b]) => (a < b ? -1 : 1)))
      answers.clear()
      return taken
    }
  }
}

const planned = (flow: Flow.Any) =>
  Effect.map(Plan.make(flow), ({ lines }) => lines.reduce((sum, { calls }) => sum + calls, 0))

/** Each call is recorded once, at its price, and what was saved adds up. */
const isRecorded = (
  { baseline, calls, cost, savings, tokens, unpriced }: RunEvent.RunFinished,
  sent: number,
  half = 1n
) => {
  strictEqual(calls.attempts, sent, "the ledger has another number of calls than the provider")
  strictEqual(unpriced, 0, "a call has no price")
  // 1 USD per million input tokens and 2 per million output tokens, in picodollars.
  const input = BigInt(Usage.inputTokens({ ...Usage.zero, ...tokens }))
  const output = BigInt(Usage.outputTokens({ ...Usage.zero, ...tokens }))
  strictEqual(cost, (input * 1_000_000n + output * 2_000_000n) / half, "the cost is not that of the tokens")
  const saved = Object.values(savings).reduce((sum, one) => sum + one, 0n)
  strictEqual(baseline, cost + saved, "cost and savings do not add up to the baseline")
}

const run = (flow: Flow.Any, options: Runner.Options = {}) => Runner.run(flow, { errorsFile: false, ...options })

/** A law, as a test in a store of its own. */
const lawOf =
  <E>({ host }: Tested<E>) =>
  <E2>(name: string, effect: Effect.Effect<unknown, E2, Flow.Host>): Case.Case =>
    Case.make(name, Effect.provide(effect, Layer.fresh(host)))

const rowsOf = <E>({ rows = ROWS }: Options<E>): ReadonlyArray<string> => rows

const isAsPlanned = <E>({ isPlanned = true }: Options<E>, plan: number, sent: number): void => {
  if (isPlanned) strictEqual(sent, plan, `the run sends ${sent} calls, and its plan says ${plan}`)
  else ok(sent <= plan, `the run sends ${sent} calls, and its plan says ${plan}`)
}

/** Plans, runs and results. */
const ofPlans = <E>(options: Tested<E>): ReadonlyArray<Case.Case> => {
  const [law, rows] = [lawOf(options), rowsOf(options)]
  return [
    law(
      "a run sends what its plan says, and every call is in the ledger",
      Effect.gen(function* () {
        const { answers, flow, prompts } = scenario(options)
        const plan = yield* planned(flow())
        deepStrictEqual(prompts(), [], "a plan sends calls")
        const summary = yield* run(flow())
        const sent = prompts()
        isAsPlanned(options, plan, sent.length)
        isRecorded(summary, sent.length)
        strictEqual(Object.values(answers()).flat().length, rows.length, "rows are missing in the output")
      })
    ),
    law(
      "an unchanged run sends nothing and gives the same answers; so says its plan",
      Effect.gen(function* () {
        const { answers, flow, prompts } = scenario(options)
        yield* run(flow())
        const before = answers()
        prompts()
        strictEqual(yield* planned(flow()), 0, "the plan of an unchanged run has calls")
        const summary = yield* run(flow())
        deepStrictEqual(prompts(), [], "an unchanged run sends calls")
        isRecorded(summary, 0)
        deepStrictEqual(answers(), before, "an unchanged run gives other answers")
      })
    ),
    law(
      "a run after an edit of the step sends what its plan says",
      Effect.gen(function* () {
        const { flow, prompts } = scenario(options)
        yield* run(flow())
        prompts()
        const plan = yield* planned(flow("2"))
        const summary = yield* run(flow("2"))
        const sent = prompts()
        isAsPlanned(options, plan, sent.length)
        isRecorded(summary, sent.length)
      })
    )
  ]
}

/** The answers of rows. */
const ofAnswers = <E>(options: Tested<E>): ReadonlyArray<Case.Case> => {
  const [law, rows] = [lawOf(options), rowsOf(options)]
  return [
    law(
      "answers do not depend on the order of the rows",
      Effect.gen(function* () {
        const forward = scenario(options)
        yield* Effect.provide(run(forward.flow()), Layer.fresh(options.host))
        const backward = scenario(options)
        yield* run(backward.flow(), { sources: [Source.given(options.source, rows.toReversed())] })
        sameAnswers(backward.answers(), forward.answers(), "in another order of the rows")
      })
    ),
    law(
      "a run in batches gives the same answers, at the price of batches",
      Effect.gen(function* () {
        const single = scenario(options)
        yield* Effect.provide(run(single.flow()), Layer.fresh(options.host))
        const expected = single.answers()
        const batched = scenario(options)
        const summary = yield* run(batched.flow(), { batch: BATCH })
        sameAnswers(batched.answers(), expected, "in batches")
        isRecorded(summary, batched.prompts().length, 2n)
      })
    )
  ]
}

/** Runs that end early. */
const ofEndings = <E>(options: Tested<E>): ReadonlyArray<Case.Case> => {
  const [law, rows] = [lawOf(options), rowsOf(options)]
  return [
    law(
      "a run that is cut and resumed sends again only what was in progress",
      Effect.gen(function* () {
        const whole = scenario(options)
        // In a store of its own, whose results the others do not find.
        yield* Effect.provide(run(whole.flow()), Layer.fresh(options.host))
        const [calls, answers] = [whole.prompts(), whole.answers()]
        const reached = Deferred.makeUnsafe<void>()
        const half = Math.max(1, Math.ceil(calls.length / 2))
        const cut = scenario(options, {
          onCall: (count) => void (count === half && Deferred.doneUnsafe(reached, Effect.void))
        })
        const fiber = yield* Effect.forkChild(run(cut.flow()))
        yield* Effect.raceFirst(Deferred.await(reached), Fiber.await(fiber))
        yield* Fiber.interrupt(fiber)
        cut.answers()
        yield* run(cut.flow())
        const sent = cut.prompts().length
        const most = calls.length + CONCURRENCY * Math.ceil(calls.length / rows.length)
        ok(sent >= calls.length && sent <= most, `the two runs send ${sent} calls, and a whole one ${calls.length}`)
        sameAnswers(cut.answers(), answers, "after a run that was cut")
      })
    ),
    law(
      "an interrupted run ends, and leaves no call behind",
      Effect.gen(function* () {
        const started = Deferred.makeUnsafe<void>()
        let inProgress = 0
        const { flow } = scenario({
          ...options,
          answer: () =>
            Effect.sync(() => {
              inProgress++
              Deferred.doneUnsafe(started, Effect.void)
            }).pipe(
              Effect.andThen(Effect.never),
              Effect.onInterrupt(() => Effect.sync(() => inProgress--))
            )
        })
        const fiber = yield* Effect.forkChild(run(flow()))
        yield* Effect.raceFirst(Deferred.await(started), Fiber.await(fiber))
        const ending = yield* Effect.forkDetach(Fiber.interrupt(fiber))
        yield* Effect.timeoutOrElse(Fiber.await(ending), {
          duration: "10 seconds",
          orElse: () => Effect.die(new Error("the run does not end when it is interrupted"))
        })
        // A fiber of the layer may end a moment later.
        for (let time = 0; inProgress > 0 && time < 100; time++) yield* Effect.sleep(5)
        strictEqual(inProgress, 0, "calls continue after the run has ended")
      })
    )
  ]
}

/** Rows that fail. */
const ofFailures = <E>(options: Tested<E>): ReadonlyArray<Case.Case> => {
  const [law, rows] = [lawOf(options), rowsOf(options)]
  return [
    law(
      "a failure of the provider fails its row, with its words, and no other",
      Effect.gen(function* () {
        const bad = rows[rows.length - 1]!
        const reason = new AiError.ContentPolicyError({ description: "the provider refuses the text" })
        const answer = options.answer ?? answerOf(options)
        const { answers, flow } = scenario({
          ...options,
          answer: (call) => (call.prompt.includes(bad) ? TestModel.failure(reason) : answer(call))
        })
        const failed: Array<string> = []
        yield* run(flow(), {
          observe: (event) => Effect.sync(() => void (event._tag === "RowFailed" && failed.push(event.message)))
        })
        const isBad = (row: string) => row === bad
        ok(
          failed.every((message) => message.includes("the provider refuses the text")),
          `the words of the failure are lost: ${failed[0]}`
        )
        // A layer may answer without the provider.
        strictEqual(failed.length + Object.values(answers()).flat().length, rows.length)
        ok(failed.length <= rows.filter(isBad).length, "rows fail with another row")
      })
    ),
    law(
      "rows fail when the provider answers none of them",
      Effect.gen(function* () {
        const reason = new AiError.ContentPolicyError({ description: "the provider refuses the text" })
        const { answers, flow } = scenario({ ...options, answer: () => TestModel.failure(reason) })
        const failed: Array<string> = []
        yield* run(flow(), {
          observe: (event) => Effect.sync(() => void (event._tag === "RowFailed" && failed.push(event.message)))
        })
        if (options.answersAlone === true) return
        deepStrictEqual(
          answers(),
          {},
          "rows have answers although the provider fails: set `answersAlone` if they are meant"
        )
        strictEqual(failed.length, rows.length, "rows are missing: they neither failed nor have an answer")
      })
    )
  ]
}

/** The laws, as tests. */
export const cases = <E>(options: Options<E>): ReadonlyArray<Case.Case> => {
  const tested = { ...options, source: Source.fromIterable("rows", rowsOf(options)) }
  return [...ofPlans(tested), ...ofAnswers(tested), ...ofEndings(tested), ...ofFailures(tested)]
}

type Answers = { readonly [row: string]: ReadonlyArray<string> }

/** The distinct answers of each row. */
const sets = (answers: Answers) =>
  Object.fromEntries(Object.entries(answers).map(([row, all]) => [row, [...new Set(all)].toSorted()]))

const sameAnswers = (answers: Answers, expected: Answers, when: string): void => {
  const [found, truth] = [sets(answers), sets(expected)]
  for (const row of Object.keys(truth)) {
    deepStrictEqual(
      found[row],
      truth[row],
      `${JSON.stringify(row)} has another answer ${when}: ${JSON.stringify(found[row])} and not ${JSON.stringify(truth[row])}`
    )
  }
}
