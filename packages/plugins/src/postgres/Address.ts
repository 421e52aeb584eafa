/**
 * The address of a PostgreSQL server, shown without its password.
 *
 * @internal
 */
import * as Secret from "@pipe/core/internal/Secret"

export interface Options {
  /** `postgres://user:password@host/database`. */
  readonly url: string
  /** Default: 4. */
  readonly connections?: number
}

/** The address without its password, for display. */
export const nameOf = (url: string): string => {
  if (!URL.canParse(url)) return "the Postgres store"
  Secret.registerUrl(url)
  const { host, pathname, protocol } = new URL(url)
  return `${protocol}//${host}${pathname}`
}
