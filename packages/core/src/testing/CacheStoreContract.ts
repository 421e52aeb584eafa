/**
 * What every store of the exact cache holds to: an entry comes back as it was written until it expires, an entry with
 * the same key replaces it, and entries can be written at the same time.
 *
 * **Example** (the store in memory)
 *
 * ```ts
 * import { CacheStore } from "@pipe/core"
 * import { CacheStoreContract } from "@pipe/core/testing"
 *
 * const cases = CacheStoreContract.cases({ store: CacheStore.layerMemory() })
 * for (const { run } of cases) await run()
 * cases.length // => 4
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { strictEqual } from "node:assert/strict"
import * as CacheStore from "../cache/CacheStore.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as Case from "./Case.ts"

/** What is tested. */
export interface Options<E> {
  /** Opens the store. The cases may share one: each writes keys of its own. */
  readonly store: Layer.Layer<CacheStore.CacheStore, E>
  /** Whether entries outlive the layer, as in a file or on a server. Default: `false`. */
  readonly isKept?: boolean
}

const NOW = 1_700_000_000_000

const TEXTS = [
  "",
  "{}",
  'a "quoted" text, with \\ and , and ;',
  "lines\nof\r\nall\u2028kinds\u0085",
  "\0 and \u0001",
  "Ärger, 猫, 👩‍👩‍👧, \u202e, \ufeff",
  // What `JSON.stringify` writes for half a character.
  JSON.stringify("\ud83d"),
  "x".repeat(1_000_000)
]

/** The contract, as tests. */
export const cases = <E>({ isKept = false, store }: Options<E>): ReadonlyArray<Case.Case> => {
  // Each list of cases has keys of its own, so a server may keep those of an earlier one.
  const seed = crypto.randomUUID()
  const entry = (name: string, value: string, changes: Partial<CacheStore.CacheEntry> = {}): CacheStore.CacheEntry => ({
    key: ContentHash.make(`${seed} ${name}`),
    value,
    model: "test-1",
    createdAt: NOW,
    expiresAt: undefined,
    ...changes
  })
  const open = <A, E2>(use: Effect.Effect<A, E2, CacheStore.CacheStore>) => Effect.provide(use, Layer.fresh(store))
  const set = (...entries: ReadonlyArray<CacheStore.CacheEntry>) =>
    Effect.flatMap(CacheStore.CacheStore, (kept) =>
      Effect.forEach(entries, (entry) => kept.set(entry), { concurrency: 8, discard: true })
    )
  const holds = ({ key }: CacheStore.CacheEntry, value: string | undefined, why: string, now = NOW) =>
    Effect.flatMap(CacheStore.CacheStore, (kept) =>
      Effect.map(kept.get(key, now), (found) => {
        if (found === value) return
        strictEqual(found?.slice(0, 100), value?.slice(0, 100), why)
        strictEqual(found?.length, value?.length, why)
      })
    )
  return [
    Case.make(
      "every text comes back as it was written",
      open(
        Effect.gen(function* () {
          yield* holds(entry("none", ""), undefined, "a key that was not written has a value")
          const entries = TEXTS.map((text, at) => entry(`text ${at}`, text))
          yield* set(...entries)
          for (const one of entries) yield* holds(one, one.value, "a text comes back changed")
        })
      )
    ),
    Case.make(
      "an entry replaces one with the same key",
      open(
        Effect.gen(function* () {
          yield* set(entry("replaced", "first", { expiresAt: NOW + 1 }))
          yield* set(entry("replaced", "second"))
          yield* holds(entry("replaced", ""), "second", "the first value is still there")
          yield* holds(entry("replaced", ""), "second", "the first time of expiry still counts", NOW + 10)
        })
      )
    ),
    Case.make(
      "an entry expires at its time",
      open(
        Effect.gen(function* () {
          // A server counts time by a clock of its own.
          const one = entry("expires", "for a while", { createdAt: Date.now(), expiresAt: Date.now() + 600 })
          yield* set(one)
          yield* holds(one, one.value, "it is gone before its time", one.expiresAt! - 300)
          yield* Effect.sleep(700)
          yield* holds(one, undefined, "it is there after its time", Date.now())
        })
      )
    ),
    Case.make(
      isKept
        ? "entries written at the same time are there when it is opened again"
        : "entries are written at the same time",
      Effect.gen(function* () {
        const entries = Array.from({ length: 200 }, (_, at) => entry(`many ${at}`, `value ${at}`))
        const all = Effect.forEach(entries, (one) => holds(one, one.value, "an entry is lost"), { discard: true })
        yield* open(isKept ? set(...entries) : Effect.andThen(set(...entries), all))
        if (isKept) yield* open(all)
      })
    )
  ]
}
