/**
 * A stack of layers, in the order in which a request passes them: the first layer sees it first, and the last is the
 * provider.
 *
 * **Details** Every layer is built fresh, so the same layer can be used twice. A stack without a provider at its bottom
 * does not compile where a `Layer<ModelClient>` is expected.
 *
 * **Example** (from top to bottom)
 *
 * ```ts
 * import { Cache, Ledger, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Retry.layer(),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type { ModelClient } from "./ModelClient.ts"

type Any = Layer.Layer<ModelClient, unknown, unknown>
type Init<L extends ReadonlyArray<Any>> = L extends readonly [...infer I extends ReadonlyArray<Any>, Any] ? I : []
type Last<L extends ReadonlyArray<Any>> = L extends readonly [...ReadonlyArray<Any>, infer Z extends Any] ? Z : never

/** Composes layers into one. Requirements of the bottom layer stay visible in the type. */
export const make = <const L extends readonly [Any, ...Array<Any>]>(
  ...layers: L
): Layer.Layer<
  ModelClient,
  Layer.Error<L[number]>,
  Exclude<Layer.Services<Init<L>[number]>, ModelClient> | Layer.Services<Last<L>>
> =>
  // oxlint-disable-next-line typescript/no-explicit-any -- a fold over a tuple of layers has no type of its own
  layers.map((layer): Any => Layer.fresh(layer)).reduceRight((below, above) => Layer.provide(above, below)) as any
