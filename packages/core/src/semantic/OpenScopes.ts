/**
 * The open scopes of reuse: each is opened once, and the least recently used is closed when there are too many.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Lru from "../store/Lru.ts"
import type * as ReuseScope from "./ReuseScope.ts"

/** The most open scopes. */
const SCOPES = 256

export interface Opening {
  readonly scope: string
  readonly maxErrorRate: number
  readonly dimensions: number
}

export interface OpenScopes<E> {
  readonly get: (opening: Opening) => Effect.Effect<ReuseScope.ReuseScope, E>
}

export const make = Effect.fnUntraced(function* <E>(
  open: (opening: Opening) => Effect.Effect<ReuseScope.ReuseScope, E, Scope.Scope>
): Effect.fn.Return<OpenScopes<E>, never, Scope.Scope> {
  const parent = yield* Effect.scope
  const opened = Lru.make<
    string,
    { readonly get: Effect.Effect<ReuseScope.ReuseScope, E>; readonly scope: Scope.Closeable }
  >(SCOPES)
  return {
    get: (opening: Opening): Effect.Effect<ReuseScope.ReuseScope, E> =>
      Effect.gen(function* () {
        const key = `${opening.scope}/${opening.maxErrorRate}`
        const known = opened.get(key)
        if (known !== undefined) return yield* known.get
        const scope = Scope.forkUnsafe(parent)
        const get = yield* Effect.cached(Scope.provide(open(opening), scope))
        const gone = opened.set(key, { get, scope })
        if (gone !== undefined) yield* Scope.close(gone.scope, Exit.void)
        return yield* get
      })
  }
})
