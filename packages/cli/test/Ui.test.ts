/** The server of `pipe ui`: who may read it, what it says of runs, and what a review leaves. */
import { assert, describe, it } from "@effect/vitest"
import * as Secret from "@pipe/core/internal/Secret"
import { parquetReadObjects } from "hyparquet"
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { flow, folder, pipe } from "./Pipe.ts"
import * as UiServer from "./UiServer.ts"

const WORDS = ["bee", "hive", "wasp", "honey", "comb", "queen", "drone", "wax", "sting", "swarm"]

const SOURCE = `Source.fromIterable("rows", ${JSON.stringify(WORDS)})`

/** A folder with one simulated run, and its page. */
const withRun = async (file: string, work: (ui: UiServer.UiServer, cwd: string, run: string) => Promise<void>) => {
  const cwd = folder({ "flow.ts": file })
  const made = await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
  assert.strictEqual(made.stderr.includes("SyntaxError"), false, made.stderr)
  const ui = await UiServer.start([join(cwd, ".pipe/pipe.db"), join(cwd, ".pipe/simulated.db")])
  try {
    const { runs } = (await ui.get("/api/runs")).json()
    await work(ui, cwd, runs[0].name)
  } finally {
    await ui.close()
  }
}

/** Says something of a row, as the page does: of the answer and the label that it was shown. */
const reviewer =
  (ui: UiServer.UiServer, run: string) =>
  async (
    step: string,
    row: number,
    said: { readonly verdict: string; readonly drawn?: string; readonly label?: string }
  ) => {
    const { items } = (await ui.get(`/api/runs/${run}/review?all=1&count=100&step=${step}`)).json()
    const { exchange = 1, labelledAt = null } = items.find((item: { row: number }) => item.row === row) ?? {}
    return ui.post(`/api/runs/${run}/review`, { step, row, exchange, labelledAt, drawn: "random", ...said })
  }

const failing = flow({
  source: SOURCE,
  before: `row === "wasp" || row === "wax" ? Effect.fail(new Error("no wasps today: " + row.length)) :`
})

describe("the server of pipe ui", () => {
  it("answers only to this machine, its own origin and its token", async () => {
    await withRun(flow({ source: SOURCE }), async (ui) => {
      const { port, token } = ui.served
      const cookie = `pipe_ui_${port}=${token}`
      const host = `127.0.0.1:${port}`
      const refused: ReadonlyArray<readonly [number, UiServer.Asked]> = [
        [401, { headers: { host } }],
        [401, { headers: { host, cookie: `pipe_ui_${port}=wrong` } }],
        // A name of another site that leads to this machine (DNS rebinding).
        [403, { headers: { host: `evil.example:${port}`, cookie } }],
        [403, { headers: { host: "127.0.0.1", cookie } }],
        [403, { headers: { host, cookie, origin: "https://evil.example" } }],
        [403, { headers: { host, cookie, origin: "null" } }],
        [403, { headers: { host, cookie, "sec-fetch-site": "cross-site" } }],
        [403, { headers: { host, cookie, "sec-fetch-site": "same-site" } }],
        [403, { method: "POST", headers: { host, cookie }, body: {} }]
      ]
      for (const path of ["/api/runs", "/api/runs/x/rows", "/page.js"])
        for (const [status, asked] of refused) {
          const reply = await ui.raw(path, asked)
          const isPost = asked.method === "POST"
          assert.strictEqual(reply.status, status, `${path} ${JSON.stringify(asked)}`)
          assert.notInclude(reply.text, isPost ? 'runs":' : "pipe-ui")
        }
      const page = await ui.raw("/", { headers: { host } })
      assert.notInclude(page.text, "page.js")
      assert.strictEqual((await ui.raw("/?token=wrong", { headers: { host } })).status, 401)
      const opened = await ui.raw(`/?token=${token}&run=a%2Fb`, { headers: { host } })
      assert.deepStrictEqual([opened.status, opened.headers["location"]], [303, "/#/runs/a%2Fb"])
      assert.match(String(opened.headers["set-cookie"]), /HttpOnly; SameSite=Strict; Path=\/$/)
      // What a browser is opened with is good once.
      const once = new URL(ui.served.addressOnce())
      const at = `${once.pathname}${once.search}`
      assert.notInclude(at, token)
      assert.match(String((await ui.raw(at)).headers["set-cookie"]), new RegExp(token))
      assert.strictEqual((await ui.raw(at)).status, 401)
      // Another program of this machine may set a cookie of the same name.
      const both = { host, cookie: `pipe_ui_${port}=other; pipe_ui_${port}=${token}` }
      assert.strictEqual((await ui.raw("/api/runs", { headers: both })).status, 200)
      const known = await ui.get("/")
      assert.include(known.text, "/page.js")
      const policy = String(known.headers["content-security-policy"])
      assert.include(policy, "default-src 'none'")
      assert.notMatch(policy, /unsafe|\*|https?:/)
      for (const { headers } of [known, opened, page])
        assert.isFalse(Object.keys(headers).some((name) => name.startsWith("access-control")))
      // No other machine is listened to.
      assert.strictEqual((await ui.get("/nothing")).status, 404)
    })
  })

  it("says what the ledger says, in runs, steps and rows", async () => {
    await withRun(failing, async (ui, cwd, run) => {
      const said = JSON.parse((await pipe(["report", "--json", run], { cwd })).stdout)
      const { runs } = (await ui.get("/api/runs")).json()
      assert.lengthOf(runs, 1)
      assert.deepInclude(runs[0], { state: "done", isSimulated: true, rows: 10, failed: 2, cost: said.summary.cost })
      const { report } = (await ui.get(`/api/runs/${run}/summary`)).json()
      assert.deepStrictEqual(
        report.spent.map((one: { step: string; cost: string; attempts: number }) => [one.step, one.cost, one.attempts]),
        said.spent.map((one: { step: string; cost: string; attempts: number }) => [one.step, one.cost, one.attempts])
      )
      const { rows, total } = (await ui.get(`/api/runs/${run}/rows?sort=cost&order=desc`)).json()
      assert.strictEqual(total, 10)
      const costs = rows.map((row: { cost: string | null }) => Number(row.cost))
      assert.deepStrictEqual(
        costs,
        costs.toSorted((a: number, b: number) => b - a)
      )
      const sum = rows.reduce((sum: bigint, row: { cost: string }) => sum + BigInt(row.cost), 0n)
      assert.strictEqual(Number(sum) / 1e12, Number(said.summary.cost))
      const money = (await ui.get(`/api/runs/${run}/money`)).json()
      assert.closeTo(
        money.points.reduce((sum: number, one: { cost: number }) => sum + one.cost, 0),
        Number(said.summary.cost),
        1e-12
      )
      const live = (await ui.get(`/api/runs/${run}/live`)).json()
      assert.deepInclude(live, { state: "done", answers: 8, open: 0 })
      const graph = await ui.get(`/api/runs/${run}/graph.svg`)
      assert.match(graph.text, /<svg xmlns[\s\S]*2 failed/)
    })
  })

  it("filters and sorts on the server, by numbers and texts, and refuses what it does not know", async () => {
    await withRun(failing, async (ui, _, run) => {
      const at = async (query: string) => (await ui.get(`/api/runs/${run}/rows?${query}`)).json()
      const { rows } = await at("sort=output")
      const middle = rows[5].output
      const most = await at(`f=output:%3E=:${middle}`)
      assert.strictEqual(most.total, rows.filter((row: { output: number }) => row.output >= middle).length)
      assert.strictEqual((await at("f=error:contains:NO%20WASPS")).total, 2)
      assert.strictEqual((await at("f=error:unknown:")).total, 8)
      assert.strictEqual((await at("f=step:=:answer&f=row:%3C=:3")).total, 4)
      assert.strictEqual((await at("from=9&count=5")).rows.length, 1)
      assert.strictEqual((await at("from=900000")).rows.length, 0)
      const many = Array.from({ length: 31 }, () => "f=row:%3E=:0").join("&")
      for (const wrong of [
        "f=secret:=:1",
        "f=row:like:1",
        "sort=1;drop",
        "from=-1",
        "count=x",
        "f=nonsense",
        "from=",
        "from=0x10",
        "f=cost:%3E=:NaN",
        "f=cost:%3E=:abc",
        "f=certainty:%3C=:0,5",
        "f=row:=:",
        many
      ])
        assert.strictEqual((await ui.get(`/api/runs/${run}/rows?${wrong}`)).status, 400, wrong)
      const injected = await at(`f=step:=:${encodeURIComponent("answer' OR 1=1 --")}`)
      assert.strictEqual(injected.total, 0)
    })
  })

  it("exports what is filtered, whole, with the columns that were chosen", async () => {
    await withRun(failing, async (ui, _, run) => {
      const csv = await ui.get(`/api/runs/${run}/export?format=csv&columns=row,error&sort=row&f=error:contains:wasps`)
      assert.match(String(csv.headers["content-disposition"]), /attachment; filename=".+\.csv"/)
      assert.strictEqual(csv.text, "row,error\n2,Error: no wasps today: 4\n7,Error: no wasps today: 3\n")
      const lines = (await ui.get(`/api/runs/${run}/export?format=jsonl`)).text.trim().split("\n")
      assert.lengthOf(lines, 10)
      const one = JSON.parse(lines[0]!)
      assert.match(one.cost, /^0\.0+\d+$/)
      const parquet = (await ui.get(`/api/runs/${run}/export?format=parquet&sort=row`)).bytes
      const read = await parquetReadObjects({ file: Uint8Array.from(parquet).buffer })
      assert.deepStrictEqual(
        read.map(({ at, cost, estimated, ...row }) => ({
          ...row,
          at: (at as Date).toISOString(),
          cost: Number(cost),
          estimated: Number(estimated)
        })),
        lines.map((line) => {
          const { cost, estimated, ...row } = JSON.parse(line)
          const whole = ["row", "milliseconds", "input", "output", "attempts", "failed"]
          const numbers = Object.fromEntries(whole.map((name) => [name, BigInt(row[name])]))
          return { ...row, ...numbers, cost: Number(cost), estimated: Number(estimated) }
        })
      )
      const none = (await ui.get(`/api/runs/${run}/export?format=parquet&f=row:%3E=:99`)).bytes
      assert.deepStrictEqual(await parquetReadObjects({ file: Uint8Array.from(none).buffer }), [])
      assert.strictEqual((await ui.get(`/api/runs/${run}/export?format=xlsx`)).status, 400)
    })
  })

  it("groups failures by kind, and runs them again", async () => {
    await withRun(failing, async (ui, cwd, run) => {
      const { groups } = (await ui.get(`/api/runs/${run}/errors`)).json()
      assert.lengthOf(groups, 1)
      assert.deepInclude(groups[0], { node: "answer", error: "Error", count: 2, shape: "no wasps today: …" })
      const kind = `f=kind:=:${encodeURIComponent(groups[0].kind)}`
      assert.strictEqual((await ui.get(`/api/runs/${run}/rows?${kind}`)).json().total, 2)
      assert.deepStrictEqual(
        groups[0].rows.map(({ row }: { row: number }) => row),
        [2, 7]
      )
      assert.strictEqual((await ui.post(`/api/runs/${run}/retry`, { budget: "all of it" })).status, 400)
      // The flow is mended meanwhile. The command runs where the page's server does.
      writeFileSync(join(cwd, "flow.ts"), flow({ source: SOURCE }))
      assert.isTrue(existsSync(join(cwd, ".pipe/simulated.db")))
    })
  })

  it("shows a row with its prompt, its answer, its attempts and why it was sent; never a key", async () => {
    const key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH"
    const file = flow({ source: `Source.fromIterable("rows", ["bee ${key}", "</script><script>alert(1)</script>"])` })
    await withRun(file, async (ui, _, run) => {
      const row = (await ui.get(`/api/runs/${run}/row?step=answer&row=0`)).json()
      assert.include(row.exchanges[0].prompt, "bee ")
      assert.isAbove(row.exchanges[0].answer.length, 0)
      assert.deepInclude(row.attempts[0], { step: "answer", serviceTier: null, error: null })
      assert.include(
        row.attempts[0].tokens.map(([name]: [string]) => name),
        "input"
      )
      assert.include(row.why, "No earlier answer")
      for (const path of [
        "/api/runs",
        ...[
          "summary",
          "rows",
          "row?step=answer&row=0",
          "review",
          "errors",
          "fields?step=answer",
          "export?format=jsonl"
        ].map((path) => `/api/runs/${run}/${path}`)
      ])
        assert.notInclude((await ui.get(path)).text, key, path)
      const hostile = (await ui.get(`/api/runs/${run}/row?step=answer&row=1`)).json()
      assert.include(hostile.exchanges[0].prompt, "<script>alert(1)</script>")
    })
  })

  it("keeps a review: labels by the inputs of the step, which measure later runs", async () => {
    await withRun(flow({ source: SOURCE }), async (ui, cwd, run) => {
      const queue = async (of = run, query = "") => (await ui.get(`/api/runs/${of}/review?count=50${query}`)).json()
      const first = await queue()
      assert.strictEqual(first.total, 10)
      assert.strictEqual(first.unknown, 0)
      const review = reviewer(ui, run)
      const say = async (row: number, verdict: string, label?: string) =>
        (await review("answer", row, { verdict, ...(label !== undefined && { label }) })).status
      assert.strictEqual(await say(0, "accepted"), 200)
      assert.strictEqual(await say(1, "corrected", "a house of bees"), 200)
      assert.strictEqual(await say(2, "seen"), 200)
      assert.strictEqual(await say(3, "corrected", "  "), 400)
      assert.strictEqual(await say(99, "accepted"), 400)
      const second = await queue()
      assert.deepInclude(second, { accepted: 1, corrected: 1, seen: 1 })
      assert.deepStrictEqual(
        second.items.map(({ row }: { row: number }) => row).toSorted((a: number, b: number) => a - b),
        [3, 4, 5, 6, 7, 8, 9]
      )
      assert.lengthOf(second.items, 7)
      // Another run with another prompt has the same inputs.
      writeFileSync(join(cwd, "other.ts"), flow({ source: SOURCE }).replace("prompt: ", "prompt: 'Say it: ' + "))
      await pipe(["run", "other.ts", "--simulate", "--quiet"], { cwd })
      const later = (await ui.get("/api/runs")).json().runs[0].name
      assert.notStrictEqual(later, run)
      assert.deepInclude(await queue(later), { accepted: 1, corrected: 1, seen: 1 })
      const labels = (await ui.get(`/api/runs/${run}/labels`)).text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
      assert.deepStrictEqual(
        labels.map(({ label, verdict }: { label?: string; verdict: string }) => [verdict, label ?? null]).slice(1),
        [["corrected", "a house of bees"]]
      )
      assert.include(labels[1].prompt, "hive")
      assert.strictEqual(await say(1, "undo"), 200)
      assert.deepInclude(await queue(), { accepted: 1, corrected: 0 })
      // What was compared.
      const compared = (await ui.get(`/api/runs/${run}/compare?with=${later}`)).json()
      assert.strictEqual(compared.steps[0].compared, 10)
      assert.strictEqual(compared.changes, compared.steps[0].compared - compared.steps[0].equal)
    })
  })

  it("shows a bound as a bound, and what is not known as unknown", async () => {
    const cwd = folder({ "flow.ts": flow({ source: SOURCE }) })
    // Calls whose answers are lost have no bill: the most that they can have cost is recorded.
    await pipe(["run", "flow.ts", "--simulate", "--quiet", "--simulate-faults", "drop=0.5"], { cwd })
    writeFileSync(
      join(cwd, "unpriced.ts"),
      flow({ source: SOURCE, stack: `Stack.make(Ledger.layer, OpenAi.layer({ model: "a-model-without-a-price" }))` })
    )
    await pipe(["run", "unpriced.ts", "--simulate", "--quiet"], { cwd })
    const ui = await UiServer.start([join(cwd, ".pipe/simulated.db")])
    try {
      const [unpriced, dropped] = (await ui.get("/api/runs")).json().runs
      const said = JSON.parse((await pipe(["report", "--json", dropped.name], { cwd })).stdout)
      assert.isAbove(Number(said.summary.estimatedCost), 0)
      const { estimatedCost } = said.summary
      assert.deepInclude(dropped, { cost: said.summary.cost, estimatedCost, unpriced: 0 })
      const { report } = (await ui.get(`/api/runs/${dropped.name}/summary`)).json()
      assert.deepInclude(report.spent[0], { estimatedCost: said.spent[0].estimatedCost, tokens: said.spent[0].tokens })
      const { rows } = (await ui.get(`/api/runs/${dropped.name}/rows`)).json()
      const sum = (name: "estimated" | "input" | "output") =>
        rows.reduce((sum: number, row: { [name: string]: string | number }) => sum + Number(row[name]), 0)
      assert.closeTo(sum("estimated") / 1e12, Number(said.summary.estimatedCost), 1e-12)
      assert.strictEqual(sum("input") + sum("output"), said.spent[0].tokens)
      assert.match((await ui.get(`/api/runs/${dropped.name}/graph.svg`)).text, /≤ \$/)
      // The row that has most of it says so in its export, too.
      const exported = await ui.get(`/api/runs/${dropped.name}/export?format=jsonl&sort=estimated&order=desc`)
      assert.isAbove(Number(JSON.parse(exported.text.split("\n")[0]!).estimated), 0)
      assert.deepInclude(unpriced, { unpriced: 10, attempts: 10 })
      assert.match((await ui.get(`/api/runs/${unpriced.name}/graph.svg`)).text, /unknown/)
    } finally {
      await ui.close()
    }
  })

  it("refuses a correction that the step would refuse", async () => {
    const steps = `
import { Flow, Ledger, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const rows = ${SOURCE}
const schema = Schema.Struct({ kind: Schema.Literals(["insect", "place"]), legs: Schema.Int })
const read = Flow.step("read", { row: rows }, ({ row }) =>
  LanguageModel.generateObject({ schema, prompt: "What is " + row }).pipe(Effect.map((r) => r.value)))
const kind = Flow.decide("kind", { row: rows }, { instructions: "Which?", options: ["insect", "place"] })
export default Flow.make("test", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, read, kind })],
  stack: Stack.make(Ledger.layer, OpenAi.layer({ model: "gpt-6-luna" }))
})`
    await withRun(steps, async (ui, _, run) => {
      const review = reviewer(ui, run)
      const correct = async (step: string, label: string) => {
        const reply = await review(step, 1, { verdict: "corrected", label })
        return reply.status === 200 ? "saved" : String(reply.json().message)
      }
      const queue = async (step: string) => (await ui.get(`/api/runs/${run}/review?all=1&count=50&step=${step}`)).json()
      const labelOf = async (step: string) =>
        (await queue(step)).items.find(({ row }: { row: number }) => row === 1).label
      assert.match(await correct("read", "no JSON"), /does not fit the schema of the step/)
      assert.match(await correct("read", `{"kind":"bogus","legs":6}`), /"insect"/)
      assert.match(await correct("read", `{"kind":"insect"}`), /legs/)
      assert.match(await correct("read", `{"kind":"insect","legs":1.5}`), /legs/)
      assert.strictEqual(await correct("read", ` {"kind":"insect","legs":6}\n`), "saved")
      assert.deepStrictEqual(JSON.parse(await labelOf("read")), { kind: "insect", legs: 6 })
      const [name] = Object.keys(JSON.parse((await queue("kind")).items[0].answer))
      assert.match(await correct("kind", "insect"), /is not JSON with the answers by name/)
      assert.match(await correct("kind", `{"${name}":"thing"}`), /one of insect, place/)
      assert.match(await correct("kind", `{"other":"insect"}`), /no question named other/)
      assert.strictEqual(await correct("kind", `{ "${name}": "place" }`), "saved")
      assert.strictEqual(await labelOf("kind"), `{"${name}":"place"}`)
    })
  })

  it("speaks for all rows only where they were drawn at random, whatever else was reviewed", async () => {
    const source = `Source.fromIterable("rows", Array.from({ length: 40 }, (_, i) => "word " + i))`
    await withRun(flow({ source }), async (ui, _, run) => {
      const at = (query: string) => ui.get(`/api/runs/${run}/review?count=100&${query}`)
      const review = reviewer(ui, run)
      const say = (row: number, verdict: string, drawn: string) =>
        review("answer", row, { verdict, drawn, ...(verdict === "corrected" && { label: "wrong" }) })
      const order: ReadonlyArray<number> = (await at("order=random"))
        .json()
        .items.map(({ row }: { row: number }) => row)
      // Every second row of the random order is reviewed for its doubt, and is wrong.
      for (const [index, row] of order.entries()) if (index % 2 === 0) await say(row, "corrected", "doubt")
      const doubtful = (await at("")).json().measured
      assert.lengthOf(doubtful, 1)
      assert.deepInclude(doubtful[0], { isRandom: false, labelled: 20, right: 0 })
      // Then ten of the others at random, which are right: half of those that were drawn were wrong all the same.
      for (const [index, row] of order.entries())
        if (index % 2 === 1 && index < 20) await say(row, "accepted", "random")
      const both = (await at("")).json().measured
      assert.deepInclude(both[0], { isRandom: true, labelled: 20, right: 10, skipped: 0 })
      assert.deepInclude(both[1], { isRandom: false, labelled: 10, right: 0 })
      // A row that is skipped may be right or wrong.
      await say(order[21]!, "seen", "random")
      const skipped = (await at("")).json().measured[0]
      assert.deepInclude(skipped, { isRandom: true, labelled: 21, right: 10, skipped: 1 })
      assert.isBelow(skipped.low, both[0].low)
    })
  })

  it("keeps what was said of the answer that was shown, and of no other", async () => {
    await withRun(flow({ source: SOURCE }), async (ui, cwd, run) => {
      const { items } = (await ui.get(`/api/runs/${run}/review?count=50`)).json()
      const [one, two] = items
      const post = (item: { step: string; row: number; exchange: number }, more: object) =>
        ui.post(`/api/runs/${run}/review`, {
          step: item.step,
          row: item.row,
          exchange: item.exchange,
          labelledAt: null,
          drawn: "doubt",
          verdict: "accepted",
          ...more
        })
      // Two tabs show the same row: the second learns what the first said, and cannot undo it.
      const first = (await post(one, { verdict: "corrected", label: "better" })).json()
      const second = await post(one, {})
      assert.strictEqual(second.status, 409)
      assert.include(second.json().message, "it was reviewed meanwhile: corrected")
      assert.strictEqual((await post(one, { verdict: "undo" })).status, 409)
      assert.strictEqual((await post(one, { verdict: "undo", labelledAt: first.labelledAt })).status, 200)
      // The row has another answer by now, as while a run is in progress.
      const database = new DatabaseSync(join(cwd, ".pipe/simulated.db"))
      database.exec(`INSERT INTO exchanges (run, step, row_index, position, sample, at, milliseconds, origin, provider, model, request, answer, content)
        SELECT run, step, row_index, position, sample, at, milliseconds, origin, provider, 'gpt-6-sol', request, replace(answer, '"text":"', '"text":"other '), content
        FROM exchanges WHERE id = ${two.exchange}`)
      database.close()
      const late = await post(two, {})
      assert.strictEqual(late.status, 409)
      assert.include(late.json().message, "another answer")
      const again = (await ui.get(`/api/runs/${run}/review?count=50`)).json().items
      const shown = again.find((item: { row: number }) => item.row === two.row)
      assert.match(shown.answer, /^other /)
      assert.strictEqual((await post(shown, {})).status, 200)
      const [label] = (await ui.get(`/api/runs/${run}/labels`)).text.trim().split("\n")
      assert.match(JSON.parse(label!).label, /^other /)
    })
  })

  it("shows all of a text, and what controls its direction as a sign; labels are exported as they are", async () => {
    // A quotation mark that was decoded wrongly ends in U+009D, which begins a string of a terminal.
    const text =
      "He said \u00e2\u20ac\u0153hello\u00e2\u20ac\u009d and paid 300.\r\n\u001b]0;title the end \u202etxet \u001b[31mred\u001b[0m"
    const file = flow({ source: `Source.fromIterable("rows", [${JSON.stringify(text)}])` }).replace(
      /LanguageModel\.generateText[^\n]*/,
      `LanguageModel.generateText({ prompt: row }).pipe(Effect.map((r) => r.text)))`
    )
    await withRun(file, async (ui, cwd, run) => {
      const row = (await ui.get(`/api/runs/${run}/row?step=answer&row=0`)).json()
      const shown =
        "He said \u00e2\u20ac\u0153hello\u00e2\u20ac\ufffd and paid 300.\r\n\ufffd]0;title the end \ufffdtxet red"
      assert.strictEqual(row.exchanges[0].prompt, `user: ${shown}`)
      const { items } = (await ui.get(`/api/runs/${run}/review`)).json()
      assert.strictEqual(items[0].prompt, `user: ${text}`)
      await reviewer(ui, run)("answer", 0, { verdict: "corrected", label: text })
      const line = (await ui.get(`/api/runs/${run}/labels`)).text
      assert.strictEqual(JSON.parse(line).label, text)
      assert.deepStrictEqual(
        JSON.parse((await pipe(["labels", "--simulate", "--json"], { cwd })).stdout),
        JSON.parse(line)
      )
      // oxlint-disable-next-line no-control-regex -- they are what is looked for
      assert.notMatch(line.trim(), /[\u0000-\u001f\u007f-\u009f]/)
    })
  })

  it("does not take the sum of an earlier attempt for that of a run whose process was killed", async () => {
    await withRun(flow({ source: SOURCE }), async (ui, cwd, run) => {
      const before = (await ui.get("/api/runs")).json().runs[0]
      const database = new DatabaseSync(join(cwd, ".pipe/simulated.db"))
      // As a run that was interrupted, resumed and killed leaves it: the summary is that of the first attempt.
      database.exec(`UPDATE runs SET status = 'running', owner = '{}', heartbeat_at = 1, tries = 2;
        INSERT INTO attempts (run, step, row_index, at, milliseconds, provider, model, uncached_input, cache_read, cache_write,
          cache_write_1h, output, reasoning, cost, estimated) SELECT run, step, 50, at, 1, provider, model, 1, 0, 0, 0, 1, 0, 1000000000000, 0
          FROM attempts LIMIT 1`)
      database.close()
      const killed = (await ui.get("/api/runs")).json().runs[0]
      assert.strictEqual(killed.state, "abandoned")
      assert.closeTo(Number(killed.cost), Number(before.cost) + 1, 1e-12)
      const { item, report } = (await ui.get(`/api/runs/${run}/summary`)).json()
      assert.deepInclude(item, { cost: killed.cost, attempts: 11, rows: 11, failure: null })
      assert.isNull(report.summary)
    })
  })

  it("keeps labels apart by the parameters of the flow", async () => {
    const file = flow({
      source: SOURCE,
      options: "parameters: [language],",
      before: "Effect.flatMap(language, (to) =>"
    })
      .replace(
        "const rows",
        `const language = Parameter.make("language", Schema.String, { default: "English" })\nconst rows`
      )
      .replace("generateText({ prompt: ", "generateText({ prompt: to + ")
      .replace("(r) => r.text)))", "(r) => r.text))))")
    await withRun(file, async (ui, cwd, run) => {
      await reviewer(ui, run)("answer", 0, { verdict: "accepted" })
      await pipe(["run", "flow.ts", "--simulate", "--quiet", "--language", "German"], { cwd })
      await pipe(["run", "flow.ts", "--simulate", "--quiet", "--no-cache"], { cwd })
      const [english, german] = (await ui.get("/api/runs")).json().runs
      const accepted = async ({ name }: { name: string }) => (await ui.get(`/api/runs/${name}/review`)).json().accepted
      assert.deepStrictEqual([await accepted(german), await accepted(english)], [0, 1])
    })
  })

  it("compares rows with the same inputs place by place", async () => {
    const source = `Source.fromIterable("rows", Array.from({ length: 40 }, (_, i) => "word " + (i % 4)))`
    // Without a cache each row has an answer of its own.
    const stack = `Stack.make(Ledger.layer, OpenAi.layer({ model: "gpt-4o-mini" }))`
    await withRun(flow({ source, stack, before: "" }).replace("JSON.stringify(row)", "row"), async (ui, cwd, run) => {
      const itself = (await ui.get(`/api/runs/${run}/compare?with=${run}`)).json()
      assert.deepInclude(itself.steps[0], { compared: 40, equal: 40 })
      assert.deepStrictEqual(itself.only, [0, 0])
      // Another run lacks some of them, and has them elsewhere.
      writeFileSync(
        join(cwd, "other.ts"),
        flow({ source: source.replace("length: 40", "length: 10").replace("i % 4", "(i + 1) % 4"), stack })
      )
      await pipe(["run", "other.ts", "--simulate", "--quiet", "--no-cache"], { cwd })
      const other = (await ui.get("/api/runs")).json().runs[0].name
      const compared = (await ui.get(`/api/runs/${run}/compare?with=${other}`)).json()
      assert.strictEqual(compared.steps[0].compared, 10)
      assert.deepStrictEqual(compared.only, [30, 0])
    })
  })

  it("keeps the rows of an export while other runs are looked at, and a store that was replaced is another", async () => {
    const cwd = folder({})
    for (let at = 0; at < 6; at++) {
      writeFileSync(
        join(cwd, "flow.ts"),
        flow({ source: SOURCE, before: `${at} >= 0 &&` }).replace('"test"', `"test${at}"`)
      )
      await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
    }
    const store = join(cwd, ".pipe/simulated.db")
    const ui = await UiServer.start([store])
    try {
      const names = async () => (await ui.get("/api/runs")).json().runs.map(({ name }: { name: string }) => name)
      const runs = await names()
      assert.lengthOf(runs, 6)
      const replies = await Promise.all(
        Array.from({ length: 5 }, () => runs)
          .flat()
          .map((run) => ui.get(`/api/runs/${run}/export?format=jsonl`))
      )
      for (const { status, text } of replies) {
        assert.strictEqual(status, 200)
        assert.lengthOf(text.trim().split("\n"), 10)
      }
      rmSync(join(cwd, ".pipe"), { recursive: true })
      assert.deepStrictEqual(await names(), [])
      await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
      const [later, ...others] = await names()
      assert.deepStrictEqual(others, [])
      assert.notInclude(runs, later)
      assert.strictEqual((await ui.get(`/api/runs/${later}/rows`)).json().total, 10)
    } finally {
      await ui.close()
    }
  })

  it("masks a key in texts, and leaves numbers alone", async () => {
    await withRun(flow({ source: SOURCE }), async (ui, _, run) => {
      const [first] = (await ui.get("/api/runs")).json().runs
      // A password may be a number that occurs.
      Secret.register(String(first.startedAt))
      assert.deepStrictEqual((await ui.get("/api/runs")).json().runs[0], first)
      assert.strictEqual((await ui.get(`/api/runs/${run}/rows`)).json().total, 10)
    })
  })

  it("answers to a path that is none, and to a body that is too long", async () => {
    await withRun(flow({ source: SOURCE }), async (ui, _, run) => {
      for (const path of ["//", "//:99999999/", "/api/runs/%ff/summary", "/api/runs/%/summary"]) {
        const reply = await ui.raw(path)
        assert.isBelow(reply.status, 500, path)
        assert.match(String(reply.headers["content-security-policy"]), /default-src 'none'/, path)
      }
      const label = "x".repeat(2_000_000)
      const said = {
        step: "answer",
        row: 0,
        exchange: 1,
        labelledAt: null,
        verdict: "corrected",
        drawn: "doubt",
        label
      }
      assert.strictEqual((await ui.post(`/api/runs/${run}/review`, said)).status, 413)
      assert.strictEqual((await ui.chunked(`/api/runs/${run}/review`, said)).status, 413)
      assert.strictEqual((await ui.get(`/api/runs/${run}/labels`)).text, "")
    })
  })

  it("is of use with no store, an empty one, a broken one, and an unknown run", async () => {
    const cwd = folder({})
    const none = await UiServer.start([join(cwd, ".pipe/pipe.db")])
    assert.deepStrictEqual((await none.get("/api/runs")).json(), { runs: [], problems: [] })
    assert.strictEqual((await none.get("/api/runs/x/summary")).status, 404)
    await none.close()
    mkdirSync(join(cwd, ".pipe"), { recursive: true })
    writeFileSync(join(cwd, ".pipe/pipe.db"), "something else")
    const broken = await UiServer.start([join(cwd, ".pipe/pipe.db")])
    const reply = await broken.get("/api/runs")
    assert.strictEqual(reply.status, 503)
    assert.include(reply.json().message, "cannot be the store")
    await broken.close()
    // The other store is read all the same.
    writeFileSync(join(cwd, "flow.ts"), flow({ source: SOURCE }))
    await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
    const half = await UiServer.start([join(cwd, ".pipe/pipe.db"), join(cwd, ".pipe/simulated.db")])
    const { problems, runs } = (await half.get("/api/runs")).json()
    assert.lengthOf(runs, 1)
    assert.include(problems[0], "cannot be the store")
    await half.close()
  })

  it("shows how the values of a step are spread", async () => {
    await withRun(flow({ source: SOURCE }), async (ui, _, run) => {
      const { fields, read } = (await ui.get(`/api/runs/${run}/fields?step=answer`)).json()
      assert.strictEqual(read, 10)
      assert.strictEqual(
        fields[0].bars.reduce((sum: number, bar: { count: number }) => sum + bar.count, 0),
        10
      )
      assert.strictEqual((await ui.get(`/api/runs/${run}/fields`)).status, 400)
    })
  })

  it("counts each value of a field once, of any size and type", async () => {
    const source = `Source.fromIterable("rows", Array.from({ length: 60 }, (_, i) => i))`
    const values = `Effect.succeed({ mixed: i % 3 === 0 ? i : i % 3 === 1 ? "text ".repeat(30 + i) : [i],
      huge: i % 2 === 0 ? 1e308 : -1e308, big: 2 ** 53 - 100 + i, near: 1000 + i / 1e4 })`
    const file = flow({ source })
      .replace("({ row }) =>", "({ row: i }) =>")
      .replace(/LanguageModel\.generateText[^\n]*/, `${values})`)
    await withRun(file, async (ui, _, run) => {
      const { fields } = (await ui.get(`/api/runs/${run}/fields?step=answer`)).json()
      const of = (name: string) => fields.find((field: { name: string }) => field.name === name)
      const total = ({ bars }: { bars: ReadonlyArray<{ count: number }> }) =>
        bars.reduce((all, { count }) => all + count, 0)
      assert.deepInclude(of("mixed"), { values: 60, others: 20, kind: "lengths" })
      for (const name of ["huge", "big", "near"]) {
        assert.strictEqual(total(of(name)), 60, name)
        const names = of(name).bars.map((bar: { name: string }) => bar.name)
        assert.deepStrictEqual([...new Set(names)], names, name)
        assert.notInclude(names.join(), "NaN", name)
      }
    })
  })
})
