/**
 * Classifies problems of a store by the codes of its driver and of the file system.
 *
 * @internal
 */
import { statfsSync } from "node:fs"
import { dirname } from "node:path"
import * as ErrorCauses from "./ErrorCauses.ts"

/**
 * - `locked`: another process holds it
 * - `damaged`: its file is corrupt
 * - `full`: there is no space left
 */
export type StoreTrouble = "locked" | "damaged" | "full"

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const BUSY = 5
const LOCKED = 6
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const NOTADB = 26

const bySqlite: ReadonlyMap<number, StoreTrouble> = new Map([
  [BUSY, "locked"],
  [LOCKED, "locked"],
  [CORRUPT, "damaged"],
  [NOTADB, "damaged"],
  [FULL, "full"]
])

/** Codes of Node.js and of PostgreSQL (appendix A of its manual). */
const byCode: ReadonlyMap<string, StoreTrouble> = new Map([
  ["ENOSPC", "full"],
  ["EDQUOT", "full"],
  ["53100", "full"],
  ["55P03", "locked"]
])

/** The codes of an error and its causes, from the outside in. */
const codesOf = function* (error: unknown): Generator<number | string> {
  for (const cause of ErrorCauses.all(error)) {
    if ("errcode" in cause && typeof cause.errcode === "number") yield cause.errcode & 0xff
    if ("code" in cause && typeof cause.code === "string") yield cause.code
  }
}

/** The problem; `undefined` for any other. `file` is the store's own file, if it has one. */
export const of = (error: unknown, file?: string): StoreTrouble | undefined => {
  for (const code of codesOf(error)) {
    const trouble = typeof code === "number" ? bySqlite.get(code) : byCode.get(code)
    if (trouble !== undefined) return trouble
    // SQLite reports a disk error when the index of its log finds no space.
    if (code === IOERR && file !== undefined && hasNoSpace(file)) return "full"
  }
  return undefined
}

/** Less than this is not enough for the tables and the log. */
const LEAST_SPACE = 256 * 1024

const hasNoSpace = (file: string): boolean => {
  try {
    const { bavail, bsize } = statfsSync(dirname(file))
    return bavail * bsize < LEAST_SPACE
  } catch {
    return false
  }
}
