/** Files as people have them: encodings, compression, formats and faults, with their right rows and refusals. */
import { assert, describe, it } from "@effect/vitest"
import { Source } from "@pipe/core"
import { Effect, Schema } from "effect"
import * as fc from "fast-check"
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import * as Soak from "../../../test/Soak.ts"
import { read } from "./ReadSource.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-files-"))

const file = (name: string, content: string | Uint8Array, at = folder()): string => {
  const path = join(at, name)
  writeFileSync(path, content)
  return path
}

const Row = Schema.Struct({ id: Schema.String, text: Schema.String })
type Row = typeof Row.Type

interface Options {
  readonly path: Source.FileOptions<Row>["path"]
  readonly encoding?: string
}

const ROWS: ReadonlyArray<Row> = [
  { id: "1", text: "café" },
  { id: "2", text: 'naïve, "quoted"' },
  { id: "3", text: "Ünïcödé" }
]

const quoted = (cell: string) => `"${cell.replaceAll('"', '""')}"`

/** How rows are written, and read. */
const formats = {
  jsonl: {
    write: (rows: ReadonlyArray<Row>, end: string) => rows.map((row) => JSON.stringify(row)).join(end) + end,
    source: (options: Options) => Source.jsonl("rows", { ...options, schema: Row })
  },
  json: {
    write: (rows: ReadonlyArray<Row>, end: string) =>
      `[${end}${rows.map((row) => JSON.stringify(row)).join(`,${end}`)}${end}]${end}`,
    source: (options: Options) => Source.json("rows", { ...options, schema: Row })
  },
  csv: {
    write: (rows: ReadonlyArray<Row>, end: string) =>
      `id,text${end}${rows.map(({ id, text }) => `${id},${quoted(text)}`).join(end)}${end}`,
    source: (options: Options) => Source.csv("rows", { ...options, schema: Row })
  }
}

/** How a text becomes bytes, and what the author has to say of it. */
const encodings: {
  readonly [name: string]: { readonly bytes: (text: string) => Uint8Array; readonly encoding?: string }
} = {
  "UTF-8": { bytes: (text) => Buffer.from(text) },
  "UTF-8 with a mark": { bytes: (text) => Buffer.from(`\uFEFF${text}`) },
  "UTF-16 LE with a mark": { bytes: (text) => Buffer.from(`\uFEFF${text}`, "utf16le") },
  "UTF-16 BE with a mark": { bytes: (text) => Buffer.from(`\uFEFF${text}`, "utf16le").swap16() },
  "UTF-16 LE as said": { bytes: (text) => Buffer.from(text, "utf16le"), encoding: "utf-16le" },
  "Windows-1252 as said": { bytes: (text) => Buffer.from(text, "latin1"), encoding: "windows-1252" }
}

const compressions: { readonly [name: string]: (bytes: Uint8Array) => Uint8Array } = {
  plain: (bytes) => bytes,
  gzip: (bytes) => gzipSync(bytes),
  "gzip in two parts": (bytes) => Buffer.concat([gzipSync(bytes.subarray(0, 7)), gzipSync(bytes.subarray(7))])
}

describe("a file in an encoding", () => {
  for (const [format, { source, write }] of Object.entries(formats)) {
    for (const [name, { bytes, ...said }] of Object.entries(encodings)) {
      it.live(`${name} is read as ${format}, compressed or not, whatever its line ends`, () =>
        Effect.gen(function* () {
          for (const compress of Object.values(compressions)) {
            for (const end of ["\n", "\r\n"]) {
              const path = file(`rows.${format}`, compress(bytes(write(ROWS, end))))
              const { failed, failure, rows } = yield* read(source({ path, ...said }))
              assert.deepStrictEqual<unknown>({ failed, failure, rows }, { failed: [], failure: undefined, rows: ROWS })
            }
          }
        })
      )
    }
  }

  it.live("says which one it has found", () =>
    Effect.gen(function* () {
      const path = file("rows.jsonl", Buffer.from(`\uFEFF${JSON.stringify(ROWS[0])}\n`, "utf16le"))
      assert.include(
        (yield* read(formats.jsonl.source({ path }))).said,
        "rows.jsonl is utf-16le, by its byte order mark"
      )
    })
  )

  it.live("fails the rows of another one alone, and says what to set", () =>
    Effect.gen(function* () {
      for (const format of ["jsonl", "csv", "json"] as const) {
        const { source, write } = formats[format]
        const rows = [{ id: "1", text: "plain" }, ROWS[0]!, { id: "3", text: "plain" }]
        const path = file(`rows.${format}`, Buffer.from(write(rows, "\n"), "latin1"))
        const { failed, rows: good } = yield* read(source({ path }))
        assert.deepStrictEqual(good, [rows[0], rows[2]])
        assert.lengthOf(failed, 1)
        assert.include(failed[0]![1], "UTF-8")
      }
    })
  )

  it.live("is refused when there is none of that name, or the bytes are not in it", () =>
    Effect.gen(function* () {
      assert.throws(() => formats.jsonl.source({ path: "x", encoding: "latin-9000" }), "there is no encoding")
      const path = file("rows.csv", Buffer.from([0x69, 0x64, 0x0a, 0xff, 0xff, 0xff]))
      assert.include(
        (yield* read(formats.csv.source({ path, encoding: "shift_jis" }))).failure,
        "is not shift_jis after byte"
      )
    })
  )

  it.live("is one that few tools write: Shift JIS and GB 18030", () =>
    Effect.gen(function* () {
      // 日本 in Shift JIS, 中文 in GB 18030 (the Unicode Consortium's mapping tables).
      for (const [encoding, bytes, text] of [
        ["shift_jis", [0x93, 0xfa, 0x96, 0x7b], "日本"],
        ["gb18030", [0xd6, 0xd0, 0xce, 0xc4], "中文"]
      ] as const) {
        const path = file("rows.txt", Buffer.from([...bytes, 0x0a]))
        assert.deepStrictEqual((yield* read(Source.lines("rows", { path, encoding }))).rows, [text])
      }
    })
  )

  it.live("that is compressed and cut says so, after its rows", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 5_000 }, (_, at) => ({ id: String(at), text: `text ${Math.sin(at)}` }))
      const whole = gzipSync(formats.jsonl.write(rows, "\n"))
      const path = file("rows.jsonl.gz", whole.subarray(0, whole.length / 2))
      const { failure, rows: good } = yield* read(formats.jsonl.source({ path }))
      assert.include(failure, "cannot be decompressed")
      assert.isAbove(good.length, 0)
      assert.deepStrictEqual(good, rows.slice(0, good.length))
    })
  )
})

const csv = (content: string, schema: Schema.Codec<unknown, unknown> = Schema.Record(Schema.String, Schema.String)) =>
  read(Source.csv("rows", { path: file("rows.csv", content), schema }))

describe("a CSV file", () => {
  it.live("keeps columns whose names are empty or doubled, and says how it calls them (G2)", () =>
    Effect.gen(function* () {
      const { rows, said } = yield* csv("a,,a,a_2,\n1,2,3,4,5\n")
      assert.deepStrictEqual(rows, [{ a: "1", column_2: "2", a_3: "3", a_2: "4", column_5: "5" }])
      assert.include(said, "column 2 is column_2, column 3 is a_3, column 5 is column_5")
    })
  )

  it.live("loses one row to a quote that is never closed, and reads on (G2, data-04)", () =>
    Effect.gen(function* () {
      const { failed, failure, rows } = yield* csv('a,b\n1,2\n7,8"9\n3,"4\n5,6\n10,11\n')
      assert.isUndefined(failure)
      assert.deepStrictEqual(rows, [
        { a: "1", b: "2" },
        { a: "7", b: '8"9' },
        { a: "5", b: "6" },
        { a: "10", b: "11" }
      ])
      assert.lengthOf(failed, 1)
      assert.strictEqual(failed[0]![0], "rows.csv:4")
      assert.include(failed[0]![1], "never closed")
    })
  )

  it.live("loses one row to each quote that is never closed, however the file begins", () =>
    Effect.gen(function* () {
      for (const mark of ["", "\uFEFF", "\uFEFF\uFEFF"]) {
        const { failed, failure, rows } = yield* csv(`${mark}a,b\n1,2\n3,"4\n5,6\n7,"8\n9,"10\n11,12\n`)
        assert.isUndefined(failure)
        // The quotes of two rows may close each other: what is between them is then one cell.
        const read = [...rows.flatMap((row) => Object.values(row as object)), ...failed.map(String)].join(" ")
        for (const cell of ["1", "2", "11", "12"]) assert.include(read, cell)
        assert.isBelow(rows.length + failed.length, 8)
      }
      const { failed, rows } = yield* csv(`\uFEFFa,b\n1,"2\n`)
      assert.lengthOf(rows, 0)
      assert.deepStrictEqual(
        failed.map(([position]) => position),
        ["rows.csv:2"]
      )
    })
  )

  it.live.skipIf(!Soak.isSoak)("loses one row to a cell that is too long, and reads on (G2)", () =>
    Effect.gen(function* () {
      const { failed, rows } = yield* csv(`a,b\n1,2\n3,${"x".repeat(33 * 1024 * 1024)}\n5,6\n`)
      assert.deepStrictEqual(rows, [
        { a: "1", b: "2" },
        { a: "5", b: "6" }
      ])
      assert.deepStrictEqual(
        failed.map(([position]) => position),
        ["rows.csv:3"]
      )
    })
  )

  it.live("has missing values, booleans, lists and long numbers as their columns mean them (data-05 to 10)", () =>
    Effect.gen(function* () {
      const Cells = Schema.Struct({
        id: Schema.String,
        n: Schema.optionalKey(Schema.Number),
        m: Schema.NullOr(Schema.Finite),
        u: Schema.UndefinedOr(Schema.Int),
        b: Schema.Boolean,
        when: Schema.optionalKey(Schema.Date),
        list: Schema.optionalKey(Schema.Array(Schema.Number)),
        big: Schema.optionalKey(Schema.BigInt)
      })
      const { failed, rows } = yield* csv(
        [
          "id,n,m,u,b,when,list,big",
          "00123,,,,TRUE,,,",
          'x, 5 ,7,8,False,2026-11-30T00:00:00.000Z,"[1, 2]",653247040368672768',
          ",1,1,1,true,,,",
          "bad,653247040368672768,1,1,true,,,",
          "bad,1,,1,,,,"
        ].join("\n"),
        Cells as Schema.Codec<unknown, unknown>
      )
      assert.deepStrictEqual(rows, [
        { id: "00123", m: null, u: undefined, b: true },
        { id: "x", n: 5, m: 7, u: 8, b: false, when: new Date("2026-11-30"), list: [1, 2], big: 653247040368672768n },
        { id: "", n: 1, m: 1, u: 1, b: true }
      ])
      assert.deepStrictEqual(
        failed.map(([position]) => position),
        ["rows.csv:5", "rows.csv:6"]
      )
      assert.include(failed[0]![1], "n: the number 653247040368672768 loses digits")
    })
  )
})

describe("a number with more digits than a number holds (G4, data-10)", () => {
  it.live("is read as its text from JSON, and refused where a number is wanted", () =>
    Effect.gen(function* () {
      for (const [source, content] of [
        [Source.jsonl, '{"id":653247040368672768}\n{"id":9007199254740992}\n'],
        [Source.json, '[{"id":653247040368672768},{"id":9007199254740992}]']
      ] as const) {
        const path = file("rows.json", content)
        const of = (id: Schema.Codec<unknown, unknown>) => read(source("rows", { path, schema: Schema.Struct({ id }) }))
        assert.deepStrictEqual((yield* of(Schema.Unknown)).rows, [
          { id: "653247040368672768" },
          { id: 9007199254740992 }
        ])
        const { failed, rows } = yield* of(Schema.Number)
        assert.deepStrictEqual(rows, [{ id: 9007199254740992 }])
        assert.lengthOf(failed, 1)
        assert.include(failed[0]![1], "the number 653247040368672768 at id loses digits: write it in quotes")
      }
    })
  )
})

describe("a JSON array", () => {
  const array = (content: string) => read(Source.json("rows", { path: file("rows.json", content), schema: Schema.Int }))

  it.live("loses each element that is no JSON or does not fit, by its number and line (G5)", () =>
    Effect.gen(function* () {
      const { failed, failure, rows } = yield* array('[1,\n 2x,\n "3",, NaN,\n 6, {"a": [1, "]"]},\n 8]\n')
      assert.isUndefined(failure)
      assert.deepStrictEqual(rows, [1, 6, 8])
      assert.deepStrictEqual(
        failed.map(([position]) => position),
        ["rows.json[1]", "rows.json[2]", "rows.json[3]", "rows.json[4]", "rows.json[6]"]
      )
      assert.include(failed[0]![1], "(line 2)")
      assert.notInclude(failed[0]![1], "2x")
    })
  )

  it.live("that is cut, continues after its end or is none says so, after its rows", () =>
    Effect.gen(function* () {
      for (const [content, rows, problem] of [
        ["[1, 2, [3", [1, 2], "it ends inside of element 2, which begins in line 1"],
        ["[1, 2", [1], "it ends inside of element 1"],
        ["[1] [2]", [1], "there is more after the end of the array, in line 1"],
        ['{"a": 1}', [], "Source.entries"],
        ["1\n2\n", [], "Source.jsonl"],
        ["  ", [], "it holds no JSON array"]
      ] as const) {
        const outcome = yield* array(content)
        assert.deepStrictEqual<ReadonlyArray<number>>(outcome.rows, rows, content)
        assert.include(outcome.failure, problem)
      }
      for (const content of ["[]", " [ ]\n", "\uFEFF[\n]"])
        assert.deepInclude(yield* array(content), { rows: [], failed: [], failure: undefined })
    })
  )

  it.live("is split as a parser would, wherever its chunks end", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 8 }), fc.integer({ min: 0, max: 4 }), (values, indent) =>
          Effect.gen(function* () {
            const path = file("rows.json", JSON.stringify(values, undefined, indent))
            const { failed, rows } = yield* read(Source.json("rows", { path, schema: Schema.Unknown }))
            assert.deepStrictEqual(JSON.stringify(rows), JSON.stringify(values))
            assert.deepStrictEqual(failed, [])
          }).pipe(Effect.runPromise)
        ),
        { numRuns: Soak.times(15, 300) }
      )
    )
  )
})

describe("several files as one source", () => {
  it.live("are read one after the other, by pattern or by name, with their own positions", () =>
    Effect.gen(function* () {
      const at = folder()
      mkdirSync(join(at, "b"))
      file("2.jsonl", '{"id":"2","text":"b"}\nbad\n', at)
      file("1.jsonl", '{"id":"1","text":"a"}\n', at)
      file("b/3.jsonl", '{"id":"3","text":"c"}\n', at)
      file("notes.txt", "no rows", at)
      const ids = (path: Options["path"]) =>
        Effect.map(read(formats.jsonl.source({ path })), ({ failed, rows }) => [
          rows.map(({ id }) => id).join(""),
          ...failed.map(([position]) => position)
        ])
      assert.deepStrictEqual(yield* ids(join(at, "*.jsonl")), ["12", "2.jsonl:2"])
      assert.deepStrictEqual(yield* ids(join(at, "**/*.jsonl")), ["123", "2.jsonl:2"])
      assert.deepStrictEqual(yield* ids([join(at, "b/3.jsonl"), join(at, "1.jsonl")]), ["31"])
      assert.deepStrictEqual(yield* ids(new URL(`file://${at}/*.jsonl`)), ["12", "2.jsonl:2"])
      assert.include((yield* read(formats.jsonl.source({ path: join(at, "*.csv") }))).failure, "no file matches")
      assert.throws(() => formats.jsonl.source({ path: [] }), "it names no file")
    })
  )

  it.live("are a file of that name, where there is one", () =>
    Effect.gen(function* () {
      const path = file("rows[1].jsonl", '{"id":"1","text":"a"}\n')
      assert.lengthOf((yield* read(formats.jsonl.source({ path }))).rows, 1)
    })
  )
})

describe("whole files as rows", () => {
  it.live("have their paths and texts, and one that is no text fails alone", () =>
    Effect.gen(function* () {
      const at = folder()
      file("a.md", "\uFEFF# A\r\nä", at)
      file("b.md", Buffer.from([0xff, 0xfe, 0x62, 0x00]), at)
      file("c.md", Buffer.from([0x63, 0xff]), at)
      file("d.md.gz", gzipSync("d"), at)
      file("e.md", "", at)
      const { failed, rows } = yield* read(Source.files("pages", { path: join(at, "*.md*") }))
      assert.deepStrictEqual(
        rows.map(({ path, text }) => [path.replace(/^.*\//, ""), text]),
        [
          ["a.md", "# A\r\nä"],
          ["b.md", "b"],
          ["d.md.gz", "d"],
          ["e.md", ""]
        ]
      )
      assert.deepStrictEqual(
        failed.map(([position]) => position),
        ["c.md"]
      )
    })
  )
})

describe("the fields of one record as rows", () => {
  it.live("have their keys, with those of records in it when asked for", () =>
    Effect.gen(function* () {
      const path = file("en.json", '\uFEFF{"home": {"title": "Hello", "n": 1}, "bye": "Bye"}')
      const of = (deep: boolean) => read(Source.entries("messages", { path, schema: Schema.String, deep }))
      const flat = yield* of(false)
      assert.deepStrictEqual(flat.rows, [{ key: "bye", value: "Bye" }])
      assert.deepStrictEqual(
        flat.failed.map(([position]) => position),
        ["en.json home"]
      )
      assert.deepStrictEqual((yield* of(true)).rows, [
        { key: "home.title", value: "Hello" },
        { key: "bye", value: "Bye" }
      ])
      const latin = file("x.json", Buffer.from('{"a": "Café"}', "latin1"))
      const refused = yield* read(Source.entries("m", { path: latin, schema: Schema.Unknown }))
      assert.include(refused.failure, "not valid UTF-8")
      const said = yield* read(Source.entries("m", { path: latin, schema: Schema.Unknown, encoding: "latin1" }))
      assert.deepStrictEqual(said.rows, [{ key: "a", value: "Café" }])
      for (const content of ["[1]", "{", "1"])
        assert.isDefined(
          (yield* read(Source.entries("m", { path: file("x.json", content), schema: Schema.Unknown }))).failure
        )
    })
  )
})
