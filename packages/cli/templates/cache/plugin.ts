/** Keeps answers in a file of JSON lines: `Cache.layer().pipe(Layer.provide(jsonl("answers.jsonl")))`. */
import { CacheStore } from "@pipe/core"
import { Effect, FileSystem, Layer, Schema } from "effect"

const Entry = Schema.fromJsonString(
  Schema.Struct({ key: Schema.String, value: Schema.String, expiresAt: Schema.optional(Schema.Number) })
)

/** The cache gives keys and texts to keep; the store only keeps them. */
export const jsonl = (path: string) =>
  Layer.effect(
    CacheStore.CacheStore,
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const kept = new Map<string, typeof Entry.Type>()
      const text = (yield* fs.exists(path)) ? yield* fs.readFileString(path) : ""
      for (const line of text.split("\n").slice(0, -1)) {
        const entry = yield* Schema.decodeEffect(Entry)(line)
        kept.set(entry.key, entry)
      }
      return CacheStore.CacheStore.of({
        get: (key, now) =>
          Effect.sync(() => {
            const entry = kept.get(key)
            return entry?.expiresAt !== undefined && entry.expiresAt <= now ? undefined : entry?.value
          }),
        set: ({ expiresAt, key, value }) =>
          Effect.gen(function* () {
            const entry = { key, value, ...(expiresAt === undefined ? undefined : { expiresAt }) }
            yield* fs.writeFileString(path, `${yield* Schema.encodeEffect(Entry)(entry)}\n`, { flag: "a" })
            kept.set(key, entry)
          }).pipe(
            Effect.mapError((cause) => new CacheStore.CacheStoreError({ message: `${path}: cannot be written`, cause }))
          )
      })
    }).pipe(Effect.mapError((cause) => new CacheStore.CacheStoreError({ message: `${path}: cannot be read`, cause })))
  )
