/** A row that ends the run is found before anything is paid for. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, Sink, Source, Stack } from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const Row = Schema.Struct({ text: Schema.String })

const fileOf = (...rows: ReadonlyArray<object>): string => {
  const path = join(mkdtempSync(join(tmpdir(), "pipe-ahead-")), "rows.jsonl")
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""))
  return path
}

const flowOf = (row: ReturnType<typeof Source.jsonl<typeof Row.Type>>) => {
  const step = Flow.step("step", { row }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: row.text }), ({ text }) => text)
  )
  return {
    step,
    flow: Flow.make("ahead", {
      outputs: [Sink.forEach("out", { step }, () => Effect.void)],
      stack: Stack.make(Ledger.layer, OpenAi.layer({ apiKey: "k", model: "gpt-4o-mini" }))
    })
  }
}

describe('a source with onError: "fail"', () => {
  const rows = Array.from({ length: 2_000 }, (_, at) => ({ text: `row ${at}` }))

  it.live("is read before anything is sent", () =>
    Effect.gen(function* () {
      const path = fileOf(...rows, { text: 5 }, { text: "last" })
      const errorsFile = `${path}.errors.jsonl`
      const model = TestModel.make(() => "x")
      const { flow } = flowOf(Source.jsonl("rows", { path, schema: Row, onError: "fail" }))
      const run = yield* TestFlow.run(flow, { model, host: NodeHost.layerMemory, errorsFile })
      assert.strictEqual(run.summary.status, "failed")
      assert.lengthOf(model.calls(), 0)
      assert.include(run.failed[0]!.message, `${path}:2001`)
      assert.include(readFileSync(errorsFile, "utf8"), `rows.jsonl:2001`)
    })
  )

  it.live("is read as far as the run reads it, and once more for the run", () =>
    Effect.gen(function* () {
      const path = fileOf(...rows.slice(0, 20), { text: 5 })
      const source = Source.jsonl("rows", { path, schema: Row, onError: "fail" })
      const { flow, step } = flowOf(source)
      const model = TestModel.make(() => "x")
      const first = yield* TestFlow.run(flow, { model, host: NodeHost.layerMemory, limit: 20 })
      assert.lengthOf(first.rows(step), 20)
      assert.strictEqual(first.summary.rows.read, 20)
      const given = yield* TestFlow.run(flow, { model, sources: [Source.given(source, [{ text: "given" }])] })
      assert.deepStrictEqual(given.rows(step), ["x"])
    })
  )

  it.live("is one whose other rows are computed with onError: keep", () =>
    Effect.gen(function* () {
      const path = fileOf(...rows.slice(0, 3), { text: 5 })
      const { flow, step } = flowOf(Source.jsonl("rows", { path, schema: Row }))
      const run = yield* TestFlow.run(flow, { model: TestModel.make(() => "x"), host: NodeHost.layerMemory })
      assert.lengthOf(run.rows(step), 3)
      assert.lengthOf(run.failed, 1)
    })
  )
})
