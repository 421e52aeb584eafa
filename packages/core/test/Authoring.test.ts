/** What authors of layers and providers stand on, beyond the constructors that other tests cover. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  CallContext,
  Failure,
  Flow,
  ModelClient,
  ModelFailure,
  ModelRequest,
  ModelResponse,
  Plan,
  RateLimit,
  RequestKey,
  Runner,
  RunHooks,
  Sharing,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { Duration, Effect, Fiber, FileSystem, Layer, Logger } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as Host from "./Host.ts"

const question = (content: string) => ModelRequest.completion({ messages: [{ role: "user", content }] })

describe("layers of one kind of request", () => {
  const capitals = ModelClient.completionMiddleware(
    (send) => (request) =>
      Effect.map(send(request), (response) => ModelResponse.mapText(response, (text) => text.toUpperCase())),
    { name: "Capitals" }
  )
  const shorter = ModelClient.embeddingMiddleware(
    (send) => (request) => send({ ...request, inputs: request.inputs.map((input) => input.slice(0, 1)) }),
    { name: "Shorter" }
  )

  it.effect("change it, and pass the other", () =>
    Effect.gen(function* () {
      const model = TestModel.make(() => "baum")
      const stack = Layer.provide(capitals, Layer.provide(shorter, model.layer))
      const answer = yield* Effect.provide(ModelClient.send(question("tree")), stack)
      assert.strictEqual(ModelResponse.text(answer), "BAUM")
      const vectors = yield* Effect.provide(
        ModelClient.send(ModelRequest.embedding({ inputs: ["tree", "bee"] })),
        stack
      )
      assert.strictEqual(vectors.vectors.length, 2)
      assert.deepStrictEqual(
        model.calls().map(({ prompt }) => prompt),
        ["tree", "t\nb"]
      )
    })
  )

  it.effect("of a provider are refused when it has none of the other", () =>
    Effect.gen(function* () {
      const layer = Layer.sync(ModelClient.ModelClient, () =>
        ModelClient.provider({ name: "vectors", embedding: () => Effect.fail(Failure.transient("down")) })
      )
      const error = yield* Effect.flip(Effect.provide(ModelClient.send(question("tree")), layer))
      assert.include(ModelFailure.message(error), "does not take requests of kind Completion")
    })
  )
})

describe("Failure", () => {
  const kinds: ReadonlyArray<readonly [AiError.AiError, ModelFailure.Kind, isBilled: boolean, isHopeless: boolean]> = [
    [Failure.rate("slow"), "rate", false, false],
    [Failure.transient("down"), "transient", true, false],
    [Failure.transient("down", { isBilled: false }), "transient", false, false],
    [Failure.quota("no credit"), "quota", false, true],
    [Failure.auth("no key"), "auth", false, true],
    [Failure.denied("not you"), "auth", false, false],
    [Failure.overflow("too long"), "overflow", false, false],
    [Failure.refused("no"), "refused", false, false],
    [Failure.refused("no", { isBilled: true }), "refused", true, false],
    [Failure.invalid("odd"), "final", false, false],
    [Failure.unreadable("odd"), "transient", true, false],
    [Failure.unreachable("nobody"), "transient", false, true],
    [Failure.lost("cut"), "transient", true, false],
    [Failure.lost("cut", { isBilled: false }), "transient", false, false]
  ]

  it("says what happens to the call, the row and the run", () => {
    for (const [error, kind, isBilled, isHopeless] of kinds) {
      const what = `${error.reason._tag} ${ModelFailure.message(error)}`
      assert.strictEqual(ModelFailure.kind(error), kind, what)
      assert.strictEqual(ModelFailure.mayBeBilled(error), isBilled, what)
      assert.strictEqual(ModelFailure.isHopeless(error), isHopeless, what)
    }
    assert.isTrue(ModelFailure.isForAll(Failure.invalid("no such model", { isForAll: true })))
    assert.strictEqual(ModelFailure.message(Failure.quota("no credit")), "no credit")
    const wait = ModelFailure.retryAfter(Failure.rate("slow", { after: "7 seconds" }))
    assert.strictEqual(wait === undefined ? 0 : Duration.toSeconds(wait), 7)
  })
})

describe("Sharing", () => {
  const shared = () =>
    ModelClient.middlewareEffect(
      (next) =>
        Effect.sync((): ModelClient.Send => {
          const share = Sharing.make()
          return (request) => share(RequestKey.content(request), next.send(request))
        }),
      { name: "Once" }
    )

  it.live("sends equal requests once, and counts the answer once", () =>
    Effect.gen(function* () {
      const model = TestModel.make(() => Effect.as(Effect.sleep("10 millis"), "yes"))
      const send = ModelClient.send(question("tree"))
      const answers = yield* Effect.provide(
        Effect.all([send, send, send], { concurrency: 3 }),
        Layer.provide(shared(), model.layer)
      )
      assert.strictEqual(model.calls().length, 1)
      assert.deepStrictEqual(answers.map(({ origin }) => origin).toSorted(), ["provider", "shared", "shared"])
    })
  )

  it.live("goes to the end while one caller waits, and ends with the last", () =>
    Effect.gen(function* () {
      let ended = 0
      const model = TestModel.make(() =>
        Effect.as(Effect.sleep("50 millis"), "yes").pipe(Effect.onInterrupt(() => Effect.sync(() => ended++)))
      )
      const call = Effect.forkChild(ModelClient.send(question("tree")), { startImmediately: true })
      yield* Effect.gen(function* () {
        const [first, second] = [yield* call, yield* call]
        yield* Fiber.interrupt(first)
        assert.strictEqual(ModelResponse.text(yield* Fiber.join(second)), "yes")
        assert.strictEqual(ended, 0)
        const [third, fourth] = [yield* call, yield* call]
        yield* Fiber.interrupt(third)
        yield* Fiber.interrupt(fourth)
        assert.strictEqual(ended, 1)
      }).pipe(Effect.provide(Layer.provide(shared(), model.layer)))
    })
  )
})

const rows = ["acme 1", "acme 2", "acme 3", "bolt 1"]

const flowOf = (
  layer: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | FileSystem.FileSystem>,
  model: TestModel.TestModel
) => {
  const row = Source.fromIterable("rows", rows)
  const reply = Flow.step("reply", { row }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
  )
  return Flow.make("limited", {
    outputs: [Sink.forEach("out", reply, () => Effect.void)],
    stack: Stack.make(layer, model.layer)
  })
}

describe("a limit by key", () => {
  const byTenant = RateLimit.layer({ requestsPerMinute: 1, by: ({ values }) => String(values["row"]).split(" ")[0]! })

  it.effect("holds back the calls of one key alone, and its plan says how long", () =>
    Effect.gen(function* () {
      const model = TestModel.make(() => "yes")
      const flow = flowOf(byTenant, model)
      // Three calls of one tenant at one a minute: the first goes at once.
      assert.strictEqual((yield* Plan.make(flow)).milliseconds, 120_000)
      const waits: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Runner.run(flow, {
          errorsFile: false,
          observe: (event) =>
            Effect.sync(() => {
              if (event._tag === "Progress" && event.waitingFor !== undefined)
                waits.push(`${event.waitingFor.reason} of ${event.waitingFor.of}`)
            })
        })
      )
      yield* Effect.promise(async () => {
        for (let time = 0; time < 1_000 && model.calls().length < 2; time++)
          await new Promise((resolve) => setTimeout(resolve, 5))
      })
      assert.deepStrictEqual(
        model
          .calls()
          .map(({ prompt }) => prompt)
          .toSorted(),
        ["acme 1", "bolt 1"]
      )
      yield* TestClock.adjust("5 minutes")
      yield* Fiber.join(fiber)
      assert.strictEqual(model.calls().length, 4)
      assert.include(waits, "rate limit of acme")
    }).pipe(Effect.provide(Host.layerMemory))
  )
})

describe("a wait in a layer's own words", () => {
  it.effect("is in the progress of the run", () =>
    Effect.gen(function* () {
      const quiet = ModelClient.middleware(
        (send) => (request) => Effect.andThen(RunHooks.wait("the quiet\u001b[31m hours", "10 seconds"), send(request)),
        { name: "Quiet", answers: false }
      )
      const fiber = yield* Effect.forkChild(
        TestFlow.run(
          flowOf(
            quiet,
            TestModel.make(() => "yes")
          ),
          { observe: () => Effect.void }
        )
      )
      yield* TestClock.adjust("1 minutes")
      const { events } = yield* Fiber.join(fiber)
      const reasons = events.flatMap((event) => (event._tag === "Progress" ? (event.waitingFor?.reason ?? []) : []))
      assert.include(reasons, "the quiet hours")
    })
  )
})

describe("a hook around attempts", () => {
  it.live("may return an effect at the end of an attempt, which runs before the run ends", () =>
    Effect.gen(function* () {
      const path = join(mkdtempSync(join(tmpdir(), "pipe-attempts-")), "attempts.txt")
      const log = ModelClient.onAttempt(
        ({ provider }) =>
          Effect.succeed({
            onEnd: ({ billed }) =>
              Effect.gen(function* () {
                const fs = yield* FileSystem.FileSystem
                yield* Effect.sleep("1 millis")
                yield* fs.writeFileString(path, `${provider} ${billed}\n`, { flag: "a" })
              })
          }),
        { name: "AttemptLog", answers: false }
      )
      const flow = flowOf(
        log,
        TestModel.make(() => "yes")
      )
      yield* Effect.provide(Runner.run(flow, { errorsFile: false }), Layer.fresh(Host.layerMemory))
      assert.deepStrictEqual(
        readFileSync(path, "utf8").trimEnd().split("\n"),
        rows.map(() => "test yes")
      )
    })
  )

  it.live("that fails at an end is a warning, and the calls continue", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))
      const log = ModelClient.onAttempt(() => Effect.succeed({ onEnd: () => Effect.fail("the disk is full") }), {
        name: "AttemptLog",
        answers: false
      })
      const flow = flowOf(
        log,
        TestModel.make(() => "yes")
      )
      const { rows: counts } = yield* Effect.provide(
        Runner.run(flow, { errorsFile: false }),
        Layer.fresh(Layer.mergeAll(Host.layerMemory, Logger.layer([logger])))
      )
      assert.strictEqual(counts.failed, 0)
      assert.strictEqual(
        warnings.filter((text) => text.includes("AttemptLog: onEnd failed: the disk is full")).length,
        rows.length
      )
    })
  )
})

describe("the cost of failed rows", () => {
  it.effect("has the questions that layers have asked for them", () =>
    Effect.gen(function* () {
      const guardrail = ModelClient.completionMiddleware(
        (send) => () =>
          Effect.andThen(
            ModelClient.aside("guardrail", send)(question("Is this harmful?")),
            Effect.fail(Failure.refused("no"))
          ),
        { name: "Guardrail" }
      )
      const flow = flowOf(
        guardrail,
        TestModel.make(() => "yes")
      )
      const {
        calls,
        cost,
        rows: counts
      } = yield* Effect.provide(Runner.run(flow, { errorsFile: false }), Layer.fresh(Host.layerMemory))
      assert.strictEqual(counts.failed, rows.length)
      assert.isTrue(cost > 0n)
      assert.strictEqual(calls.failedRowsCost, cost)
    })
  )
})

describe("the keys of a custom cache", () => {
  it.effect("depend on the inner layers; a call that must not be cached has none", () =>
    Effect.gen(function* () {
      const seen: Array<string | undefined> = []
      const keyed = ModelClient.middlewareEffect(
        (next) =>
          Effect.map(
            Cache.keys(next),
            (keyOf): ModelClient.Send =>
              (request) =>
                Effect.flatMap(CallContext.CallContext, (call) => {
                  seen.push(keyOf(request, call))
                  return next.send(request)
                })
          ),
        { name: "Keyed", answers: false }
      )
      const model = TestModel.make(() => "yes")
      const below = (text: string) =>
        ModelClient.mapRequest((request) => ModelRequest.mapText(request, (prompt) => `${prompt}${text}`))
      const send = (text: string, cache: "on" | "off" = "on") =>
        ModelClient.send(question("tree")).pipe(
          CallContext.provide({ cache }),
          Effect.provide(Layer.provide(keyed, Layer.provide(below(text), model.layer)))
        )
      yield* Effect.all([send("."), send("."), send("!"), send(".", "off")])
      const [first, second, edited, off] = seen
      assert.isString(first)
      assert.strictEqual(second, first)
      assert.notStrictEqual(edited, first)
      assert.isUndefined(off)
    })
  )
})

describe("a layer of a package", () => {
  /** A layer in a folder of packages, whose code is not read. */
  const foreign = (said: string): Promise<{ readonly layer: ReturnType<typeof ModelClient.middleware> }> => {
    const folder = join(mkdtempSync(join(tmpdir(), "pipe-foreign-")), "node_modules", "foreign")
    mkdirSync(folder, { recursive: true })
    const file = join(folder, "index.mjs")
    const core = pathToFileURL(join(import.meta.dirname, "../src/client/ModelClient.ts")).href
    // Its text is in no module of the tests.
    const code = ["(send) => (request) =>", "{ const foreign = send(request); return foreign }"].join(" ")
    writeFileSync(
      file,
      `import * as ModelClient from ${JSON.stringify(core)}\nexport const layer = ModelClient.middleware(${code}, { name: "Foreign"${said} })\n`
    )
    return import(pathToFileURL(file).href) as ReturnType<typeof foreign>
  }

  /** The calls of a second run, and what was warned of. */
  const again = (said: string) =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(String(message))
      })
      const { layer } = yield* Effect.promise(() => foreign(said))
      const flow = flowOf(
        layer,
        TestModel.make(() => "yes")
      )
      const run = Effect.provide(Runner.run(flow, { errorsFile: false }), Logger.layer([logger]))
      yield* run
      return [(yield* run).calls.attempts, warnings.join("; ")] as const
    }).pipe(Effect.provide(Layer.fresh(Host.layerMemory)))

  it.effect(
    "that does not say whether it changes answers has no results reused, and a warning says what to declare",
    () =>
      Effect.gen(function* () {
        const [calls, warnings] = yield* again("")
        assert.strictEqual(calls, rows.length)
        assert.match(
          warnings,
          /layer Foreign .*code of a package, or of a bundle.*\{ answers: false \} if it does not change answers/
        )
        for (const said of [", answers: false", ", answers: { level: 3 }"]) {
          assert.deepStrictEqual(yield* again(said), [0, ""])
        }
      })
  )
})
