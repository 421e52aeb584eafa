/**
 * Work in flight, shared by the processes of a server: what one of them is about to pay for is claimed, and the others wait
 * for its result. A claim lasts as long as the lease of its process.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "./Database.ts"
import * as Gathered from "./Gathered.ts"
import type * as Writer from "./Writer.ts"

export interface Flights {
  /**
   * Runs work under a key, unless another process does: then its result is read. `read` tells what there is.
   */
  readonly once: <A, E, R>(
    key: string,
    read: Effect.Effect<A | undefined, E, R>,
    work: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | SqlError.SqlError, R>
  /** Ends a claim with the group that writes its result; `undefined` when there is none. */
  readonly ending: (key: string) => Writer.Removal | undefined
}

/** How often the result of another process is looked for, in milliseconds. */
const POLL = 100

const CLAIM = "SELECT looked_up, is_mine, is_kept FROM pipe_claim(?, string_to_array(?, E'\\n'), ?, ?)"

/** What a look-up has found: a claim that is now of this process, or a row that is kept. */
interface Found {
  readonly isMine: boolean
  readonly isKept: boolean
}

const removalOf = (lease: number, key: string): Writer.Removal => ({
  table: "flights",
  columns: ["lease", "key"],
  key: [lease, key]
})

/** What is read, or what something else gives. */
const orElse = <A, E, R, E2, R2>(
  read: Effect.Effect<A | undefined, E, R>,
  other: Effect.Effect<A, E2, R2>
): Effect.Effect<A, E | E2, R | R2> =>
  Effect.flatMap(read, (found): Effect.Effect<A, E | E2, R | R2> =>
    found === undefined ? other : Effect.succeed(found)
  )

interface Options {
  /** The log: `cache` or `results`. */
  readonly name: string
  /** Whether a key is about to be written by this process. */
  readonly isPending: (key: string) => boolean
}

/** The flights of a server; `undefined` where processes do not share a server. */
export const make = (
  database: Database.Service,
  writer: Writer.Writer,
  { isPending, name }: Options
): Flights | undefined => {
  const { server } = database
  if (server === undefined) return undefined
  const held = new Set<string>()
  /** Keys whose callers left while they were being claimed. */
  const abandoned = new Set<string>()
  /** Looks up keys, and claims those that are free; `undefined` for a claim of another process. */
  const looking = (always: boolean) =>
    Gathered.make<Found, SqlError.SqlError>((keys) =>
      Effect.flatMap(server.lease.begin, (lease) =>
        Effect.map(server.repeatable(CLAIM, [name, keys.join("\n"), lease, always]), (rows) => {
          const found = new Map(
            rows.map((row) => [
              String(row["looked_up"]),
              { isMine: row["is_mine"] === true, isKept: row["is_kept"] === true }
            ])
          )
          for (const key of keys) {
            if (abandoned.delete(key) && found.get(key)?.isMine === true)
              writer.remove(removalOf(server.lease.current() ?? 0, `${name}/${key}`))
          }
          return found
        })
      )
    )
  const look = looking(false)
  const claim = looking(true)
  const ending: Flights["ending"] = (key) =>
    held.delete(key) ? removalOf(server.lease.current() ?? 0, `${name}/${key}`) : undefined

  const release = (key: string) =>
    Effect.sync(() => {
      const removal = ending(key)
      if (removal !== undefined) writer.remove(removal)
    })

  /** Looks before it claims, or claims always. */
  const once =
    (always: boolean): Flights["once"] =>
    (key, read, work) => {
      const otherwise = Effect.suspend(() => once(true)(key, read, work))
      const wait = Effect.andThen(Effect.sleep(POLL), orElse(read, otherwise))
      const looked = Effect.onInterrupt((always ? claim : look)(key), () => Effect.sync(() => void abandoned.add(key)))
      return Effect.suspend(() => {
        if (held.has(key)) return wait
        if (!always && isPending(key)) return orElse(read, otherwise)
        return Effect.flatMap(looked, (found) => {
          // Another run of this process may have been quicker.
          if (found === undefined || held.has(key)) return wait
          // What is kept may be of no use: it has expired, or is damaged.
          if (!found.isMine) return orElse(read, otherwise)
          held.add(key)
          return Effect.ensuring(found.isKept ? orElse(read, work) : work, release(key))
        })
      })
    }

  return { once: once(false), ending }
}
