/** Values and paths that outputs and failed rows must not lose, by the cases that met them. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, type Node, Runner, Sink, Source } from "@pipe/core"
import { Effect, Schema } from "effect"
import { existsSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-values-"))

const run = <E>(dir: string, outputs: ReadonlyArray<Sink.Sink<E, Source.Platform>>, options: Runner.Options = {}) =>
  Runner.run(Flow.make("values", { outputs, allowFailedRows: 10 }), {
    errorsFile: join(dir, "errors.jsonl"),
    ...options
  }).pipe(Effect.provide(Host.layerMemory))

const written = (path: string): ReadonlyArray<string> => readFileSync(path, "utf8").trimEnd().split("\n")

describe("an output", () => {
  const values: ReadonlyArray<readonly [name: string, value: unknown, jsonl: string, csv: string]> = [
    ["a big integer (data-11-n2)", 12345678901234567890n, '"12345678901234567890"', "12345678901234567890"],
    ["a map (data-12)", new Map([["a", 1]]), '[["a",1]]', '"[[""a"",1]]"'],
    ["a set (data-12)", new Set(["a"]), '["a"]', '"[""a""]"'],
    ["a date (C9)", new Date(0), '"1970-01-01T00:00:00.000Z"', "1970-01-01T00:00:00.000Z"]
  ]
  for (const [name, value, jsonl, csv] of values) {
    it.live(`writes ${name}`, () =>
      Effect.gen(function* () {
        const dir = folder()
        const rows = Source.fromIterable("rows", [{ id: 1, value }])
        yield* run(dir, [Sink.jsonl(join(dir, "out.jsonl"), rows), Sink.csv(join(dir, "out.csv"), rows)])
        assert.deepStrictEqual(written(join(dir, "out.jsonl")), [`{"id":1,"value":${jsonl}}`])
        assert.deepStrictEqual(written(join(dir, "out.csv")), ["id,value", `1,${csv}`])
      })
    )
  }

  it.live("loses one row to a value that refers to itself, and not the run (data-11-n3)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const ring: { id: number; self?: unknown } = { id: 2 }
      ring.self = ring
      const rows = Source.fromIterable("rows", [{ id: 1 }, ring, { id: 3 }])
      for (const sink of [Sink.jsonl(join(dir, "out"), rows), Sink.csv(join(dir, "out"), rows)]) {
        const summary = yield* run(dir, [sink])
        assert.strictEqual(summary.rows.failed, 1)
        assert.strictEqual(summary.outputs[0]!.rows, 2)
      }
    })
  )

  it.live("has one header, also when its first rows have no field (C9)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const rows = Source.fromIterable<Readonly<Record<string, string>>>("rows", [{}, { a: "1" }, { a: "2", b: "3" }])
      yield* run(dir, [Sink.csv(join(dir, "out.csv"), rows)])
      assert.deepStrictEqual(written(join(dir, "out.csv")), ["a,b", ",", "1,", "2,3"])
    })
  )

  it.live("has the columns of all rows, also those that the first one lacks (C9)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const rows = Source.fromIterable<Readonly<Record<string, string>>>("rows", [{ a: "1" }, { a: "2", b: "x" }])
      yield* run(dir, [Sink.csv(join(dir, "out.csv"), rows)])
      assert.deepStrictEqual(written(join(dir, "out.csv")), ["a,b", "1,", "2,x"])
    })
  )

  it.live("keeps text from being a formula where that is said (data-15)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const rows = Source.fromIterable("rows", [{ a: '=HYPERLINK("x")' }, { a: "-2" }])
      yield* run(dir, [Sink.csv(join(dir, "out.csv"), rows, { escapeFormulas: true })])
      assert.deepStrictEqual(written(join(dir, "out.csv")), ["a", `"'=HYPERLINK(""x"")"`, "'-2"])
    })
  )
})

describe("a failed row", () => {
  it.live("that holds a big integer is written as it is, and the others are kept (data-11, data-11-n1)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const rows = Source.fromIterable("rows", [{ id: 12345678901234567890n }, { id: 1n }])
      const checked = Flow.step("checked", { rows }, ({ rows }) =>
        rows.id > 1n ? Effect.fail(new Error("too large")) : Effect.succeed(rows.id)
      )
      const summary = yield* run(dir, [Sink.jsonl(join(dir, "out.jsonl"), { checked })])
      assert.strictEqual(summary.rows.failed, 1)
      assert.include(readFileSync(join(dir, "errors.jsonl"), "utf8"), "12345678901234567890")
      assert.deepStrictEqual(written(join(dir, "out.jsonl")), ['{"checked":"1"}'])
    })
  )

  it.live("says what has caused its error (H2)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const n = Source.fromIterable("n", [1])
      const errors: ReadonlyArray<readonly [Effect.Effect<number, Error>, string]> = [
        [Effect.tryPromise(() => Promise.reject(new TypeError("deep"))), "deep"],
        [Effect.fail(new Error("outer", { cause: new Error("inner", { cause: "root" }) })), "outer: inner: root"],
        [Effect.fail(new AggregateError([new Error("one"), new Error("two")], "many")), "many: one: two"]
      ]
      for (const [error, says] of errors) {
        const step = Flow.step("step", { n }, () => error)
        yield* run(dir, [Sink.jsonl(join(dir, "out.jsonl"), { step })])
        assert.include(readFileSync(join(dir, "errors.jsonl"), "utf8"), says)
      }
    })
  )
})

describe("a source that fails", () => {
  it.live("lets the rows before it end, and the run is resumed when it is mended (G2)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const path = join(dir, "rows.json")
      const n = Source.json("n", { path, schema: Schema.Int })
      let made = 0
      const step = Flow.step("step", { n }, ({ n }) => Effect.as(Effect.sleep(50), (made++, n)), { by: "made" })
      writeFileSync(path, "[1, 2, 3")
      const host = Host.layer({ store: join(dir, "store.db") })
      const flow = Flow.make("cut", { outputs: [Sink.jsonl(join(dir, "out.jsonl"), { step })] })
      const error = yield* Effect.flip(Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(host)))
      assert.strictEqual(error._tag, "RunFailed")
      assert.include(error.message, "it ends inside of element 2")
      assert.strictEqual(made, 2)
      writeFileSync(path, "[1, 2, 3]")
      yield* Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(host))
      assert.strictEqual(made, 3)
      assert.lengthOf(written(join(dir, "out.jsonl")), 3)
    })
  )
})

describe("paths are compared before a call", () => {
  const refused = (
    name: string,
    outputs: (dir: string, row: Node.Node<string>) => ReadonlyArray<Sink.Sink<never, Source.Platform>>
  ) =>
    it.live(name, () =>
      Effect.gen(function* () {
        const dir = folder()
        writeFileSync(join(dir, "rows.txt"), "a\n")
        symlinkSync("rows.txt", join(dir, "link.txt"))
        let made = 0
        const source = Source.lines("rows", { path: join(dir, "rows.txt") })
        const row = Flow.step("row", { source }, ({ source }) => Effect.sync(() => (made++, source)))
        const sinks = outputs(dir, row as Node.Node<string>)
        const error = yield* Effect.flip(run(dir, sinks))
        assert.strictEqual(error._tag, "FlowError")
        assert.strictEqual(made, 0)
        assert.strictEqual(readFileSync(join(dir, "rows.txt"), "utf8"), "a\n")
        assert.isFalse(existsSync(join(dir, "out.jsonl")))
      })
    )

  refused("two outputs of one path (data-13)", (dir, row) => [
    Sink.lines(join(dir, "out.jsonl"), row),
    Sink.jsonl(join(dir, "out.jsonl"), { row })
  ])
  refused("the same, written in another way (data-13-n1)", (dir, row) => [
    Sink.lines(join(dir, "out.jsonl"), row),
    Sink.jsonl(`${dir}/./x/../out.jsonl`, { row })
  ])
  refused("an output at the file of failed rows (data-13-n2)", (dir, row) => [
    Sink.lines(join(dir, "errors.jsonl"), row)
  ])
  const files = (folder: string, row: Node.Node<string>) =>
    Sink.files(folder, { row }, ({ row }) => ({ path: row, text: row }))
  refused("two outputs of files in one folder", (dir, row) => [
    files(join(dir, "out"), row),
    files(`${dir}/x/../out`, row)
  ])
  refused("an output of files below that of another", (dir, row) => [
    files(join(dir, "out/de"), row),
    files(join(dir, "out"), row)
  ])
  refused("an output at its source (data-14)", (dir, row) => [Sink.lines(join(dir, "rows.txt"), row)])
  refused("an output at a link to its source (data-14-n1)", (dir, row) => [Sink.lines(join(dir, "link.txt"), row)])
})

describe("--limit", () => {
  it.live("reads the second side of a join whole (C11)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const left = Source.fromIterable("left", [5, 6, 7])
      const right = Source.fromIterable("right", [1, 2, 3, 4, 5])
      const joined = Flow.join("joined", { left }, { right }, { on: [(n) => n, (n) => n] })
      yield* run(dir, [Sink.jsonl(join(dir, "out.jsonl"), joined)], { limit: 1 })
      assert.deepStrictEqual(written(join(dir, "out.jsonl")), ['{"left":5,"right":5}'])
    })
  )
})
