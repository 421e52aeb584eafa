/**
 * Writes requests to batch files, and closes a file when the next request does not fit.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as BatchFailure from "./BatchFailure.ts"
import * as BatchFileWriter from "./BatchFileWriter.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import * as BatchSplit from "./BatchSplit.ts"

export interface BatchBuilder {
  /** Whether a request with this key is in an open file, and not in the store yet. */
  readonly has: (key: string) => boolean
  readonly size: () => number
  /** The open files. */
  readonly open: () => ReadonlyArray<BatchFileWriter.BatchFileWriter>
  /**
   * Adds a request. Returns `"known"` when it is there already, and `"single"` when it cannot go in a batch because it
   * is too large or of a kind that the API does not accept.
   */
  readonly add: (
    request: ModelRequest.ModelRequest,
    entry: BatchFileWriter.BatchRequest
  ) => Effect.Effect<"gathered" | "known" | "single", AiError.AiError>
  /** Closes all files that have requests. */
  readonly flush: Effect.Effect<void, AiError.AiError>
  /** Drops requests that are not sent yet. */
  readonly drop: Effect.Effect<void>
  /** The same without waiting: for the end of the process. */
  readonly dropAtOnce: Effect.Effect<void>
}

export interface Options {
  readonly provider: BatchProvider.BatchProvider
  readonly fs: FileSystem.FileSystem
  readonly path: Path.Path
  /** The folder of the files. */
  readonly folder: string
  /** The limits of a file. */
  readonly limits: (model: string) => BatchSplit.SplitLimits
  /** Receives a closed file. Its requests stay listed until then. */
  readonly seal: (writer: BatchFileWriter.BatchFileWriter) => Effect.Effect<void, AiError.AiError>
}

const encoder = new TextEncoder()

export const make = (options: Options): BatchBuilder => {
  const { provider } = options
  const adding = Semaphore.makeUnsafe(1)
  /** By request kind, model and endpoint: a provider takes one of each in a file. */
  const writers = new Map<string, BatchFileWriter.BatchFileWriter>()
  /** The endpoint of the last request, by kind and model: most requests are like the one before. */
  const endpoints = new Map<string, string>()
  const gathered = new Set<string>()

  const seal = (group: string, writer: BatchFileWriter.BatchFileWriter) => {
    writers.delete(group)
    return Effect.andThen(
      options.seal(writer),
      Effect.sync(() => {
        for (const { key } of writer.entries) gathered.delete(key)
      })
    )
  }

  const place = Effect.fnUntraced(function* (request: ModelRequest.ModelRequest, entry: BatchFileWriter.BatchRequest) {
    const model = request.model ?? ""
    const kind = `${request._tag}\n${model}`
    const limits = options.limits(model)
    for (;;) {
      const expected = endpoints.get(kind) ?? ""
      const group = `${kind}\n${expected}`
      const open = writers.get(group)
      const name = open === undefined ? yield* newName : open.name
      const line = yield* provider.encode(open?.nextId() ?? BatchFileWriter.customId(name, 0), request)
      if (line === undefined) return "single" as const
      if (line.endpoint !== expected) {
        endpoints.set(kind, line.endpoint)
        // The number in the line is that of another file.
        continue
      }
      const writer = open ?? (yield* begin(options, { name, endpoint: line.endpoint, model }))
      if (open === undefined) writers.set(group, writer)
      const bytes = encoder.encode(line.text)
      const next = BatchSplit.add(writer.fill(), {
        inputs: line.inputs,
        tokens: entry.tokens,
        bytes: bytes.length + provider.frame.separator.length
      })
      const isFirst = writer.entries.length === 0
      if (BatchSplit.fits(next, limits) || (isFirst && BatchSplit.fits(next, { ...limits, tokens: undefined }))) {
        gathered.add(entry.key)
        yield* Effect.mapError(writer.append(entry, bytes, next), (error) =>
          BatchFailure.unwritable(writer.file, error)
        )
        return "gathered" as const
      }
      if (isFirst) return "single" as const
      yield* seal(group, writer)
    }
  })

  const drop = Effect.suspend(() => {
    const all = [...writers.values()]
    writers.clear()
    for (const { entries } of all) {
      for (const { admission, key } of entries) {
        gathered.delete(key)
        admission.end({ billed: "no" })
      }
    }
    return Effect.forEach(all, (writer) => writer.discard, { discard: true })
  })

  return {
    has: (key) => gathered.has(key),
    size: () => gathered.size,
    open: () => [...writers.values()],
    add: (request, entry) =>
      adding.withPermit(
        // Another row may have sent the same request while this one waited.
        Effect.suspend(() => (gathered.has(entry.key) ? Effect.succeed("known" as const) : place(request, entry)))
      ),
    flush: adding.withPermit(
      Effect.suspend(() => {
        const all = [...writers].filter(([, { entries }]) => entries.length > 0)
        for (const [group] of all) writers.delete(group)
        return Effect.forEach(all, ([group, writer]) => seal(group, writer), { discard: true })
      })
    ),
    drop: adding.withPermit(drop),
    dropAtOnce: drop
  }
}

const newName = Effect.gen(function* () {
  const at = yield* Clock.currentTimeMillis
  return `pb-${at.toString(36)}-${(yield* Random.nextIntBetween(0, 36 ** 4)).toString(36).padStart(4, "0")}`
})

/** Creates a file. */
const begin = (
  { folder, fs, path, provider }: Options,
  batch: { readonly name: string; readonly endpoint: string; readonly model: string }
) => {
  const file = path.resolve(folder, `${batch.name}.jsonl`)
  return Effect.mapError(
    Effect.andThen(
      fs.makeDirectory(folder, { recursive: true }),
      BatchFileWriter.make(fs, { ...batch, file, frame: provider.frame })
    ),
    (error) => BatchFailure.unwritable(file, error)
  )
}
