/**
 * The scopes of reuse that are open: each is opened once, and the one that was not used for longest is closed when there are too
 * many.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as ReuseScope from "./ReuseScope.ts"

/** Scopes that are open at once. */
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
  const opened = new Map<
    string,
    { readonly get: Effect.Effect<ReuseScope.ReuseScope, E>; readonly scope: Scope.Closeable }
  >()
  return {
    get: (opening: Opening): Effect.Effect<ReuseScope.ReuseScope, E> =>
      Effect.gen(function* () {
        const key = `${opening.scope}/${opening.maxErrorRate}`
        const known = opened.get(key)
        if (known !== undefined) {
          opened.delete(key)
          opened.set(key, known)
          return yield* known.get
        }
        const scope = Scope.forkUnsafe(parent)
        const get = yield* Effect.cached(Scope.provide(open(opening), scope))
        opened.set(key, { get, scope })
        const [oldest] = opened
        if (opened.size > SCOPES && oldest !== undefined) {
          opened.delete(oldest[0])
          yield* Scope.close(oldest[1].scope, Exit.void)
        }
        return yield* get
      })
  }
})
