/** The laws of layers, and a line for each attempt. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { ModelClient, ModelRequest, Retry } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { attemptLog } from "./plugin.ts"

const layers = [attemptLog(() => {})]
for (const { name, run } of LayerLaws.cases({ layers, host: NodeHost.layerMemory })) test(name, run)

test("a retried call has two lines", async () => {
  const lines: Array<string> = []
  let calls = 0
  const model = TestModel.make(() => (++calls === 1 ? TestModel.failure() : "Baum"))
  const stack = Layer.provide(
    attemptLog((line) => lines.push(line)),
    Layer.provide(Retry.layer({ base: 1 }), model.layer)
  )
  const request = ModelRequest.completion({ messages: [{ role: "user", content: "tree" }] })
  await Effect.runPromise(Effect.provide(ModelClient.send(request), stack))
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).billed),
    ["unknown", "yes"]
  )
})
