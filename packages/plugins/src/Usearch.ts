/**
 * Finds the nearest of many vectors with the graph of `usearch` (HNSW: Malkov and Yashunin, arXiv 1603.09320): half a
 * millisecond among 100,000.
 *
 * **Details** Vectors are stored in 16 bits. An index of 1,000 vectors or more is saved in a file next to the store
 * when it is closed, with its length and a checksum; one that does not match them is filled from the store again.
 *
 * **Example** (for a semantic cache)
 *
 * ```ts
 * import { SemanticCache } from "@pipe/core"
 * import { LocalEmbedder, Usearch } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const reuse = SemanticCache.layer().pipe(Layer.provide([LocalEmbedder.layer, Usearch.layer]))
 * ```
 *
 * @since 0.1.0
 */
import * as VectorIndex from "@pipe/core/VectorIndex"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import * as Peer from "./Peer.ts"

/** Smaller indexes are filled from the store in less than a second. */
const KEPT = 1_000

/** The links of a vector, and the candidates considered when adding and when searching. */
const CONNECTIVITY = 16
const EXPANSION_ADD = 128
const EXPANSION_SEARCH = 64

interface Kept {
  readonly upto: number
  readonly size: number
  readonly checksum: string
}

const failed = (what: string) => (cause: unknown) =>
  new VectorIndex.VectorIndexError({
    message: `the vector index ${what}: ${cause instanceof Error ? cause.message : String(cause)}`
  })

const load = Effect.tryPromise({
  try: () => import("usearch").catch(Peer.missing("usearch", "An index with usearch")),
  catch: failed("cannot be loaded (install usearch)")
})

const checksumOf = async (file: string): Promise<string> => {
  const hash = createHash("sha256")
  await pipeline(createReadStream(file), hash)
  return hash.digest("hex")
}

/** The description next to a file, if it is complete. */
const readKept = (file: string): Effect.Effect<Kept | undefined> =>
  Effect.promise(async () => {
    try {
      const kept = JSON.parse(await readFile(`${file}.json`, "utf8")) as Kept
      return (await checksumOf(file)) === kept.checksum ? kept : undefined
    } catch {
      return undefined
    }
  })

type Usearch = Effect.Success<typeof load>
type Graph = InstanceType<Usearch["Index"]>

/** An index in memory. */
interface Opened {
  readonly dimensions: number
  readonly empty: () => Graph
  index: Graph
  upto: number
  changed: boolean
}

const emptyOf = (usearch: Usearch, dimensions: number) => (): Graph =>
  new usearch.Index({
    dimensions,
    metric: usearch.MetricKind.Cos,
    quantization: usearch.ScalarKind.F16,
    connectivity: CONNECTIVITY,
    expansion_add: EXPANSION_ADD,
    expansion_search: EXPANSION_SEARCH,
    multi: false
  })

/** Loads an index from a file. One that does not match is ignored. */
const restore = (opened: Opened, file: string): Effect.Effect<void> =>
  Effect.map(readKept(file), (kept) => {
    if (kept === undefined) return
    try {
      opened.index.load(file)
      opened.upto = kept.upto
      if (opened.index.size() !== kept.size || opened.index.dimensions() !== opened.dimensions)
        throw new Error("it is another index")
    } catch {
      opened.index = opened.empty()
      opened.upto = 0
    }
  })

/** Saves an index to its file. */
const save = ({ index, upto }: Opened, file: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    await mkdir(join(file, ".."), { recursive: true })
    const fresh = `${file}.${process.pid}`
    index.save(fresh)
    const about: Kept = { upto, size: index.size(), checksum: await checksumOf(fresh) }
    await writeFile(`${fresh}.json`, JSON.stringify(about))
    // Between the two writes the checksum does not match, and the index is filled again.
    await rename(fresh, file)
    await rename(`${fresh}.json`, `${file}.json`)
  })

const add = (opened: Opened, items: ReadonlyArray<VectorIndex.VectorItem>) =>
  Effect.try({
    try: () => {
      const vectors = new Float32Array(items.length * opened.dimensions)
      items.forEach(({ vector }, at) => vectors.set(vector, at * opened.dimensions))
      opened.index.add(
        BigUint64Array.from(items, ({ id }) => BigInt(id)),
        vectors,
        1
      )
      opened.upto = items.at(-1)!.id
      opened.changed = true
    },
    catch: failed("cannot add a vector")
  })

const search = ({ index }: Opened, vector: Float32Array, count: number) =>
  Effect.try({
    try: () => {
      if (index.size() === 0) return []
      const { distances, keys } = index.search(vector, Math.min(count, index.size()), 1)
      return Array.from(keys, (key, at): VectorIndex.Near => ({ id: Number(key), similarity: 1 - distances[at]! }))
    },
    catch: failed("cannot be searched")
  })

const open = Effect.fnUntraced(function* ({
  dimensions,
  folder,
  name
}: {
  readonly name: string
  readonly dimensions: number
  readonly folder: string | undefined
}): Effect.fn.Return<VectorIndex.Index, VectorIndex.VectorIndexError, Scope.Scope> {
  const empty = emptyOf(yield* load, dimensions)
  const opened: Opened = { dimensions, empty, index: empty(), upto: 0, changed: false }
  const file = folder === undefined ? undefined : join(folder, "vectors", `${name}-${dimensions}.usearch`)
  if (file !== undefined) yield* restore(opened, file)
  yield* Effect.addFinalizer(() =>
    file === undefined || !opened.changed || opened.index.size() < KEPT
      ? Effect.void
      : Effect.catchCause(save(opened, file), () =>
          Effect.logWarning(`the vector index could not be saved in ${file}: it is built again next time`)
        )
  )
  return {
    upto: () => opened.upto,
    size: () => opened.index.size(),
    reset: Effect.sync(() => {
      opened.index = empty()
      opened.upto = 0
    }),
    // Filling a large index takes many turns, and lets other work run in between.
    add: (items) => (items.length === 0 ? Effect.void : Effect.andThen(add(opened, items), Effect.yieldNow)),
    search: (vector, count) => search(opened, vector, count)
  }
})

/** Provides indexes of `usearch`. */
export const layer: Layer.Layer<never> = Layer.succeed(VectorIndex.VectorIndex, { open })
