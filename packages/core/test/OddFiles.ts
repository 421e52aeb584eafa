/**
 * A corpus of odd files: their bytes, how they are read, and what is right. Each line of `shared/faults.md` G and of
 * the cases `data-…` has one; the others are their neighbours.
 */
import { type Flow, type Node, Source } from "@pipe/core"
import { Effect, Schema } from "effect"
import { gzipSync } from "node:zlib"

export interface OddFile {
  readonly name: string
  readonly bytes: string | Uint8Array
  readonly read: (path: string) => Node.Node<unknown, unknown, Flow.Host>
  readonly rows: ReadonlyArray<unknown>
  /** Positions of failed rows, with words of their messages. */
  readonly failed?: ReadonlyArray<readonly [position: string, says: string]>
  /** Words of what ends the source. */
  readonly ends?: string
  /** Words of a warning. */
  readonly says?: string
}

type Read = OddFile["read"]

const Texts = Schema.Record(Schema.String, Schema.String)
const Any = Schema.Unknown

const csv =
  (
    schema: Schema.Codec<unknown, unknown> = Texts,
    options: Omit<Parameters<typeof Source.csv>[1], "path" | "schema"> = {}
  ): Read =>
  (path) =>
    Source.csv("rows", { path, schema, ...options })
const tsv = csv(Texts, { delimiter: "\t", quote: false })
const jsonl =
  (schema: Schema.Codec<unknown, unknown> = Any): Read =>
  (path) =>
    Source.jsonl("rows", { path, schema })
const json =
  (schema: Schema.Codec<unknown, unknown> = Any): Read =>
  (path) =>
    Source.json("rows", { path, schema })
const lines: Read = (path) => Source.lines("rows", { path })
const entries: Read = (path) => Source.entries("rows", { path, schema: Any })

const latin1 = (text: string) => Buffer.from(text, "latin1")
const utf16 = (text: string) => Buffer.from(text, "utf16le")
const bytes = (...parts: ReadonlyArray<string | ReadonlyArray<number>>) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))))

const Typed = Schema.Struct({ a: Schema.optionalKey(Schema.Finite), b: Schema.String })
const Flags = Schema.Struct({ b: Schema.Boolean })
class FlaggedRow extends Schema.Class<FlaggedRow>("FlaggedRow")({
  b: Schema.Boolean,
  n: Schema.optionalKey(Schema.Finite)
}) {}
const Id = Schema.Struct({ id: Schema.String })
const Count = Schema.Struct({ n: Schema.Finite })

/** What a failed row of another encoding says. */
const ENCODING = "UTF-8"

const csvFiles: ReadonlyArray<OddFile> = [
  {
    name: "csv: windows-1252 without a word (data-01)",
    bytes: latin1("a,b\n1,ok\n2,caf\xe9\n3,ok\n"),
    read: csv(),
    rows: [
      { a: "1", b: "ok" },
      { a: "3", b: "ok" }
    ],
    failed: [["rows:3", ENCODING]]
  },
  {
    name: "csv: windows-1252 curly quotes in one row of two (data-01-n1)",
    bytes: bytes("a\n", [0x93], "x", [0x94], "\ny\n"),
    read: csv(),
    rows: [{ a: "y" }],
    failed: [["rows:2", ENCODING]]
  },
  {
    name: "csv: windows-1252 as said",
    bytes: bytes("a\n", [0x93], "x", [0x94, 0x80], "\n"),
    read: csv(Texts, { encoding: "windows-1252" }),
    rows: [{ a: "\u201cx\u201d\u20ac" }]
  },
  { name: "csv: a header in windows-1252", bytes: latin1("a,caf\xe9\n1,2\n"), read: csv(), rows: [], ends: "UTF-8" },
  {
    name: "csv: Mac Roman as said",
    bytes: bytes("a\ncaf", [0x8e], "\n"),
    read: csv(Texts, { encoding: "macintosh" }),
    rows: [{ a: "café" }]
  },
  {
    name: "csv: ISO-8859-15 euro as said",
    bytes: bytes("a\n", [0xa4], "\n"),
    read: csv(Texts, { encoding: "iso-8859-15" }),
    rows: [{ a: "€" }]
  },
  {
    name: "csv: KOI8-R as said",
    bytes: bytes("a\n", [0xcd, 0xc9, 0xd2], "\n"),
    read: csv(Texts, { encoding: "koi8-r" }),
    rows: [{ a: "мир" }]
  },
  {
    name: "csv: EUC-KR as said",
    bytes: bytes("a\n", [0xc7, 0xd1], "\n"),
    read: csv(Texts, { encoding: "euc-kr" }),
    rows: [{ a: "한" }]
  },
  {
    name: "csv: Big5 as said",
    bytes: bytes("a\n", [0xa4, 0xa4], "\n"),
    read: csv(Texts, { encoding: "big5" }),
    rows: [{ a: "中" }]
  },
  {
    name: "csv: EUC-JP as said",
    bytes: bytes("a\n", [0xc6, 0xfc], "\n"),
    read: csv(Texts, { encoding: "euc-jp" }),
    rows: [{ a: "日" }]
  },
  {
    name: "csv: UTF-16 LE of Excel, tabs and a mark",
    bytes: utf16("\uFEFFa\tb\r\n1\té\r\n"),
    read: tsv,
    rows: [{ a: "1", b: "é" }]
  },
  {
    name: "csv: UTF-8 mark before a quoted header",
    bytes: '\uFEFF"a","b"\n1,2\n',
    read: csv(),
    rows: [{ a: "1", b: "2" }]
  },
  {
    name: "csv: cut inside of a character",
    bytes: bytes("a\nx\n", [0xc3]),
    read: csv(),
    rows: [{ a: "x" }],
    failed: [["rows:3", ENCODING]]
  },
  {
    name: "csv: a lone surrogate in UTF-8 bytes",
    bytes: bytes("a\n", [0xed, 0xa0, 0x80], "\nx\n"),
    read: csv(),
    rows: [{ a: "x" }],
    failed: [["rows:2", ENCODING]]
  },
  { name: "csv: gzip under another name", bytes: gzipSync("a\n1\n"), read: csv(), rows: [{ a: "1" }] },
  { name: "csv: gzip of UTF-16", bytes: gzipSync(utf16("\uFEFFa\né\n")), read: csv(), rows: [{ a: "é" }] },
  {
    name: "csv: two columns of one name (data-02)",
    bytes: "id,text,text\n1,a,b\n",
    read: csv(),
    rows: [{ id: "1", text: "a", text_2: "b" }],
    says: "text_2"
  },
  {
    name: "csv: two columns of one name, the second empty (data-02-n1)",
    bytes: "id,text,text\n1,a,\n",
    read: csv(),
    rows: [{ id: "1", text: "a", text_2: "" }],
    says: "text_2"
  },
  {
    name: "csv: a header that is empty at its end",
    bytes: "a,b,\n1,2,\n",
    read: csv(),
    rows: [{ a: "1", b: "2", column_3: "" }],
    says: "column_3"
  },
  { name: "csv: sep= of Excel (data-03)", bytes: "sep=;\na;b\n1;2\n", read: csv(), rows: [{ a: "1", b: "2" }] },
  {
    name: "csv: a bad row below sep=",
    bytes: 'sep=;\r\na;b\r\n1;2\r\n3;"x\r\n4;5\r\n',
    read: csv(),
    rows: [
      { a: "1", b: "2" },
      { a: "4", b: "5" }
    ],
    failed: [["rows:4", "never closed"]]
  },
  {
    name: "csv: sep= in quotes, after a mark",
    bytes: '\uFEFF"sep=|"\na|b\n1|2\n3\n',
    read: csv(),
    rows: [{ a: "1", b: "2" }],
    failed: [["rows:4", "cell"]]
  },
  {
    name: "csv: sep= that is data of a column",
    bytes: "sep=,b\n1,2\n",
    read: csv(),
    rows: [{ "sep=": "1", b: "2" }]
  },
  { name: "csv: sep= with a tab", bytes: "sep=\t\r\na\tb\r\n1\t2\r\n", read: csv(), rows: [{ a: "1", b: "2" }] },
  {
    name: "csv: a quote within a cell (data-04)",
    bytes: 'a,b\n1,5" pipe\n2,good\n',
    read: csv(),
    rows: [
      { a: "1", b: '5" pipe' },
      { a: "2", b: "good" }
    ]
  },
  {
    name: "tsv: quotes are letters (data-04-n1)",
    bytes: 'a\tb\n1\t"5" pipe\n2\t"x\n3\ty\n',
    read: tsv,
    rows: [
      { a: "1", b: '"5" pipe' },
      { a: "2", b: '"x' },
      { a: "3", b: "y" }
    ]
  },
  {
    name: "csv: quotes that are not doubled (data-04-n2)",
    bytes: 'a,b\n1,"say "hi" now"\n2,good\n',
    read: csv(),
    rows: [{ a: "2", b: "good" }],
    failed: [["rows:2", "quote"]]
  },
  {
    name: "csv: rows before a bad quote are kept (data-04-n3)",
    bytes: 'a\n1\n2\n"3\n',
    read: csv(),
    rows: [{ a: "1" }, { a: "2" }],
    failed: [["rows:4", "never closed"]]
  },
  {
    name: "csv: an empty cell of a number (data-05)",
    bytes: 'n\n1\n""\n',
    read: csv(Count),
    rows: [{ n: 1 }],
    failed: [["rows:3", "n"]]
  },
  {
    name: "csv: TRUE and FALSE of Excel (data-06)",
    bytes: "b\nTRUE\nFALSE\n",
    read: csv(Flags),
    rows: [{ b: true }, { b: false }]
  },
  {
    name: "csv: True and False of Python (data-06-n1)",
    bytes: "b\nTrue\nFalse\n",
    read: csv(Flags),
    rows: [{ b: true }, { b: false }]
  },
  {
    name: "csv: yes is no boolean",
    bytes: "b\nyes\ntrue\n",
    read: csv(Flags),
    rows: [{ b: true }],
    failed: [["rows:2", "b"]]
  },
  {
    name: "csv: an empty cell of an optional column (data-07)",
    bytes: "a,b\n,x\n5,y\n",
    read: csv(Typed),
    rows: [{ b: "x" }, { a: 5, b: "y" }]
  },
  {
    name: "csv: leading zeros and 20 digits as text (data-09)",
    bytes: "id\n00123\n12345678901234567890\n",
    read: csv(Id),
    rows: [{ id: "00123" }, { id: "12345678901234567890" }]
  },
  {
    name: "csv: a number that loses digits (data-10-n2)",
    bytes: "n\n653247040368672768\n5\n",
    read: csv(Count),
    rows: [{ n: 5 }],
    failed: [["rows:2", "loses digits"]]
  },
  {
    name: "csv: a number in a list in a cell that loses digits",
    bytes: 'n\n"[1, 653247040368672768]"\n"[5, 9007199254740992]"\n',
    read: csv(Schema.Struct({ n: Schema.Array(Schema.Number) })),
    rows: [{ n: [5, 9007199254740992] }],
    failed: [["rows:2", "loses digits"]]
  },
  {
    name: "csv: numbers with spaces and exponents",
    bytes: "n\n 5 \n1e3\n-2.50\n",
    read: csv(Count),
    rows: [{ n: 5 }, { n: 1000 }, { n: -2.5 }]
  },
  {
    name: "csv: a decimal comma is no number",
    bytes: 'n\n"1,5"\n2\n',
    read: csv(Count),
    rows: [{ n: 2 }],
    failed: [["rows:2", "n"]]
  },
  {
    name: "csv: hex and Infinity are no finite numbers",
    bytes: "n\nInfinity\nNaN\n3\n",
    read: csv(Count),
    rows: [{ n: 3 }],
    failed: [
      ["rows:2", "n"],
      ["rows:3", "n"]
    ]
  },
  {
    name: "csv: line ends inside quotes",
    bytes: 'a,b\r\n1,"x\r\ny"\r\n2,"p\nq"\r\n',
    read: csv(),
    rows: [
      { a: "1", b: "x\r\ny" },
      { a: "2", b: "p\nq" }
    ]
  },
  {
    name: "csv: CR alone ends lines of old Macs",
    bytes: "a,b\r1,2\r3,4\r",
    read: csv(),
    rows: [
      { a: "1", b: "2" },
      { a: "3", b: "4" }
    ]
  },
  { name: "csv: without a line end at its end", bytes: "a\n1", read: csv(), rows: [{ a: "1" }] },
  {
    name: "csv: blank lines",
    bytes: "a,b\n\n1,2\n\n\n3,4\n\n",
    read: csv(),
    rows: [
      { a: "1", b: "2" },
      { a: "3", b: "4" }
    ]
  },
  {
    name: "csv: a row with too few cells",
    bytes: "a,b\n1\n2,3\n",
    read: csv(),
    rows: [{ a: "2", b: "3" }],
    failed: [["rows:2", "cell"]]
  },
  {
    name: "csv: a row with too many cells",
    bytes: "a,b\n1,2,3\n4,5\n",
    read: csv(),
    rows: [{ a: "4", b: "5" }],
    failed: [["rows:2", "cell"]]
  },
  { name: "csv: a header alone", bytes: "a,b\n", read: csv(), rows: [] },
  { name: "csv: nothing at all", bytes: "", read: csv(), rows: [], says: "empty" },
  { name: "csv: a mark alone", bytes: "\uFEFF", read: csv(), rows: [] },
  { name: "csv: another delimiter", bytes: "a;b\n1;2\n", read: csv(), rows: [{ "a;b": "1;2" }], says: "delimiter" },
  { name: "csv: an empty quoted cell", bytes: 'a,b\n"",""\n', read: csv(), rows: [{ a: "", b: "" }] },
  { name: "csv: quotes doubled at the ends", bytes: 'a\n"""x"""\n', read: csv(), rows: [{ a: '"x"' }] },
  { name: "csv: spaces around quotes are letters", bytes: 'a,b\n1, "x"\n', read: csv(), rows: [{ a: "1", b: ' "x"' }] },
  {
    name: "csv: a cell that begins like a formula",
    bytes: "a\n=1+1\n@x\n",
    read: csv(),
    rows: [{ a: "=1+1" }, { a: "@x" }]
  },
  {
    name: "csv: NUL and other controls",
    bytes: "a\nx\u0000y\n\u0001\n",
    read: csv(),
    rows: [{ a: "x\u0000y" }, { a: "\u0001" }]
  },
  { name: "csv: U+2028 is no line end", bytes: "a\nx\u2028y\n", read: csv(), rows: [{ a: "x\u2028y" }] },
  {
    name: "csv: names of columns with spaces and dots",
    bytes: "first name,a.b\n1,2\n",
    read: csv(Schema.Struct({ "first name": Schema.String, a: Schema.Struct({ b: Schema.String }) })),
    rows: [{ "first name": "1", a: { b: "2" } }]
  },
  {
    name: "csv: a column named __proto__",
    bytes: "__proto__,a\n1,2\n",
    read: csv(Id.pipe(() => Schema.Struct({ a: Schema.String }))),
    rows: [{ a: "2" }]
  },
  {
    name: "csv: a record that may be missing, or null, has columns that are all empty",
    bytes: "id,y,y.z,o.z\n1,,,\n2,,true,5\n",
    read: csv(
      Schema.Struct({
        id: Schema.Int,
        y: Schema.NullOr(Schema.Struct({ z: Schema.Boolean })),
        o: Schema.optionalKey(Schema.Struct({ z: Schema.Int }))
      })
    ),
    rows: [
      { id: 1, y: null },
      { id: 2, y: { z: true }, o: { z: 5 } }
    ]
  },
  {
    name: "csv: cells of a class",
    bytes: "b,n\nTRUE,\nFalse,653247040368672768\nfalse,5\n",
    read: csv(FlaggedRow as unknown as Schema.Codec<unknown, unknown>),
    rows: [{ b: true }, { b: false, n: 5 }],
    failed: [["rows:3", "loses digits"]]
  },
  {
    name: "csv: nothing is no number (data-05)",
    bytes: 'n\n""\n" "\n5\n',
    read: csv(Schema.Struct({ n: Schema.FiniteFromString })),
    rows: [{ n: 5 }],
    failed: [
      ["rows:2", "empty"],
      ["rows:3", "empty"]
    ]
  },
  {
    name: "csv: empty cells of fields with a default, and of options",
    bytes: "a,b\n1,\n",
    read: csv(
      Schema.Struct({
        a: Schema.Int,
        b: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(7)))
      })
    ),
    rows: [{ a: 1, b: 7 }]
  },
  {
    name: "csv: JSON that the schema reads itself",
    bytes: 'a\n"{""x"":1}"\n',
    read: csv(Schema.Struct({ a: Schema.fromJsonString(Schema.Struct({ x: Schema.Int })) })),
    rows: [{ a: { x: 1 } }]
  },
  {
    name: "csv: digits of a record of any names (data-10)",
    bytes: "a,b\n1,653247040368672768\n2,3\n",
    read: csv(Schema.Record(Schema.String, Schema.Finite)),
    rows: [{ a: 2, b: 3 }],
    failed: [["rows:2", "loses digits"]]
  },
  {
    name: "csv: quotes of two rows that close each other (data-04)",
    bytes: 'id,text\n1,"a\n2,b\n3,"c\n4,d\n',
    read: csv(),
    rows: [
      { id: "2", text: "b" },
      { id: "4", text: "d" }
    ],
    failed: [
      ["rows:2", "quote"],
      ["rows:4", "quote"]
    ]
  },
  {
    name: "csv: the same in a file that cannot be read again",
    bytes: gzipSync('id,text\n1,"a\n2,b\n3,"c\n4,d\n'),
    read: csv(),
    rows: [{ id: "4", text: "d" }],
    failed: [
      ["rows:2", "quote"],
      ["rows:3", "a quote of line 2"],
      ["rows:4", "a quote of line 2"]
    ]
  },
  {
    name: "csv: the same with lines that end in CR",
    bytes: 'id,text\r1,"a\r2,b\r3,"c\r4,d\r',
    read: csv(),
    rows: [
      { id: "2", text: "b" },
      { id: "4", text: "d" }
    ],
    failed: [
      ["rows:2", "quote"],
      ["rows:4", "quote"]
    ]
  },
  {
    name: "csv: a delimiter of two bytes",
    bytes: 'a§b\n"""x"""§"y"\n',
    read: csv(Texts, { delimiter: "§" }),
    rows: [{ a: '"x"', b: "y" }]
  },
  {
    name: "csv: a mark of UTF-8 is surer than an encoding that is said (data-01)",
    bytes: "\uFEFFa\né\n",
    read: csv(Texts, { encoding: "windows-1252" }),
    rows: [{ a: "é" }]
  },
  {
    name: "csv: a record of any names",
    bytes: "id,r.a,r.b\n1,,\n2,5,\n",
    read: csv(Schema.Struct({ id: Schema.Int, r: Schema.Record(Schema.String, Schema.Int) })),
    rows: [
      { id: 1, r: {} },
      { id: 2, r: { a: 5 } }
    ]
  },
  { name: "csv: a column that is missing", bytes: "a\n1\n", read: csv(Typed), rows: [], failed: [["rows:2", "b"]] }
]

const jsonlFiles: ReadonlyArray<OddFile> = [
  {
    name: "jsonl: windows-1252 (data-01-n2)",
    bytes: latin1('{"a":"ok"}\n{"a":"caf\xe9"}\n{"a":"ok"}\n'),
    read: jsonl(),
    rows: [{ a: "ok" }, { a: "ok" }],
    failed: [["rows:2", ENCODING]]
  },
  {
    name: "jsonl: an id of 18 digits (data-10)",
    bytes: '{"id":653247040368672768}\n',
    read: jsonl(Id),
    rows: [{ id: "653247040368672768" }]
  },
  {
    name: "jsonl: the same as a number",
    bytes: '{"n":653247040368672768}\n{"n":1}\n',
    read: jsonl(Count),
    rows: [{ n: 1 }],
    failed: [["rows:1", "n"]]
  },
  {
    name: "jsonl: the same where no schema names it (data-10-n1)",
    bytes: '{"x":{"y":[653247040368672768]}}\n',
    read: jsonl(),
    rows: [{ x: { y: ["653247040368672768"] } }]
  },
  {
    name: "jsonl: long digits inside of a text",
    bytes: '{"x":"653247040368672768","y":"\\"653247040368672768"}\n',
    read: jsonl(),
    rows: [{ x: "653247040368672768", y: '"653247040368672768' }]
  },
  {
    name: "jsonl: NaN of pandas (data-17)",
    bytes: '{"a":1}\n{"a":NaN}\n{"a":3}\n',
    read: jsonl(),
    rows: [{ a: 1 }, { a: 3 }],
    failed: [["rows:2", "not JSON"]]
  },
  {
    name: "jsonl: Infinity and single quotes",
    bytes: "{\"a\":Infinity}\n{'a':1}\n",
    read: jsonl(),
    rows: [],
    failed: [
      ["rows:1", "not JSON"],
      ["rows:2", "not JSON"]
    ]
  },
  {
    name: "jsonl: 1e400 is no number of JavaScript",
    bytes: '{"n":1e400}\n{"n":2}\n',
    read: jsonl(Count),
    rows: [{ n: 2 }],
    failed: [["rows:1", "n"]]
  },
  {
    name: "jsonl: a trailing comma",
    bytes: '{"a":1,}\n{"a":2}\n',
    read: jsonl(),
    rows: [{ a: 2 }],
    failed: [["rows:1", "not JSON"]]
  },
  {
    name: "jsonl: lines of an array",
    bytes: '[\n{"a":1},\n{"a":2}\n]\n',
    read: jsonl(),
    rows: [{ a: 2 }],
    failed: [
      ["rows:1", "not JSON"],
      ["rows:2", "not JSON"],
      ["rows:4", "not JSON"]
    ]
  },
  {
    name: "jsonl: two records in a line",
    bytes: '{"a":1}{"a":2}\n{"a":3}\n',
    read: jsonl(),
    rows: [{ a: 3 }],
    failed: [["rows:1", "not JSON"]]
  },
  {
    name: "jsonl: CRLF and blank lines",
    bytes: '{"a":1}\r\n\r\n  \r\n{"a":2}\r\n',
    read: jsonl(),
    rows: [{ a: 1 }, { a: 2 }]
  },
  {
    name: "jsonl: without a line end at its end",
    bytes: '{"a":1}\n{"a":2}',
    read: jsonl(),
    rows: [{ a: 1 }, { a: 2 }]
  },
  {
    name: "jsonl: cut in its last row",
    bytes: '{"a":1}\n{"a":',
    read: jsonl(),
    rows: [{ a: 1 }],
    failed: [["rows:2", "not JSON"]]
  },
  { name: "jsonl: a mark before the first row", bytes: '\uFEFF{"a":1}\n', read: jsonl(), rows: [{ a: 1 }] },
  {
    name: "jsonl: a mark in the middle, of joined files",
    bytes: '{"a":1}\n\uFEFF{"a":2}\n',
    read: jsonl(),
    rows: [{ a: 1 }, { a: 2 }]
  },
  { name: "jsonl: U+2028 inside of a text", bytes: '{"a":"x\u2028y"}\n', read: jsonl(), rows: [{ a: "x\u2028y" }] },
  {
    name: "jsonl: a form feed between rows is no line end",
    bytes: '{"a":1}\f\n{"a":2}\n',
    read: jsonl(),
    rows: [{ a: 2 }],
    failed: [["rows:1", "not JSON"]]
  },
  {
    name: "jsonl: NUL bytes of a full disk",
    bytes: bytes('{"a":1}\n', [0, 0, 0, 0], "\n"),
    read: jsonl(),
    rows: [{ a: 1 }],
    failed: [["rows:2", "not JSON"]]
  },
  { name: "jsonl: a lone surrogate as an escape", bytes: '{"a":"\\ud83d"}\n', read: jsonl(), rows: [{ a: "\ud83d" }] },
  { name: "jsonl: a key twice", bytes: '{"a":1,"a":2}\n', read: jsonl(), rows: [{ a: 2 }] },
  {
    name: "jsonl: __proto__ is a key like any other",
    bytes: '{"__proto__":{"x":1},"a":1}\n',
    read: jsonl(Schema.Struct({ a: Schema.Int })),
    rows: [{ a: 1 }]
  },
  {
    name: "jsonl: texts and numbers as rows",
    bytes: '"x"\n5\nnull\ntrue\n',
    read: jsonl(),
    rows: ["x", 5, null, true]
  },
  {
    name: "jsonl: 20,000 levels (G4)",
    bytes: `${"[".repeat(20_000)}${"]".repeat(20_000)}\n1\n`,
    read: jsonl(),
    rows: [1],
    failed: [["rows:1", "nested"]]
  },
  { name: "jsonl: nothing at all", bytes: "", read: jsonl(), rows: [] },
  {
    name: "jsonl: a page of HTML instead",
    bytes: "<!doctype html>\n<p>\n",
    read: jsonl(),
    rows: [],
    failed: [
      ["rows:1", "not JSON"],
      ["rows:2", "not JSON"]
    ]
  },
  {
    name: "jsonl: gzip in parts",
    bytes: Buffer.concat([gzipSync('{"a":1}\n'), gzipSync('{"a":2}\n')]),
    read: jsonl(),
    rows: [{ a: 1 }, { a: 2 }]
  },
  {
    name: "jsonl: gzip with bytes after its end",
    bytes: Buffer.concat([gzipSync('{"a":1}\n'), Buffer.from("junk")]),
    read: jsonl(),
    rows: [],
    ends: "decompressed"
  },
  {
    name: "jsonl: gzip that is damaged",
    bytes: gzipSync('{"a":1}\n').fill(0, 12, 16),
    read: jsonl(),
    rows: [],
    ends: "decompressed"
  },
  {
    name: "jsonl: UTF-32 is no encoding of the web",
    bytes: bytes([0xff, 0xfe, 0, 0, 0x7b, 0, 0, 0]),
    read: jsonl(),
    rows: [],
    failed: [["rows:1", "not JSON"]]
  }
]

const otherFiles: ReadonlyArray<OddFile> = [
  {
    name: "json: an element with another type",
    bytes: '[{"n":1},{"n":"x"},{"n":3}]',
    read: json(Count),
    rows: [{ n: 1 }, { n: 3 }],
    failed: [["rows[1]", "n"]]
  },
  {
    name: "json: a bad element names itself and its line (G5)",
    bytes: '[\n{"n":1},\n{"n":2,},\n{"n":3}\n]',
    read: json(Count),
    rows: [{ n: 1 }, { n: 3 }],
    failed: [["rows[1]", "line 3"]]
  },
  {
    name: "json: an id of 18 digits",
    bytes: '[{"id":653247040368672768}]',
    read: json(Id),
    rows: [{ id: "653247040368672768" }]
  },
  {
    name: "json: a trailing comma",
    bytes: "[1,2,]",
    read: json(),
    rows: [1, 2],
    failed: [["rows[2]", "nothing between"]]
  },
  {
    name: "json: brackets inside of texts",
    bytes: '["]","[\\"]",{"a":"}"}]',
    read: json(),
    rows: ["]", '["]', { a: "}" }]
  },
  {
    name: "json: windows-1252 in one element",
    bytes: latin1('["ok","caf\xe9","ok"]'),
    read: json(),
    rows: ["ok", "ok"],
    failed: [["rows[1]", ENCODING]]
  },
  { name: "json: UTF-16 with a mark", bytes: utf16('\uFEFF["é"]'), read: json(), rows: ["é"] },
  { name: "json: gzip", bytes: gzipSync("[1,2]"), read: json(), rows: [1, 2] },
  {
    name: "json: comments are none of JSON",
    bytes: "[1, // one\n2]",
    read: json(),
    rows: [1],
    failed: [["rows[1]", "not JSON"]]
  },
  { name: "json: a record and not a list", bytes: '{"a":1}', read: json(), rows: [], ends: "Source.entries" },
  { name: "json: cut", bytes: "[1,2", read: json(), rows: [1], ends: "it ends inside" },
  { name: "json: nothing at all", bytes: "", read: json(), rows: [], says: "empty" },
  {
    name: "lines: windows-1252",
    bytes: latin1("ok\ncaf\xe9\nok\n"),
    read: lines,
    rows: ["ok", "ok"],
    failed: [["rows:2", ENCODING]]
  },
  { name: "lines: every kind of end", bytes: "a\nb\r\nc\n\nd", read: lines, rows: ["a", "b", "c", "d"] },
  { name: "lines: a mark", bytes: "\uFEFFa\n", read: lines, rows: ["a"] },
  { name: "lines: spaces are kept", bytes: "  a  \n\t\n", read: lines, rows: ["  a  ", "\t"] },
  { name: "lines: nothing at all", bytes: "", read: lines, rows: [] },
  {
    name: "entries: a record",
    bytes: '{"a":"x","b":{"c":1}}',
    read: entries,
    rows: [
      { key: "a", value: "x" },
      { key: "b", value: { c: 1 } }
    ]
  },
  { name: "entries: a list", bytes: "[1]", read: entries, rows: [], ends: "Source.json" },
  { name: "entries: a key twice", bytes: '{"a":1,"a":2}', read: entries, rows: [{ key: "a", value: 2 }] },
  {
    name: "entries: UTF-16 with a mark",
    bytes: utf16('\uFEFF{"a":"é"}'),
    read: entries,
    rows: [{ key: "a", value: "é" }]
  },
  { name: "entries: cut", bytes: '{"a":', read: entries, rows: [], ends: "not JSON" },
  {
    name: "entries: an id of 18 digits",
    bytes: '{"a":653247040368672768}',
    read: entries,
    rows: [{ key: "a", value: "653247040368672768" }]
  },
  {
    name: "files: a text",
    bytes: "x\r\ny",
    read: (path) => Source.files("rows", { path }),
    rows: [{ path: "rows", text: "x\r\ny" }]
  },
  {
    name: "files: bytes that are no text",
    bytes: bytes([0x89, 0x50, 0x4e, 0x47]),
    read: (path) => Source.files("rows", { path }),
    rows: [],
    failed: [["rows", "UTF-8"]]
  }
]

export const oddFiles: ReadonlyArray<OddFile> = [...csvFiles, ...jsonlFiles, ...otherFiles]
