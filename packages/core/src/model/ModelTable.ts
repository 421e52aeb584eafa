/**
 * Tables whose keys are prefixes of model names.
 *
 * @internal
 */
import * as ModelName from "./ModelName.ts"

export type ModelTable<A> = ReadonlyArray<readonly [prefix: string, value: A]>

/**
 * The value of the longest key that is a prefix of a model's name, ending at the end of the name or at one of the
 * separators; `undefined` without one.
 */
export const find = <A>(table: ModelTable<A>, model: string, separators: string): A | undefined => {
  const name = ModelName.withoutPrefix(model)
  let found: readonly [prefix: string, value: A] | undefined
  for (const entry of table) {
    const [prefix] = entry
    const next = name[prefix.length]
    const isWhole = next === undefined || separators.includes(next)
    if (isWhole && name.startsWith(prefix) && prefix.length > (found?.[0].length ?? 0)) found = entry
  }
  return found?.[1]
}
