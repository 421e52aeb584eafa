/** The laws of layers, and the time between calls. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { ModelClient, ModelRequest } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Clock, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { spaced } from "./plugin.ts"

const layers = [spaced({ by: ({ values }) => String(values["row"]), every: 1 })]
for (const { name, run } of LayerLaws.cases({ layers, host: NodeHost.layerMemory })) test(name, run)

test("calls of one tenant start a minute apart", async () => {
  const starts: Array<number> = []
  const model = TestModel.make(() => Effect.map(Clock.currentTimeMillis, (now) => `${starts.push(now)}`))
  const send = ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content: "tree" }] }))
  const three = Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.all([send, send, send], { concurrency: 3 }))
    yield* TestClock.adjust("5 minutes")
    yield* Fiber.join(fiber)
  })
  const layer = Layer.provide(spaced({ by: () => "acme", every: "1 minute" }), model.layer)
  await Effect.runPromise(three.pipe(Effect.provide(layer), Effect.provide(TestClock.layer())))
  assert.deepEqual(starts, [0, 60_000, 120_000])
})
