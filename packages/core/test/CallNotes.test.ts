/** Notes of calls beside a store's file: what is left of a process that was killed is in the ledger, once. */
import { Database, Store } from "@pipe/core"
import * as CallNotes from "../src/store/CallNotes.ts"
import type * as LedgerEntry from "../src/ledger/LedgerEntry.ts"
import * as Owner from "../src/store/Owner.ts"
import * as Host from "./Host.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import fc from "fast-check"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const folder = (): string => fs.mkdtempSync(join(tmpdir(), "pipe-notes-"))

const filesIn = (at: string): ReadonlyArray<string> => fs.readdirSync(at).filter((name) => name.includes("-calls-"))

const note = (run: number, call: number): CallNotes.Note => [
  run,
  call,
  "a step",
  7,
  1_000,
  "openai",
  "gpt-4o-mini",
  10,
  20,
  123n,
  null,
  null
]

const withStore = <A, E>(file: string, f: (store: Store.Service) => Effect.Effect<A, E>) =>
  Effect.scoped(
    Effect.flatMap(Layer.build(Layer.provide(Layer.fresh(Store.layer(file)), Host.layerMemory)), (context) =>
      Effect.provideContext(Effect.flatMap(Store.Store, f), context)
    )
  )

describe("notes of calls", () => {
  it("are those of calls that are neither recorded nor unsent, in any order, also in a file that was written again", () => {
    const check = (steps: ReadonlyArray<readonly ["begin" | "recorded" | "unsent", number]>, isLong: boolean) =>
      Effect.gen(function* () {
        const at = folder()
        const open = new Set<number>()
        yield* Effect.scoped(
          Effect.gen(function* () {
            const notes = yield* CallNotes.make(join(at, "pipe.db"))
            if (isLong)
              for (let call = 100; call < 3_100; call += 100) {
                yield* Effect.forEach(
                  Array.from({ length: 100 }, (_, index) => call + index),
                  (own) => notes.begin(1, own, note(1, own)),
                  { concurrency: "unbounded" }
                )
                for (let own = call; own < call + 100; own++) notes.recorded(1, own)
              }
            for (const [step, call] of steps) {
              if (step === "begin") {
                open.add(call)
                yield* notes.begin(1, call, note(1, call))
              } else {
                open.delete(call)
                notes[step](1, call)
              }
            }
            // Notes of calls that are not sent are written at the end of the turn.
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
            const inFile = new Set(notes.all(1).map(([, call]) => Number(call)))
            for (const call of open) assert.isTrue(inFile.has(call))
            assert.deepStrictEqual([...notes.runs()], open.size === 0 ? [] : [1])
          })
        )
        // It is removed when nothing is open, and is short again when it was long.
        const [file] = filesIn(at)
        assert.strictEqual(file === undefined, open.size === 0)
        if (file !== undefined) assert.isBelow(fs.statSync(join(at, file)).size, 300_000)
        fs.rmSync(at, { recursive: true })
      })
    const step = fc.tuple(fc.constantFrom("begin" as const, "recorded" as const, "unsent" as const), fc.nat(5))
    return fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, isLong) =>
        Effect.runPromise(check(steps, isLong))
      ),
      { numRuns: 30 }
    )
  })

  it.live(
    "of a process that is gone are recorded once, at the most that the calls can have cost, unless the attempts are",
    () =>
      Effect.gen(function* () {
        const at = folder()
        const file = join(at, "pipe.db")
        const run = yield* withStore(file, (store) =>
          Effect.gen(function* () {
            const { id } = yield* store.runs.create({ flow: "f", identity: "x", options: {}, graph: [] })
            const attempt: LedgerEntry.AttemptEntry = {
              _tag: "Attempt",
              caller: { run: "r", step: "a step", row: 7 },
              at: 1_000,
              milliseconds: 5,
              provider: "openai",
              model: "gpt-4o-mini",
              cost: 99n,
              call: 2
            }
            store.ledger.append(id, attempt)
            yield* store.commit
            return id
          })
        )
        const notes = [1, 2, 3, 4].map((call) =>
          JSON.stringify(note(run, call).map((value) => (typeof value === "bigint" ? String(value) : value)))
        )
        // The owner of a process of this machine that was killed.
        const gone = { ...(yield* Owner.current), pid: 2 ** 22 + 7 }
        const text = [JSON.stringify(gone), ...notes, JSON.stringify([run, 4]), '[1,5,"a st'].join("\n")
        const left = `${file}-calls-1-1`
        const alive = `${file}-calls-${process.pid}-2`
        fs.writeFileSync(
          alive,
          `${JSON.stringify(yield* Owner.current)}\n${JSON.stringify([run, 9, "a step", 7, 1, "p", "m", 1, 1, null, null, null])}\n`
        )
        fs.writeFileSync(left, text)
        const spentOf = withStore(file, (store) =>
          Effect.map(
            store.database.query("SELECT call, cost, estimated FROM attempts WHERE run = ? ORDER BY call", [run]),
            (rows) =>
              rows.map(({ call, cost, estimated }) => [
                Number(call),
                Number(Database.toBigInt(cost)),
                Number(estimated)
              ])
          )
        )
        const expected = [
          [1, 123, 1],
          [2, 99, 0],
          [3, 123, 1]
        ]
        // The run's own process is gone, too.
        yield* withStore(file, (store) =>
          Effect.asVoid(store.database.query("UPDATE runs SET owner = '{}', heartbeat_at = 1", []))
        )
        assert.deepStrictEqual(yield* spentOf, expected)
        assert.isFalse(fs.existsSync(left))
        // As when it was killed before it could remove the file: nothing is recorded twice.
        fs.writeFileSync(left, text)
        assert.deepStrictEqual(yield* spentOf, expected)
        assert.isFalse(fs.existsSync(left))
        // That of a process that is working is left alone.
        assert.isTrue(fs.existsSync(alive))
        fs.rmSync(at, { recursive: true })
      })
  )

  it.live("that cannot be written fail, and those after them are whole", () =>
    Effect.gen(function* () {
      const at = folder()
      const inside = join(at, "inside")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const notes = yield* CallNotes.make(join(inside, "pipe.db"))
          const error = yield* Effect.flip(notes.begin(1, 1, note(1, 1)))
          assert.include(String(error.reason.message), "ENOENT")
          fs.mkdirSync(inside)
          yield* notes.begin(1, 2, note(1, 2))
          assert.deepStrictEqual(
            notes.all(1).map(([, call]) => call),
            [2]
          )
        })
      )
      fs.rmSync(at, { recursive: true })
    })
  )
})
