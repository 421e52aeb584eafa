/**
 * A stack of layers, written as a request travels: the first sees it first, the last is the provider.
 *
 * **Details** Every layer is made fresh, so the same one may stand twice, and a stack without a provider at its bottom
 * does not compile where a `Layer<ModelClient>` is wanted.
 *
 * **Example** (from top to bottom)
 *
 * ```ts
 * import { Cache, Ledger, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), OpenAi.layer())
 * ```
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type { ModelClient } from "./ModelClient.ts"

type Any = Layer.Layer<ModelClient, unknown, unknown>
type Init<L extends ReadonlyArray<Any>> = L extends readonly [...infer I extends ReadonlyArray<Any>, Any] ? I : []
type Last<L extends ReadonlyArray<Any>> = L extends readonly [...ReadonlyArray<Any>, infer Z extends Any] ? Z : never

/** Folds layers into one; the needs of the bottom layer stay visible. */
export const make = <const L extends readonly [Any, ...Array<Any>]>(
  ...layers: L
): Layer.Layer<
  ModelClient,
  Layer.Error<L[number]>,
  Exclude<Layer.Services<Init<L>[number]>, ModelClient> | Layer.Services<Last<L>>
> =>
  // oxlint-disable-next-line typescript/no-explicit-any -- a fold over a tuple of layers has no type of its own
  layers.map((layer): Any => Layer.fresh(layer)).reduceRight((below, above) => Layer.provide(above, below)) as any
