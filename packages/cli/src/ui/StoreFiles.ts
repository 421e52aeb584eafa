/** Opens stores when they are first read. A file that was deleted or replaced is another store. */
import * as Store from "@pipe/core/Store"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { statSync } from "node:fs"
import * as OpenStore from "../process/OpenStore.ts"
import * as Problem from "./Problem.ts"

export interface StoreFiles {
  /** `undefined` where there is no store yet. */
  readonly open: (location: string) => Effect.Effect<Store.Service | undefined, Problem.Problem>
  readonly locationOf: (store: Store.Service) => string
}

interface Opened {
  readonly store: Store.Service
  readonly scope: Scope.Closeable
  /** Distinguishes a file from another one with the same name; `undefined` for a server. */
  readonly file: string | undefined
}

const fileOf = (location: string): string | undefined => {
  const found = NodeHost.isPostgres(location) ? undefined : statSync(location, { throwIfNoEntry: false })
  return found === undefined ? undefined : `${found.dev}:${found.ino}`
}

/** Closes stores with the scope. What was made of a store that is gone is dropped first. */
export const make = Effect.fnUntraced(function* (
  drop: (store: Store.Service) => Effect.Effect<void>
): Effect.fn.Return<StoreFiles, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const opened = new Map<string, Opened>()
  const opening = new Map<string, Fiber.Fiber<Store.Service | undefined, Problem.Problem>>()

  const reopen = Effect.fnUntraced(function* (location: string) {
    const known = opened.get(location)
    if (known !== undefined) {
      opened.delete(location)
      yield* drop(known.store)
      yield* Scope.close(known.scope, Exit.void)
    }
    if (!OpenStore.exists(location)) return undefined
    const own = yield* Scope.fork(scope)
    const context = yield* Layer.buildWithScope(NodeHost.existingStore(location), own).pipe(
      Effect.mapError(({ message }) => new Problem.Problem({ status: 503, message })),
      Problem.dead,
      Effect.onError(() => Scope.close(own, Exit.void))
    )
    const store = Context.get(context, Store.Store)
    opened.set(location, { store, scope: own, file: fileOf(location) })
    return store
  })

  /** Requests that come at once wait for one opening. */
  const open = Effect.fnUntraced(function* (location: string) {
    const known = opened.get(location)
    if (known !== undefined && known.file === fileOf(location)) return known.store
    let fiber = opening.get(location)
    if (fiber === undefined || fiber.pollUnsafe() !== undefined) {
      fiber = yield* Effect.forkIn(reopen(location), scope)
      opening.set(location, fiber)
    }
    return yield* Fiber.join(fiber)
  })

  return {
    open,
    locationOf: (store) => [...opened].find(([, own]) => own.store === store)?.[0] ?? store.name
  }
})
