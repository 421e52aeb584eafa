/** Groups that lack failed rows, joins that drop rows, and functions that return promises: nothing is left out in silence. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, type Node, Parameter, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { TestModel } from "@pipe/core/testing"
import { Effect, Logger, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import * as fc from "fast-check"
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"

const temp = (name: string) => join(mkdtempSync(join(tmpdir(), "pipe-missing-")), name)

interface Failure {
  readonly node: string
  readonly position: string
  readonly error: string
  readonly message: string
}

/** The values of a node, the failed rows, the summary, and what was logged. */
const outcomeOf = <A, E>(node: Node.Node<A, E>) =>
  Effect.gen(function* () {
    const values: Array<unknown> = []
    const errorsFile = temp("errors.jsonl")
    const logged: Array<string> = []
    const flow = Flow.make("f", {
      outputs: [Sink.forEach("out", { it: node }, (row) => Effect.sync(() => values.push(row)))],
      allowFailedRows: 1_000
    })
    const summary = yield* Runner.run(flow, { errorsFile }).pipe(
      Effect.provide(Host.layerMemory),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void logged.push(String(message)))]))
    )
    const failures: ReadonlyArray<Failure> =
      summary.rows.failed === 0
        ? []
        : readFileSync(errorsFile, "utf8")
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line))
    return {
      values,
      failures: failures.map(({ error, message, node, position }) => ({ error, message, node, position })),
      summary,
      logged: logged.join("\n")
    }
  })

const numbers = (...values: ReadonlyArray<number>) => Source.fromIterable("n", values)

/** Fails for some numbers. */
const checked = (n: Node.Node<number>, isBad: (n: number) => boolean) =>
  Flow.step("checked", { n }, ({ n }) => (isBad(n) ? Effect.fail(new Error(`${n} is bad`)) : Effect.succeed(n)))

describe("a group that lacks failed rows", () => {
  const n = numbers(1, 2, 3, 4, 5)
  const groups = (missing?: Node.OnMissing) =>
    Flow.group(
      "sums",
      { n, ok: checked(n, (n) => n === 2) },
      { by: ({ n }) => (n % 2 === 0 ? "even" : "odd"), ...(missing === undefined ? undefined : { missing }) },
      ({ count, key, missing, rows }) => ({ key, count, missing, sum: rows.reduce((sum, { n }) => sum + n, 0) })
    )

  it.live("fails by default, and names the rows", () =>
    Effect.gen(function* () {
      const { failures, summary, values } = yield* outcomeOf(groups())
      assert.deepStrictEqual(values, [{ it: { key: "odd", count: 3, missing: 0, sum: 9 } }])
      assert.deepStrictEqual(failures, [
        { node: "checked", position: "n[1]", error: "Error", message: failures[0]!.message },
        {
          node: "sums",
          position: "sums[even]",
          error: "IncompleteGroup",
          message: "1 of the 2 rows of sums[even] failed: n[1]"
        }
      ])
      assert.strictEqual(summary.nodes.find(({ name }) => name === "sums")!.incomplete, 1)
    })
  )

  it.live("is left out, or kept and marked", () =>
    Effect.gen(function* () {
      const skipped = yield* outcomeOf(groups("skip"))
      assert.deepStrictEqual(skipped.values, [{ it: { key: "odd", count: 3, missing: 0, sum: 9 } }])
      assert.lengthOf(skipped.failures, 1)
      const kept = yield* outcomeOf(groups("keep"))
      assert.deepStrictEqual(kept.values, [
        { it: { key: "odd", count: 3, missing: 0, sum: 9 } },
        { it: { key: "even", count: 1, missing: 1, sum: 4 }, $missing: 1 }
      ])
    })
  )

  it.live("has no value of nothing, except for the whole", () =>
    Effect.gen(function* () {
      const all = checked(n, () => true)
      const kept = Flow.group("g", { n, all }, { by: ({ n }) => n, missing: "keep" }, ({ count }) => count)
      assert.deepStrictEqual((yield* outcomeOf(kept)).values, [])
      const whole = Flow.reduce("w", { all }, { initial: () => 0, step: (sum) => sum + 1, missing: "keep" })
      assert.deepStrictEqual((yield* outcomeOf(whole)).values, [{ it: 0, $missing: 5 }])
      const failing = yield* outcomeOf(Flow.reduce("w", { all }, { initial: () => 0, step: (sum) => sum + 1 }))
      assert.deepStrictEqual(
        failing.failures.at(-1)?.message,
        "5 of the 5 rows of w failed: n[0], n[1], n[2] and 2 more"
      )
    })
  )

  it.live("is not one that filters, `when` and onError: skip have left out", () =>
    Effect.gen(function* () {
      const even = Flow.filter("even", { n }, ({ n }) => n % 2 === 0)
      const step = Flow.step("s", { even }, ({ even }) => even.n, { when: ({ even }) => even.n > 2 })
      const skip = Flow.step("k", { n }, ({ n }) => (n === 1 ? Effect.fail("no") : Effect.succeed(n)), {
        onError: "skip"
      })
      for (const node of [even, step, skip] as ReadonlyArray<Node.Node<unknown, unknown>>) {
        const { failures, summary } = yield* outcomeOf(
          Flow.reduce("w", { node }, { initial: () => 0, step: (sum) => sum + 1 })
        )
        assert.lengthOf(failures, 0)
        assert.isUndefined(summary.nodes.find(({ name }) => name === "w")!.incomplete)
      }
    })
  )

  it.live("lacks the rows of a list that has failed, and those of a join", () =>
    Effect.gen(function* () {
      const doc = Source.fromIterable("doc", ["a", "b"])
      const part = Flow.expand("part", { doc }, ({ doc }) =>
        doc === "b" ? Effect.fail(new Error("unreadable")) : Effect.succeed(["x", "y"])
      )
      const byDoc = Flow.group("byDoc", { doc, part }, { by: ({ doc }) => doc }, ({ count, key }) => ({ key, count }))
      const lists = yield* outcomeOf(byDoc)
      assert.deepStrictEqual(lists.values, [{ it: { key: "a", count: 2 } }])
      assert.deepInclude(lists.failures.at(-1), { position: "byDoc[b]", error: "IncompleteGroup" })
      assert.strictEqual(lists.summary.nodes.find(({ name }) => name === "part")!.done, 2)

      const name = Source.fromIterable("name", [1, 2, 3, 4, 5])
      const joined = Flow.join(
        "joined",
        { ok: checked(n, (n) => n === 3) },
        { name },
        { on: [(ok) => ok, (name) => name] }
      )
      const sum = Flow.reduce("sum", { joined }, { initial: () => 0, step: (sum, { joined }) => sum + joined.ok })
      const joins = yield* outcomeOf(sum)
      assert.deepStrictEqual(joins.values, [])
      assert.strictEqual(joins.failures.at(-1)?.message, "1 of the 5 rows of sum failed: n[2]")
    })
  )

  it.live("is said to lack rows whose group is not known, once", () =>
    Effect.gen(function* () {
      const label = checked(n, (n) => n > 3)
      const counts = Flow.group("counts", { label }, { by: ({ label }) => label }, ({ count }) => count)
      const { failures, logged, values } = yield* outcomeOf(counts)
      assert.lengthOf(values, 3)
      assert.lengthOf(failures, 2)
      assert.include(logged, "counts: 2 rows failed before their group was known, and are in none (n[3], n[4])")
    })
  )

  it.live("fails for the rows of the source that do not fit", () =>
    Effect.gen(function* () {
      const sums = Flow.reduce(
        "all",
        { n: checked(numbers(1, 2), (n) => n === 1) },
        {
          initial: () => 0,
          step: (sum, { n }) => sum + n
        }
      )
      const { failures } = yield* outcomeOf(sums)
      assert.lengthOf(failures, 2)
    })
  )

  it.live("is one of what has failed, whatever the flow (property)", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(fc.record({ key: fc.nat(3), bad: fc.boolean() }), { maxLength: 30 }), (rows) =>
          Effect.runPromise(
            Effect.gen(function* () {
              const row = Source.fromIterable("row", rows)
              const ok = Flow.step("ok", { row }, ({ row }) => (row.bad ? Effect.fail("bad") : Effect.succeed(true)))
              const counts = Flow.group(
                "counts",
                { row, ok },
                { by: ({ row }) => row.key, missing: "keep" },
                ({ count, key, missing }) => [key, count, missing] as const
              )
              const { values } = yield* outcomeOf(counts)
              const keys = [...new Set(rows.map(({ key }) => key))]
              assert.deepStrictEqual(
                values.map((value) => (value as { readonly it: unknown }).it),
                keys.flatMap((key) => {
                  const own = rows.filter((row) => row.key === key)
                  const good = own.filter(({ bad }) => !bad).length
                  return good === 0 ? [] : [[key, good, own.length - good]]
                })
              )
            })
          )
        ),
        { numRuns: 25 }
      )
    )
  )
})

describe("the keys of groups and joins", () => {
  it.live("are values, or records of them, and keep their type", () =>
    Effect.gen(function* () {
      const course = Source.fromIterable("course", [
        { department: "math", year: 2024 },
        { department: "art", year: 2024 },
        { year: 2024, department: "math" }
      ])
      const counts = Flow.group(
        "counts",
        { course },
        { by: ({ course }) => ({ department: course.department, year: course.year }) },
        ({ count, key }) => `${key.department} ${key.year + 1}: ${count}`
      )
      assert.deepStrictEqual((yield* outcomeOf(counts)).values, [{ it: "math 2025: 2" }, { it: "art 2025: 1" }])
      const teacher = Source.fromIterable("teacher", [{ name: "Noether", for: { year: 2024, department: "math" } }])
      const joined = Flow.join(
        "joined",
        { course },
        { teacher },
        {
          on: [({ department, year }) => ({ department, year }), (teacher) => teacher.for]
        }
      )
      assert.lengthOf((yield* outcomeOf(joined)).values, 2)
    })
  )

  it.live("are refused when they are something else", () =>
    Effect.gen(function* () {
      const n = numbers(1)
      const of = (by: unknown) =>
        outcomeOf(Flow.group("g", { n }, { by: by as () => string }, ({ count }) => count)).pipe(
          Effect.map(({ failures }) => failures[0]?.message)
        )
      assert.include(yield* of(async () => "a"), "a promise is not a key")
      assert.include(yield* of(() => undefined), "undefined is not a key")
      assert.include(yield* of(() => null), "null is not a key")
      assert.include(yield* of(() => ({ a: { b: 1 } })), "the field a of a key is not a text, a number or a boolean")
    })
  )
})

describe("distinct rows", () => {
  it.live("are the first of each key, in order; one that failed is in none", () =>
    Effect.gen(function* () {
      const n = numbers(3, 1, 3, 2, 1)
      const ok = checked(n, (n) => n === 2)
      const { failures, summary, values } = yield* outcomeOf(
        Flow.map("it", { first: Flow.distinct("distinct", { n, ok }, { by: ({ n }) => n }) }, ({ first }) => first.n)
      )
      assert.deepStrictEqual(values, [{ it: 3 }, { it: 1 }])
      assert.lengthOf(failures, 1)
      assert.isUndefined(summary.nodes.find(({ name }) => name === "distinct")!.incomplete)
    })
  )
})

describe("a filter that asks a model", () => {
  const person = Source.fromIterable("person", [
    { name: "Ada", model: "gpt-4o" },
    { name: "Bo", model: "gpt-4o-mini" }
  ])
  const asks = ({ name }: { readonly name: string }) =>
    Effect.map(LanguageModel.generateText({ prompt: `Is ${name} an adult?` }), ({ text }) => text === "yes")

  it.live("follows the row in model and settings, sends again by its check, and yields the row itself", () =>
    Effect.gen(function* () {
      const model = TestModel.make(({ model, prompt }) =>
        prompt.includes("yes or no") ? (model === "gpt-4o" ? "yes" : "no") : "perhaps"
      )
      const values: Array<string> = []
      const adult = Flow.where("adult", person, asks, {
        model: ({ model }) => model,
        settings: ({ name }) => ({ maxTokens: name.length }),
        check: (answer) => answer !== "perhaps" || "answer yes or no"
      })
      const flow = Flow.make("adults", {
        outputs: [Sink.forEach("out", adult, ({ name }) => Effect.sync(() => values.push(name)))],
        stack: Stack.make(Ledger.layer, Retry.layer({ base: 1, reasks: 1 }), model.layer)
      })
      yield* Effect.gen(function* () {
        yield* Runner.run(flow, { errorsFile: false })
        assert.deepStrictEqual(values, ["Ada"])
        assert.deepStrictEqual(
          model
            .calls()
            .map(({ model, request }) => [model, request._tag === "Completion" && request.settings.maxTokens]),
          [
            ["gpt-4o", 3],
            ["gpt-4o-mini", 2],
            ["gpt-4o", 3],
            ["gpt-4o-mini", 2]
          ]
        )
        const again = yield* Runner.run(flow, { errorsFile: false })
        assert.strictEqual(again.nodes.find(({ name }) => name === "adult")!.reused, 2)
        assert.deepStrictEqual(values, ["Ada", "Ada"])
      }).pipe(Effect.provide(Host.layerMemory))
    })
  )

  it.live("fails the row whose condition gives a promise or no answer", () =>
    Effect.gen(function* () {
      const of = (name: string, keep: () => unknown) =>
        Effect.map(
          outcomeOf(Flow.where(name, numbers(1), keep as () => boolean)),
          ({ failures }) => failures[0]?.message
        )
      assert.include(yield* of("promise", () => Promise.resolve(true)), "returns a promise")
      for (const given of [undefined, null, 1, "yes", Effect.succeed("yes"), {}])
        assert.include(yield* of("condition", () => given), "return true or false", String(given))
      assert.throws(
        () => Flow.where("where", person, asks, { pack: { size: 2 } }),
        "filter where: a step with pack needs"
      )
      assert.throws(() => Flow.where("where", person, asks, { when: true } as object), "filter where")
    })
  )
})

describe("the model and the settings of a step", () => {
  it.live("follow the row, and are part of what its result is found by", () =>
    Effect.gen(function* () {
      const model = TestModel.make(({ model, request }) =>
        request._tag === "Completion" ? `${model} at ${request.settings.temperature}` : ""
      )
      const cell = Source.fromIterable("cell", [
        { model: "gpt-4o", t: 0 },
        { model: "gpt-4o-mini", t: 1 }
      ])
      const flow = (temperature: (t: number) => number) => {
        const answer = Flow.step(
          "answer",
          { cell },
          () => Effect.map(LanguageModel.generateText({ prompt: "Hello" }), ({ text }) => text),
          {
            model: ({ cell }) => cell.model,
            settings: ({ cell }) => ({ temperature: temperature(cell.t), maxTokens: 9 })
          }
        )
        const values: Array<string> = []
        return {
          values,
          flow: Flow.make("cells", {
            outputs: [Sink.forEach("out", answer, (text) => Effect.sync(() => values.push(text)))],
            stack: Stack.make(Ledger.layer, model.layer)
          })
        }
      }
      const store = Host.layerMemory
      yield* Effect.gen(function* () {
        const first = flow((t) => t)
        yield* Runner.run(first.flow, { errorsFile: false })
        assert.deepStrictEqual(first.values, ["gpt-4o at 0", "gpt-4o-mini at 1"])
        const again = flow((t) => t)
        const summary = yield* Runner.run(again.flow, { errorsFile: false })
        assert.strictEqual(summary.nodes.find(({ name }) => name === "answer")!.reused, 2)
        const other = flow((t) => t / 2)
        yield* Runner.run(other.flow, { errorsFile: false })
        assert.deepStrictEqual(other.values, ["gpt-4o at 0", "gpt-4o-mini at 0.5"])
      }).pipe(Effect.provide(store))
    })
  )
})

describe("a join", () => {
  const left = Source.fromIterable("left", [{ id: 1 }, { id: 2 }, { id: 3 }])
  const right = Source.fromIterable("right", [{ id: 2 }])
  const on = [({ id }: { readonly id: number }) => id, ({ id }: { readonly id: number }) => id] as const

  it.live("counts the rows without a partner, and names the first", () =>
    Effect.gen(function* () {
      const { failures, summary, values } = yield* outcomeOf(Flow.join("joined", { left }, { right }, { on }))
      assert.lengthOf(values, 1)
      assert.lengthOf(failures, 0)
      assert.deepStrictEqual(summary.nodes.find(({ name }) => name === "joined")!.unmatched, {
        rows: 2,
        first: "left[0]"
      })
    })
  )

  it.live("fails them, or says nothing", () =>
    Effect.gen(function* () {
      const failed = yield* outcomeOf(Flow.join("joined", { left }, { right }, { on, unmatched: "fail" }))
      assert.deepStrictEqual(
        failed.failures.map(({ error, message, position }) => ({ error, message, position })),
        [1, 3].map((id) => ({
          error: "NoMatch",
          message: `joined: no row of right has the key ${id}`,
          position: `left[${id - 1}]`
        }))
      )
      const dropped = yield* outcomeOf(Flow.join("joined", { left }, { right }, { on, unmatched: "drop" }))
      assert.lengthOf(dropped.values, 1)
      assert.isUndefined(dropped.summary.nodes.find(({ name }) => name === "joined")!.unmatched)
      const all = yield* outcomeOf(Flow.join("joined", { left }, { right }, { on, type: "left" }))
      assert.lengthOf(all.values, 3)
    })
  )
})

describe("a node", () => {
  const one = numbers(1)
  const other = Flow.map("other", { one }, ({ one }) => one)
  const on = [(value: unknown) => value, (value: unknown) => value] as never
  for (const [kind, make] of [
    ["step", (options: object) => Flow.step("x", { one }, ({ one }) => one, options)],
    ["filter", (options: object) => Flow.filter("x", { one }, () => true, options)],
    ["where", (options: object) => Flow.where("x", one, () => true, options)],
    ["expand", (options: object) => Flow.expand("x", { one }, ({ one }) => [one], options)],
    ["reduce", (options: object) => Flow.reduce("x", { one }, { initial: () => 0, step: (n) => n, ...options })],
    ["group", (options: object) => Flow.group("x", { one }, { by: () => 1, ...options }, () => 1)],
    ["distinct", (options: object) => Flow.distinct("x", { one }, { by: () => 1, ...options })],
    ["join", (options: object) => Flow.join("x", { one }, { other }, { on, ...options })],
    [
      "nearest",
      (options: object) => Flow.nearest("x", { one }, { other }, { by: [one as never, one as never], ...options })
    ],
    ["embed", (options: object) => Flow.embed("x", { one }, () => "", options)]
  ] as const) {
    it(`refuses options that it does not have, and names it (${kind})`, () => {
      assert.doesNotThrow(() => make({}))
      assert.throws(() => make({ mising: "keep" }), / x has no option mising/)
    })
  }

  it("has a name of its own, that no place of the report can be taken for", () => {
    assert.throws(() => Flow.join("joined", { one }, { one: other }, { on }), "both sides are named one")
    assert.throws(() => Flow.map("a / b", { one }, ({ one }) => one), "/")
    for (const concurrency of [0, 1.5, -1])
      assert.throws(() => Flow.group("group", { one }, { by: () => 1, concurrency }, () => 1), "concurrency")
    assert.throws(() => Flow.group("group", { one }, { by: () => 1, take: 0 }, () => 1), "take")
  })
})

describe("a function that returns a promise", () => {
  const n = numbers(1, 2)
  // What the types of an editor refuse, JavaScript does.
  const untyped = (f: (...values: ReadonlyArray<never>) => unknown) => f as never
  const cases: { readonly [name: string]: Node.Node<unknown, unknown> } = {
    map: Flow.map(
      "it",
      { n },
      untyped(async () => 1)
    ),
    step: Flow.step(
      "it",
      { n },
      untyped(async () => 1)
    ),
    when: Flow.step("it", { n }, () => 1, { when: untyped(async () => true) }),
    filter: Flow.filter(
      "it",
      { n },
      untyped(async () => true)
    ),
    expand: Flow.expand(
      "it",
      { n },
      untyped(async () => [1])
    ),
    group: Flow.group(
      "it",
      { n },
      { by: () => "a" },
      untyped(async () => 1)
    ),
    "the step of a reduce": Flow.reduce("it", { n }, { initial: () => 0, step: untyped(async () => 1) }),
    "the finish of a reduce": Flow.reduce(
      "it",
      { n },
      { initial: () => 0, step: (n) => n, finish: untyped(async () => 1) }
    ),
    "the initial state of a reduce": Flow.reduce("it", { n }, { initial: untyped(async () => 0), step: (n) => n }),
    "the text that varies": Flow.step("it", { n }, () => 1, { varies: untyped(async () => "text") }),
    "a field of a map": Flow.map("it", { n }, ({ n }) => ({ n: Promise.resolve(n) })),
    "an item of a step": Flow.step("it", { n }, ({ n }) => [n, Promise.resolve(n)]),
    "the value of an effect": Flow.step("it", { n }, ({ n }) => Effect.sync((): unknown => Promise.resolve(n))),
    "a field of an effect's value": Flow.step("it", { n }, ({ n }) => Effect.succeed({ n: Promise.resolve(n) }))
  }
  for (const [name, node] of Object.entries(cases)) {
    it.live(`fails its rows in words (${name})`, () =>
      Effect.gen(function* () {
        const { failures, values } = yield* outcomeOf(node)
        assert.lengthOf(values, 0)
        assert.match(failures[0]!.message, /returns a (list of )?promise/)
      })
    )
  }

  it.live("is refused like one that returns an effect where nothing runs it, or no list (B10)", () =>
    Effect.gen(function* () {
      const { failures, values } = yield* outcomeOf(Flow.map("it", { n }, ({ n }): unknown => Effect.succeed(n)))
      assert.lengthOf(values, 0)
      assert.include(failures[0]!.message, "returns an effect, which would not run: use Flow.step")
      const lists: ReadonlyArray<readonly [made: () => unknown, says: string]> = [
        [() => ({ a: 1 }), "returns a value of type object, not a list"],
        [() => "text", "returns a value of type string, not a list"],
        [() => undefined, "returns undefined, not a list"],
        [
          async function* () {
            yield await Promise.resolve(1)
          },
          "not a list"
        ],
        [() => [Promise.resolve(1)], "a list of promises or effects: return Effect.all"],
        [() => [Effect.succeed(1)], "a list of promises or effects: return Effect.all"],
        [() => Effect.succeed({ a: 1 }), "returns a value of type object, not a list"],
        [() => Effect.map(Effect.succeed(1), (one): unknown => Promise.resolve([one])), "returns a promise, not a list"]
      ]
      for (const [made, says] of lists) {
        const { failures, values } = yield* outcomeOf(Flow.expand("it", { n }, untyped(made) as () => Array<unknown>))
        assert.lengthOf(values, 0)
        assert.include(failures[0]?.message ?? "no failure", says)
      }
      const set = yield* outcomeOf(Flow.expand("it", { n }, ({ n }) => new Set([n])))
      assert.deepStrictEqual(set.values, [{ it: 1 }, { it: 2 }])
    })
  )

  it.live("is refused like a step that returns nothing; a plain value is one", () =>
    Effect.gen(function* () {
      const nothing = yield* outcomeOf(
        Flow.step(
          "it",
          { n },
          untyped(() => undefined)
        )
      )
      assert.include(nothing.failures[0]!.message, "returns nothing: return a value or an effect")
      assert.deepStrictEqual((yield* outcomeOf(Flow.step("it", { n }, ({ n }) => n * 2))).values, [
        { it: 2 },
        { it: 4 }
      ])
    })
  )
})

describe("a parameter that the flow does not list", () => {
  it.live("has its default, and a warning says how to list it (B17)", () =>
    Effect.gen(function* () {
      const language = Parameter.make("language", Schema.String, { default: "German" })
      const step = Flow.step("it", { n: numbers(1, 2) }, () => language)
      const { logged, values } = yield* outcomeOf(step)
      assert.deepStrictEqual(values, [{ it: "German" }, { it: "German" }])
      assert.lengthOf(logged.split("parameter language has its default, because the flow does not list it"), 2)
    })
  )
})

describe("a CSV whose header has other names", () => {
  it.live("says which it has (B18)", () =>
    Effect.gen(function* () {
      const path = temp("courses.csv")
      writeFileSync(path, "department,course\nmath,algebra\n")
      const schema = Schema.Struct({ Department: Schema.String, course: Schema.String })
      const errorsFile = temp("errors.jsonl")
      const flow = Flow.make("f", {
        outputs: [Sink.forEach("out", Source.csv("c", { path, schema }), () => Effect.void)],
        allowFailedRows: 1
      })
      yield* Runner.run(flow, { errorsFile }).pipe(Effect.provide(Host.layerMemory))
      const { message } = JSON.parse(readFileSync(errorsFile, "utf8"))
      assert.match(message, /Missing key.*Department.*\(the header has department, course\)$/)
    })
  )
})
