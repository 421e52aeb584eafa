/** The page's server over PostgreSQL: everything that it reads of a file, it reads of a server. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Servers from "../../../test/Servers.ts"
import { flow, folder, pipe } from "./Pipe.ts"
import * as UiServer from "./UiServer.ts"

/** Attempts of the first run that cost a dollar each, as one of several workers writes them. */
const attempts = (row: number, count: number): string =>
  `INSERT INTO attempts (run, step, row_index, at, milliseconds, provider, model, uncached_input, cache_read, cache_write, cache_write_1h,
    output, reasoning, cost, estimated) SELECT (SELECT min(id) FROM runs), 'answer', ${row} + n, 1, 1, 'openai', 'gpt-4o-mini', 1, 0, 0, 0, 1, 0,
    1000000000000, 0 FROM generate_series(0, ${count - 1}) AS n`

describe.skipIf(!Servers.hasPostgres)("the page of a store on PostgreSQL", () => {
  it.live("sees what another worker commits after later entries", () =>
    Effect.gen(function* () {
      const { url } = yield* Servers.postgresServer(["max_prepared_transactions=2"])
      const cwd = folder({ "flow.ts": flow() })
      yield* Effect.promise(() => pipe(["run", "flow.ts", "--simulate", "--quiet", "--store", url], { cwd }))
      // The run is not over, so its ledger is what is shown.
      yield* Servers.sql(url, "UPDATE runs SET status = 'running', summary = NULL, heartbeat_at = 9e12::bigint")
      const ui = yield* Effect.promise(() => UiServer.start([url]))
      yield* Effect.addFinalizer(() => Effect.promise(() => ui.close()))
      const read = () =>
        Effect.promise(async () => {
          const [{ attempts, cost, name }] = (await ui.get("/api/runs")).json().runs
          const { item } = (await ui.get(`/api/runs/${name}/summary`)).json()
          const { total } = (await ui.get(`/api/runs/${name}/rows`)).json()
          assert.deepInclude(item, { attempts, cost })
          return { attempts, dollars: Math.floor(Number(cost)), total }
        })
      const first = yield* read()
      yield* Servers.sql(url, `BEGIN; ${attempts(100, 3)}; PREPARE TRANSACTION 'late'`)
      yield* Servers.sql(url, attempts(200, 5))
      const second = yield* read()
      assert.deepStrictEqual(second, { attempts: first.attempts + 5, dollars: 5, total: first.total + 5 })
      yield* Servers.sql(url, "COMMIT PREPARED 'late'")
      const third = yield* read()
      assert.deepStrictEqual(third, { attempts: first.attempts + 8, dollars: 8, total: first.total + 8 })
      assert.deepStrictEqual(yield* read(), third)
    }).pipe(Effect.scoped)
  )

  it.live("has runs, rows, money, live figures with workers, and keeps labels", () =>
    Effect.gen(function* () {
      const server = yield* Servers.postgresServer()
      const { url } = server
      const file = flow({
        source: `Source.fromIterable("rows", ["bee", "hive", "wasp", "comb"])`,
        before: `row === "wasp" ? Effect.fail(new Error("no wasps today")) :`
      })
      const cwd = folder({ "flow.ts": file })
      yield* Effect.promise(async () => {
        const made = await pipe(["run", "flow.ts", "--simulate", "--quiet", "--store", url], { cwd })
        assert.strictEqual(made.stderr.includes("cannot"), false, made.stderr)
        const said = JSON.parse((await pipe(["report", "--json", "--store", url], { cwd })).stdout)
        const ui = await UiServer.start([url])
        try {
          const { runs } = (await ui.get("/api/runs")).json()
          assert.deepInclude(runs[0], { state: "done", rows: 4, failed: 1, cost: said.summary.cost })
          const at = `/api/runs/${runs[0].name}`
          const read = async (path: string) => {
            const reply = await ui.get(`${at}/${path}`)
            assert.strictEqual(reply.status, 200, `${path}: ${reply.text}`)
            return reply
          }
          const { report } = (await read("summary")).json()
          assert.strictEqual(report.spent[0].cost, said.spent[0].cost)
          const { rows, total } = (await read("rows?sort=cost&order=desc")).json()
          assert.strictEqual(total, 4)
          assert.strictEqual(
            rows.reduce((sum: number, { cost }: { cost: string }) => sum + Number(cost), 0) / 1e12,
            Number(said.summary.cost)
          )
          assert.deepInclude((await read("live")).json(), { answers: 3, workers: [] })
          assert.lengthOf((await read("errors")).json().groups, 1)
          assert.isAbove((await read("row?step=answer&row=0")).json().attempts.length, 0)
          assert.strictEqual((await read("fields?step=answer")).json().read, 3)
          assert.isAbove((await read("money")).json().points.length, 0)
          assert.match((await read("export?format=csv")).text, /^row,/)
          assert.include((await read("graph.svg")).text, "<svg")
          assert.strictEqual((await read(`compare?with=${runs[0].name}`)).json().changes, 0)
          const { exchange, row } = (await read("review")).json().items[0]
          const shown = { step: "answer", row, exchange, labelledAt: null }
          const body = { ...shown, verdict: "corrected", label: "a bee", drawn: "random" }
          assert.strictEqual((await ui.post(`${at}/review`, body)).status, 200)
          assert.deepInclude((await read("review")).json(), { total: 3, corrected: 1 })
          const labels = await pipe(["labels", "--json", "--store", url], { cwd })
          assert.deepInclude(JSON.parse(labels.stdout), { label: "a bee", verdict: "corrected" })
          assert.match((await pipe(["labels", "--store", url], { cwd })).stdout, /test\s+answer\s+0\s+1\s+0/)
          // A server that is away is said, and is read again when it is back.
          await Effect.runPromise(server.stop)
          const away = await ui.get("/api/runs")
          assert.strictEqual(away.status, 503)
          assert.include(away.json().message, "the store")
          await Effect.runPromise(server.start)
          for (let tries = 0; tries < 20 && (await ui.get("/api/runs")).status !== 200; tries++);
          assert.strictEqual((await ui.get(`${at}/summary`)).status, 200)
        } finally {
          await ui.close()
        }
      })
    }).pipe(Effect.scoped)
  )
})
