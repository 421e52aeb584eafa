/**
 * Notes of calls in a file beside the store: a call is noted before it is sent, and nothing waits for the store. The
 * notes of a process that is gone are moved to the table `calls` by the next one that opens the store, except those of
 * calls whose attempts it has recorded: attempts keep the numbers of their calls.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as SqlError from "effect/sql/SqlError"
import * as fs from "node:fs"
import { basename, dirname, join } from "node:path"
import * as LedgerColumns from "../ledger/LedgerColumns.ts"
import type * as Database from "./Database.ts"
import * as Owner from "./Owner.ts"

/** A row of the table `calls`: its run, its number, and the rest. */
export type Note = ReadonlyArray<unknown>

export interface CallNotes {
  /** Ends when the note is in the file. */
  readonly begin: (run: number, call: number, note: Note) => Effect.Effect<void, SqlError.SqlError>
  /** The attempt is recorded: its note does not count any more. */
  readonly recorded: (run: number, call: number) => void
  /** The call was not sent after all. */
  readonly unsent: (run: number, call: number) => void
  /** The runs with notes of this process. */
  readonly runs: () => ReadonlySet<number>
  /** Moves this process's notes of a run to the table, those of calls with lower numbers. */
  readonly move: (run: number, before: number) => ReadonlyArray<Database.Statement>
  /** Forgets what was moved. */
  readonly moved: (run: number, before: number) => void
  /** The notes of a run in the files of all processes; some attempts are recorded by now. */
  readonly all: (run: number) => ReadonlyArray<Note>
}

/** The most notes of a write: their calls go together, and a burst of answers does not become a burst of calls. */
const TOGETHER = 4

/** The characters after which the file is written again, with the notes that count. */
const LONG = 256_000

const START = "-calls-"
const NEW = ".new"

/** Files of a store are beside the file that a link leads to. */
export const placeOf = (store: string): string => {
  try {
    return fs.realpathSync(store)
  } catch {
    return store
  }
}

const failed = (cause: unknown): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({
      cause,
      message: cause instanceof Error ? cause.message : String(cause),
      operation: "note"
    })
  })

/** A value as JSON. Picodollars are too large for a number of it. */
const jsonOf = (value: Note[number]): string => (typeof value === "bigint" ? `"${value}"` : JSON.stringify(value))

const lineOf = (note: Note): string => `[${note.map(jsonOf).join(",")}]\n`

const keyOf = (run: number, call: number): string => `${run}/${call}`

/** A file of notes. It is created with the first, and written again with those that count when it is long. */
interface NoteFile {
  readonly isCreated: () => boolean
  /** Throws what the file system throws: perhaps in the middle of a note, so the next write starts again. */
  readonly append: (text: string) => void
  readonly close: () => void
}

const noteFile = (path: string, head: string, open: ReadonlyMap<string, Note>): NoteFile => {
  let handle: number | undefined
  let length = 0
  let isBroken = false

  const start = (at: string, notes: string): number => {
    const made = fs.openSync(at, "w", 0o600)
    fs.appendFileSync(made, head + notes)
    length = head.length + notes.length
    return made
  }

  /** Writes the notes that count to another file, which takes the place of this one. */
  const renew = (): void => {
    const next = start(path + NEW, [...open.values()].map(lineOf).join(""))
    if (handle !== undefined) fs.closeSync(handle)
    handle = next
    fs.renameSync(path + NEW, path)
  }

  return {
    isCreated: () => handle !== undefined,
    append: (text) => {
      try {
        if (isBroken) renew()
        else {
          handle ??= start(path, "")
          fs.appendFileSync(handle, text)
          length += text.length
        }
        isBroken = false
        if (length > LONG && length > 4 * (head.length + open.size * 300)) renew()
      } catch (error) {
        isBroken = true
        throw error
      }
    },
    close: () => {
      if (handle === undefined) return
      fs.closeSync(handle)
      // What is left is for the next process that opens the store.
      if (open.size === 0) fs.rmSync(path, { force: true })
    }
  }
}

/** Notes calls beside a store's file, until the scope is closed. */
export const make = Effect.fnUntraced(function* (store: string): Effect.fn.Return<CallNotes, never, Scope.Scope> {
  const owner = yield* Owner.current
  const head = `${JSON.stringify(owner)}\n`
  const open = new Map<string, Note>()
  const file = noteFile(`${store}${START}${owner.pid}-${owner.claim}`, head, open)
  let pending = ""
  let waiting: Array<{
    readonly key: string
    readonly resume: (effect: Effect.Effect<void, SqlError.SqlError>) => void
  }> = []

  const write = (): void => {
    if (pending === "") return
    const [text, noted] = [pending, waiting]
    pending = ""
    waiting = []
    try {
      file.append(text)
      for (const { resume } of noted) resume(Effect.void)
    } catch (error) {
      for (const { key, resume } of noted) {
        open.delete(key)
        resume(Effect.fail(failed(error)))
      }
    }
  }

  const add = (line: string): void => {
    if (pending === "") setImmediate(write)
    pending += line
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      write()
      file.close()
    })
  )

  const unsent: CallNotes["unsent"] = (run, call) => {
    open.delete(keyOf(run, call))
    if (file.isCreated() || pending !== "") add(lineOf([run, call]))
  }

  const ownOf = (run: number, before: number): ReadonlyArray<Note> =>
    [...open.values()].filter(([own, call]) => own === run && Number(call) < before)

  return {
    begin: (run, call, note) =>
      Effect.callback((resume) => {
        const key = keyOf(run, call)
        open.set(key, note)
        add(lineOf(note))
        waiting.push({ key, resume })
        if (waiting.length >= TOGETHER) write()
        return Effect.sync(() => unsent(run, call))
      }),
    recorded: (run, call) => void open.delete(keyOf(run, call)),
    unsent,
    runs: () => new Set([...open.values()].map(([run]) => Number(run))),
    move: (run, before) => {
      const own = ownOf(run, before)
      return own.length === 0 ? [] : [moving(run, own)]
    },
    moved: (run, before) => {
      for (const [, call] of ownOf(run, before)) unsent(run, Number(call))
    },
    all: (run) =>
      filesOf(store).flatMap((file) =>
        [...notesOf(fs.readFileSync(file, "utf8")).values()].filter(([own]) => own === run)
      )
  }
})

/** The files with the notes of a store. */
const filesOf = (store: string): ReadonlyArray<string> => {
  const [folder, start] = [dirname(store), `${basename(store)}${START}`]
  return (
    fs
      .readdirSync(folder)
      // What a process was killed in the middle of is not needed: the file that it would have replaced is whole.
      .filter((name) => name.startsWith(start) && !name.endsWith(NEW))
      .map((name) => join(folder, name))
  )
}

/** The notes of a text that count. */
const notesOf = (text: string): ReadonlyMap<string, Note> => {
  const notes = new Map<string, Note>()
  for (const line of text.split("\n").slice(1)) {
    // The last line of a process that was killed may be cut off: its call was not sent.
    const note = parse(line)
    if (!Array.isArray(note)) continue
    const key = keyOf(Number(note[0]), Number(note[1]))
    if (note.length > 2) notes.set(key, note as Note)
    else notes.delete(key)
  }
  return notes
}

/** The notes of a file; `undefined` while its process is working. */
const left = (file: string, now: number): ReadonlyMap<string, Note> | undefined => {
  const text = fs.readFileSync(file, "utf8")
  const owner = parse(text.slice(0, text.indexOf("\n")))
  return Predicate.isObject(owner) && Owner.isAlive(owner as unknown as Owner.Owner, fs.statSync(file).mtimeMs, now)
    ? undefined
    : notesOf(text)
}

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

const { columns } = LedgerColumns.callTable

/** Moves the notes of a run to its table, unless their attempts are recorded. */
const moving = (run: number, notes: ReadonlyArray<Note>): Database.Statement => ({
  sql: `INSERT OR IGNORE INTO calls (${columns.join(", ")})
    SELECT ${columns.map((name, at) => (name === "cost" ? `CAST(value ->> ${at} AS INTEGER)` : `value ->> ${at}`)).join(", ")} FROM json_each(?)
    WHERE (value ->> 1) NOT IN (SELECT call FROM attempts WHERE run = ? AND call >= ?)`,
  params: [`[${notes.map(lineOf).join(",")}]`, run, Math.min(...notes.map((note) => Number(note[1])))]
})

/** Moves the notes of processes that are gone into the store. */
export const adopt = (database: Database.Service, store: string, now: number): Effect.Effect<void> => {
  const moved = (file: string) =>
    Effect.suspend(() => {
      const notes = left(file, now)
      if (notes === undefined) return Effect.void
      const byRun = Map.groupBy(notes.values(), ([run]) => Number(run))
      return Effect.map(database.transaction([...byRun].map(([run, own]) => moving(run, own))), () => {
        for (const path of [file, file + NEW]) fs.rmSync(path, { force: true })
      })
    })
  // A store that cannot be written shows what it has, and a file that cannot be read does not keep the others.
  return Effect.ignoreCause(
    Effect.suspend(() => Effect.forEach(filesOf(store), (file) => Effect.ignoreCause(moved(file)), { discard: true }))
  )
}
