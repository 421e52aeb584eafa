/** Every case of kind `data` that users reported elsewhere: files as they really are. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, type Node, type RunEvent, Runner, Sink, Source } from "@pipe/core"
import * as TextLine from "../src/encoding/TextLine.ts"
import { Effect, Logger, Schema, Stream } from "effect"
import * as fc from "fast-check"
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-data-"))

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder(), name)
  writeFileSync(path, content)
  return path
}

/** All rows of a source, the failed ones as events, and what was warned of. */
const read = <A, E, R extends Flow.Host>(source: Node.Node<A, E, R>) =>
  Effect.gen(function* () {
    const rows: Array<A> = []
    const failed: Array<Extract<RunEvent.RunEvent, { readonly _tag: "RowFailed" }>> = []
    const warnings: Array<string> = []
    const flow = Flow.make("read", {
      outputs: [Sink.forEach("rows", source as Node.Node<A>, (row) => Effect.sync(() => rows.push(row)))]
    })
    const result = yield* Runner.run(flow, {
      errorsFile: join(folder(), "errors.jsonl"),
      observe: (event) =>
        Effect.sync(() => {
          if (event._tag === "RowFailed") failed.push(event)
        })
    }).pipe(
      Effect.result,
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.provide(Host.layerMemory)
    )
    return { rows, failed, warnings, failure: result._tag === "Failure" ? result.failure.message : undefined }
  })

const Topic = Schema.Struct({ topic: Schema.String, lang: Schema.String })
const Text = Schema.Struct({ t: Schema.String })

describe("CSV", () => {
  const csv = (content: string | Uint8Array, options?: { readonly delimiter?: string }) =>
    read(
      Source.csv("rows", {
        path: file("rows.csv", content),
        schema: Schema.Record(Schema.String, Schema.String),
        ...options
      })
    )

  it.effect("takes a byte order mark away (promptfoo#2230)", () =>
    Effect.gen(function* () {
      const path = file("rows.csv", "\uFEFFtopic,lang\r\nbees,cs\r\n")
      assert.deepStrictEqual((yield* read(Source.csv("rows", { path, schema: Topic }))).rows, [
        { topic: "bees", lang: "cs" }
      ])
    })
  )

  it.effect("keeps line ends inside quotes as they are (PapaParse#344)", () =>
    Effect.gen(function* () {
      const { rows } = yield* csv('"q","a"\n"one\r\ntwo","x, ""y"""\n"plain",""\n')
      assert.deepStrictEqual(rows, [
        { q: "one\r\ntwo", a: 'x, "y"' },
        { q: "plain", a: "" }
      ])
    })
  )

  it.effect("warns of a wrong delimiter before any call", () =>
    Effect.gen(function* () {
      const { warnings } = yield* csv("q;a\n1;2\n")
      assert.include(warnings[0], "one column")
      assert.deepStrictEqual((yield* csv("q;a\n1;2\n", { delimiter: ";" })).rows, [{ q: "1", a: "2" }])
    })
  )

  it.effect("names the line of a row with another number of cells, and keeps the others", () =>
    Effect.gen(function* () {
      const { failed, rows } = yield* csv('a,b\n"x\ny",2\n3\n5,6\n')
      assert.deepStrictEqual(rows, [
        { a: "x\ny", b: "2" },
        { a: "5", b: "6" }
      ])
      assert.match(failed[0]!.position, /rows\.csv:4$/)
      assert.include(failed[0]!.message, "has 1 cells where the header has 2")
    })
  )

  it.effect("decodes numbers by the schema, and reads a last line without an end", () =>
    Effect.gen(function* () {
      const path = file("rows.csv", "n\n1\n2")
      assert.deepStrictEqual(
        (yield* read(Source.csv("rows", { path, schema: Schema.Struct({ n: Schema.Int }) }))).rows,
        [{ n: 1 }, { n: 2 }]
      )
    })
  )
})

describe("JSON Lines", () => {
  const jsonl = (content: string | Uint8Array) => {
    const path = file("rows.jsonl", content)
    return read(Source.jsonl("rows", { path, schema: Text }))
  }

  it.effect("skips blank lines and reads the last without its end (graphrag#2424)", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* jsonl('\uFEFF{"t":"a"}\n\n   \r\n{"t":"b"}')).rows, [{ t: "a" }, { t: "b" }])
    })
  )

  it.effect("names a bad line by file and number, and keeps the rest", () =>
    Effect.gen(function* () {
      const { failed, failure, rows } = yield* jsonl('{"t":"a"}\n{bad\n{"t":1}\n{"t":"d"}\n')
      assert.deepStrictEqual(rows, [{ t: "a" }, { t: "d" }])
      assert.match(failed[0]!.position, /rows\.jsonl:2$/)
      assert.include(failed[0]!.message, "not JSON")
      assert.match(failed[1]!.message, /rows\.jsonl:3: does not fit its schema/)
      assert.isUndefined(failure)
    })
  )

  it.effect("refuses a line of 60 MB in one clear row, and reads on", () =>
    Effect.gen(function* () {
      const { failed, rows } = yield* jsonl(`{"t":"${"x".repeat(60 * 1024 * 1024)}"}\n{"t":"b"}\n`)
      assert.deepStrictEqual(rows, [{ t: "b" }])
      assert.include(failed[0]!.message, "more than the")
    })
  )

  it.effect("says of invalid UTF-8 which line it is, and what to do", () =>
    Effect.gen(function* () {
      const { failed, rows } = yield* jsonl(
        Buffer.concat([Buffer.from('{"t":"'), Buffer.from([0xff]), Buffer.from('"}\n{"t":"b"}\n')])
      )
      assert.deepStrictEqual(rows, [{ t: "b" }])
      assert.include(failed[0]!.message, "not valid UTF-8")
      assert.include(failed[0]!.message, 'encoding: "windows-1252"')
    })
  )

  it.effect("says of an absent file, a folder and an empty file what they are", () =>
    Effect.gen(function* () {
      const at = (path: string) => read(Source.jsonl("rows", { path, schema: Text }))
      assert.include((yield* at("absent.jsonl")).failure, "absent.jsonl: there is no such file")
      assert.include((yield* at(folder())).failure, "is a folder")
      assert.include((yield* at(file("empty.jsonl", ""))).warnings[0], "is empty")
    })
  )

  it.effect("refuses a row that is nested too deep, and reads on", () =>
    Effect.gen(function* () {
      const nested = (levels: number) => `{"t":"a","x":${"[".repeat(levels)}${"]".repeat(levels)}}`
      const wide = `{"t":"b","x":${JSON.stringify(Array.from({ length: 1_000 }, () => [{}]))}}`
      const schema = Schema.Struct({ t: Schema.String, x: Schema.Unknown })
      const path = file("rows.jsonl", `${nested(100_000)}\n${wide}\n`)
      const { failed, rows } = yield* read(Source.jsonl("rows", { path, schema }))
      assert.deepStrictEqual(
        rows.map(({ t }) => t),
        ["b"]
      )
      assert.include(failed[0]!.message, "nested more than 256 levels deep")
      const array = yield* read(Source.json("rows", { path: file("rows.json", `[${nested(400)},${wide}]`), schema }))
      assert.strictEqual(array.rows.length, 1)
      assert.match(array.failed[0]!.position, /rows\.json\[0\]$/)
    })
  )

  it("splits at LF alone, whatever the chunks (nodejs/node#62785)", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom("a", "é", "🍋", "\u2028", "\u2029", "\r", " ") })),
        fc.integer({ min: 1, max: 7 }),
        async (texts, size) => {
          // One CR before the LF belongs to the line's end.
          const lines = texts.map((text) => text.replace(/\r$/, ""))
          const bytes = new TextEncoder().encode(texts.map((text) => `${text}\n`).join(""))
          const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
            bytes.subarray(i * size, (i + 1) * size)
          )
          const split = await Effect.runPromise(Stream.runCollect(TextLine.split(Stream.fromIterable(chunks))))
          assert.deepStrictEqual(
            split.map((line) => line.text),
            lines
          )
          assert.deepStrictEqual(
            split.map((line) => line.number),
            lines.map((_, index) => index + 1)
          )
        }
      )
    ))
})

describe("a JSON array", () => {
  it.effect("is read by element, with a byte order mark or without", () =>
    Effect.gen(function* () {
      const path = file("rows.json", '\uFEFF[{"t":"a"},\n {"t":2}, {"t":"c"}]')
      const { failed, rows } = yield* read(Source.json("rows", { path, schema: Text }))
      assert.deepStrictEqual(rows, [{ t: "a" }, { t: "c" }])
      assert.match(failed[0]!.position, /rows\.json\[1\]$/)
    })
  )
})

describe("outputs", () => {
  const rows = [
    { id: "r1", text: "left\u2028right", n: 1 },
    { id: "r2", text: 'x, "y"\nz', n: 2 }
  ]
  const Row = Schema.Struct({ id: Schema.String, text: Schema.String, n: Schema.Int })
  const source = Source.fromIterable("rows", rows)
  const write = <E>(sink: Sink.Sink<E, Flow.Host>) =>
    Runner.run(Flow.make("write", { outputs: [sink] }), { errorsFile: join(folder(), "e.jsonl") }).pipe(
      Effect.provide(Host.layerMemory)
    )

  it.effect("come back as they were from JSON Lines, JSON and CSV", () =>
    Effect.gen(function* () {
      const at = join(folder(), "new", "folder")
      yield* write(Sink.jsonl(join(at, "a.jsonl"), source))
      yield* write(Sink.json(join(at, "a.json"), source))
      yield* write(Sink.csv(join(at, "a.csv"), source))
      assert.deepStrictEqual((yield* read(Source.jsonl("b", { path: join(at, "a.jsonl"), schema: Row }))).rows, rows)
      assert.deepStrictEqual((yield* read(Source.json("b", { path: join(at, "a.json"), schema: Row }))).rows, rows)
      assert.deepStrictEqual((yield* read(Source.csv("b", { path: join(at, "a.csv"), schema: Row }))).rows, rows)
      assert.include(readFileSync(join(at, "a.jsonl"), "utf8"), "\\u2028")
      assert.isFalse(existsSync(join(at, "a.jsonl.partial")))
    })
  )

  const circular: { self?: unknown } = {}
  circular.self = circular
  let nested: unknown = "x"
  for (let i = 0; i < 20_000; i++) nested = [nested]
  for (const [name, value] of [
    ["itself", circular],
    ["20,000 levels", nested],
    ["a getter that throws", Object.defineProperty({}, "x", { enumerable: true, get: () => JSON.parse("{") })]
  ] as const) {
    it.effect(`fail a row that holds ${name}, and write the others`, () =>
      Effect.gen(function* () {
        const at = folder()
        const odd = Source.fromIterable<unknown>("rows", [{ a: 1 }, { a: value }, { a: 3 }])
        const { rows: counts } = yield* Runner.run(
          Flow.make("write", { outputs: [Sink.jsonl(join(at, "a.jsonl"), odd), Sink.json(join(at, "a.json"), odd)] }),
          { errorsFile: join(at, "errors.jsonl") }
        ).pipe(Effect.provide(Host.layerMemory))
        assert.deepStrictEqual(counts, { read: 3, failed: 1, dropped: 0 })
        assert.strictEqual(readFileSync(join(at, "a.jsonl"), "utf8"), '{"a":1}\n{"a":3}\n')
        assert.deepStrictEqual(JSON.parse(readFileSync(join(at, "a.json"), "utf8")), [{ a: 1 }, { a: 3 }])
        const errors = readFileSync(join(at, "errors.jsonl"), "utf8").trim().split("\n")
        assert.strictEqual(errors.length, 1)
        for (const line of errors) {
          const { input, message, position } = JSON.parse(line) as { readonly [field: string]: unknown }
          assert.strictEqual(position, "rows[1]")
          assert.include(message, "cannot represent the row")
          assert.isDefined(input)
        }
      })
    )
  }

  const Values = Schema.Struct({
    text: Schema.String,
    number: Schema.Number,
    big: Schema.BigInt,
    date: Schema.Date,
    is: Schema.Boolean,
    map: Schema.ReadonlyMap(Schema.String, Schema.BigInt),
    set: Schema.ReadonlySet(Schema.Int),
    list: Schema.Array(Schema.NullOr(Schema.Finite)),
    maybe: Schema.optionalKey(Schema.Finite),
    none: Schema.NullOr(Schema.Finite),
    inner: Schema.Struct({ word: Schema.String, at: Schema.optionalKey(Schema.Date) })
  })
  const date = fc.date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })
  const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => (Object.is(x, -0) ? 0 : x))
  const values = fc.record(
    {
      text: fc.string({ unit: "grapheme" }),
      number: fc.double().map((x) => (Object.is(x, -0) ? 0 : x)),
      big: fc.bigInt(),
      date,
      is: fc.boolean(),
      map: fc.array(fc.tuple(fc.string(), fc.bigInt())).map((pairs) => new Map(pairs)),
      set: fc.array(fc.integer()).map((items) => new Set(items)),
      list: fc.array(fc.option(finite)),
      maybe: finite,
      none: fc.option(finite),
      inner: fc.record({ word: fc.string(), at: date }, { requiredKeys: ["word"] })
    },
    { requiredKeys: ["text", "number", "big", "date", "is", "map", "set", "list", "none", "inner"] }
  )
  for (const [name, sink, source] of [
    ["JSON Lines", Sink.jsonl, Source.jsonl],
    ["JSON", Sink.json, Source.json],
    ["CSV", Sink.csv, Source.csv]
  ] as const) {
    it.live(`come back equal from ${name}, whatever their schema holds`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(values, { minLength: 1, maxLength: 4 }), (given) =>
            Effect.gen(function* () {
              const path = join(folder(), "rows")
              yield* write(sink(path, Source.fromIterable("given", given)))
              const { failed, rows } = yield* read(source("rows", { path, schema: Values }))
              assert.deepStrictEqual(failed, [])
              assert.deepStrictEqual<unknown>(rows, given)
            }).pipe(Effect.runPromise)
          ),
          { numRuns: 30 }
        )
      )
    )
  }

  it.live("have the columns of all rows, wherever they come first, and no formulas where that is said", () =>
    Effect.gen(function* () {
      const path = join(folder(), "rows.csv")
      const rows = [
        { a: 1 },
        { a: 2, b: "=1+1" },
        { c: "-x", a: -3 },
        ...Array.from({ length: 2_000 }, () => ({ d: '"' }))
      ]
      yield* write(Sink.csv(path, Source.fromIterable("given", rows)))
      const text = readFileSync(path, "utf8").split("\n")
      assert.deepStrictEqual(text.slice(0, 5), ["a,b,c,d", "1,,,", "2,=1+1,,", "-3,,-x,", ',,,""""'])
      assert.lengthOf(text, 2_005)
      yield* write(Sink.csv(path, Source.fromIterable("given", rows.slice(0, 3)), { escapeFormulas: true }))
      assert.strictEqual(readFileSync(path, "utf8"), "a,b,c\n1,,\n2,'=1+1,\n-3,,'-x\n")
      yield* write(Sink.csv(path, Source.fromIterable("given", rows.slice(0, 3)), { columns: ["b", "a"] }))
      assert.strictEqual(readFileSync(path, "utf8"), "b,a\n,1\n=1+1,2\n,-3\n")
    })
  )

  it.live("are files of their own for each row, within their folder, and each name once", () =>
    Effect.gen(function* () {
      const out = join(folder(), "out")
      const names = [
        "a.md",
        "de/b.md",
        "./a.md",
        "../c.md",
        "/etc/d.md",
        "",
        "..",
        `${"n".repeat(256)}.md`,
        "de/../e.md",
        "..f"
      ]
      const rows = Source.fromIterable(
        "page",
        names.map((name, at) => ({ name, text: `page ${at}\n` }))
      )
      const sink = (folder: string) =>
        Sink.files(folder, { rows }, ({ rows: { name, text } }) => ({ path: name, text }))
      const failed: Array<string> = []
      const run = (folder: string, options: Runner.Options = {}) =>
        Runner.run(Flow.make("pages", { outputs: [sink(folder)], allowFailedRows: 100 }), {
          errorsFile: false,
          observe: (event) =>
            Effect.sync(() => {
              if (event._tag === "RowFailed") failed.push(`${event.position} ${event.message}`)
            }),
          ...options
        })
      yield* run(out)
      assert.deepStrictEqual(readdirSync(out, { recursive: true }).sort(), ["..f", "a.md", "de", "de/b.md", "e.md"])
      assert.strictEqual(readFileSync(join(out, "a.md"), "utf8"), "page 0\n")
      assert.deepStrictEqual(
        failed.map((line) => line.split(" ")[0]),
        [2, 3, 4, 5, 6, 7].map((at) => `page[${at}]`)
      )
      assert.include(failed[0], "another row has written the file ./a.md")
      assert.include(failed[1], "its file ../c.md is not in the folder")
      const file = join(folder(), "file")
      writeFileSync(file, "")
      assert.include((yield* Effect.flip(run(file))).message, "it is not a folder")
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("never replace what the run reads", () =>
    Effect.gen(function* () {
      const out = folder()
      writeFileSync(join(out, "a.md"), "text")
      const page = Source.files("page", { path: join(out, "*.md") })
      const flow = Flow.make("pages", { outputs: [Sink.files(out, page, (page) => ({ ...page, path: "a.md" }))] })
      const error = yield* Effect.flip(Runner.run(flow, { errorsFile: false }))
      assert.include(error.message, "give rows a folder of their own")
      assert.strictEqual(readFileSync(join(out, "a.md"), "utf8"), "text")
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("are one value where there is one row", () =>
    Effect.gen(function* () {
      const path = join(folder(), "total.json")
      const rows = (...numbers: ReadonlyArray<number>) => Source.fromIterable("number", numbers)
      yield* write(Sink.json(path, { total: rows(7) }, { single: true }))
      assert.strictEqual(readFileSync(path, "utf8"), '{"total":7}\n')
      const none = join(folder(), "none.json")
      yield* write(Sink.json(none, rows(), { single: true }))
      assert.strictEqual(readFileSync(none, "utf8"), "null\n")
      const error = yield* Effect.flip(write(Sink.json(path, rows(1, 2), { single: true })))
      assert.include(String(error), "more than one row")
    })
  )

  it.effect("that cannot be written say so in one line", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(write(Sink.jsonl(join(file("blocker", "x"), "out.jsonl"), source)))
      assert.include(error.message, "cannot be written")
    })
  )
})
