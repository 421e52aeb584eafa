/**
 * Layers as somebody else writes them, with the public API alone: no internal import, no cast. What the framework sees of a built-in one it
 * sees of these.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  Batch,
  Cache,
  CallContext,
  Cascade,
  Flow,
  LayerAnnotations,
  Ledger,
  ModelClient,
  ModelRequest,
  ModelResponse,
  Pack,
  Plan,
  RateLimit,
  RequestKey,
  Retry,
  Router,
  Runner,
  SemanticCache,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Clock, Context, Deferred, Effect, Layer, Logger, Schema } from "effect"
import { type AiError, LanguageModel } from "effect/ai"

const words = (count: number) =>
  Source.fromIterable(
    "words",
    Array.from({ length: count }, (_, n) => `word ${n}`)
  )

/** The attempts that a log of attempts has seen. */
const attemptLog = () => {
  const seen: Array<string> = []
  const layer = ModelClient.onAttempt(
    ({ isBatched, request }) =>
      Effect.succeed({
        onEnd: ({ billed, error }) =>
          void seen.push(
            `${isBatched === true ? "batch" : "single"} ${ModelRequest.text(request)}: ${error?.reason._tag ?? billed}`
          )
      }),
    { name: "AttemptLog", answers: false }
  )
  return { layer, seen }
}

describe("a log of attempts", () => {
  const run = (
    log: ReturnType<typeof attemptLog>,
    options: { readonly batch?: {}; readonly simulator?: Simulator.Options }
  ) =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start(options.simulator ?? {})
        const row = words(3)
        const answer = Flow.step("answer", { row }, ({ row }) =>
          Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
        )
        const flow = Flow.make("log", {
          outputs: [Sink.forEach("out", answer, () => Effect.void)],
          stack: Stack.make(
            Ledger.layer,
            log.layer,
            Retry.layer({ base: "1 millis" }),
            OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "test" })
          )
        })
        return yield* Runner.run(flow, {
          errorsFile: false,
          ...(options.batch === undefined
            ? undefined
            : { batch: { polling: { first: "10 millis", most: "20 millis" } } })
        }).pipe(Effect.provide(NodeHost.layerMemory))
      })
    )

  it.live("sees each attempt, retries included", () =>
    Effect.gen(function* () {
      const log = attemptLog()
      const summary = yield* run(log, { simulator: { faults: { serverError: 0.4 }, seed: "b" } })
      assert.strictEqual(log.seen.length, summary.calls.attempts)
      assert.isAbove(log.seen.filter((line) => line.includes("InternalProviderError")).length, 0)
      assert.strictEqual(log.seen.filter((line) => line.endsWith(": yes")).length, 3)
    })
  )

  it.live("sees the requests of batches, each with its end (F25)", () =>
    Effect.gen(function* () {
      const log = attemptLog()
      yield* run(log, { batch: {}, simulator: { batches: { latency: "10 millis" } } })
      assert.deepStrictEqual(log.seen.toSorted(), ["batch word 0: yes", "batch word 1: yes", "batch word 2: yes"])
    })
  )
})

/** A flow of five rows over some layers and the simulator. */
const flowOf = (layer: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>) => {
  const row = Source.fromIterable(
    "rows",
    Array.from({ length: 5 }, (_, n) => ({ n, plan: n < 2 ? "pro" : "free" }))
  )
  const answer = Flow.step("answer", { row }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: `say ${row.n}` }), ({ text }) => text)
  )
  return Flow.make("third-party", {
    outputs: [Sink.forEach("out", answer, () => Effect.void)],
    stack: Stack.make(Ledger.layer, layer, OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" }))
  })
}

const callsOf = (plan: Plan.Plan): number => plan.lines.reduce((sum, { calls }) => sum + calls, 0)

const host = () => Layer.mergeAll(NodeHost.layerMemory, Simulator.layer({ seed: "third-party" }))

describe("a cache with a store of its own", () => {
  /** Keeps answers in a map. */
  const cacheOf = (kept: Map<string, ModelResponse.ModelResponse>) =>
    ModelClient.middlewareService(
      (next) =>
        Effect.succeed({
          resolve: next.resolve,
          send: <R extends ModelRequest.ModelRequest>(request: R) =>
            Effect.flatMap(CallContext.CallContext, (call) => {
              const key = RequestKey.content(next.resolve(request, call))
              const known = ModelResponse.forRequest(request, kept.get(key))
              return known === undefined
                ? Effect.tap(next.send(request), (response) => Effect.sync(() => void kept.set(key, response)))
                : Effect.succeed(ModelResponse.again(known, "cache"))
            }),
          annotations: Context.make(LayerAnnotations.Cached, {
            peek: (request, call) => Effect.sync(() => kept.get(RequestKey.content(next.resolve(request, call))))
          })
        }),
      { name: "MapCache", answers: false }
    )

  it.live("is read by a plan, counted in the report, and shown as a strategy (F19)", () =>
    Effect.gen(function* () {
      const kept = new Map<string, ModelResponse.ModelResponse>()
      const before = yield* Plan.make(flowOf(cacheOf(kept))).pipe(Effect.provide(host()))
      assert.strictEqual(callsOf(before), 5)
      yield* Runner.run(flowOf(cacheOf(kept))).pipe(Effect.provide(host()))
      assert.strictEqual(kept.size, 5)
      const after = yield* Plan.make(flowOf(cacheOf(kept))).pipe(Effect.provide(host()))
      assert.strictEqual(callsOf(after), 0)
      assert.include(
        after.strategies.map(({ name }) => name),
        "without the exact cache"
      )
      const again = yield* Runner.run(flowOf(cacheOf(kept))).pipe(Effect.provide(host()))
      assert.strictEqual(again.calls.attempts, 0)
      assert.strictEqual(again.calls.answers.cache, 5)
      assert.isAbove(Number(again.savings.cache), 0)
    })
  )
})

describe("a router of requests by the row", () => {
  const byPlan = ModelClient.mapRequest(
    (request, { values }) => ModelRequest.withModel(request, values["row"]?.plan === "pro" ? "gpt-4o" : "gpt-4o-mini"),
    { name: "ByPlan", annotations: Context.make(LayerAnnotations.Routes, { baseline: "gpt-4o" }) }
  )

  it.live("is in the plan, and its savings are in the report (F23, F24)", () =>
    Effect.gen(function* () {
      const plan = yield* Plan.make(flowOf(byPlan)).pipe(Effect.provide(host()))
      assert.deepStrictEqual(
        plan.lines.map(({ calls, model }) => [model, calls]),
        [
          ["gpt-4o", 2],
          ["gpt-4o-mini", 3]
        ]
      )
      assert.include(
        plan.strategies.map(({ name }) => name),
        "without routing"
      )
      const summary = yield* Runner.run(flowOf(byPlan)).pipe(Effect.provide(host()))
      assert.isAbove(Number(summary.savings.router), 0)
      assert.strictEqual(
        summary.baseline,
        summary.cost + Object.values(summary.savings).reduce((sum, one) => sum + one, 0n)
      )
    })
  )
})

describe("a limiter", () => {
  it.live("tells a plan its limits", () =>
    Effect.gen(function* () {
      const limit = ModelClient.middleware(
        (send) => (request) => Effect.andThen(Clock.currentTimeMillis, send(request)),
        {
          name: "Limit",
          annotations: Context.make(LayerAnnotations.RateLimited, { requestsPerMinute: 1 }).pipe(
            Context.add(LayerAnnotations.Paces, true)
          )
        }
      )
      const plan = yield* Plan.make(flowOf(limit)).pipe(Effect.provide(host()))
      assert.isAtLeast(plan.milliseconds ?? 0, 4 * 60_000)
    })
  )
})

describe("an output of another kind", () => {
  it.live("is not opened by a simulated run, unless it has a place for it", () =>
    Effect.gen(function* () {
      const written: Array<string> = []
      const to = (place: string) =>
        Effect.succeed({
          write: (rows: ReadonlyArray<string>) =>
            Effect.sync(() => written.push(...rows.map((row) => `${place} ${row}`))),
          finish: Effect.sync(() => written.push(`${place} end`))
        })
      const row = words(2)
      const flow = Flow.make("places", {
        outputs: [
          Sink.make("table", row, { open: to("table") }),
          Sink.make("other", row, { open: to("other"), simulated: to("trial") })
        ]
      })
      yield* Effect.provide(Runner.run(flow), host())
      assert.deepStrictEqual(written.splice(0), ["trial word 0", "trial word 1", "trial end"])
      yield* Effect.provide(Runner.run(flow), NodeHost.layerMemory)
      assert.deepStrictEqual(written.toSorted(), [
        "other end",
        "other word 0",
        "other word 1",
        "table end",
        "table word 0",
        "table word 1"
      ])
    })
  )
})

describe("the order of a stack", () => {
  const openai = OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" })
  const mask = ModelClient.middleware(
    (send) => (request) =>
      Effect.map(send(ModelRequest.mapText(request, (text) => text.replace("Anna", "[name]"))), (response) =>
        ModelResponse.mapText(response, (text) => text.replace("[name]", "Anna"))
      ),
    { name: "Mask", annotations: Context.make(LayerAnnotations.ChangesAnswers, true) }
  )
  const log = ModelClient.middleware((send) => (request) => Effect.tap(send(request), () => Effect.void), {
    name: "Log",
    answers: false
  })
  const refused: ReadonlyArray<readonly [string, Layer.Layer<ModelClient.ModelClient, unknown, Flow.Host>, RegExp]> = [
    [
      "batches over a layer that changes requests (F5)",
      Stack.make(Batch.layer(), mask, openai),
      /^Batch is above Mask: requests of batches leave the stack here, and would bypass it\. Put Mask above Batch$/
    ],
    [
      "two retries (F11)",
      Stack.make(Retry.layer(), Cache.layer(), Retry.layer(), openai),
      /^the stack has Retry twice/
    ],
    [
      "a cache under a retry",
      Stack.make(Retry.layer(), Cache.layer(), openai),
      /^Retry is above Cache: .*\. Put Cache above Retry$/
    ],
    [
      "a mask over a cascade that reads answers (F28)",
      Stack.make(mask, Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }), openai),
      /^Mask is above Cascade\(?.*: .*\. Put Cascade.* above Mask$/
    ]
  ]
  for (const [what, stack, message] of refused) {
    it.live(`refuses ${what}, before anything is sent`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(stack.pipe(Layer.provide(host())))))
        assert.strictEqual(exit._tag, "Failure")
        if (exit._tag !== "Failure") return
        const [reason] = exit.cause.reasons
        const error = reason !== undefined && "defect" in reason ? reason.defect : undefined
        assert.instanceOf(error, Stack.StackError)
        if (error instanceof Stack.StackError) assert.match(error.message, message)
      })
    )
  }

  it.live("accepts what loses nothing", () =>
    Effect.gen(function* () {
      for (const stack of [
        Stack.make(mask, Batch.layer(), log, openai),
        Stack.make(Cache.layer(), Retry.layer(), Batch.layer(), RateLimit.layer({ requestsPerMinute: 5 }), openai),
        Stack.make(Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }), mask, openai),
        Stack.make(
          Ledger.layer,
          Router.providers(
            { models: "gpt", layer: Stack.make(Retry.layer(), openai) },
            { models: "", layer: Stack.make(Retry.layer(), openai) }
          )
        )
      ]) {
        yield* Effect.scoped(Layer.build(stack.pipe(Layer.provide(host()))))
      }
    })
  )
})

describe("a guardrail with calls of its own", () => {
  const question = (request: ModelRequest.ModelRequest) =>
    ModelRequest.completion({
      messages: [{ role: "user", content: `Is this text harmful? Reply yes or no.\n\n${ModelRequest.text(request)}` }]
    })
  const guardrail = ModelClient.middleware(
    (send) => (request) => Effect.andThen(ModelClient.aside("guardrail", send)(question(request)), send(request)),
    {
      name: "Guardrail",
      annotations: Context.make(LayerAnnotations.Asks, (request) => [
        { purpose: "guardrail", request: question(request) }
      ])
    }
  )

  /** A step that requests an object: its check is not that of the guardrail's question. */
  const flow = () => {
    const row = words(4)
    const answer = Flow.step("answer", { row }, ({ row }) =>
      Effect.map(
        LanguageModel.generateObject({ schema: Schema.Struct({ good: Schema.Boolean }), prompt: row }),
        ({ value }) => value
      )
    )
    return Flow.make("guarded", {
      outputs: [Sink.forEach("out", answer, () => Effect.void)],
      budget: { usd: "1" },
      stack: Stack.make(
        Ledger.layer,
        guardrail,
        Retry.layer({ base: "1 millis" }),
        OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" })
      )
    })
  }

  for (const batch of [undefined, { polling: { first: "10 millis", most: "20 millis" } }] as const) {
    it.live(
      `are recorded under their purpose, once each, ${batch === undefined ? "online" : "in batches"} (F12-F14)`,
      () =>
        Effect.gen(function* () {
          const summary = yield* Runner.run(flow(), batch === undefined ? {} : { batch }).pipe(Effect.provide(host()))
          assert.strictEqual(summary.calls.attempts, 8)
          assert.deepStrictEqual(summary.steps.map(({ attempts, step }) => [step, attempts]).toSorted(), [
            ["answer / guardrail", 4],
            ["answer", 4]
          ])
          assert.strictEqual(summary.savings.router, 0n)
          assert.strictEqual(
            summary.baseline,
            summary.cost + Object.values(summary.savings).reduce((sum, one) => sum + one, 0n)
          )
        })
    )
  }

  it.live("are in the plan (F15)", () =>
    Effect.gen(function* () {
      const plan = yield* Plan.make(flow()).pipe(Effect.provide(host()))
      assert.deepStrictEqual(plan.lines.map(({ calls, step }) => [step, calls]).toSorted(), [
        ["answer / guardrail", 4],
        ["answer", 4]
      ])
    })
  )
})

describe("a mask of personal data", () => {
  const EMAIL = /\S+@\S+/
  /** Two rows that are alike once masked. */
  const people = Source.fromIterable("people", ["write to anna@acme.com", "write to bob@acme.com"])

  const around = ModelClient.around(
    (request) => {
      const [email = ""] = EMAIL.exec(ModelRequest.text(request)) ?? []
      return {
        request: ModelRequest.mapText(request, (text) => text.replace(EMAIL, "[email]")),
        restore: (response) => ModelResponse.mapText(response, (text) => text.replace("[email]", email))
      }
    },
    { name: "Mask" }
  )
  const ownResolve = ModelClient.middlewareService(
    (next) => {
      const masked = <R extends ModelRequest.ModelRequest>(request: R): R =>
        ModelRequest.mapText(request, (text) => text.replace(EMAIL, "[email]"))
      return Effect.succeed({
        resolve: (request, call) => next.resolve(masked(request), call),
        send: (request) => {
          const [email = ""] = EMAIL.exec(ModelRequest.text(request)) ?? []
          return Effect.map(next.send(masked(request)), (response) =>
            ModelResponse.mapText(response, (text) => text.replace("[email]", email))
          )
        }
      })
    },
    { name: "OwnMask" }
  )

  const flowOver = (mask: typeof around, order: "cache above" | "cache below", answers: Array<string> = []) => {
    const reply = Flow.step("reply", { person: people }, ({ person }) =>
      Effect.map(LanguageModel.generateText({ prompt: person }), ({ text }) => text)
    )
    const openai = OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" })
    return Flow.make("masked", {
      outputs: [Sink.forEach("out", reply, (answer) => Effect.sync(() => void answers.push(answer)))],
      concurrency: 1,
      stack: order === "cache above" ? Stack.make(Cache.layer(), mask, openai) : Stack.make(mask, Cache.layer(), openai)
    })
  }
  const parrot = () =>
    Layer.mergeAll(NodeHost.layerMemory, Simulator.layer({ answer: ({ prompt }) => `done: ${prompt}` }))
  const right = ["done: write to anna@acme.com", "done: write to bob@acme.com"]

  for (const [name, mask] of [
    ["around", around],
    ["a resolve of its own", ownResolve]
  ] as const) {
    for (const [order, calls] of [
      ["cache above", 2],
      ["cache below", 1]
    ] as const) {
      it.live(`(${name}) gives each row its own data, ${order}, as planned (F1, F10)`, () =>
        Effect.gen(function* () {
          const answers: Array<string> = []
          const flow = flowOver(mask, order, answers)
          yield* Effect.gen(function* () {
            // A custom `resolve` does not show a plan what arrives at a cache below.
            if (name === "around" || order === "cache above") {
              assert.strictEqual(callsOf(yield* Plan.make(flow)), calls)
            }
            const first = yield* Runner.run(flow)
            assert.strictEqual(first.calls.attempts, calls)
            assert.deepStrictEqual(answers, right)
            const again = yield* Plan.make(flow)
            assert.strictEqual(callsOf(again), 0)
            yield* Runner.run(flow)
            assert.deepStrictEqual(answers, [...right, ...right])
          }).pipe(Effect.provide(parrot()))
        })
      )
    }
  }

  it.live("is refused under a cache that reuses answers by meaning", () =>
    Effect.gen(function* () {
      const stack = Stack.make(
        SemanticCache.layerModel({ model: "text-embedding-3-small" }),
        around,
        OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" })
      )
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(stack.pipe(Layer.provide(host())))))
      assert.include(String(exit), "Put Mask above SemanticCache")
    })
  )
})

describe("a layer that opens something", () => {
  it.live("is not built by a plan (F31)", () =>
    Effect.gen(function* () {
      const built: Array<string> = []
      const log = ModelClient.middlewareEffect(
        (next) =>
          Effect.as(
            Effect.acquireRelease(
              Effect.sync(() => void built.push("opened")),
              () => Effect.sync(() => void built.push("closed"))
            ),
            next.send
          ),
        { name: "LogFile", answers: false }
      )
      yield* Plan.make(flowOf(log)).pipe(Effect.provide(host()))
      assert.deepStrictEqual(built, [])
      yield* Runner.run(flowOf(log)).pipe(Effect.provide(host()))
      assert.deepStrictEqual(built, ["opened", "closed"])
    })
  )
})

describe("two caches on one path", () => {
  it.live("are planned as they run", () =>
    Effect.gen(function* () {
      const flow = flowOf(ModelClient.middleware((send) => send, { name: "Same", answers: false }))
      const two = { ...flow, stack: Stack.make(Cache.layer(), Cache.layer(), OpenAi.layer({ model: "gpt-4o-mini" })) }
      assert.strictEqual(callsOf(yield* Plan.make(two)), 5)
      const summary = yield* Runner.run(two)
      assert.strictEqual(summary.calls.attempts, 5)
    }).pipe(Effect.provide(host()))
  )
})

describe("a row whose requests differ in each replay", () => {
  it.live("is sent as a single call in the end, with one warning", () =>
    Effect.gen(function* () {
      let n = 0
      const row = words(3)
      const answer = Flow.step("answer", { row }, ({ row }) =>
        Effect.map(LanguageModel.generateText({ prompt: `${n++} ${row}` }), ({ text }) => text)
      )
      const flow = Flow.make("other", {
        outputs: [Sink.forEach("out", answer, () => Effect.void)],
        stack: Stack.make(OpenAi.layer({ model: "gpt-4o-mini" }))
      })
      const said: Array<string> = []
      const summary = yield* Runner.run(flow, {
        batch: { polling: { first: "5 millis", most: "10 millis" } }
      }).pipe(
        Effect.provide(host()),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void said.push(String(message)))]))
      )
      assert.strictEqual(summary.rows.failed, 0)
      assert.strictEqual(summary.calls.attempts, 3 * 4)
      assert.strictEqual(said.filter((line) => line.includes("a row sends other requests each time")).length, 1)
    })
  )
})

describe("a single flight", () => {
  /** Equal requests in flight share one call, as anyone would write it first. */
  const share = ModelClient.middlewareEffect(
    (next) =>
      Effect.sync((): ModelClient.Send => {
        const flights = new Map<string, Deferred.Deferred<ModelResponse.ModelResponse, AiError.AiError>>()
        return (request) =>
          Effect.gen(function* () {
            const key = RequestKey.content(request)
            const known = flights.get(key)
            const flight = known ?? Deferred.makeUnsafe<ModelResponse.ModelResponse, AiError.AiError>()
            if (known === undefined) {
              flights.set(key, flight)
              yield* Effect.forkDetach(
                Deferred.into(
                  Effect.ensuring(
                    next.send(request),
                    Effect.sync(() => void flights.delete(key))
                  ),
                  flight
                )
              )
            }
            const response = ModelResponse.forRequest(request, yield* Deferred.await(flight))
            return response === undefined
              ? yield* Effect.die("an answer of another kind")
              : known === undefined
                ? response
                : ModelResponse.again(response, "shared")
          })
      }),
    { name: "Share", answers: false }
  )

  it.live("works in batches as it does online (F26)", () =>
    Effect.gen(function* () {
      const row = Source.fromIterable("rows", ["a", "b", "a", "c", "a", "b"])
      const twice = Flow.step("twice", { row }, ({ row }) =>
        Effect.gen(function* () {
          const first = yield* LanguageModel.generateText({ prompt: `first ${row}` })
          const second = yield* LanguageModel.generateText({ prompt: `second ${row}` })
          return `${first.text} ${second.text}`
        })
      )
      const results: Array<ReadonlyArray<string>> = []
      for (const batch of [undefined, { polling: { first: "10 millis", most: "20 millis" } }] as const) {
        const out: Array<string> = []
        const flow = Flow.make("shared", {
          outputs: [Sink.forEach("out", twice, (value) => Effect.sync(() => void out.push(value)))],
          stack: Stack.make(share, OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" }))
        })
        const summary = yield* Runner.run(flow, batch === undefined ? {} : { batch }).pipe(Effect.provide(host()))
        assert.strictEqual(summary.rows.failed, 0)
        assert.isAtMost(summary.calls.attempts, 12)
        if (batch !== undefined) assert.strictEqual(summary.calls.attempts, 6)
        results.push(out)
      }
      assert.strictEqual(results[1]!.length, 6)
    })
  )
})

describe("a layer that breaks the contract", () => {
  const isFirst = (request: ModelRequest.ModelRequest) => ModelRequest.text(request) === "say 0"
  const interrupts = ModelClient.middleware(
    (send) => (request) => (isFirst(request) ? Effect.interrupt : send(request)),
    { name: "Odd" }
  )
  const run = (layer: typeof interrupts, options: Runner.Options = {}) =>
    Effect.gen(function* () {
      const failures: Array<string> = []
      const summary = yield* Runner.run(flowOf(layer), {
        ...options,
        errorsFile: false,
        observe: (event) => Effect.sync(() => void (event._tag === "RowFailed" && failures.push(event.message)))
      }).pipe(Effect.provide(host()))
      return { failures, rows: summary.rows }
    })

  for (const batch of [undefined, { polling: { first: "10 millis", most: "20 millis" } }] as const) {
    it.live(
      `fails the row under its name, and the others continue${batch === undefined ? "" : ", in batches"} (F26)`,
      () =>
        Effect.gen(function* () {
          const { failures, rows } = yield* run(interrupts, batch === undefined ? {} : { batch })
          assert.deepStrictEqual(failures, ["layer Odd interrupted the call"])
          assert.strictEqual(rows.failed, 1)
          assert.strictEqual(rows.read, 5)
        })
    )
  }

  it.live("is named in what it throws, and the step is in what its own check throws (F27)", () =>
    Effect.gen(function* () {
      const throws = ModelClient.middleware(
        (send) => (request) => {
          if (isFirst(request)) throw new TypeError("my layer has a fault")
          return send(request)
        },
        { name: "Odd" }
      )
      const { failures } = yield* run(throws)
      assert.strictEqual(failures.length, 1)
      assert.match(failures[0]!, /^layer Odd: my layer has a fault \(.*ThirdParty\.test\.ts:\d+:\d+\)$/)
    })
  )

  it.live("of a step that interrupts itself, the row fails and the others continue", () =>
    Effect.gen(function* () {
      const row = words(3)
      const odd = Flow.step("odd", { row }, ({ row }) => (row === "word 1" ? Effect.interrupt : Effect.succeed(row)))
      const out: Array<string> = []
      const flow = Flow.make("odd", {
        outputs: [Sink.forEach("out", odd, (value) => Effect.sync(() => void out.push(value)))]
      })
      const summary = yield* Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(NodeHost.layerMemory))
      assert.strictEqual(summary.rows.failed, 1)
      assert.deepStrictEqual(out, ["word 0", "word 2"])
    })
  )
})

describe("a layer that acts by the tenant", () => {
  it.live("sees all rows of a packed prompt, which are of one tenant where it keeps tenants apart (F22)", () =>
    Effect.gen(function* () {
      const tenants: Array<ReadonlyArray<string>> = []
      const byTenant = ModelClient.middleware(
        (send) => (request) =>
          Effect.flatMap(CallContext.CallContext, ({ rows, values }) => {
            const all = rows.length === 0 ? [values] : rows
            tenants.push(all.map((row): string => row["row"].tenant))
            return send(request)
          }),
        {
          name: "ByTenant",
          answers: false,
          annotations: Context.make(LayerAnnotations.Apart, (values) => values["row"].tenant)
        }
      )
      const row = Source.fromIterable(
        "rows",
        Array.from({ length: 12 }, (_, n) => ({ text: `text ${n}`, tenant: `tenant ${n % 3}` }))
      )
      const label = Flow.step(
        "label",
        { row },
        ({ row }) =>
          Effect.map(LanguageModel.generateText({ prompt: `Label the text.\n\n${row.text}` }), ({ text }) => text),
        { varies: ({ row }) => row.text, pack: { size: 4, audit: 0 } }
      )
      const flow = Flow.make("tenants", {
        outputs: [Sink.forEach("out", label, () => Effect.void)],
        stack: Stack.make(Ledger.layer, Pack.layer(), byTenant, OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" }))
      })
      const summary = yield* Runner.run(flow).pipe(Effect.provide(host()))
      assert.strictEqual(summary.rows.failed, 0)
      assert.isBelow(tenants.length, 12)
      for (const one of tenants) assert.strictEqual(new Set(one).size, 1, one.join())
      assert.strictEqual(tenants.flat().length, 12)
    })
  )

  it.live("shares no cached answer with another tenant", () =>
    Effect.gen(function* () {
      const keep = ModelClient.middleware((send) => (request) => send(request), {
        name: "Keep",
        answers: false,
        annotations: Context.make(LayerAnnotations.Apart, (values) => values["row"])
      })
      const row = Source.fromIterable("rows", ["a", "b", "a", "b"])
      const answer = Flow.step("answer", { row }, () =>
        Effect.map(LanguageModel.generateText({ prompt: "the same for all" }), ({ text }) => text)
      )
      const flow = Flow.make("apart", {
        outputs: [Sink.forEach("out", answer, () => Effect.void)],
        concurrency: 1,
        stack: Stack.make(Ledger.layer, Cache.layer(), keep, OpenAi.layer({ model: "gpt-4o-mini", apiKey: "test" }))
      })
      const summary = yield* Runner.run(flow).pipe(Effect.provide(host()))
      assert.strictEqual(summary.calls.attempts, 2)
    })
  )
})

describe("the recommended stack", () => {
  it.live("runs, with what is asked for", () =>
    Effect.gen(function* () {
      const row = words(3)
      const answer = Flow.step("answer", { row }, ({ row }) =>
        Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
      )
      const flow = Flow.make("recommended", {
        outputs: [Sink.forEach("out", answer, () => Effect.void)],
        stack: Stack.recommended({
          provider: OpenAi.layer({ apiKey: "test" }),
          cache: { timeToLive: "1 day" },
          router: Router.layer({ cheap: "gpt-4o-mini", strong: "gpt-4o", when: Router.promptShorterThan(100) }),
          promptCache: true,
          requestsPerMinute: 600
        })
      })
      const summary = yield* Runner.run(flow).pipe(Effect.provide(host()))
      assert.strictEqual(summary.rows.failed, 0)
      assert.strictEqual(summary.calls.attempts, 3)
      assert.isAbove(Number(summary.savings.router), 0)
    })
  )
})
