/**
 * The owner of a run: a process, distinguished from a later one with the same number by its start time. Processes of one
 * machine see each other; that of another machine has a lease on a server, or is believed to be alive for a while.
 *
 * @internal
 */
import * as Random from "effect/Random"
import * as Effect from "effect/Effect"
import { readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"
import * as Database from "./Database.ts"

export interface Owner {
  readonly pid: number
  readonly host: string
  /** Where process numbers are unique: a machine, or a container on it. Absent in what earlier versions wrote. */
  readonly place?: string
  /** The start time of the process, in the system's unit; empty when the system does not report it. */
  readonly began: string
  /** Distinguishes the claims of one process. */
  readonly claim: number
}

/** How long an owner on another machine may be silent, in milliseconds. */
export const SILENCE = 60_000

/** The start time of a live process; `undefined` when there is none. */
const startOf = (pid: number): string | undefined => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return undefined
  }
  try {
    // After the name in parentheses comes the state; the 20th field from there is the start time (Linux).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19]!
  } catch {
    return ""
  }
}

let here: string | undefined

/** The machine since its start, and the space of its process numbers (Linux); otherwise the name of the host. */
const place = (): string => {
  try {
    here ??= `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${readlinkSync("/proc/self/ns/pid")}`
  } catch {
    here ??= hostname()
  }
  return here
}

/** This process, with a new claim. */
export const current: Effect.Effect<Owner> = Effect.map(Random.nextIntBetween(0, 2 ** 31), (claim) => ({
  pid: process.pid,
  host: hostname(),
  place: place(),
  began: startOf(process.pid) ?? "",
  claim
}))

/** Tests whether two claims belong to one process. */
export const isSame = (a: Owner, b: Owner): boolean =>
  a.pid === b.pid && a.host === b.host && a.place === b.place && a.began === b.began

const isHere = ({ host, place: at }: Owner): boolean => (at === undefined ? host === hostname() : at === place())

/** Tests whether an owner is still working. `isLeased` tells it of one that has a lease. */
export const isAlive = (owner: Owner, heartbeatAt: number, now: number, isLeased?: boolean): boolean =>
  isHere(owner) ? startOf(owner.pid) === owner.began : (isLeased ?? now - heartbeatAt < SILENCE)

/** The owner of a run whose owner record is damaged: a process that is gone. */
const unowned: Owner = { host: "", pid: 0, began: "", claim: 0 }

/** The owner of a run, and whether it is still working. On a server, whether its lease lasts is part of the row (`is_leased`). */
export const ofRun = (row: Database.DatabaseRow, now: number): { readonly owner: Owner; readonly isAlive: boolean } => {
  const owner = (Database.toJson(row["owner"]) as Owner | undefined) ?? unowned
  const isLeased = Database.toNumber(row["lease"]) === undefined ? undefined : row["is_leased"] === true
  return { owner, isAlive: isAlive(owner, Number(row["heartbeat_at"]), now, isLeased) }
}
