/**
 * Finds the nearest of many vectors with PostgreSQL's extension `pgvector` (0.5 or newer), in a table that machines
 * share, so none fills an index of its own.
 *
 * **Details** One table for each number of dimensions, `pipe_vectors_512`, created on first use; one HNSW index per
 * scope, up to 2,000 dimensions. A search is a round trip to the server: a few milliseconds, where `Usearch` takes half
 * of one.
 *
 * **Example** (a semantic cache with its store and index on a server)
 *
 * ```ts
 * import { SemanticCache } from "@pipe/core"
 * import { LocalEmbedder, PgVector } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const reuse = SemanticCache.layer().pipe(
 *   Layer.provide([LocalEmbedder.layer, PgVector.layer({ url: "postgres://localhost/pipe" })])
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Store from "@pipe/core/Store"
import * as VectorIndex from "@pipe/core/VectorIndex"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SqlError from "effect/sql/SqlError"
import * as Address from "./postgres/Address.ts"
import * as Connection from "./postgres/Connection.ts"

/** The options of `PgVector.layer`. */
export interface Options extends Address.Options {}

/** More dimensions have no index: every vector of the scope is compared. */
const INDEXED = 2_000

/** Vectors per statement. */
const GROUP = 200

const literal = (vector: Float32Array): string => `[${Array.from(vector).join(",")}]`

type Query = (
  sql: string,
  params?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<{ readonly [column: string]: unknown }>, VectorIndex.VectorIndexError>

/** Provides indexes in a PostgreSQL database. */
export const layer = (options: Options): Layer.Layer<never, Store.StoreError> =>
  Layer.effect(
    VectorIndex.VectorIndex,
    Effect.gen(function* () {
      const name = Address.nameOf(options.url)
      const client = yield* Effect.mapError(Connection.make(options), (error) => Store.unusable(name, error))
      yield* Effect.mapError(
        client.unsafe("CREATE EXTENSION IF NOT EXISTS vector"),
        (error) =>
          new Store.StoreError({
            kind: "unavailable",
            file: name,
            message: `${name} has no vectors (${Store.messageOf(error)}): install pgvector on the server, or remove PgVector.layer`
          })
      )
      const query: Query = (sql, params = []) =>
        Effect.mapError(
          client.unsafe<{ readonly [column: string]: unknown }>(sql, [...params]),
          (error: SqlError.SqlError) =>
            new VectorIndex.VectorIndexError({ message: `the vector index in ${name}: ${Store.messageOf(error)}` })
        )
      return { open: ({ dimensions, name: scope }) => open(query, dimensions, scope) } satisfies VectorIndex.Service
    })
  )

/** Creates the table for vectors of a length, and the index of a scope in it. */
const makeTable = (query: Query, table: string, dimensions: number, scope: string) => {
  const make = Effect.andThen(
    query(
      `CREATE TABLE IF NOT EXISTS ${table} (scope TEXT NOT NULL, id BIGINT NOT NULL, value vector(${dimensions}) NOT NULL, PRIMARY KEY (scope, id))`
    ),
    dimensions > INDEXED
      ? Effect.void
      : query(
          `CREATE INDEX IF NOT EXISTS ${table}_${scope.slice(0, 32)} ON ${table} USING hnsw (value vector_cosine_ops)
                WITH (m = 16, ef_construction = 128) WHERE scope = '${scope}'`
        )
  )
  // Two processes that create it at once conflict.
  return Effect.retry(make, { times: 2 })
}

const open = Effect.fnUntraced(function* (
  query: Query,
  dimensions: number,
  scope: string
): Effect.fn.Return<VectorIndex.Index, VectorIndex.VectorIndexError> {
  if (!/^\w+$/.test(scope))
    return yield* new VectorIndex.VectorIndexError({ message: `"${scope}" cannot name a vector index` })
  const table = `pipe_vectors_${dimensions}`
  yield* makeTable(query, table, dimensions, scope)
  const [known] = yield* query(
    `SELECT coalesce(max(id), 0) AS upto, count(*) AS size FROM ${table} WHERE scope = '${scope}'`
  )
  let upto = Number(known?.["upto"])
  let size = Number(known?.["size"])
  const insert = (items: ReadonlyArray<VectorIndex.VectorItem>) =>
    Effect.map(
      query(
        `INSERT INTO ${table} (scope, id, value) VALUES ${items.map((_, at) => `('${scope}', $${2 * at + 1}, $${2 * at + 2}::vector)`).join(", ")}
                  ON CONFLICT DO NOTHING RETURNING id`,
        items.flatMap(({ id, vector }) => [id, literal(vector)])
      ),
      (added) => {
        size += added.length
        upto = Math.max(upto, items.at(-1)!.id)
      }
    )
  return {
    upto: () => upto,
    size: () => size,
    reset: Effect.map(query(`DELETE FROM ${table} WHERE scope = '${scope}'`), () => {
      upto = 0
      size = 0
    }),
    add: (items) =>
      Effect.forEach(
        Array.from({ length: Math.ceil(items.length / GROUP) }, (_, at) => items.slice(at * GROUP, (at + 1) * GROUP)),
        insert,
        { discard: true }
      ),
    search: (vector, count) =>
      Effect.map(
        query(
          `SELECT id, 1 - (value <=> $1::vector) AS similarity FROM ${table} WHERE scope = '${scope}'
                    ORDER BY value <=> $1::vector LIMIT ${Math.max(1, Math.floor(count))}`,
          [literal(vector)]
        ),
        (rows) =>
          rows.map((row): VectorIndex.Near => ({ id: Number(row["id"]), similarity: Number(row["similarity"]) }))
      )
  }
})
