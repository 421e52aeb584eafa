/** The laws of layers, with and without a cache below, and what the provider sees. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { Cache, ModelClient, ModelRequest, ModelResponse } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { mask } from "./plugin.ts"

const rows = ["write to ann@acme.com", "write to bob@acme.com", "write to ann@acme.com", "no address"]
const host = NodeHost.layerMemory

for (const { name, run } of LayerLaws.cases({ layers: [mask()], host, rows })) test(name, run)
for (const { name, run } of LayerLaws.cases({ layers: [mask(), Cache.layer()], host, rows }))
  test(`${name}, cached`, run)

test("the provider sees no address, and the answer has it", async () => {
  const model = TestModel.make(({ prompt }) => `I will ${prompt}`)
  const request = ModelRequest.completion({ messages: [{ role: "user", content: rows[0]! }] })
  const answer = await Effect.runPromise(Effect.provide(ModelClient.send(request), Layer.provide(mask(), model.layer)))
  assert.equal(model.calls()[0]?.prompt, "write to [private 0]")
  assert.equal(ModelResponse.text(answer), "I will write to ann@acme.com")
})
