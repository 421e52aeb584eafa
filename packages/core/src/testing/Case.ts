/**
 * A test of a contract, for any runner: a name, and a function that fails by throwing.
 *
 * **Example** (with Node's own runner; `it` of vitest works alike)
 *
 * ```ts
 * import { TestModel, LayerLaws } from "@pipe/core/testing"
 * import { NodeHost } from "@pipe/plugins"
 * import { ModelClient } from "@pipe/core"
 * import { test } from "node:test"
 *
 * const log = ModelClient.middleware((send) => (request) => send(request), { name: "Log", answers: false })
 *
 * export const register = () => {
 *   for (const { name, run } of LayerLaws.cases({ layers: [log], host: NodeHost.layerMemory })) test(name, run)
 * }
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"

/** A test of a contract. */
export interface Case {
  readonly name: string
  /** Rejects when what is tested does not hold. */
  readonly run: () => Promise<void>
}

/** A test from an effect. Its scope ends with it, and its logs are silent: what does not hold is in its error. */
export const make = <E>(name: string, effect: Effect.Effect<unknown, E, Scope.Scope>): Case => ({
  name,
  run: () => Effect.runPromise(Effect.asVoid(Effect.scoped(effect)).pipe(Effect.provide(Logger.layer([]))))
})
