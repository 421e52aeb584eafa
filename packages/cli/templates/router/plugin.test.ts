/** The laws of layers, and the models that rows get. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { Flow, Sink, Source, Stack } from "@pipe/core"
import { LayerLaws, TestFlow, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { byPlan } from "./plugin.ts"

const router = byPlan({ cheap: "test-model", strong: "test-model-2" })

for (const { name, run } of LayerLaws.cases({ layers: [router], host: NodeHost.layerMemory })) test(name, run)

test("rows get the model of their plan, and the report says what that saves", async () => {
  const model = TestModel.make(() => "hello")
  const customer = Source.fromIterable("customers", [{ plan: "pro" }, { plan: "free" }])
  const greeting = Flow.step("greeting", { customer }, () =>
    Effect.map(LanguageModel.generateText({ prompt: "Greet the customer." }), ({ text }) => text)
  )
  const flow = Flow.make("greetings", {
    outputs: [Sink.forEach("out", greeting, () => Effect.void)],
    stack: Stack.make(router, model.layer)
  })
  await Effect.runPromise(TestFlow.run(flow))
  assert.deepEqual(
    model
      .calls()
      .map((call) => call.model)
      .toSorted(),
    ["test-model", "test-model-2"]
  )
})
