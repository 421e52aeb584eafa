/**
 * The address of a PostgreSQL server, shown without its password.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Secret from "@pipe/core/internal/Secret"

export interface Options {
  /** `postgres://user:password@host/database`. */
  readonly url: string
  /** The most connections. Default: 6. */
  readonly connections?: number
  /** How long a server that is away is waited for. Default: 10 minutes. */
  readonly patience?: Duration.Input
  /** How long a statement may take before it is sent again over a new connection. Default: 30 seconds. */
  readonly deadline?: Duration.Input
}

/** The address without its password, for display. */
export const nameOf = (url: string): string => {
  if (!URL.canParse(url)) return "the Postgres store"
  Secret.registerUrl(url)
  const { host, pathname, protocol } = new URL(url)
  return `${protocol}//${host}${pathname}`
}
