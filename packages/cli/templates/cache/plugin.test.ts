/** The laws of layers, and that equal requests are sent once. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { ModelClient, ModelRequest } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { memory } from "./plugin.ts"

for (const { name, run } of LayerLaws.cases({ layers: [memory()], host: NodeHost.layerMemory })) test(name, run)

test("equal requests are sent once, at the same time and later", async () => {
  const model = TestModel.make(() => "Baum")
  const send = ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content: "tree" }] }))
  const twice = Effect.all([send, send], { concurrency: 2 })
  const answers = await Effect.runPromise(
    Effect.provide(Effect.andThen(twice, send), Layer.provide(memory(), model.layer))
  )
  assert.equal(answers.origin, "cache")
  assert.equal(model.calls().length, 1)
})
