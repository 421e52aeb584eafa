/** The store on a real PostgreSQL, and the exact cache on a real Redis. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, CacheStore, ModelClient, Stack, Store } from "@pipe/core"
import { CacheStoreContract } from "@pipe/core/testing"
import { NodeHost, OpenAi, Redis, Simulator } from "@pipe/plugins"
import { Context, Effect, Layer } from "effect"
import * as Servers from "../../../test/Servers.ts"
import * as WorkQueue from "../../core/src/work/WorkQueue.ts"
import { contract, open } from "./StoreContract.ts"
import { question } from "./Wire.ts"
import * as WorkQueueContract from "./WorkQueueContract.ts"

describe.skipIf(!Servers.hasPostgres)("on PostgreSQL", () => {
  let url = ""
  it.layer(Layer.effectDiscard(Effect.tap(Servers.postgres, (started) => Effect.sync(() => void (url = started)))), {
    excludeTestServices: true,
    timeout: 60_000
  })(() => {
    contract(() => url)

    it.live("receives of by its address without the password", () =>
      Effect.gen(function* () {
        const name = yield* open(url, (store) => Effect.succeed(store.name))
        assert.notInclude(name, "secret-password")
        const error = yield* Effect.flip(open("postgres://pipe:secret-password@127.0.0.1:1/none", () => Effect.void))
        assert.include(error.message, "cannot be used")
        assert.notInclude(error.message, "secret-password")
      })
    )
  })
})

describe.skipIf(!Servers.hasPostgres)("the queue of chunks on PostgreSQL", () => {
  it.live(
    "holds to its contract",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const open = Effect.gen(function* () {
          const context = yield* Layer.build(Layer.fresh(NodeHost.existingStore(url)))
          const { database } = Context.get(context, Store.Store)
          const server = database.server!
          const lease = yield* server.lease.begin
          return {
            queue: WorkQueue.make(database, server),
            vanish: Servers.sql(url, `UPDATE leases SET expires_at = 0 WHERE id = ${lease}`)
          }
        })
        for (const [name, one] of Object.entries(WorkQueueContract.cases)) {
          yield* Effect.annotateLogs(Effect.scoped(WorkQueueContract.run(one, open)), { name })
          yield* Servers.sql(url, "TRUNCATE jobs, chunks, replies")
        }
      }).pipe(Effect.scoped),
    60_000
  )
})

describe.skipIf(!Servers.hasRedis)("the exact cache on Redis", () => {
  it.live(
    "holds to the contract of stores of the exact cache",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.redis
        for (const { name, run } of CacheStoreContract.cases({ store: Redis.layerCache({ url }), isKept: true })) {
          yield* Effect.mapError(Effect.tryPromise(run), (error) => new Error(name, { cause: error.cause }))
        }
      }),
    60_000
  )

  it.live(
    "answers from the server, keeps each answer its time, and fails in one line where nobody is",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.redis
        const simulator = yield* Simulator.start()
        const ask = (content: string) =>
          ModelClient.send(question(content)).pipe(
            Effect.provide(
              Stack.make(
                Cache.layer({ timeToLive: "3 seconds" }).pipe(Layer.provide(Redis.layerCache({ url }))),
                OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "none" })
              )
            ),
            Effect.provide(Layer.fresh(NodeHost.layerMemory))
          )
        const first = yield* ask("Capital of Peru?")
        const second = yield* ask("Capital of Peru?")
        assert.strictEqual(second.origin, "cache")
        assert.deepStrictEqual(second.parts, first.parts)
        assert.strictEqual(simulator.requests(), 1)
        yield* Effect.sleep(3_200)
        yield* ask("Capital of Peru?")
        assert.strictEqual(simulator.requests(), 2)
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Redis.layerCache({ url: "redis://127.0.0.1:1" }))))
        assert.instanceOf(error, CacheStore.CacheStoreError)
        assert.include(error.message, "the cache on Redis failed")
      }),
    60_000
  )
})
