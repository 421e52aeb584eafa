/** The laws of layers, and a prompt that is rejected. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { ModelClient, ModelFailure, ModelRequest } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { guardrail } from "./plugin.ts"

const answer = ({ prompt, purpose }: TestModel.TestCall) => (purpose === "guardrail" ? "no" : `on ${prompt}`)
const options = { layers: [guardrail()], host: NodeHost.layerMemory, answer }
for (const { name, run } of LayerLaws.cases(options)) test(name, run)

test("a harmful prompt is not sent", async () => {
  const model = TestModel.make(({ purpose }) => (purpose === "guardrail" ? "Yes." : "here you are"))
  const request = ModelRequest.completion({ messages: [{ role: "user", content: "something harmful" }] })
  const error = await Effect.runPromise(
    Effect.flip(Effect.provide(ModelClient.send(request), Layer.provide(guardrail(), model.layer)))
  )
  assert.equal(ModelFailure.message(error), "the guardrail rejects the prompt")
  assert.deepEqual(
    model.calls().map(({ purpose }) => purpose),
    ["guardrail"]
  )
})
