/**
 * Writes in groups: what is appended within 10 milliseconds is one transaction, and at once what a commit waits for. A
 * process that is killed loses what it appended since. A server has several groups in progress at once, each of what was
 * appended in a turn of the event loop.
 *
 * A group that the database refuses because of its content is split in halves until one item is left. That item goes to
 * the table `aside`, with one warning, and the others are written. A group that fails for another reason (a lock, a
 * full disk, an unreachable server) is kept whole, and the next group tries again.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "./Database.ts"
import * as ServerGroups from "./ServerGroups.ts"
import * as SqliteGroup from "./SqliteGroup.ts"
import * as WriterItem from "./WriterItem.ts"
import type { Item, Removal, WriterTable } from "./WriterItem.ts"

export type { Removal, WriterTable } from "./WriterItem.ts"

export interface Writer {
  readonly append: (table: WriterTable, row: ReadonlyArray<unknown>, more?: WriterItem.With) => void
  /** Deletes a row with the next group. */
  readonly remove: (removal: Removal) => void
  /** A statement that runs after the rows appended before it. */
  readonly execute: (sql: string, params: ReadonlyArray<unknown>) => void
  /** Ends when everything appended before is committed. */
  readonly commit: Effect.Effect<void, SqlError.SqlError>
  /** Why the last group could not be written. It stays queued, and the next group tries again. */
  readonly failure: () => SqlError.SqlError | undefined
}

/** How long rows wait for others, in milliseconds, and how many of them are written at once. */
const GROUP = 10
const MOST_ROWS = 1_024

/** When this many items of one group fail, the table is broken and not the items. */
const MOST_ASIDE = 64

/** How long the last group is waited for when the store closes while its server is away, in milliseconds. */
const LAST_WAIT = 2_000

/** Waits for some groups. */
interface Waiter {
  left: number
  readonly resume: (exit: Exit.Exit<void, SqlError.SqlError>) => void
}

interface Group {
  readonly items: ReadonlyArray<Item>
  readonly waiters: Array<Waiter>
}

/** What was not written, and why. */
interface Left {
  readonly items: ReadonlyArray<Item>
  readonly error: SqlError.SqlError
}

interface Written {
  readonly left: Left | undefined
  /** Items that their tables refuse. */
  readonly aside: ReadonlyArray<Item>
}

export const make = Effect.fnUntraced(function* (
  database: Database.Service
): Effect.fn.Return<Writer, never, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const groups = database.server?.groups
  const free = Array.from({ length: groups?.lanes ?? 1 }, (_, lane) => lane)
  /** The groups in progress. On SQLite it is one, so rows are committed in the order in which they were appended. */
  const current = new Set<Group>()
  let items: Array<Item> = []
  let waiters: Array<Waiter> = []
  let scheduled = false
  const soon = delayed(() => schedule())
  /** A group with statements is in progress: it waits for those before, and those after wait for it. */
  let isAlone = false
  let hasStatement = false
  let failure: SqlError.SqlError | undefined

  const canStart = (): boolean => !isAlone && free.length > 0 && (current.size === 0 || !hasStatement)

  const flush = Effect.suspend(() => {
    scheduled = false
    if (!canStart()) return Effect.void
    const group: Group = { items, waiters }
    const lane = free.shift()!
    items = []
    waiters = []
    isAlone = hasStatement
    hasStatement = false
    current.add(group)
    const transact: Write = (some) =>
      groups === undefined ? SqliteGroup.write(database, some) : onServer(groups, lane, some)
    return Effect.onExitPrimitive(write(database, group.items, transact), (exit) => {
      current.delete(group)
      free.push(lane)
      isAlone = false
      const left = exit._tag === "Success" ? exit.value.left : undefined
      failure = left?.error
      if (exit._tag === "Success") committed(group.items, exit.value)
      const again = exit._tag === "Failure" ? group.items : againOf(left)
      if (again.length > 0) {
        items = [...again, ...items]
        hasStatement ||= again.some((item) => item.table === undefined && item.statement !== undefined)
      }
      const done = left === undefined ? Exit.asVoid(exit) : Exit.fail(left.error)
      resumed(group, done)
      // What was appended in the meantime is written next. After a failure the next append or commit tries again, not a
      // loop.
      if (waiters.length > 0) schedule()
      else if (Exit.isSuccess(done) && items.length > 0) later()
      return undefined
    })
  })

  const schedule = (): void => {
    if (scheduled || !canStart()) return
    scheduled = true
    soon.stop()
    setImmediate(() => run(flush))
  }

  /** Rows that no commit waits for wait for others. */
  const later = (): void => {
    if (groups !== undefined || items.length >= MOST_ROWS) return schedule()
    if (!scheduled && current.size === 0) soon.start()
  }

  const commit: Writer["commit"] = Effect.callback((resume) => {
    const left = current.size + (items.length > 0 ? 1 : 0)
    if (left === 0) return resume(Effect.void)
    const waiter: Waiter = { left, resume }
    for (const group of current) group.waiters.push(waiter)
    if (items.length > 0) waiters.push(waiter)
    schedule()
  })

  yield* Effect.addFinalizer(() => closing(database, commit))

  const push = (item: Item): void => {
    items.push(item)
    later()
  }

  return {
    commit,
    failure: () => failure,
    append: (table, row, more) => push({ table, row, removes: more?.removes, committed: more?.committed }),
    remove: (removes) => push({ table: undefined, removes, statement: undefined }),
    execute: (sql, params) => {
      hasStatement = true
      push({ table: undefined, removes: undefined, statement: { sql, params } })
    }
  }
})

/** Tells those that wait for a group. */
const resumed = ({ waiters }: Group, done: Exit.Exit<void, SqlError.SqlError>): void => {
  for (const waiter of waiters) if (Exit.isFailure(done) || --waiter.left === 0) waiter.resume(done)
}

/** Starts something once, a group's time from now. */
const delayed = (f: () => void) => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const stop = (): void => {
    clearTimeout(timer)
    timer = undefined
  }
  const start = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      f()
    }, GROUP)
  }
  return { start, stop }
}

/** What is written with the next group. What is refused now is refused for good. */
const againOf = (left: Left | undefined): ReadonlyArray<Item> =>
  left === undefined
    ? []
    : left.items.filter(({ table }) => table?.refused === undefined || !ServerGroups.isRefused(left.error))

/** Says that rows are committed, except those that are left or were set aside. */
const committed = (items: ReadonlyArray<Item>, { aside, left }: Written): void => {
  const not = left === undefined && aside.length === 0 ? undefined : new Set([...aside, ...(left?.items ?? [])])
  for (const item of items) if (item.table !== undefined && not?.has(item) !== true) item.committed?.()
}

/** Writes the last group, as far as the server answers. */
const closing = (database: Database.Service, commit: Writer["commit"]): Effect.Effect<void> => {
  const lost = (message: string) =>
    Effect.logWarning(`${database.name}: the last changes could not be written: ${message}`)
  const last = Effect.catch(commit, (error) => lost(error.reason.message))
  return database.server?.isAway() === true
    ? Effect.timeoutOrElse(Effect.interruptible(last), {
        duration: LAST_WAIT,
        orElse: () => lost("the server is away")
      })
    : last
}

type Write = (items: ReadonlyArray<Item>) => Effect.Effect<unknown, SqlError.SqlError>

/** Writes items in order. Returns what is left when the database cannot be written. */
const write = (database: Database.Service, items: ReadonlyArray<Item>, transact: Write): Effect.Effect<Written> => {
  const aside: Array<Item> = []
  const part = (some: ReadonlyArray<Item>): Effect.Effect<Left | undefined> =>
    Effect.matchEffect(transact(some), {
      onSuccess: () => Effect.undefined,
      onFailure: (error) => {
        if (!Database.isContent(error) || aside.length >= MOST_ASIDE) return Effect.succeed({ items: some, error })
        if (some.length === 1) {
          aside.push(some[0]!)
          return putAside(database, some[0]!, error)
        }
        const half = some.length >> 1
        return Effect.flatMap(part(some.slice(0, half)), (left) =>
          left === undefined
            ? part(some.slice(half))
            : Effect.succeed({ items: [...left.items, ...some.slice(half)], error: left.error })
        )
      }
    })
  return Effect.map(part(items), (left) => ({ aside, left }))
}

/** Writes items on a server with one statement. */
const onServer = (groups: ServerGroups.ServerGroups, lane: number, items: ReadonlyArray<Item>) => {
  const { removals, rows: byTable, statements: after } = WriterItem.sort(items)
  const written = groups.write(lane, {
    inserts: Array.from(byTable, ([{ columns, name, refused }, rows]) => ({ table: name, columns, rows, refused })),
    deletes: Array.from(Map.groupBy(removals, ({ table }) => table).values(), (all) => ({
      table: all[0]!.table,
      columns: all[0]!.columns,
      keys: all.map(({ key }) => key)
    })),
    after
  })
  return Effect.map(written, () => {
    for (const [{ committed }, rows] of byTable) committed?.([], rows)
  })
}

/** Keeps an item that its table refuses as JSON, for inspection. */
const putAside = (
  database: Database.Service,
  item: Item,
  error: SqlError.SqlError
): Effect.Effect<Left | undefined> => {
  const what = item.table?.name ?? "a statement"
  const content = item.table === undefined ? (item.statement ?? item.removes) : item.row
  return Effect.matchEffect(
    database.query("INSERT INTO aside (at, name, error, content) VALUES (?, ?, ?, ?)", [
      Date.now(),
      what,
      error.reason.message,
      JSON.stringify(content, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)) ?? "null"
    ]),
    {
      onFailure: (failed) => Effect.succeed({ items: [item], error: failed }),
      onSuccess: () => {
        if (item.table !== undefined) item.table.committed?.([undefined], [item.row])
        return Effect.as(
          Effect.logWarning(
            `${database.name}: a row for ${what} cannot be written (${error.reason.message}): it is set aside in the table aside, and the others are written`
          ),
          undefined
        )
      }
    }
  )
}
