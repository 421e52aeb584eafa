/**
 * State of layers that all runs over one store share: what a rate limit has taken, how many calls are in flight. It lasts
 * as long as the store is open.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as RateLimiter from "effect/persistence/RateLimiter"
import * as LayerAnnotations from "./LayerAnnotations.ts"
import type { LayerInfo } from "./Service.ts"

/** Finds a state by its key, or makes it. Making it must not wait. */
export type SharedState = <A>(key: string, make: Effect.Effect<A>) => Effect.Effect<A>

const states = new WeakMap<object, Map<string, unknown>>()

/** The state of the runs with this owner. */
export const of =
  (owner: object): SharedState =>
  <A>(key: string, make: Effect.Effect<A>) =>
    Effect.suspend(() => {
      const known = states.get(owner) ?? new Map<string, unknown>()
      states.set(owner, known)
      return known.has(key)
        ? Effect.succeed(known.get(key) as A)
        : Effect.map(make, (made) => {
            if (!known.has(key)) known.set(key, made)
            return known.get(key) as A
          })
    })

/** The state of the current run. Outside of a run, nothing is shared. */
export const Shared = Context.Reference<SharedState>("@pipe/core/SharedState", {
  defaultValue: () => (_, make) => make
})

/** A rate limiter that other processes share. */
export interface SharedLimiter {
  readonly limiter: RateLimiter.RateLimiter
  /** Grants nothing of these keys for a time, in milliseconds. */
  readonly pause: (keys: ReadonlyArray<string>, milliseconds: number) => Effect.Effect<void>
}

/** Makes a rate limiter that other processes of the run share, by its place; `undefined` when the run has one process. */
export const Limiters = Context.Reference<((place: string) => Effect.Effect<SharedLimiter>) | undefined>(
  "@pipe/core/SharedState/Limiters",
  { defaultValue: () => undefined }
)

/** Identifies a place over these layers: their names, and the address and account of the provider. */
export const placeOf = (below: ReadonlyArray<LayerInfo> = []): string =>
  below
    .map((layer) => {
      const { account, endpoint } = LayerAnnotations.get(layer, LayerAnnotations.Provider) ?? {}
      return [layer.name, endpoint, account].filter((part) => part !== undefined).join(" ")
    })
    .join(" > ")

/** The state of a layer over these layers: the same for every run that has it at the same place. */
export const at = <A>(
  below: ReadonlyArray<LayerInfo> | undefined,
  name: string,
  make: Effect.Effect<A>
): Effect.Effect<A> => Effect.flatMap(Shared, (shared) => shared(`${name} > ${placeOf(below)}`, make))
