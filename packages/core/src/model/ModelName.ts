/**
 * Model names, as people and providers write them.
 *
 * @internal
 */

const PREFIX = /^(?:models|openai|anthropic|google|mistral|mistralai|deepseek|x-ai|xai|groq)\//

/** Removes a provider prefix such as `openai/` or `models/`. */
export const withoutPrefix = (name: string): string => name.replace(PREFIX, "")

/** The provider that a prefix names; `undefined` without one. */
export const prefix = (name: string): string | undefined => PREFIX.exec(name)?.[0].slice(0, -1)

const VERSION =
  /^[-@:.](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|\d{3}|\d{2}-\d{2}|v\d+(?::\d+)?|latest|preview|exp|experimental|(?:preview|exp)-\d{2}-\d{2,4}(?:-\d{4})?)$/

const ENDING = new RegExp(VERSION.source.slice(1))

/** The name without its date or version; `undefined` when it has none. */
export const baseOf = (name: string): string | undefined => {
  const found = ENDING.exec(name)
  return found === null || found.index === 0 ? undefined : name.slice(0, found.index)
}

/**
 * Tests whether a name is an entry's or one of its dated versions: `gpt-4o-2024-08-06` is `gpt-4o`, and
 * `zeta-2-mini-pro` is not `zeta-2-mini`.
 */
export const isVersionOf = (name: string, entry: string): boolean =>
  name === entry || (name.startsWith(entry) && VERSION.test(name.slice(entry.length)))
