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
import * as Lease from "./Lease.ts"
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

const CLAIM = `INSERT INTO flights (key, lease) SELECT k, ? FROM unnest(string_to_array(?, E'\\n')) AS k ORDER BY k
  ON CONFLICT (key) DO UPDATE SET lease = excluded.lease WHERE flights.lease = excluded.lease
    OR NOT ${Lease.lasts("flights.lease")}
  RETURNING key`

const removalOf = (key: string): Writer.Removal => ({ table: "flights", columns: ["key"], key: [key] })

/** The flights of a server; `undefined` where processes do not share a server. `name` keeps the keys of logs apart. */
export const make = (database: Database.Service, writer: Writer.Writer, name: string): Flights | undefined => {
  const { server } = database
  if (server === undefined) return undefined
  const held = new Set<string>()
  const claim = Gathered.make((keys) =>
    Effect.flatMap(server.lease.begin, (lease) =>
      Effect.map(
        server.repeatable(CLAIM, [lease, keys.join("\n")]),
        (rows) => new Map(rows.map((row) => [String(row["key"]), true]))
      )
    )
  )
  const ending: Flights["ending"] = (key) => (held.delete(`${name}/${key}`) ? removalOf(`${name}/${key}`) : undefined)

  const release = (key: string) =>
    Effect.sync(() => {
      const removal = ending(key)
      if (removal !== undefined) writer.remove(removal)
    })

  const once: Flights["once"] = (key, read, work) =>
    Effect.flatMap(claim(`${name}/${key}`), (isMine) =>
      isMine === undefined
        ? Effect.andThen(
            Effect.sleep(POLL),
            Effect.flatMap(read, (found) => (found === undefined ? once(key, read, work) : Effect.succeed(found)))
          )
        : Effect.suspend(() => {
            held.add(`${name}/${key}`)
            // Another process may have ended between the look-up and the claim.
            return Effect.ensuring(
              Effect.flatMap(read, (found) => (found === undefined ? work : Effect.succeed(found))),
              release(key)
            )
          })
    )

  return { once, ending }
}
