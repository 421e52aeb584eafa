/**
 * The reviewed answers of a flow, found by a step and its inputs.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as RunHooks from "../client/RunHooks.ts"
import * as LabelRepo from "./LabelRepo.ts"

/** Reads the labels of a flow. A store that cannot be read has none. */
export const of = Effect.fnUntraced(function* (
  labels: LabelRepo.LabelRepo,
  flow: string,
  parameters: ReadonlyMap<string, unknown>
) {
  const all = yield* Effect.orElseSucceed(Stream.runCollect(labels.all(flow)), () => [])
  const known = new Map(
    all.flatMap(({ key, label, step }) => (label === undefined ? [] : [[`${step}\n${key}`, label] as const]))
  )
  const find: NonNullable<RunHooks.RunHooks["reviewed"]> = (step, values) => {
    const key = LabelRepo.keyOf(values, parameters)
    return key === undefined ? undefined : known.get(`${step}\n${key}`)
  }
  return known.size === 0 ? undefined : find
})
