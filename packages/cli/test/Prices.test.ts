/** `pipe prices update` against a server that has LiteLLM's table, and broken, huge, cut and hostile ones. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { join, resolve } from "node:path"
import { gzipSync } from "node:zlib"
import * as PriceTable from "@pipe/core/PriceTable"
import { completion, serve } from "./Endpoint.ts"
import { words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

/** LiteLLM's table of 2026-07-24 (packages/core/test/fixtures/README.md). */
const litellm = readFileSync(resolve(import.meta.dirname, "../../core/test/fixtures/litellm.json"), "utf8")

type Table = { [model: string]: { [field: string]: unknown } }

/** The table with the two models whose class of prices it has as 0: the update asks about them. */
const table = (change: (table: Table) => void = () => {}): string => {
  const own = JSON.parse(litellm) as Table
  change(own)
  return JSON.stringify(own)
}

const modelsDev = {
  openai: {
    id: "openai",
    models: {
      "gpt-4o-mini": {
        id: "gpt-4o-mini",
        cost: { input: 0.2, output: 0.6, cache_read: 0.075 },
        limit: { context: 128000 }
      },
      "gpt-9": {
        id: "gpt-9",
        cost: { input: 1, output: 4, tiers: [{ input: 2, output: 6, tier: { type: "context", size: 272000 } }] },
        limit: { context: 1000000 }
      },
      "gpt-older": { cost: { input: 3, output: 9, context_over_200k: { input: 6, output: 18 } } },
      broken: { cost: { input: "free", output: 1 } },
      unpriced: {}
    }
  }
}

const pages: { readonly [path: string]: (response: ServerResponse) => void } = {
  "/litellm.json": (response) => response.end(table()),
  "/packed.json": (response) => {
    response.setHeader("content-encoding", "gzip")
    response.end(gzipSync(table()))
  },
  "/models.dev.json": (response) => response.end(JSON.stringify(modelsDev)),
  "/changed.json": (response) =>
    response.end(table((own) => void (own["gpt-4o-mini"]!["output_cost_per_token"] = 1.2e-6))),
  "/absurd.json": (response) =>
    response.end(table((own) => void (own["gpt-4o-mini"]!["output_cost_per_token"] = 6e-9))),
  "/free.json": (response) => response.end(table((own) => void (own["gpt-4o-mini"]!["input_cost_per_token"] = 0))),
  "/missing.json": (response) =>
    response.end(
      table((own) => {
        for (const name of Object.keys(own)) if (name.startsWith("gpt-4o-mini")) delete own[name]
      })
    ),
  "/cut.json": (response) => response.end(table().slice(0, 50_000)),
  "/aborted.json": (response) => {
    response.setHeader("content-length", "900000")
    response.write(table().slice(0, 50_000), () => response.destroy())
  },
  "/page.html": (response) => response.end("<!doctype html><title>Sign in</title>"),
  "/empty.json": (response) => response.end("{}"),
  "/null.json": (response) => response.end("null"),
  "/list.json": (response) => response.end("[1, 2]"),
  "/deep.json": (response) => response.end(`${'{"a":'.repeat(200_000)}1${"}".repeat(200_000)}`),
  "/missing-page.json": (response) => {
    response.statusCode = 404
    response.end("no such file")
  },
  "/huge.json": (response) => {
    const piece = `"${"x".repeat(1_000_000)}",`
    let sent = 0
    const more = (): void => {
      if (response.destroyed || ++sent > 80) return void response.end()
      response.write(piece, () => setImmediate(more))
    }
    response.write("[")
    more()
  },
  "/bomb.json": (response) => {
    response.setHeader("content-encoding", "gzip")
    response.end(gzipSync(Buffer.alloc(120_000_000, " ")))
  },
  "/hostile.json": (response) =>
    response.end(
      table((own) => {
        const row = own["gpt-4o-mini"]!
        own["\u001b]0;owned\u0007gpt-4o"] = row
        own["\u202egpt-4o"] = row
        own["a".repeat(500)] = row
        own["constructor"] = row
        own["negative"] = { ...row, input_cost_per_token: -1 }
        own["tiny"] = { ...row, input_cost_per_token: 1e-15 }
        own["words"] = { ...row, input_cost_per_token: "\u001b[31mfree" }
        own["infinite"] = { ...row, input_cost_per_token: 1e300 }
      }).replace('"constructor":', '"__proto__":')
    )
}

let server: Server
let base: string

beforeAll(async () => {
  server = createServer((request, response) => {
    const page = pages[new URL(request.url ?? "/", "http://localhost").pathname]
    if (page === undefined) return response.writeHead(404).end()
    page(response)
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const FILE = "pipe-prices.json"

const update = (cwd: string, page: string, ...more: ReadonlyArray<string>) =>
  pipe(["prices", "update", "--url", `${base}${page}`, ...more], { cwd })

describe("pipe prices update", { concurrent: false }, () => {
  it("shows what changes, pins it, and is used from then on; again, it changes nothing", async () => {
    const cwd = folder({})
    const dry = await update(cwd, "/changed.json", "--dry-run")
    assert.strictEqual(dry.code, 0, dry.stderr)
    assert.match(dry.stdout, /openai +gpt-4o-mini +output +\$0\.6 +\$1\.2/)
    assert.isFalse(existsSync(join(cwd, FILE)))
    const written = await update(cwd, "/changed.json")
    assert.strictEqual(written.code, 0, written.stderr)
    assert.match(written.stdout, /wrote pipe-prices\.json: \d+ models, LiteLLM of \d{4}-\d\d-\d\d, hash [0-9a-f]{12}/)
    assert.deepStrictEqual(readdirSync(cwd), [FILE])
    const shown = await pipe(["prices", "gpt-4o-mini"], { cwd })
    assert.match(shown.stdout, /output +\$1\.2/)
    assert.match(shown.stdout, /from LiteLLM of/)
    const again = await update(cwd, "/changed.json")
    assert.match(again.stdout, /no price changes, no model is new/)
    // A model that the table does not have keeps the price of the package.
    assert.match((await pipe(["prices", "claude-haiku-5-5"], { cwd })).stdout, /built-in prices/)
    // Packed in transit, and read from a file.
    assert.strictEqual((await update(cwd, "/packed.json")).code, 0)
    writeFileSync(join(cwd, "table.json"), litellm)
    assert.strictEqual((await pipe(["prices", "update", "--url", "table.json"], { cwd })).code, 0)
    assert.match((await pipe(["prices", "gpt-4o-mini"], { cwd })).stdout, /output +\$0\.6/)
  })

  it("takes the table of models.dev, with its longer contexts", async () => {
    const cwd = folder({})
    const { code, stderr, stdout } = await update(cwd, "/models.dev.json")
    assert.strictEqual(code, 0, stderr)
    assert.include(stdout, "1 entry was not understood and left out, such as broken: its price is not a number")
    const nine = await pipe(["prices", "gpt-9"], { cwd })
    assert.match(nine.stdout, /up to 272,000 input tokens\n +input +\$1\n/)
    assert.match(nine.stdout, /above 272,000 input tokens\n +input +\$2\n/)
    assert.match((await pipe(["prices", "gpt-older"], { cwd })).stdout, /above 200,000 input tokens\n +input +\$6\n/)
    assert.notStrictEqual((await pipe(["prices", "unpriced"], { cwd })).code, 0)
  })

  it("refuses a price that is a hundredth, or nothing at all, until the model is named", async () => {
    const cwd = folder({})
    for (const page of ["/absurd.json", "/free.json"]) {
      const refused = await update(cwd, page)
      assert.strictEqual(refused.code, 1)
      assert.match(
        refused.stderr,
        /by a factor of 100 or more, such as (?:output|input) of gpt-4o-mini from \$0\.\d+ to/
      )
      assert.include(refused.stderr, "--accept gpt-4o-mini")
      assert.include(refused.stderr, "Nothing was written")
      assert.isFalse(existsSync(join(cwd, FILE)))
    }
    const accepted = await update(cwd, "/absurd.json", "--accept", "gpt-4o-mini", "--accept", "gpt-4o-mini-2024-07-18")
    assert.strictEqual(accepted.code, 0, accepted.stderr)
  })

  it("refuses a table without a model that runs use; what is accepted keeps its price", async () => {
    const provider = await serve(() => ({ status: 200, body: completion("yes") }))
    const cwd = folder({ "flow.ts": flow({ source: words(2) }) })
    const env = { OPENAI_API_KEY: "sk-prices-0123456789abcdef", OPENAI_BASE_URL: provider.url }
    const ran = await pipe(["run", "flow.ts"], { cwd, env })
    assert.strictEqual(ran.code, 0, ran.stderr)
    // The run names the table of its prices, and its day.
    assert.match(ran.stderr, /prices +built-in prices of \d{4}-\d\d-\d\d/)
    const refused = await update(cwd, "/missing.json")
    assert.strictEqual(refused.code, 1)
    assert.match(refused.stderr, /1 model that runs of this project use is not in the table: gpt-4o-mini/)
    const accepted = await update(cwd, "/missing.json", "--accept", "gpt-4o-mini")
    assert.strictEqual(accepted.code, 0, accepted.stderr)
    assert.match((await pipe(["prices", "gpt-4o-mini"], { cwd })).stdout, /output +\$0\.6/)
    const again = await pipe(["run", "flow.ts", "--no-cache"], { cwd, env })
    assert.match(again.stderr, /prices +LiteLLM of \d{4}-\d\d-\d\d/)
    const shown = JSON.parse((await pipe(["show", "--json"], { cwd })).stdout)
    assert.match(shown.summary.prices.hash, /^[0-9a-f]{32}$/)
    provider.close()
  })

  it("says in one line what is wrong with any other answer, and writes nothing", async () => {
    const cwd = folder({})
    const cases: ReadonlyArray<readonly [page: string, says: RegExp]> = [
      ["/cut.json", /it is not whole JSON/],
      ["/aborted.json", /it was cut off while it arrived/],
      ["/page.html", /it is not whole JSON/],
      ["/empty.json", /does not have the form of a table of LiteLLM or models.dev/],
      ["/null.json", /does not have the form of a table of LiteLLM or models.dev/],
      ["/list.json", /does not have the form of a table of LiteLLM or models.dev/],
      ["/deep.json", /does not have the form of a table|it is not whole JSON/],
      ["/missing-page.json", /the server answered 404/],
      ["/huge.json", /it has more than 50 MB/],
      ["/bomb.json", /it has more than 50 MB/]
    ]
    for (const [page, says] of cases) {
      const { code, stderr, stdout } = await update(cwd, page)
      assert.strictEqual(code, 1, `${page}: ${stderr}`)
      assert.match(stderr, says, page)
      assert.strictEqual(stderr.trim().split("\n").length, 1, stderr)
      assert.strictEqual(stdout, "")
      assert.deepStrictEqual(readdirSync(cwd), [])
    }
    const nobody = await pipe(["prices", "update", "--url", "http://127.0.0.1:9/x.json?key=secret-0123456789"], { cwd })
    assert.strictEqual(nobody.code, 1)
    assert.include(nobody.stderr, "http://127.0.0.1:9/x.json: it could not be fetched")
    assert.notInclude(nobody.stderr, "secret")
    const none = await pipe(["prices", "update", "--url", "no-such.json"], { cwd })
    assert.include(none.stderr, "no-such.json: it cannot be read")
  })

  it("leaves out names and figures of a hostile table: nothing of them reaches the terminal or the file", async () => {
    const cwd = folder({})
    const { code, stderr, stdout } = await update(cwd, "/hostile.json")
    assert.strictEqual(code, 0, stderr)
    const file = readFileSync(join(cwd, FILE), "utf8")
    for (const text of [stdout, stderr, file]) {
      // oxlint-disable-next-line no-control-regex -- they are what is looked for
      assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f\u202e]/)
      assert.notInclude(text, "a".repeat(300))
    }
    for (const name of ["negative", "tiny", "words", "infinite"]) assert.notInclude(file, `"model":"${name}"`)
    assert.match(stdout, /4 entries were not understood and left out/)
  })

  it("is called for once where the table is older than 60 days", async () => {
    const cwd = folder({ "flow.ts": flow({ source: words(3) }) })
    const at = (days: number): string => {
      const date = new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
      const rows = [
        { provider: "openai", model: "gpt-4o-mini", tiers: [{ above: 0, rates: { input: 1, output: 2 } }] }
      ] as const
      writeFileSync(join(cwd, FILE), PriceTable.encode(PriceTable.make({ name: "mine", source: "here", date, rows })))
      return date
    }
    const old = at(62)
    for (const command of ["run", "plan"]) {
      const { code, stderr } = await pipe([command, "flow.ts", "--simulate"], { cwd })
      assert.strictEqual(code, 0, stderr)
      assert.lengthOf(stderr.split("more than 60 days old"), 2, stderr)
      assert.include(
        stderr,
        `prices are those of mine of ${old}, more than 60 days old: update them with pipe prices update`
      )
    }
    at(59)
    const { stderr } = await pipe(["run", "flow.ts", "--simulate"], { cwd })
    assert.notInclude(stderr, "days old")
  })

  it("refuses a file that was changed by hand, and replaces it", async () => {
    const cwd = folder({ "flow.ts": flow({ source: words(1) }) })
    await update(cwd, "/litellm.json")
    const file = join(cwd, FILE)
    writeFileSync(file, readFileSync(file, "utf8").replace('"input":0.15', '"input":0.0015'))
    for (const command of [
      ["prices", "gpt-4o-mini"],
      ["run", "flow.ts", "--simulate"],
      ["plan", "flow.ts"]
    ]) {
      const { code, stderr } = await pipe(command, { cwd })
      assert.strictEqual(code, 2, `${command.join(" ")}: ${stderr}`)
      assert.match(stderr, /pipe-prices\.json: its rows are not those that were written.*pipe prices update/)
    }
    assert.strictEqual((await update(cwd, "/litellm.json")).code, 0)
    assert.strictEqual((await pipe(["plan", "flow.ts"], { cwd })).code, 0)
    for (const broken of ["", "{", "[]", '{"version":2}']) {
      writeFileSync(file, broken)
      const { code, stderr } = await pipe(["prices"], { cwd })
      assert.strictEqual(code, 2)
      assert.include(stderr, "pipe-prices.json: it is not a table of prices")
    }
  })
})
