/** The laws of layers: plans, caches, batches, resuming and the ledger work with it. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { ModelClient, ModelRequest } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { german } from "./plugin.ts"

for (const { name, run } of LayerLaws.cases({ layers: [german()], host: NodeHost.layerMemory })) test(name, run)

test("the prompt asks for German", async () => {
  const model = TestModel.make(() => "Baum")
  const request = ModelRequest.completion({ messages: [{ role: "user", content: "tree" }] })
  const stack = Layer.provide(german(), model.layer)
  await Effect.runPromise(Effect.provide(ModelClient.send(request), stack))
  assert.deepEqual(
    model.calls().map(({ prompt }) => prompt),
    ["tree\n\nAnswer in German."]
  )
})
