/**
 * What a layer costs a request: one and ten layers that pass everything through, over a provider that answers at once.
 *
 *     node layers.ts [--requests 200000]
 */
import { Ledger, ModelClient, ModelRequest, type ModelResponse, Pricing, Stack } from "@pipe/core"
import { Effect, Layer } from "effect"
import { parseArgs } from "node:util"

const { values } = parseArgs({ options: { requests: { type: "string", default: "200000" } } })
const requests = Number(values.requests)

const answer: ModelResponse.CompletionResponse = {
  _tag: "CompletionResponse",
  provider: "bench",
  model: "bench-1",
  requestedModel: "bench-1",
  parts: [{ type: "text", text: "ok" }],
  finishReason: "stop",
  origin: "provider"
}

const provider = Layer.succeed(ModelClient.ModelClient)(
  ModelClient.provider({ name: "bench", send: (() => Effect.succeed(answer)) as ModelClient.Send })
)

const pass = ModelClient.middleware((send) => (request) => send(request), { name: "Pass", answers: false })

const stackOf = (count: number) =>
  Array.from({ length: count }).reduce<Layer.Layer<ModelClient.ModelClient>>(
    (below) => Layer.provide(Layer.fresh(pass), below),
    provider
  )

const request = ModelRequest.completion({ model: "bench-1", messages: [{ role: "user", content: "Say ok." }] })

/** CPU time of a request, in microseconds. */
const measure = (count: number): Promise<number> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const client = yield* ModelClient.ModelClient
      const one = Effect.suspend(() => client.send(request))
      yield* Effect.repeat(one, { times: 20_000 })
      const before = process.cpuUsage()
      yield* Effect.repeat(one, { times: requests - 1 })
      const { system, user } = process.cpuUsage(before)
      return (user + system) / requests
    }).pipe(Effect.provide(Stack.make(Ledger.layer, stackOf(count)).pipe(Layer.provide(Pricing.layer({})))))
  )

await measure(1)
const [one, ten] = [await measure(1), await measure(10)]
console.log(`one layer: ${one.toFixed(1)} µs a request; ten: ${ten.toFixed(1)} µs, ${(ten - one).toFixed(1)} µs more`)
