/** Indexes in Postgres with pgvector, on PGlite (PostgreSQL compiled to WebAssembly, with the extension) behind the real wire protocol. */
import { PGlite } from "@electric-sql/pglite"
import { vector } from "@electric-sql/pglite-pgvector"
import { PGLiteSocketServer } from "@electric-sql/pglite-socket"
import { assert, describe, it } from "@effect/vitest"
import { Embedder, VectorIndex } from "@pipe/core"
import { VectorIndexContract } from "@pipe/core/testing"
import { PgVector } from "@pipe/plugins"
import { Effect, Exit, Layer } from "effect"
import { createServer, type AddressInfo } from "node:net"
import * as Servers from "../../../test/Servers.ts"
import * as Soak from "../../../test/Soak.ts"

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** A server with pgvector; its URL. It takes one connection. */
const server = Effect.gen(function* () {
  const port = yield* freePort
  const db = yield* Effect.acquireRelease(
    Effect.promise(() => PGlite.create({ extensions: { vector } })),
    (db) => Effect.promise(() => db.close())
  )
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new PGLiteSocketServer({ db, port, host: "127.0.0.1", maxConnections: 4 })
      await server.start()
      return server
    }),
    (server) => Effect.promise(() => server.stop())
  )
  return `postgres://postgres:postgres@127.0.0.1:${port}/postgres`
})

const within = <A, E>(url: string, effect: Effect.Effect<A, E>) =>
  Effect.scoped(
    Effect.flatMap(Layer.build(Layer.fresh(PgVector.layer({ url, connections: 1 }))), (context) =>
      Effect.provideContext(effect, context)
    )
  )

const vectors = Array.from({ length: 300 }, (_, n) =>
  Embedder.unit(Array.from({ length: 64 }, (_, i) => Math.sin((n + 1) * (i + 1) * 0.37) + Math.cos(n * 0.01 + i)))
)

const items = (from: number, to: number) =>
  vectors.slice(from, to).map((vector, at): VectorIndex.VectorItem => ({ id: from + at + 1, vector }))

const open = (name: string) =>
  Effect.flatMap(VectorIndex.VectorIndex, (indexes) => indexes.open({ name, dimensions: 64, folder: undefined }))

describe("PgVector", () => {
  it.live.skipIf(!Soak.isSoak)(
    "finds the nearest, as comparing with every one does; what one process adds the next one has; scopes stay apart",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const url = yield* server
          const exact = VectorIndex.exact(64)
          yield* exact.add(items(0, 300))
          yield* within(
            url,
            Effect.scoped(
              Effect.gen(function* () {
                const index = yield* open("one")
                assert.strictEqual(index.upto(), 0)
                yield* index.add(items(0, 200))
                yield* index.add(items(200, 300))
                assert.deepStrictEqual([index.upto(), index.size()], [300, 300])
                let same = 0
                for (const query of vectors.slice(0, 40)) {
                  const [found, truth] = [yield* index.search(query, 12), yield* exact.search(query, 12)]
                  assert.strictEqual(found[0]!.id, truth[0]!.id)
                  assert.closeTo(found[0]!.similarity, truth[0]!.similarity, 1e-4)
                  const ids = new Set(truth.map(({ id }) => id))
                  same += found.filter(({ id }) => ids.has(id)).length
                }
                assert.isAbove(same / (40 * 12), 0.95)
                const other = yield* open("other")
                assert.deepStrictEqual(yield* other.search(vectors[0]!, 5), [])
              })
            )
          )
          yield* within(
            url,
            Effect.scoped(
              Effect.gen(function* () {
                const index = yield* open("one")
                assert.deepStrictEqual([index.upto(), index.size()], [300, 300])
                // Another process has added them already.
                yield* index.add(items(290, 300))
                assert.strictEqual(index.size(), 300)
                yield* index.reset
                assert.deepStrictEqual([index.upto(), index.size()], [0, 0])
                assert.deepStrictEqual(yield* index.search(vectors[0]!, 5), [])
                assert.isTrue(Exit.isFailure(yield* Effect.exit(open("one'; DROP TABLE runs; --"))))
              })
            )
          )
        })
      ),
    60_000
  )
})

describe("PgVector, by the contract", () => {
  it.live(
    "holds to it",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const url = yield* server
          const index = PgVector.layer({ url, connections: 1 })
          const cases = VectorIndexContract.cases({ index, isSaved: true, recall: 0.95 })
          for (const { run } of cases) yield* Effect.promise(run)
        })
      ),
    60_000
  )
})

describe.skipIf(!Servers.hasPostgres)("PgVector on a PostgreSQL without pgvector", () => {
  it.live("says what to do", () =>
    Effect.gen(function* () {
      const url = yield* Servers.postgres
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.fresh(PgVector.layer({ url, connections: 1 })))))
      assert.match(error.message, /has no vectors .*install pgvector on the server/)
      assert.notInclude(error.message, "secret-password")
    })
  )
})
