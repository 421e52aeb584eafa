/** Parameters as inputs of nodes and as parts of paths: their values reach rows, keys and files. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Parameter, Runner, Sink, Source } from "@pipe/core"
import { Context, Duration, Effect, Layer, Schema } from "effect"
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-parameters-"))

const language = Parameter.make("language", Schema.Literals(["en", "de"]), { default: "en" })
const times = Parameter.make("times", Schema.Int, { default: 2 })
const numbers = Source.fromIterable("n", [1, 2])

const collect = <S extends Sink.Rows>(rows: S, out: Array<unknown>) =>
  Sink.forEach("out", rows, (row) => Effect.sync(() => void out.push(row)))

const run = (flow: Flow.Any, parameters: Readonly<Record<string, unknown>> = {}, store?: string) =>
  Runner.run(flow, { parameters, errorsFile: false }).pipe(
    Effect.provide(store === undefined ? Host.layerMemory : Host.layer({ store }))
  )

describe("a parameter as an input", () => {
  it.effect("has its value in steps, filters, lists, groups, choices and outputs, without being listed", () =>
    Effect.gen(function* () {
      const out: Array<unknown> = []
      const all = Flow.expand("all", { n: numbers, times }, ({ n, times }) => Array.from({ length: times }, () => n))
      const some = Flow.filter("some", { all, language }, ({ all, language }) => language === "de" || all === 1)
      const step = Flow.step("step", { some, times }, ({ some, times }) => some.all * times, {
        when: ({ times }) => times > 1
      })
      const sum = Flow.reduce(
        "sum",
        { step, times },
        { initial: () => 0, step: (sum, { step = 0, times }) => sum + step * times }
      )
      const flow = Flow.make("f", { outputs: [collect({ sum, language }, out)] })
      yield* run(flow)
      yield* run(flow, { times: 3, language: "de" })
      assert.deepStrictEqual(out, [
        { sum: 1 * 2 * 2 * 2, language: "en" },
        { sum: (1 + 2) * 3 * 3 * 3, language: "de" }
      ])
      assert.match((yield* Effect.flip(run(flow, { times: "x" }))).message, /parameter times/)
      assert.include((yield* Effect.flip(run(flow, { time: 1 }))).message, "it has times, language")
    })
  )

  it.effect("has a value of any schema, as JSON or as it is in code", () =>
    Effect.gen(function* () {
      const all = {
        since: Parameter.make("since", Schema.Date),
        big: Parameter.make("big", Schema.BigInt),
        tags: Parameter.make("tags", Schema.ReadonlySet(Schema.String)),
        days: Parameter.make("days", Schema.Array(Schema.Date))
      }
      const day = new Date("2026-01-02T00:00:00.000Z")
      for (const given of [
        { since: day.toISOString(), big: "7", tags: ["a"], days: [day.toISOString()] },
        { since: day, big: 7n, tags: new Set(["a"]), days: [day] }
      ]) {
        const out: Array<unknown> = []
        const read = Flow.map("read", { n: numbers, ...all }, ({ n: _, ...values }) => values)
        yield* run(Flow.make("f", { outputs: [collect(read, out)], parameters: Object.values(all) }), given)
        assert.deepStrictEqual(out[0], { since: day, big: 7n, tags: new Set(["a"]), days: [day] })
      }
    })
  )

  it.live("is a part of the key of the steps that read it, and of no other", () =>
    Effect.gen(function* () {
      const store = join(folder(), "store.db")
      const made: Array<string> = []
      const note = <A>(what: string, value: A) => Effect.sync(() => (made.push(what), value))
      const plain = Flow.step("plain", { n: numbers }, ({ n }) => note("plain", n), { by: "plain" })
      const read = Flow.step("read", { n: numbers, language }, ({ n }) => note("read", n), { by: "read" })
      const flow = Flow.make("f", { outputs: [collect({ plain, read }, [])] })
      const madeBy = (parameters: Readonly<Record<string, unknown>>) =>
        Effect.map(run(flow, parameters, store), () => made.splice(0).sort())
      assert.deepStrictEqual(yield* madeBy({}), ["plain", "plain", "read", "read"])
      assert.deepStrictEqual(yield* madeBy({ language: "en" }), [])
      assert.deepStrictEqual(yield* madeBy({ language: "de" }), ["read", "read"])
    })
  )

  it.effect("is the only way for a step to read one that the flow does not list", () =>
    Effect.gen(function* () {
      const read = Flow.step("read", { n: numbers }, ({ n }) => Effect.map(language, (language) => `${language} ${n}`))
      const flow = (parameters: ReadonlyArray<Parameter.Any>) =>
        Flow.make("f", { outputs: [collect({ read, language }, [])], parameters })
      const outcome = yield* run(flow([]))
      assert.strictEqual(outcome.rows.failed, 2)
      assert.strictEqual((yield* run(flow([language]))).rows.failed, 0)
    })
  )

  it.live("counts as its default when that is given, and a value without a form is like no other", () =>
    Effect.gen(function* () {
      const store = join(folder(), "store.db")
      let made = 0
      const wait = Parameter.make("wait", Schema.DurationFromMillis, { default: Duration.seconds(5) })
      const word = Parameter.make("word", Schema.String, { default: "z" })
      const step = Flow.step(
        "step",
        { n: numbers },
        ({ n }) =>
          Effect.map(Effect.all([wait, word]), ([wait, word]) => `${(made++, n)} ${Duration.toMillis(wait)} ${word}`),
        { by: "step" }
      )
      const out: Array<unknown> = []
      const flow = Flow.make("f", { outputs: [collect({ step }, out)], parameters: [wait, word] })
      const last = (parameters: Readonly<Record<string, unknown>>) =>
        Effect.map(run(flow, parameters, store), () => [made, (out.at(-1) as { readonly step: string }).step])
      assert.deepStrictEqual(yield* last({}), [2, "2 5000 z"])
      assert.deepStrictEqual(yield* last({ word: "z", wait: 5_000 }), [2, "2 5000 z"])
      assert.deepStrictEqual(yield* last({ word: "q", wait: 6_000 }), [4, "2 6000 q"])
      assert.deepStrictEqual(yield* last({ wait: 6_000 }), [6, "2 6000 z"])
    })
  )

  it.live("is refused in a service and in a layer, where results would not depend on it", () =>
    Effect.gen(function* () {
      class Tone extends Context.Service<Tone, string>()("Tone") {}
      const step = Flow.step("step", { n: numbers, language }, ({ n }) => Effect.map(Tone, (tone) => `${tone} ${n}`))
      const output = () => collect({ step }, [])
      const flow = (parameters: ReadonlyArray<Parameter.Any>) =>
        Flow.make<readonly [ReturnType<typeof output>], never, never, Tone, never, never>("f", {
          outputs: [output()],
          services: Layer.effect(
            Tone,
            Effect.map(language, (language) => `in ${language}`)
          ),
          parameters
        })
      const exit = yield* Effect.exit(run(flow([])))
      assert.include(String(exit), "list it, parameters: [language]")
      assert.strictEqual((yield* run(flow([language]))).rows.failed, 0)
    })
  )

  it("of one name is one parameter, and the name can be a flag", () => {
    const other = Parameter.make("language", Schema.String)
    assert.throws(
      () => Flow.make("f", { outputs: [collect({ n: numbers, language }, [])], parameters: [other] }),
      "two parameters named language"
    )
    for (const name of ["", "my name", "-x", "1st", "a=b", "é"])
      assert.throws(() => Parameter.make(name, Schema.String), "a parameter cannot be named")
    assert.throws(() => Parameter.make("n", Schema.Int, { default: 1.5 }), "its default does not fit its schema")
    assert.throws(() => Flow.map("m", { language }, ({ language }) => language), "names no node as its input")
  })
})

describe("a parameter in a path", () => {
  it.live("names the files of sources and outputs, and is not part of any key", () =>
    Effect.gen(function* () {
      const dir = folder()
      const at = place(dir)
      for (const language of ["en", "de"]) writeFileSync(join(dir, `rows.${language}.txt`), "a\nb\n")
      let made = 0
      const row = Source.lines("row", { path: Parameter.path`${at}/rows.${language}.txt` })
      const step = Flow.step("step", { row }, ({ row }) => Effect.sync(() => `${row}${(made++, "!")}`), { by: "step" })
      const file = Parameter.path`${at}/out/${language}.${times}.txt`
      const flow = Flow.make("f", {
        outputs: [
          Sink.lines(file, step),
          Sink.files(Parameter.path`${at}/files.${language}`, { step }, ({ step }) => ({ path: step, text: step }))
        ]
      })
      const store = join(dir, "store.db")
      const summary = yield* run(flow, {}, store)
      assert.deepStrictEqual(
        summary.outputs.map(({ name, rows }) => [name.slice(dir.length), rows]),
        [
          ["/out/en.2.txt", 2],
          ["/files.en", 2]
        ]
      )
      assert.strictEqual(made, 2)
      yield* run(flow, { language: "de", times: 3 }, store)
      assert.strictEqual(made, 2)
      assert.strictEqual(readFileSync(join(dir, "out/de.3.txt"), "utf8"), "a!\nb!\n")
      assert.isTrue(existsSync(join(dir, "files.de", "a!")))
    })
  )

  it.live("is told apart from other files, as the run has it", () =>
    Effect.gen(function* () {
      const dir = folder()
      const at = place(dir)
      writeFileSync(join(dir, "en.txt"), "a\n")
      const row = Source.lines("row", { path: join(dir, "en.txt") })
      const flow = Flow.make("f", { outputs: [Sink.lines(Parameter.path`${at}/${language}.txt`, row)] })
      assert.match((yield* Effect.flip(run(flow))).message, /en\.txt/)
      assert.strictEqual(readFileSync(join(dir, "en.txt"), "utf8"), "a\n")
      yield* run(flow, { language: "de" })
      assert.strictEqual(readFileSync(join(dir, "de.txt"), "utf8"), "a\n")
    })
  )

  it("takes parameters of texts and numbers alone", () => {
    const since = Parameter.make("since", Schema.Date) as unknown as Parameter.Parameter<string>
    assert.throws(() => Parameter.path`out/${since}.txt`, "since is a list, a record or a date")
    assert.throws(
      () => Parameter.path`out/${"x" as unknown as Parameter.Parameter<string>}.txt`,
      "x is not a parameter"
    )
  })
})

/** A constant of the test as a parameter: its default is the folder. */
const place = (dir: string) => Parameter.make("dir", Schema.String, { default: dir })
