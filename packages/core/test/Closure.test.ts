/** What a step and a layer are: an edit runs what depends on it again, and nothing else. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, ModelClient, type ModelRequest, type Node, Router, Runner, Sink, Source, Stack } from "@pipe/core"
import { Data, Effect, Layer, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readdirSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Helper from "./ClosureHelper.ts"
import { config, Sealed, shorten, Style } from "./ClosureHelper.ts"
import { edits, type Stacked } from "./Edits.ts"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const rows = Source.fromIterable("rows", ["a", "b"])

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), (response) => response.text)

/** Factories of steps: the first of two edits differs from the second by what is captured alone. */
const long = (threshold: number) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(`say ${row}`), (text) => text.length > threshold))

const deep = (k: number) => {
  const inner = () => ({ k })
  return Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(`say ${row}`), (text) => [text, inner().k]))
}

const second = (words: string) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.flatMap(ask(`say ${row}`), () => ask(`${words} ${row}`)))

const top = (k: number) =>
  Flow.group("a", { row: rows }, { by: () => "all" }, ({ rows }) =>
    Effect.map(ask("say"), () => rows.slice(0, k).length)
  )

const kept = (limit: number) =>
  Flow.filter("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.length > limit))

const styled = (style: Style) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => style.of(text)))

const shaped = (schema: Schema.Codec<unknown, unknown>) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => Schema.is(schema)(text)))

const traced = (name: string) =>
  Flow.step(
    "a",
    { row: rows },
    Effect.fn("traced")(function* ({ row }: { readonly row: string }) {
      return [name, yield* ask(row)]
    })
  )

const through = (f: (text: string) => string) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => f(text)))

const members = (options: { readonly used: number; readonly other: number }) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.length > options.used))

const looped: Array<Node.Any> = []
for (const max of [10, 11]) {
  looped.push(Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.slice(0, max))))
}

const held = (h: { readonly of: () => unknown }) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), () => h.of()))

const holder = (limit: number) => ({
  limit,
  of() {
    return this.limit
  }
})

const got = (h: { readonly limit: number }) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.length > h.limit))

const getter = (limit: number) => ({
  get limit() {
    return limit
  }
})

const listed = (list: ArrayLike<number>) =>
  Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.length > list[0]!))

const labelled = (suffix: string) => {
  class Label extends Schema.Class<Label>("Label")({ text: Schema.String }) {
    get whole() {
      return this.text + suffix
    }
  }
  const label = new Label({ text: "x" })
  return Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), () => label.whole))
}

const failing = (code: number) => {
  class Refused extends Data.TaggedError("Refused")<{ readonly text: string }> {
    get code() {
      return code
    }
  }
  return Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => new Refused({ text }).code))
}

const ring = (n: number) => {
  const a: { n: number; b?: object } = { n }
  const b = { a }
  a.b = b
  return { a, b }
}

const ringed = (n: number) => {
  const { a, b } = ring(n)
  return Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), () => [Object.keys(a).length, b.a.n]))
}

describe("an edit of what a step captures", () => {
  const changed: ReadonlyArray<readonly [name: string, before: Node.Any, after: Node.Any]> = [
    ["a threshold", long(3), long(100)],
    ["a value two functions deep", deep(1), deep(2)],
    ["the prompt of its second call", second("hello"), second("bye")],
    ["the K of a group", top(1), top(2)],
    ["the limit of a filter", kept(3), kept(0)],
    ["a field of a class of the author's", styled(new Style("x")), styled(new Style("y"))],
    ["a schema", shaped(Schema.String), shaped(Schema.Int)],
    [
      "a check of a schema",
      shaped(Schema.String.check(Schema.isMinLength(3))),
      shaped(Schema.String.check(Schema.isMinLength(4)))
    ],
    ["what a generator captures", traced("x"), traced("y")],
    ["the variable of a loop in a module", looped[0]!, looped[1]!],
    ["what a method reads by `this`", held(holder(1)), held(holder(2))],
    ["what a getter gives", got(getter(1)), got(getter(9))],
    ["a number among 100,000", listed(Array(100_000).fill(1)), listed([2, ...Array<number>(99_999).fill(1)])],
    ["a typed array", listed(new Float32Array([1])), listed(new Float32Array([2]))],
    ["values that hold each other", ringed(1), ringed(2)],
    ["what a getter of a schema's class reads", labelled("x"), labelled("y")],
    ["what a getter of an error's class reads", failing(1), failing(2)],
    ["a function", through((text) => text.slice(0, 1)), through((text) => text.slice(0, 2))],
    ["a member that it reads", members({ used: 1, other: 1 }), members({ used: 9, other: 1 })],
    [
      "one step of several that a loop makes",
      [10, 100].map((max) => through((text) => text.slice(0, max)))[0]!,
      [11, 100].map((max) => through((text) => text.slice(0, max)))[0]!
    ]
  ]
  for (const [name, before, after] of changed) {
    it.live(`runs its rows again: ${name}`, () =>
      Effect.gen(function* () {
        const { calls, outs, warnings } = yield* edits([before, after, after])
        assert.isAbove(calls[0]!, 0)
        assert.strictEqual(calls[1], calls[0])
        assert.strictEqual(calls[2], 0)
        assert.deepStrictEqual(outs[2], outs[1])
        assert.deepStrictEqual(warnings, [])
      })
    )
  }

  const same: ReadonlyArray<readonly [name: string, before: Node.Any, after: Node.Any]> = [
    ["nothing", long(3), long(3)],
    ["a member that it does not read", members({ used: 1, other: 1 }), members({ used: 1, other: 2 })],
    ["an equal schema", shaped(Schema.Struct({ a: Schema.Int })), shaped(Schema.Struct({ a: Schema.Int }))],
    ["an equal instance", styled(new Style("x")), styled(new Style("x"))],
    [
      "comments and formatting",
      // prettier-ignore
      Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text + shorten(text))),
      Flow.step("a", { row: rows }, ({ row }) =>
        // Why: none.
        Effect.map(ask(row), (text) => text + shorten(text))
      )
    ],
    [
      "a condition, concurrency and what is done with errors",
      Flow.step("a", { row: rows }, ({ row }) => ask(row), { when: () => true, concurrency: 1 }),
      Flow.step("a", { row: rows }, ({ row }) => ask(row), { onError: "skip", budget: { usd: 5 } })
    ]
  ]
  for (const [name, before, after] of same) {
    it.live(`runs nothing again: ${name}`, () =>
      Effect.gen(function* () {
        const { calls } = yield* edits([before, after])
        assert.isAbove(calls[0]!, 0)
        assert.strictEqual(calls[1], 0)
      })
    )
  }

  it.live("is known through imports, members of them and namespaces", () =>
    Effect.gen(function* () {
      const node = () =>
        Flow.step("a", { row: rows }, ({ row }) =>
          Effect.map(ask(row), (text) => [shorten(text), Helper.shorten(text), config.limit])
        )
      const limit = config.limit
      const { calls } = yield* edits([node(), node()])
      assert.deepStrictEqual(calls, [2, 0])
      Object.assign(config, { unused: 2 })
      assert.deepStrictEqual((yield* edits([node()])).calls, [2])
      assert.strictEqual(config.limit, limit)
    })
  )

  it.live("that nobody can compare leaves its rows unused, with a word, unless `by` is for it", () =>
    Effect.gen(function* () {
      const sealed = new Sealed()
      const node = (by?: unknown) =>
        Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text + sealed.word), { by })
      const { calls, warnings } = yield* edits([node(), node()])
      assert.deepStrictEqual(calls, [2, 2])
      assert.match(
        warnings[0]!,
        /^step a \(Closure\.test\.ts:\d+\) captures sealed \(an instance of Sealed, which has private fields\), which cannot be compared: .*by: \{ … \}/
      )
      assert.deepStrictEqual((yield* edits([node({ v: 1 }), node({ v: 1 }), node({ v: 2 })])).calls, [2, 0, 2])
    })
  )

  it.live("receives against the version that it is most like, and of equals the last that ran", () =>
    Effect.gen(function* () {
      const at = mkdtempSync(join(tmpdir(), "pipe-closure-"))
      const whys: Array<string> = []
      const run = (language: string, max: number) =>
        Effect.gen(function* () {
          const translated = Flow.step("b", { row: rows }, ({ row }) =>
            Effect.map(ask(`${language}: ${row}`), (text) => text.slice(0, max))
          )
          const model = Scripted.make(() => Scripted.response("x"))
          const why: Array<string> = []
          yield* Runner.run(
            Flow.make("explained", {
              outputs: [Sink.forEach("out", translated, () => Effect.void)],
              stack: model.layer
            }),
            {
              explain: true,
              observe: (event) => Effect.sync(() => void (event._tag === "RowMissing" && why.push(event.reason)))
            }
          ).pipe(Effect.provide(Host.layer({ store: join(at, "pipe.db") })))
          whys.push(why[0]?.replace(/, Closure\.test\.ts:\d+/, "") ?? "reused")
        })
      yield* run("French", 10)
      yield* run("German", 10)
      yield* run("French", 10)
      yield* run("French", 20)
      yield* run("German", 30)
      assert.deepStrictEqual(whys, [
        "step b has not run before",
        'step b captures other values (language: "French" → "German")',
        "reused",
        "step b captures other values (max: 10 → 20)",
        "step b captures other values (max: 10 → 30)"
      ])
    })
  )

  it.live("is shown by name, and a key never is in the store", () =>
    Effect.gen(function* () {
      const at = mkdtempSync(join(tmpdir(), "pipe-closure-"))
      const key = "sk-not-to-be-seen-0123456789abcdef"
      const short = "hunter1001"
      const node = (threshold: number) =>
        Flow.step("b", { row: rows }, ({ row }) =>
          Effect.map(ask(row), (text) => text.length > threshold + key.length + short.length)
        )
      const why: Array<string> = []
      for (const threshold of [100, 5]) {
        const model = Scripted.make(() => Scripted.response("x"))
        yield* Runner.run(
          Flow.make("explained", {
            outputs: [Sink.forEach("out", node(threshold), () => Effect.void)],
            stack: model.layer
          }),
          {
            errorsFile: join(at, "errors.jsonl"),
            explain: true,
            observe: (event) => Effect.sync(() => void (event._tag === "RowMissing" && why.push(event.reason)))
          }
        ).pipe(Effect.provide(Host.layer({ store: join(at, "pipe.db") })))
      }
      assert.match(why.at(-1)!, /^step b captures other values \(threshold: 100 → 5, Closure\.test\.ts:\d+\)$/)
      for (const name of readdirSync(at)) {
        const text = readFileSync(join(at, name), "latin1")
        for (const secret of [key, short]) assert.notInclude(text, secret)
      }
    })
  )
})

describe("an edit of a layer", () => {
  const node = () => Flow.step("a", { row: rows }, ({ row }) => ask(row))

  /** A layer that changes what is sent without showing it. */
  const suffix = (words: string): Stacked =>
    ModelClient.middleware(
      (send) => (request) =>
        send(
          request._tag === "Completion"
            ? { ...request, messages: [...request.messages, { role: "user" as const, content: words }] }
            : request
        )
    )

  const shown = (words: string): Stacked =>
    ModelClient.mapRequest((request) =>
      request._tag === "Completion"
        ? { ...request, messages: [...request.messages, { role: "user" as const, content: words }] }
        : request
    )

  for (const [name, layer] of [
    ["that hides what it does", suffix],
    ["that shows what it does", shown]
  ] as const) {
    it.live(`runs rows again, and finds no old answer in a cache above it: one ${name}`, () =>
      Effect.gen(function* () {
        const words = ["one", "two", "two"]
        for (const stack of [
          (at: number) => layer(words[at]!),
          (at: number) => Stack.make(Cache.layer(), layer(words[at]!)) as unknown as Stacked
        ]) {
          const { calls, outs } = yield* edits([node(), node(), node()], { layers: stack })
          assert.deepStrictEqual(calls, [2, 2, 0])
          assert.deepStrictEqual(outs[1], ["A\nTWO", "B\nTWO"])
        }
      })
    )
  }

  it.live("counts by its place too: two of one name, and two that change places", () =>
    Effect.gen(function* () {
      const both = (a: string, b: string): Stacked => Stack.make(suffix(a), suffix(b)) as unknown as Stacked
      const stacks = [both("x", "y"), both("x", "y"), both("z", "y"), both("y", "z"), suffix("y")]
      const { calls } = yield* edits([node(), node(), node(), node(), node()], { layers: (at) => stacks[at]! })
      assert.deepStrictEqual(calls, [2, 0, 2, 2, 2])
    })
  )

  it.live("that routes by a rule of the author's: a comment runs nothing again, another bound does", () =>
    Effect.gen(function* () {
      const router = (when: Router.RoutingRule): Stacked =>
        Router.layer({ cheap: "gpt-4o-mini", strong: "gpt-4o", when })
      const bound = 1
      const rules: ReadonlyArray<Router.RoutingRule> = [
        Router.where(({ row }) => String(row).length > bound),
        Router.where(
          // A comment, and another line.
          ({ row }) => String(row).length > bound
        ),
        Router.where(({ row }) => String(row).length >= bound),
        Router.where({ row: rows }, ({ row }) => String(row).length >= bound),
        Router.where({ row: rows }, ({ row }) => String(row).length >= bound),
        Router.where({ row: rows }, ({ row }) => String(row).length > bound),
        Router.any(
          Router.promptShorterThan(0),
          Router.where({ row: rows }, ({ row }) => String(row).length > bound)
        ),
        Router.any(
          Router.promptShorterThan(0),
          Router.where({ row: rows }, ({ row }) => String(row).length >= bound)
        ),
        Router.all(Router.not(Router.where(({ row }) => String(row).length >= bound))),
        Router.all(Router.not(Router.where(({ row }) => String(row).length > bound))),
        Router.all(Router.not(Router.where(({ row }) => String(row).length > bound)))
      ]
      const { calls } = yield* edits(
        rules.map(() => node()),
        { layers: (at) => router(rules[at]!) }
      )
      assert.deepStrictEqual(calls, [2, 0, 2, 2, 0, 2, 2, 2, 2, 2, 0])
      // A cache above it keys by the model that is chosen.
      const cached = yield* edits([node(), node()], {
        layers: (at) =>
          Stack.make(Cache.layer(), router(Router.promptShorterThan(at === 0 ? 10 : 11))) as unknown as Stacked
      })
      assert.deepStrictEqual(cached.calls, [2, 0])
    })
  )

  it.live("that leaves answers as they are counts for nothing", () =>
    Effect.gen(function* () {
      const logs: ReadonlyArray<(text: string) => string> = [(text) => text, (text) => `${text}!`]
      const { calls } = yield* edits([node(), node()], {
        layers: (at) =>
          ModelClient.middleware((send) => (request) => (logs[at]!(""), send(request)), { name: "log", answers: false })
      })
      assert.deepStrictEqual(calls, [2, 0])
    })
  )

  it.live("that is a provider counts by its code, and not by the clients and counters that it holds", () =>
    Effect.gen(function* () {
      let calls = 0
      const provider = (code: (text: string) => string) => {
        const held = { client: Symbol("client"), seen: new Array<string>() }
        return Layer.succeed(
          ModelClient.ModelClient,
          ModelClient.provider({
            name: "mine",
            send: ((request: ModelRequest.Completion) =>
              Effect.sync(() => {
                calls++
                held.seen.push(String(held.client))
                return Scripted.response(code(Scripted.prompt(request)))
              })) as ModelClient.Send
          })
        )
      }
      const upper = (text: string) => text.toUpperCase()
      const came: Array<number> = []
      const store = join(mkdtempSync(join(tmpdir(), "pipe-closure-")), "pipe.db")
      for (const code of [upper, upper, (text: string) => text.toLowerCase()]) {
        calls = 0
        const flow = Flow.make("own", {
          outputs: [Sink.forEach("out", node(), () => Effect.void)],
          stack: Stack.make(Cache.layer(), provider(code))
        })
        yield* Effect.provide(Runner.run(flow), Host.layer({ store }))
        came.push(calls)
      }
      assert.deepStrictEqual(came, [2, 0, 2])
    })
  )

  it.live("counts what a helper of it is, and what it says beside", () =>
    Effect.gen(function* () {
      const made = (said: unknown, helper: (text: string) => string): Stacked =>
        ModelClient.middleware((send) => (request) => (helper(""), send(request)), { name: "said", answers: said })
      const helpers = [(text: string) => text, (text: string) => `${text}!`]
      const { calls } = yield* edits([node(), node(), node(), node()], {
        layers: (at) => made(at < 2 ? "x" : "y", helpers[at === 0 ? 0 : 1]!)
      })
      assert.deepStrictEqual(calls, [2, 2, 2, 0])
    })
  )
})
