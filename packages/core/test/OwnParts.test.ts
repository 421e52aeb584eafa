/** Sources, outputs and layers that authors write themselves, in a few lines and without a cast (J1). */
import { assert, describe, it } from "@effect/vitest"
import { Flow, ModelClient, ModelRequest, ModelResponse, type RunEvent, Runner, Sink, Source, Stack } from "@pipe/core"
import { Deferred, Effect, Fiber, Schema, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { existsSync } from "node:fs"
import * as Host from "./Host.ts"
import * as ScriptedModel from "./ScriptedModel.ts"

const Order = Schema.Struct({ id: Schema.Int, note: Schema.String })

/** What was opened, closed and finished, in its order. */
const logged = () => {
  const log: Array<string> = []
  const opening = (name: string) =>
    Effect.acquireRelease(
      Effect.sync(() => void log.push(`open ${name}`)),
      () => Effect.sync(() => void log.push(`close ${name}`))
    )
  return { log, opening }
}

const orders = (opening: ReturnType<typeof logged>["opening"], rows: ReadonlyArray<unknown>) =>
  Source.make("orders", {
    schema: Order,
    open: Effect.as(opening("source"), {
      size: rows.length,
      rows: Stream.map(Stream.fromIterable(rows), (value) => ({ position: `orders/${JSON.stringify(value)}`, value }))
    })
  })

describe("a source and an output of your own", () => {
  it.live("are opened for the run, decode each row, take rows in their order, and are closed", () =>
    Effect.gen(function* () {
      const { log, opening } = logged()
      const source = orders(opening, [{ id: 1, note: "a" }, { id: "two" }, { id: 3, note: "c" }])
      const upper = Flow.map("upper", { order: source }, ({ order }) => order.note.toUpperCase())
      const written: Array<{ readonly order: typeof Order.Type; readonly upper: string }> = []
      const failed: Array<string> = []
      const summary = yield* Runner.run(
        Flow.make("own", {
          outputs: [
            Sink.make(
              "list",
              { order: source, upper },
              {
                open: Effect.as(opening("sink"), {
                  write: (rows) => Effect.sync(() => written.push(...rows)),
                  finish: Effect.sync(() => log.push("finish"))
                })
              }
            )
          ]
        }),
        {
          errorsFile: false,
          observe: (event) =>
            Effect.sync(() => {
              if (event._tag === "RowFailed") failed.push(event.position)
            })
        }
      ).pipe(Effect.provide(Host.layerMemory))
      assert.deepStrictEqual(summary.rows, { read: 3, failed: 1, dropped: 0 })
      assert.deepStrictEqual(
        written.map(({ order, upper }) => [order.id, upper]),
        [
          [1, "A"],
          [3, "C"]
        ]
      )
      assert.deepStrictEqual(failed, ['orders/{"id":"two"}'])
      assert.deepStrictEqual(log.toSorted(), ["close sink", "close source", "finish", "open sink", "open source"])
      assert.isBelow(log.indexOf("finish"), log.indexOf("close sink"))
      // The failed rows are in the events, and in no file of the working folder.
      assert.isUndefined(summary.errorsFile)
      assert.isFalse(existsSync("own.errors.jsonl"))
    })
  )

  it.live("an output is not finished by a run that does not end well, and a program receives of an interruption", () =>
    Effect.gen(function* () {
      const { log, opening } = logged()
      const begun = yield* Deferred.make<void>()
      const source = orders(opening, [{ id: 1, note: "a" }])
      const slow = Flow.step("slow", { order: source }, () =>
        Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
      )
      const events: Array<RunEvent.RunEvent> = []
      const fiber = yield* Effect.forkChild(
        Runner.run(
          Flow.make("own", {
            outputs: [
              Sink.make("list", slow, {
                open: Effect.as(opening("sink"), {
                  write: () => Effect.void,
                  finish: Effect.sync(() => log.push("finish"))
                })
              })
            ]
          }),
          { errorsFile: false, observe: (event) => Effect.sync(() => events.push(event)) }
        ).pipe(Effect.provide(Host.layerMemory))
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.notInclude(log, "finish")
      assert.includeMembers(log, ["close sink", "close source"])
      const last = events.at(-1)!
      assert.strictEqual(last._tag, "RunFinished")
      if (last._tag === "RunFinished") assert.strictEqual(last.status, "interrupted")
    })
  )
})

describe("a layer that masks and restores", () => {
  const names = new Map([["Ada", "[1]"]])

  const masked = ModelClient.middleware(
    (send) => (request) =>
      Effect.map(send(ModelRequest.mapText(request, (text) => text.replaceAll("Ada", names.get("Ada")!))), (response) =>
        ModelResponse.mapText(response, (text) => text.replaceAll("[1]", "Ada"))
      )
  )

  it.live("is a few lines, for prompts, for embeddings, and for answers", () =>
    Effect.gen(function* () {
      const model = ScriptedModel.make((request) => ScriptedModel.response(`of ${ScriptedModel.prompt(request)}`))
      const rows = Source.fromIterable("rows", ["Ada is here"])
      const said = Flow.step("said", { row: rows }, ({ row }) =>
        Effect.map(
          LanguageModel.generateText({ prompt: [{ role: "user", content: [{ type: "text", text: row }] }] }),
          (r) => r.text
        )
      )
      const out: Array<string> = []
      yield* Runner.run(
        Flow.make("masked", {
          outputs: [Sink.forEach("out", said, (text) => Effect.sync(() => out.push(text)))],
          stack: Stack.make(masked, model.layer)
        }),
        { errorsFile: false }
      ).pipe(Effect.provide(Host.layerMemory))
      assert.deepStrictEqual(out, ["of Ada is here"])
      assert.strictEqual(ModelRequest.text(model.requests[0]!), "[1] is here")
      const embedding = ModelRequest.mapText(ModelRequest.embedding({ inputs: ["Ada", "Bob"] }), (text) =>
        text.toLowerCase()
      )
      assert.deepStrictEqual(embedding.inputs, ["ada", "bob"])
      const vectors = { _tag: "EmbeddingResponse" as const, vectors: [[1]] }
      assert.strictEqual(ModelResponse.mapText(vectors as never, String), vectors as never)
    })
  )

  it("leaves files, tool calls and results as they are", () => {
    const request = ModelRequest.completion({
      messages: [
        { role: "system", content: "Ada" },
        {
          role: "user",
          content: [
            { type: "text", text: "Ada" },
            { type: "file", mediaType: "text/plain", data: "Ada" }
          ]
        },
        {
          role: "assistant",
          content: [{ type: "tool-call", id: "1", name: "Ada", params: { of: "Ada" }, providerExecuted: false }]
        }
      ]
    })
    const mapped = ModelRequest.mapText(request, () => "x")
    assert.strictEqual(mapped.messages[0]!.content, "x")
    assert.deepStrictEqual(mapped.messages[1]!.content[0], { type: "text", text: "x" })
    assert.deepStrictEqual(mapped.messages[1]!.content[1], request.messages[1]!.content[1])
    assert.deepStrictEqual(mapped.messages[2], request.messages[2])
  })
})
