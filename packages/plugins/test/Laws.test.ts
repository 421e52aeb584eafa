/**
 * Laws of stacks: layers in random orders make the calls, give the answers and record the costs that a model of them says, in a plan, a run, an
 * unchanged and an edited run, in batches, and when a run is cut and resumed. The model is plain functions: what each layer is documented to do.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Cascade,
  Coalesce,
  Concurrency,
  Fallback,
  Flow,
  Hedge,
  LayerAnnotations,
  Ledger,
  ModelClient,
  ModelRequest,
  ModelResponse,
  Money,
  Pack,
  Plan,
  PromptCache,
  RateLimit,
  Retry,
  Router,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Context, Deferred, Effect, Fiber, type Layer } from "effect"
import { LanguageModel } from "effect/ai"
import * as Soak from "../../../test/Soak.ts"

const MINI = "gpt-4o-mini"
const STRONG = "gpt-4o"
const EMAIL = /\S+@\S+/
const HARMFUL = "Is this text harmful? Reply yes or no."
/** Requests shorter than this go to the small model. */
const SHORT = 60

/** Twelve rows, some of them equal, some that differ by what a mask removes alone, some too hard for the small model. */
const rows = Array.from({ length: 12 }, (_, n) => {
  const at = n % 8
  return `text ${at % 6}${at % 3 === 0 ? " (hard)" : ""}${at % 2 === 0 ? `, write to user${at}@acme.com` : " ".repeat(at * 6) + "."}`
})

/** What the provider answers. */
const answerOf = (model: string, prompt: string): string =>
  prompt.startsWith(HARMFUL) ? "no" : `${model} on ${prompt.trim()}`

const isGood = (answer: string): boolean => !(answer.startsWith(`${MINI} `) && answer.includes("(hard)"))

/** A request of the model. */
interface Asked {
  readonly model?: string | undefined
  readonly prompt: string
  readonly isAside?: boolean
}

/** A client of the model. */
interface Client {
  readonly resolve: (asked: Asked) => Asked
  readonly send: (asked: Asked) => string
  /** Equal requests below may have different answers here. */
  readonly changes: boolean
}

interface Part {
  readonly name: string
  readonly layer: Layer.Layer<ModelClient.ModelClient, unknown, ModelClient.ModelClient | Flow.Host>
  /** `kept` is what outlives a run. */
  readonly model: (next: Client, kept: Map<string, string>) => Client
}

/** A layer that does nothing to requests and answers. */
const nothing = (name: string, layer: Part["layer"]): Part => ({ name, layer, model: (next) => next })

const mapped = (next: Client, f: (asked: Asked) => Asked): Client => ({
  ...next,
  resolve: (asked) => next.resolve(f(asked)),
  send: (asked) => next.send(f(asked))
})

const question = (request: ModelRequest.ModelRequest) =>
  ModelRequest.completion({ messages: [{ role: "user", content: `${HARMFUL}\n\n${ModelRequest.text(request)}` }] })

const cache: Part = {
  name: "Cache",
  layer: Cache.layer(),
  model: (next, kept) => ({
    ...next,
    send: (asked) => {
      const { model, prompt } = next.resolve(asked)
      const key = JSON.stringify([model, prompt, next.changes ? asked.prompt : ""])
      const known = kept.get(key)
      if (known !== undefined) return known
      const answer = next.send(asked)
      kept.set(key, answer)
      return answer
    }
  })
}

const mask: Part = {
  name: "Mask",
  layer: ModelClient.around(
    (request) => {
      const [email = ""] = EMAIL.exec(ModelRequest.text(request)) ?? []
      return {
        request: ModelRequest.mapText(request, (text) => text.replace(EMAIL, "[email]")),
        restore: (response) => ModelResponse.mapText(response, (text) => text.replace("[email]", email))
      }
    },
    { name: "Mask" }
  ),
  model: (next) => {
    const masked = (asked: Asked): Asked => ({ ...asked, prompt: asked.prompt.replace(EMAIL, "[email]") })
    return {
      changes: true,
      resolve: (asked) => next.resolve(masked(asked)),
      send: (asked) => next.send(masked(asked)).replace("[email]", EMAIL.exec(asked.prompt)?.[0] ?? "")
    }
  }
}

const guardrail: Part = {
  name: "Guardrail",
  layer: ModelClient.middleware(
    (send) => (request) => Effect.andThen(ModelClient.aside("guardrail", send)(question(request)), send(request)),
    {
      name: "Guardrail",
      annotations: Context.make(LayerAnnotations.Asks, (request) => [
        { purpose: "guardrail", request: question(request) }
      ])
    }
  ),
  model: (next) => ({
    ...next,
    send: (asked) => {
      next.send({ prompt: `${HARMFUL}\n\n${asked.prompt}`, isAside: true })
      return next.send(asked)
    }
  })
}

const router: Part = {
  name: "Router",
  layer: Router.layer({ cheap: MINI, strong: STRONG, when: Router.promptShorterThan(SHORT) }),
  model: (next) =>
    mapped(next, (asked) => ({ ...asked, model: asked.model ?? (asked.prompt.length < SHORT ? MINI : STRONG) }))
}

const cascade: Part = {
  name: "Cascade",
  layer: Cascade.layer({ models: [MINI, STRONG] }),
  model: (next) => ({
    ...next,
    resolve: (asked) => ({ ...next.resolve(asked), model: asked.model ?? `${MINI} > ${STRONG}` }),
    send: (asked) => {
      if (asked.model !== undefined) return next.send(asked)
      const first = next.send({ ...asked, model: MINI })
      return asked.isAside === true || isGood(first) ? first : next.send({ ...asked, model: STRONG })
    }
  })
}

const fallback: Part = {
  name: "Fallback",
  layer: Fallback.layer([MINI, STRONG]),
  model: (next) => mapped(next, (asked) => ({ ...asked, model: asked.model ?? MINI }))
}

const parts: ReadonlyArray<Part> = [
  cache,
  mask,
  guardrail,
  router,
  cascade,
  fallback,
  nothing("Ledger", Ledger.layer),
  nothing("Retry", Retry.layer({ base: "1 millis" })),
  nothing("RateLimit", RateLimit.layer({ requestsPerMinute: 100_000 })),
  nothing("Concurrency", Concurrency.layer(3)),
  nothing("Hedge", Hedge.layer({ atLeast: "1 minute" })),
  nothing("Coalesce", Coalesce.layer({ wait: "1 millis" })),
  nothing("PromptCache", PromptCache.layer()),
  nothing("Pack", Pack.layer()),
  nothing(
    "Log",
    ModelClient.onAttempt(() => Effect.succeed({}), { name: "Log", answers: false })
  ),
  nothing(
    "Own",
    ModelClient.middlewareEffect((next) => Effect.succeed<ModelClient.Send>((request) => next.send(request)), {
      name: "Own",
      answers: false
    })
  )
]

/** Orders that a stack refuses are tried elsewhere. */
const isAllowed = (order: ReadonlyArray<Part>): boolean => {
  const at = (name: string) => order.findIndex((part) => part.name === name)
  const isOver = (upper: string, lower: string) => at(upper) >= 0 && at(lower) >= 0 && at(upper) < at(lower)
  return !isOver("Retry", "Cache") && !isOver("Mask", "Cascade")
}

/** Numbers from 0 to 1, equal for equal seeds (mulberry32). */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const stackOf = (seed: number): ReadonlyArray<Part> => {
  const next = random(seed)
  for (;;) {
    const order = parts
      .filter(() => next() < 0.5)
      .map((part) => ({ part, key: next() }))
      .toSorted((a, b) => a.key - b.key)
      .map(({ part }) => part)
    if (isAllowed(order)) return order
  }
}

/** The calls and answers that a stack should make for the rows. */
const expected = (stack: ReadonlyArray<Part>, kept: Map<string, string>, isBatched = false) => {
  const calls: Array<string> = []
  const sharesLines = isBatched && stack.includes(cache)
  const batched = new Set<string>()
  /** How often a row has sent a request. */
  let times = new Map<string, number>()
  const provider: Client = {
    changes: false,
    resolve: (asked) => ({ ...asked, model: asked.model ?? MINI }),
    send: ({ model = MINI, prompt }) => {
      const call = `${model} ${prompt}`
      const time = (times.get(call) ?? 0) + 1
      times.set(call, time)
      // With a cache, rows with equal requests share a line of a batch. A row that repeats a request has a line for each.
      if (!sharesLines || !batched.has(`${time} ${call}`)) calls.push(call)
      batched.add(`${time} ${call}`)
      return answerOf(model, prompt)
    }
  }
  const client = stack.reduceRight((next, part) => part.model(next, kept), provider)
  const answers = rows.map((prompt) => {
    times = new Map()
    return client.send({ prompt })
  })
  return { calls: calls.toSorted(), answers }
}

interface Tried {
  readonly calls: Array<string>
  readonly answers: Array<string>
}

/** USD per million tokens of input and output (openai.com/api/pricing, accessed 2026-11-28). */
const PRICES: { readonly [model: string]: readonly [input: number, output: number] } = {
  [MINI]: [0.15, 0.6],
  [STRONG]: [2.5, 10]
}

const billed = (bill: ReadonlyArray<Simulator.Bill>): number =>
  bill.reduce((sum, { input, model, output, serviceTier }) => {
    const [perInput, perOutput] = PRICES[model]!
    return sum + ((input * perInput + output * perOutput) / 1e6) * (serviceTier === "batch" ? 0.5 : 1)
  }, 0)

/** A stack over a simulator that notes calls, in a store of its own. */
const scenario = (stack: ReadonlyArray<Part>, onCall: (count: number) => void = () => {}) =>
  Effect.gen(function* () {
    const tried: Tried = { calls: [], answers: [] }
    const simulator = yield* Simulator.start({
      answer: ({ model, prompt }) => {
        tried.calls.push(`${model} ${prompt}`)
        onCall(tried.calls.length)
        return answerOf(model, prompt)
      },
      batches: { latency: "5 millis" }
    })
    const flow = (version = "1") => {
      const row = Source.fromIterable("rows", rows)
      const reply = Flow.step(
        "reply",
        { row },
        ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text),
        { version, quality: { check: isGood } }
      )
      const provider = OpenAi.layer({
        model: MINI,
        endpoint: "simulator",
        baseUrl: simulator.openAiUrl,
        apiKey: "test"
      })
      const layers = stack.map(({ layer }) => layer)
      return Flow.make("laws", {
        outputs: [Sink.forEach("out", reply, (answer) => Effect.sync(() => void tried.answers.push(answer)))],
        concurrency: 4,
        stack: Stack.make(layers[0] ?? Ledger.layer, ...layers.slice(1), provider)
      })
    }
    const take = () => ({ calls: tried.calls.splice(0).toSorted(), answers: tried.answers.splice(0) })
    return { flow, take, simulator }
  })

type Summary = Effect.Success<ReturnType<typeof Runner.run>>

const assertRecorded = (summary: Summary, calls: number, cost: number) => {
  assert.strictEqual(summary.calls.attempts, calls)
  assert.closeTo(Number(Money.toUsd(summary.cost)), cost, 1e-12)
  const saved = Object.values(summary.savings).reduce((sum, one) => sum + one, 0n)
  assert.strictEqual(summary.baseline, summary.cost + saved)
}

const planned = (plan: Plan.Plan): number => plan.lines.reduce((sum, { calls }) => sum + calls, 0)

const fast = { polling: { first: "5 millis", most: "10 millis" } } as const

describe("a random stack", () => {
  const seeds = Array.from({ length: Soak.times(2, 400) }, (_, seed) => seed)
  const alone = parts.map((part) => [part])

  for (const [which, stack] of [
    ...alone.map((stack) => ["alone", stack] as const),
    ...seeds.map((seed) => [`seed ${seed}`, stackOf(seed)] as const)
  ]) {
    const names = stack.map(({ name }) => name).join(" > ")
    const hasCascade = stack.includes(cascade)

    it.live(
      `is planned, runs and runs again as modelled (${which}: ${names})`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { flow, simulator, take } = yield* scenario(stack)
            const kept = new Map<string, string>()
            const first = expected(stack, kept)
            const plan = planned(yield* Plan.make(flow()))
            assert.deepStrictEqual(take().calls, [])
            if (hasCascade) assert.isAtLeast(plan, first.calls.length)
            else assert.strictEqual(plan, first.calls.length)

            const summary = yield* Runner.run(flow(), { errorsFile: false })
            assert.deepStrictEqual(take(), first)
            assertRecorded(summary, first.calls.length, billed(simulator.bill()))

            assert.strictEqual(planned(yield* Plan.make(flow())), 0)
            const unchanged = yield* Runner.run(flow(), { errorsFile: false })
            assert.deepStrictEqual(take(), { calls: [], answers: first.answers })
            assertRecorded(unchanged, 0, 0)

            const edited = expected(stack, kept)
            const editedPlan = planned(yield* Plan.make(flow("2")))
            if (hasCascade) assert.isAtLeast(editedPlan, edited.calls.length)
            else assert.strictEqual(editedPlan, edited.calls.length)
            const before = billed(simulator.bill())
            const again = yield* Runner.run(flow("2"), { errorsFile: false })
            assert.deepStrictEqual(take(), edited)
            assertRecorded(again, edited.calls.length, billed(simulator.bill()) - before)
          }).pipe(Effect.provide(NodeHost.layerMemory))
        ),
      Soak.timeout(60_000)
    )

    it.live(
      `works in batches as modelled (${which}: ${names})`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { flow, simulator, take } = yield* scenario(stack)
            const kept = new Map<string, string>()
            const first = expected(stack, kept, true)
            const summary = yield* Runner.run(flow(), { errorsFile: false, batch: fast })
            assert.deepStrictEqual(take(), first)
            assertRecorded(summary, first.calls.length, billed(simulator.bill()))
            yield* Runner.run(flow(), { errorsFile: false, batch: fast })
            assert.deepStrictEqual(take(), { calls: [], answers: first.answers })
          }).pipe(Effect.provide(NodeHost.layerMemory))
        ),
      Soak.timeout(60_000)
    )

    it.live(
      `is cut and resumed without a second payment (${which}: ${names})`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const reached = Deferred.makeUnsafe<void>()
            const model = expected(stack, new Map())
            const half = Math.ceil(model.calls.length / 2)
            const { flow, take } = yield* scenario(stack, (count) => {
              if (count === half) Deferred.doneUnsafe(reached, Effect.void)
            })
            const fiber = yield* Effect.forkChild(Runner.run(flow(), { errorsFile: false }))
            yield* Deferred.await(reached)
            yield* Fiber.interrupt(fiber)
            const { calls } = take()
            yield* Runner.run(flow(), { errorsFile: false })
            const rest = take()
            assert.deepStrictEqual(rest.answers, model.answers)
            // Of the four rows in progress, the calls that were made may be lost.
            const perRow = 2 * (stack.includes(guardrail) ? 2 : 1) * (hasCascade ? 2 : 1)
            assert.isAtMost(calls.length + rest.calls.length, model.calls.length + 4 * perRow)
            assert.isAtLeast(calls.length + rest.calls.length, model.calls.length)
          }).pipe(Effect.provide(NodeHost.layerMemory))
        ),
      Soak.timeout(60_000)
    )
  }
})
