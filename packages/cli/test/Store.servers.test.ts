/** `pipe store` between SQLite and a real PostgreSQL: copied, updated, checked, pruned, and used with the least rights. */
import { Store } from "@pipe/core"
import { NodeHost, Simulator } from "@pipe/plugins"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Servers from "../../../test/Servers.ts"
import { flow, folder, KEY, lines, words } from "./Flows.ts"
import { pipe } from "./Pipe.ts"
import * as Soak from "../../../test/Soak.ts"

const query = (location: string, sql: string) =>
  Effect.scoped(
    Effect.flatMap(Layer.build(Layer.fresh(NodeHost.existingStore(location))), (context) =>
      Effect.provideContext(
        Effect.flatMap(Store.Store, ({ database }) => database.query(sql)),
        context
      )
    )
  )

/** All rows of a SQLite file, by table; without what belongs to its process, and without the index of keys. */
const contentOf = (file: string): { readonly [table: string]: ReadonlyArray<unknown> } => {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    const tables = db
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      .all()
      .map((row) => String(row["name"]))
      .filter((name) => !/^(?:effect_sql_migrations|indexed|.*_index)$/.test(name))
    return Object.fromEntries(
      tables.map((name) => {
        const statement = db.prepare(`SELECT * FROM ${name} ORDER BY 1, 2`)
        statement.setReadBigInts(true)
        return [name, statement.all().map((row) => ({ ...row }))]
      })
    )
  } finally {
    db.close()
  }
}

const setUp = (source = words(40)) =>
  Effect.gen(function* () {
    const url = yield* Servers.postgres
    const simulator = yield* Simulator.start()
    const cwd = folder({ "flow.ts": flow({ source }) })
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: simulator.openAiUrl }
    return {
      url,
      cwd,
      simulator,
      env,
      pipe: (...args: ReadonlyArray<string>) => Effect.promise(() => pipe(args, { cwd, env }))
    }
  })

describe.skipIf(!Servers.hasPostgres)("pipe store", () => {
  it.live(
    "copies a store to a server and back: every row of it, and runs continue there",
    () =>
      Effect.gen(function* () {
        // More than two pages of a table: numbers are not in the order of their texts.
        const test = yield* setUp(words(1_100))
        const ran = yield* test.pipe("run", "flow.ts", "--quiet")
        assert.strictEqual(ran.code, 0, ran.stderr)
        const limited = yield* test.pipe("run", "flow.ts", "--quiet", "--limit", "5", "--no-cache", "--overwrite")
        assert.strictEqual(limited.code, 0, limited.stderr)
        const to = yield* test.pipe("store", "copy", ".pipe/pipe.db", test.url)
        assert.strictEqual(to.code, 0, to.stderr)
        assert.match(to.stdout, /rows were copied to postgres:\/\/127\.0\.0\.1:\d+\/postgres$/m)
        assert.notInclude(to.stdout, "secret-password")
        const back = yield* test.pipe("store", "copy", test.url, "back.db")
        assert.strictEqual(back.code, 0, back.stderr)
        const before = contentOf(join(test.cwd, ".pipe/pipe.db"))
        assert.isAbove(before["attempts"]!.length, 1_100)
        assert.deepStrictEqual(contentOf(join(test.cwd, "back.db")), before)

        const requests = test.simulator.requests()
        for (const store of [test.url, "back.db"]) {
          const again = yield* test.pipe("run", "flow.ts", "--store", store)
          assert.strictEqual(again.code, 0, again.stderr)
          assert.include(again.stderr, "reused: answer 1,100 of 1,100 rows")
          const shown = yield* test.pipe("runs", "--store", store)
          assert.lengthOf(shown.stdout.trim().split("\n"), 4, shown.stdout)
        }
        assert.strictEqual(test.simulator.requests(), requests)

        for (const [args, says] of [
          [["copy", ".pipe/pipe.db", test.url], /is not empty: copy to a new database/],
          [["copy", ".pipe/pipe.db", "back.db"], /back\.db: exists already/],
          [["copy", "none.db", "other.db"], /none\.db: there is no such store/]
        ] as const) {
          const refused = yield* test.pipe("store", ...args)
          assert.strictEqual(refused.code, 2, refused.stderr)
          assert.match(refused.stderr, says)
        }
        assert.isFalse(existsSync(join(test.cwd, "other.db")))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "measures, checks and prunes, on both",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(words(12))
        for (const store of [".pipe/pipe.db", test.url]) {
          const ran = yield* test.pipe("run", "flow.ts", "--quiet", "--store", store)
          assert.strictEqual(ran.code, 0, ran.stderr)
          const { stdout } = yield* test.pipe("store", "stats", "--json", "--store", store)
          const { tables } = JSON.parse(stdout) as {
            readonly tables: ReadonlyArray<{ readonly table: string; readonly rows: number; readonly bytes: number }>
          }
          const rowsOf = (name: string) => tables.find(({ table }) => table === name)?.rows
          assert.deepStrictEqual([rowsOf("runs"), rowsOf("attempts"), rowsOf("results")], [1, 12, 12])
          assert.match((yield* test.pipe("store", "stats", "--store", store)).stdout, /attempts +12 rows +[\d.]+ .?B/)
          const checked = yield* test.pipe("store", "check", "--store", store)
          if (store === test.url) {
            assert.strictEqual(checked.code, 1)
            assert.include(checked.stderr, "fsync is off")
          } else {
            assert.strictEqual(checked.code, 0, checked.stderr)
            assert.include(checked.stdout, "nothing is wrong")
          }
          const none = yield* test.pipe("store", "prune", "--older-than", "1d", "--yes", "--store", store)
          assert.include(none.stdout, "0 runs were deleted")
          yield* Effect.sleep(1_100)
          const pruned = yield* test.pipe("store", "prune", "--older-than", "1s", "--yes", "--store", store)
          assert.include(pruned.stdout, "1 run was deleted", pruned.stderr)
          // Its answers stay.
          const again = yield* test.pipe("run", "flow.ts", "--store", store)
          assert.include(again.stderr, "reused: answer 12 of 12 rows")
        }
        assert.strictEqual(test.simulator.requests(), 24)
        const unconfirmed = yield* test.pipe("store", "prune", "--older-than", "1d")
        assert.strictEqual(unconfirmed.code, 2)
        assert.include(unconfirmed.stderr, "confirm with --yes")
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "finds damage of an entry",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(words(3))
        yield* test.pipe("run", "flow.ts", "--quiet", "--store", test.url)
        yield* query(test.url, "UPDATE results SET value = '\"other\"' WHERE id = 1")
        const { code, stderr } = yield* test.pipe("store", "check", "--store", test.url)
        assert.strictEqual(code, 1)
        assert.include(stderr, "1 entry of results is damaged")
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "migrates a server's tables when its owner says so; an older and a newer version are refused in one line",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(words(3))
        yield* test.pipe("run", "flow.ts", "--quiet", "--store", test.url)
        // As version 18 left them.
        const [latest] = yield* query(test.url, "SELECT max(migration_id) AS n FROM effect_sql_migrations")
        const version = Number(latest!["n"])
        for (const sql of [
          "DELETE FROM effect_sql_migrations WHERE migration_id > 18",
          "DROP TABLE jobs, chunks, replies, accounts, buckets, workers, grants",
          "ALTER TABLE calls DROP COLUMN attempt",
          "ALTER TABLE lanes DROP COLUMN lease",
          "DROP TABLE labels",
          "ALTER TABLE exchanges DROP COLUMN content",
          "ALTER TABLE attempts DROP COLUMN call"
        ])
          yield* Servers.sql(test.url, sql)
        const older = yield* test.pipe("run", "flow.ts", "--store", test.url)
        assert.strictEqual(older.code, 2)
        assert.match(
          older.stderr,
          /^postgres:\S+ has tables of an older version of pipe \(\d+; this one needs \d+\): its owner updates them with pipe store migrate\n$/
        )
        const migrated = yield* test.pipe("store", "migrate", "--store", test.url)
        assert.strictEqual(migrated.code, 0, migrated.stderr)
        const again = yield* test.pipe("run", "flow.ts", "--store", test.url)
        assert.include(again.stderr, "reused: answer 3 of 3 rows")
        yield* Servers.sql(
          test.url,
          `INSERT INTO effect_sql_migrations (migration_id, name) VALUES (${version + 1}, 'later')`
        )
        for (const command of [["run", "flow.ts"], ["runs"], ["store", "migrate"], ["store", "stats"]]) {
          const newer = yield* test.pipe(...command, "--store", test.url)
          assert.strictEqual(newer.code, 2, newer.stderr)
          assert.match(newer.stderr, /^postgres:\S+ was written by a newer version of pipe \(.*\): update pipe.*\n$/)
        }
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "prints the least rights: a role that runs flows, and one that only reads",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(words(6))
        yield* test.pipe("run", "flow.ts", "--quiet", "--store", test.url, "--limit", "2")
        for (const role of ["runner", "reader"]) {
          yield* Servers.sql(test.url, `CREATE ROLE ${role} LOGIN`)
          const { stdout } = yield* test.pipe("store", "rights", role, ...(role === "reader" ? ["--read"] : []))
          for (const statement of stdout.trim().split("\n")) yield* Servers.sql(test.url, statement)
        }
        const as = (role: string) => test.url.replace("pipe:secret-password", role)
        const ran = yield* test.pipe("run", "flow.ts", "--store", as("runner"))
        assert.strictEqual(ran.code, 0, ran.stderr)
        assert.include(ran.stderr, "reused: answer 2 of 6 rows")
        for (const command of [
          ["runs"],
          ["show"],
          ["report", "--csv"],
          ["report", "--csv", "--rows"],
          ["store", "stats"]
        ]) {
          const read = yield* test.pipe(...command, "--store", as("reader"))
          assert.strictEqual(read.code, 0, read.stderr)
          assert.notInclude(read.stderr, "permission")
        }
        const requests = test.simulator.requests()
        const refused = yield* test.pipe("run", "flow.ts", "--store", as("reader"), "--overwrite")
        assert.notStrictEqual(refused.code, 0)
        assert.include(refused.stderr, "permission denied")
        assert.notInclude(refused.stderr, "    at ")
        assert.strictEqual(test.simulator.requests(), requests)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "knows a run in another folder, as on another machine: it is resumed there, and what it has is reused",
    () =>
      Effect.gen(function* () {
        const test = yield* setUp(words(30))
        const elsewhere = folder({})
        for (const at of [test.cwd, elsewhere]) {
          mkdirSync(join(at, "flows"))
          writeFileSync(join(at, "package.json"), '{"name":"labels","type":"module"}')
          cpSync(join(test.cwd, "flow.ts"), join(at, "flows/flow.ts"))
        }
        const options = ["--store", test.url, "--quiet"]
        const stopped = yield* test.pipe("run", "flows/flow.ts", ...options, "--budget", "0.0003usd")
        assert.strictEqual(stopped.code, 3, stopped.stderr)
        const resumed = yield* Effect.promise(() =>
          pipe(["resume", ...options, "--budget", "1usd"], { cwd: join(elsewhere, "flows"), env: test.env })
        )
        assert.strictEqual(resumed.code, 0, resumed.stderr)
        assert.strictEqual(test.simulator.requests(), 30)
        assert.lengthOf(lines(readFileSync(join(elsewhere, "flows/out.jsonl"), "utf8")), 30)
      }).pipe(Effect.scoped),
    60_000
  )
})
