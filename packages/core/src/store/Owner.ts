/**
 * Who works on a run: a process, told from a later one with the same number by the time at which it began.
 *
 * @internal
 */
import * as Random from "effect/Random"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { hostname } from "node:os"

export interface Owner {
  readonly pid: number
  readonly host: string
  /** When the process began, in the system's own unit; empty where the system does not say. */
  readonly began: string
  /** Tells claims of one process apart. */
  readonly claim: number
}

/** How long another machine's owner may be silent, in milliseconds. */
export const SILENCE = 60_000

/** The start time of a live process; `undefined` when there is none. */
const startOf = (pid: number): string | undefined => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return undefined
  }
  try {
    // After the name in parentheses: the state, and as the 20th field from there the start time (Linux).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19]!
  } catch {
    return ""
  }
}

/** This process, with a claim of its own. */
export const current: Effect.Effect<Owner> = Effect.map(Random.nextIntBetween(0, 2 ** 31), (claim) => ({
  pid: process.pid,
  host: hostname(),
  began: startOf(process.pid) ?? "",
  claim
}))

/** Whether two claims are of one process. */
export const isSame = (a: Owner, b: Owner): boolean => a.pid === b.pid && a.host === b.host && a.began === b.began

/** Whether an owner still works. */
export const isAlive = (owner: Owner, heartbeatAt: number, now: number): boolean =>
  owner.host === hostname() ? startOf(owner.pid) === owner.began : now - heartbeatAt < SILENCE
