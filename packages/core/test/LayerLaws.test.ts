/** The layers of this package hold to the laws that those of others are tested by. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Cascade,
  Coalesce,
  Concurrency,
  Fallback,
  Hedge,
  Ledger,
  ModelClient,
  ModelRequest,
  ModelResponse,
  Pack,
  PromptCache,
  RateLimit,
  Retry,
  Router
} from "@pipe/core"
import { LayerLaws } from "@pipe/core/testing"
import { Effect } from "effect"
import * as Host from "./Host.ts"

const laws = (layers: LayerLaws.Options<unknown>["layers"], more: Partial<LayerLaws.Options<unknown>> = {}) =>
  LayerLaws.cases({ layers, host: Host.layerMemory, ...more })

const layers: { readonly [name: string]: LayerLaws.Options<unknown>["layers"] } = {
  Ledger: [Ledger.layer],
  Cache: [Cache.layer()],
  Retry: [Retry.layer({ base: 1, attempts: 2 })],
  RateLimit: [RateLimit.layer({ requestsPerMinute: 100_000 })],
  Concurrency: [Concurrency.layer(2)],
  Hedge: [Hedge.layer({ atLeast: "1 minute" })],
  Coalesce: [Coalesce.layer({ wait: 1 })],
  PromptCache: [PromptCache.layer()],
  Pack: [Pack.layer()],
  Fallback: [Fallback.layer(["test-model", "test-model-2"])],
  Router: [Router.layer({ cheap: "test-model", strong: "test-model-2", when: () => true })],
  Cascade: [Cascade.layer({ models: ["test-model", "test-model-2"] })],
  "The recommended order": [Ledger.layer, Cache.layer(), Retry.layer(), RateLimit.layer({})]
}

for (const [name, stack] of Object.entries(layers)) {
  describe(name, () => {
    for (const { name: law, run } of laws(stack, { isPlanned: name !== "Cascade" })) it(law, run)
    describe("with decisions", () => {
      for (const { name: law, run } of laws(stack, { kind: "decision" })) it(law, run)
    })
  })
}

describe("a layer that breaks a law is found", () => {
  const failing = async (layer: LayerLaws.Options<unknown>["layers"][number]): Promise<ReadonlyArray<string>> => {
    const failed: Array<string> = []
    for (const { name, run } of laws([layer])) {
      await run().catch(() => failed.push(name))
    }
    return failed
  }

  it("a cache that no plan knows", async () => {
    const cache = ModelClient.middleware((send) => {
      const kept = new Map<string, ModelResponse.ModelResponse>()
      return (request) => {
        const key = ModelRequest.text(request)
        const known = ModelResponse.forRequest(request, kept.get(key))
        return known === undefined
          ? Effect.tap(send(request), (response) => Effect.sync(() => kept.set(key, response)))
          : Effect.succeed(known)
      }
    })
    assert.include(await failing(cache), "a run sends what its plan says, and every call is in the ledger")
  })

  it("a layer that mixes rows", async () => {
    let texts: ReadonlyArray<string> = []
    const mixing = ModelClient.middleware(
      (send) => (request) =>
        Effect.map(send(request), (response) => {
          texts = [...texts, ModelResponse.text(response)]
          return ModelResponse.mapText(response, () => texts.at(-2) ?? "")
        }),
      { name: "Mixing", answers: false }
    )
    assert.include(await failing(mixing), "answers do not depend on the order of the rows")
  })

  it("a layer that leaves its calls behind", async () => {
    const leaving = ModelClient.middleware(
      (send) => (request) =>
        Effect.callback((resume) => {
          Effect.runFork(Effect.onExit(send(request), (exit) => Effect.sync(() => resume(exit))))
        }),
      { name: "Leaving", answers: false }
    )
    assert.include(await failing(leaving), "an interrupted run ends, and leaves no call behind")
  })
})
