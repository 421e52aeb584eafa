/** The page of `pipe ui` in a real browser: each of its views, keys, hostile answers, many rows, and what goes wrong. */
import { assert, afterAll, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Browser } from "puppeteer-core"
import * as Servers from "../../../test/Servers.ts"
import { isSoak } from "../../../test/Soak.ts"
import * as Browsers from "./Browser.ts"
import { flow, folder, pipe } from "./Pipe.ts"
import * as UiServer from "./UiServer.ts"

const HOSTILE = `</script><script>document.title='taken'</script><img src=x onerror="document.title='taken'"> javascript:alert(1)`

const WORDS = ["bee", "hive", "wasp", "honey", "comb", "queen", "drone", "wax", "sting", HOSTILE]

const SOURCE = `Source.fromIterable("rows", ${JSON.stringify(WORDS)})`

/** An answer a row, a decision, and rows that fail. */
const labelling = (fails: string) => `
import { Cache, Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"

const rows = ${SOURCE}
const answer = Flow.step("answer", { row: rows }, ({ row }) => ${fails}
  LanguageModel.generateText({ prompt: "Say something of " + row }).pipe(Effect.map((r) => r.text)))
const kind = Flow.decide("kind", { row: rows }, { instructions: "Which?", options: ["insect", "place", "thing"] })

export default Flow.make("labelling", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer, kind })],
  stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer({ attempts: 2 }), OpenAi.layer({ model: "gpt-6-luna" }))
})
`

const FAILS = `row === "wasp" || row === "wax" ? Effect.fail(new Error("no wasps today: " + row.length)) :`

const simulated = (cwd: string) => join(cwd, ".pipe/simulated.db")

/** Adds this many rows to the ledger of the newest run. */
const fill = (file: string, count: number): void => {
  const database = new DatabaseSync(file)
  const { id } = database.prepare("SELECT id FROM runs ORDER BY id DESC LIMIT 1").get() as { readonly id: number }
  const insert = database.prepare(
    `INSERT INTO attempts (run, step, row_index, at, milliseconds, provider, model, uncached_input, cache_read, cache_write, cache_write_1h,
      output, reasoning, cost, estimated) VALUES (?, 'answer', ?, ?, ?, 'openai', 'gpt-6-luna', 10, 0, 0, 0, 5, 0, ?, 0)`
  )
  const at = Date.now() - count
  database.exec("BEGIN")
  for (let row = 10; row < count; row++) insert.run(id, row, at + row, 100 + (row % 700), 1_000_000_000 + row)
  database.exec("COMMIT")
  database.close()
}

describe.skipIf(Servers.chromium === undefined)("the page of pipe ui", () => {
  let browser: Browser
  let cwd: string
  let ui: UiServer.UiServer
  let runs: ReadonlyArray<{ readonly name: string }>

  beforeAll(async () => {
    browser = await Browsers.launch()
    cwd = folder({ "flow.ts": labelling(FAILS) })
    await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
    // Again, with other prompts: the rows are the same, the answers are not.
    writeFileSync(
      join(cwd, "other.ts"),
      labelling(FAILS).replace("Say something of ", "Say more of ").replace("Which?", "Which one?")
    )
    await pipe(["run", "other.ts", "--simulate", "--quiet"], { cwd })
    ui = await UiServer.start([join(cwd, ".pipe/pipe.db"), simulated(cwd)])
    runs = (await ui.get("/api/runs")).json().runs
  })
  afterAll(async () => {
    await browser.close()
    await ui.close()
  })

  const run = (): string => runs[0]!.name

  it("lists runs, shows every view of one without a complaint, and says that it is simulated", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    await seen.until(run())
    const list = await seen.text()
    assert.include(list, "simulated")
    assert.match(list, /labelling\s+done\s+10\s+2\s+\$0\.0/)
    // The token is not in the address any more.
    assert.notInclude(seen.page.url(), "token")
    await seen.page.waitForSelector("table.runs a")
    await seen.page.locator("table.runs a").click()
    await seen.until("no provider was called, nothing was paid")
    for (const [tab, words] of [
      ["overview", "without the layers"],
      ["rows", "20 rows"],
      ["errors", "2 × Error at answer"],
      ["money", "Saved by strategy"],
      ["live", "these are its last figures"],
      ["fields", "values of this run"],
      ["quality", "No request was routed"],
      ["review", "in doubt first"],
      ["compare", "Choose a run"],
      ["graph", "As a table"]
    ] as const) {
      await seen.tab(tab)
      await seen.until(words)
    }
    // The graph has a size: it was drawn.
    await seen.page.waitForFunction(`document.querySelector("img.graph")?.naturalWidth > 100`)
    await seen.tab("money")
    await seen.page.waitForSelector(".chart canvas")
    assert.deepStrictEqual(seen.complaints, [])
    await seen.page.close()
  })

  it("opens a row with what was sent and answered, as text, by a link that can be kept", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    await seen.go(`#/runs/${run()}/rows?step=answer&row=9`)
    await seen.until("Attempts at a provider")
    const text = await seen.text()
    assert.include(text, HOSTILE)
    assert.match(text, /Say more of <\/script>/)
    assert.match(text, /\d+ input, \d+ output/)
    assert.notStrictEqual(await seen.page.title(), "taken")
    await seen.page.reload()
    await seen.until("Attempts at a provider")
    await seen.page.keyboard.press("Escape")
    await seen.page.waitForFunction(`document.querySelector(".drawer") === null`)
    assert.notInclude(seen.page.url(), "row=9")
    assert.deepStrictEqual(seen.complaints, [])
    await seen.page.close()
  })

  it("filters, sorts and exports, all in the address, and comes to the failed rows in one click", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    await seen.go(`#/runs/${run()}/errors`)
    await seen.until("no wasps today: …")
    await seen.page.evaluate(
      `[...document.querySelectorAll("a")].find((a) => /The 2 rows/.test(a.textContent)).click()`
    )
    await seen.page.waitForFunction(`/^2 rows/.test(document.querySelector(".filters .total").textContent)`)
    assert.include(new URLSearchParams(seen.page.url().split("?")[1]).getAll("f"), "kind:=:Error: no wasps today: …")
    await seen.page.evaluate(
      `[...document.querySelectorAll('[role="columnheader"] button')].find((b) => b.textContent === "cost").click()`
    )
    await seen.page.waitForFunction(`location.hash.includes("sort=cost")`)
    const href = (await seen.page.evaluate(`document.querySelector(".export a").getAttribute("href")`)) as string
    assert.lengthOf((await ui.get(href)).text.trim().split("\n"), 3)
    await seen.page.goBack()
    await seen.page.waitForFunction(`!location.hash.includes("sort=cost")`)
    for (const left of [1, 0]) {
      await seen.page.locator(".chip").click()
      await seen.page.waitForFunction(`document.querySelectorAll(".chip").length === ${left}`)
    }
    await seen.until("20 rows")
    // By a number, and by nothing else.
    await seen.page.select(`select[aria-label="Column"]`, "output")
    await seen.page.type(`input[aria-label="Value"]`, "0,5")
    await seen.page.keyboard.press("Enter")
    assert.strictEqual(await seen.page.evaluate(`document.querySelector('[aria-label="Value"]').validity.valid`), false)
    assert.notInclude(seen.page.url(), "output")
    await seen.page.click(`input[aria-label="Value"]`, { count: 3 })
    await seen.page.type(`input[aria-label="Value"]`, "3")
    await seen.page.keyboard.press("Enter")
    await seen.page.waitForFunction(`location.hash.includes("output")`)
    // Another view and back: the filter is still there.
    await seen.tab("overview")
    await seen.tab("rows")
    await seen.page.waitForFunction(`location.hash.includes("output")`)
    assert.deepStrictEqual(seen.complaints, [])
    await seen.page.close()
  })

  it("moves through the rows by keys", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    await seen.go(`#/runs/${run()}/rows`)
    await seen.page.waitForSelector("#row-3")
    // The table has the focus from the start.
    await seen.page.waitForFunction(`document.activeElement.classList.contains("grid")`)
    for (const key of ["ArrowDown", "j", "ArrowDown", "k"] as const) await seen.page.keyboard.press(key)
    await seen.page.waitForFunction(`document.querySelector("#row-2")?.getAttribute("aria-selected") === "true"`)
    await seen.page.keyboard.press("Enter")
    await seen.until("Where its answers came from")
    assert.strictEqual(await seen.page.evaluate(`document.activeElement.getAttribute("role")`), "dialog")
    await seen.page.close()
  })

  it("reviews by keys: doubtful first, corrected, accepted, skipped, undone; another tab sees it", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    const other = await Browsers.open(browser, ui.served.address())
    await seen.page.bringToFront()
    await seen.go(`#/runs/${run()}/review?step=kind`)
    await seen.until(/0 of 10 reviewed/)
    assert.match(await seen.text(), /[\d.]+ % certain/)
    const certainty = async () => Number(/([\d.]+) % certain/.exec(await seen.text())![1])
    const first = await certainty()
    await seen.page.keyboard.press("a")
    await seen.until("1 accepted")
    assert.isAtLeast(await certainty(), first)
    // One of the options, by its number.
    await seen.page.keyboard.press("3")
    await seen.until(/2 of 10 reviewed/)
    await seen.page.keyboard.press("s")
    await seen.until("1 skipped")
    await seen.page.keyboard.press("u")
    await seen.until("0 skipped")
    await seen.go(`#/runs/${run()}/review?step=answer`)
    await seen.until(/0 of 8 reviewed/)
    // The page listens to keys a moment after it has drawn an answer.
    for (let isOpen = false; !isOpen;) {
      await seen.page.keyboard.press("e")
      isOpen = await seen.page.waitForSelector("textarea", { timeout: 500 }).then(
        () => true,
        () => false
      )
    }
    await seen.page.evaluate(`document.querySelector("textarea").select()`)
    await seen.page.keyboard.type("a better answer, with an a and an s")
    await seen.page.keyboard.down("Control")
    await seen.page.keyboard.press("Enter")
    await seen.page.keyboard.up("Control")
    await seen.until("1 corrected")
    await other.page.bringToFront()
    await other.go(`#/runs/${run()}/review?step=answer`)
    await other.until("1 corrected")
    const labels = (await ui.get(`/api/runs/${run()}/labels`)).text.trim().split("\n")
    assert.lengthOf(labels, 3)
    assert.include(labels.join("\n"), "a better answer, with an a and an s")
    assert.deepStrictEqual([...seen.complaints, ...other.complaints], [])
    await seen.page.close()
    await other.page.close()
  })

  it("puts two runs side by side", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    await seen.go(`#/runs/${run()}/compare?with=${runs[1]!.name}`)
    await seen.until("Rows that changed")
    const text = await seen.text()
    assert.match(text, /kind\s+10\s+\d+\s+[\d.]+ %\s+[\d.]+ % to [\d.]+ %/)
    assert.match(text, /answer\s+8\s+\d+/)
    assert.deepStrictEqual(seen.complaints, [])
    await seen.page.close()
  })

  it("fits a phone, and shows light and dark", async () => {
    const seen = await Browsers.open(browser, ui.served.address(), 390, 844)
    for (const scheme of ["light", "dark"]) {
      await seen.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }])
      for (const tab of ["overview", "rows", "errors", "money", "review", "fields"]) {
        await seen.go(`#/runs/${run()}/${tab}`)
        await seen.page.waitForFunction(`document.querySelector(".tabs a.here")?.textContent === "${tab}"`)
        await seen.page.waitForFunction(`!/Loading/.test(document.body.innerText)`)
        assert.strictEqual(
          await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth"),
          true,
          `${tab} is wider than the screen`
        )
      }
    }
    assert.notStrictEqual(
      await seen.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"),
      "rgb(251, 251, 250)"
    )
    await seen.page.close()
  })

  it("has names for what can be used, and a place for the focus", async () => {
    const seen = await Browsers.open(browser, ui.served.address())
    for (const tab of ["rows", "errors", "money", "review", "fields", "compare"]) {
      await seen.go(`#/runs/${run()}/${tab}`)
      await seen.page.waitForFunction(`document.querySelector(".tabs a.here")?.textContent === "${tab}"`)
      const nameless = await seen.page
        .evaluate(`[...document.querySelectorAll("a, button, input, select, textarea, [role=grid], img")]
        .filter((e) => !e.hidden && !(e.textContent.trim() || e.getAttribute("aria-label") || e.alt || e.labels?.length))
        .map((e) => e.outerHTML.slice(0, 200))`)
      assert.deepStrictEqual(nameless, [], tab)
    }
    await seen.page.close()
  })

  it.skipIf(!isSoak)("retries failed rows by the command, and shows how it ended", async () => {
    const own = folder({ "flow.ts": labelling(FAILS) })
    await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd: own })
    writeFileSync(join(own, "flow.ts"), labelling(""))
    // The command itself, as a user starts it: its folder is the project's.
    const child = spawn(process.execPath, [UiServer.bin, "ui", "last"], {
      cwd: own,
      stdio: ["ignore", "pipe", "inherit"]
    })
    try {
      const address = await new Promise<string>((resolve) => {
        let said = ""
        child.stdout.on("data", (chunk: Buffer) => {
          said += String(chunk)
          const found = /http:\/\/127\.0\.0\.1:\S+/.exec(said)?.[0]
          if (found !== undefined) resolve(found)
        })
      })
      const seen = await Browsers.open(browser, address)
      await seen.tab("errors")
      await seen.until("2 × Error at answer")
      await seen.page.locator(".retry button").click()
      await seen.until("The retry is done")
      await seen.until("No row has failed")
      assert.deepStrictEqual(seen.complaints, [])
      await seen.page.close()
    } finally {
      child.kill("SIGTERM")
    }
  })

  it("follows a run of another process, also when that is killed", async () => {
    const own = folder({
      "flow.ts": flow({ source: `Source.fromIterable("rows", Array.from({ length: 4000 }, (_, i) => "word " + i))` })
    })
    const child = spawn(
      process.execPath,
      [UiServer.bin, "run", "flow.ts", "--simulate", "--quiet", "--concurrency", "4"],
      { cwd: own, stdio: "ignore" }
    )
    const server = await UiServer.start([simulated(own)])
    try {
      const seen = await Browsers.open(browser, server.served.address())
      await seen.until("running")
      await seen.page.locator("table.runs a").click()
      await seen.tab("live")
      await seen.until(/[1-9][\d,]* so far/)
      // The head of the page says what there is so far.
      assert.match(await seen.text(), /\n[\d,]+ rows · 0 failed · \$[\d.]+ spent · \$[\d.]+ saved, so far/)
      const before = Number(/([1-9][\d,]*) so far/.exec(await seen.text())![1]!.replace(",", ""))
      await seen.page.waitForFunction(
        `Number(/([1-9][\\d,]*) so far/.exec(document.body.innerText)[1].replace(",", "")) > ${before}`,
        { timeout: 20_000 }
      )
      child.kill("SIGKILL")
      await seen.until("its process is gone")
      await seen.tab("rows")
      await seen.until(/\d+ rows/)
      assert.deepStrictEqual(seen.complaints, [])
      await seen.page.close()
    } finally {
      child.kill("SIGKILL")
      await server.close()
    }
  })

  it("scrolls through many rows of which it draws those that are seen, and says when the store is gone", async () => {
    const count = isSoak ? 100_000 : 20_000
    const last = String(count - 1)
    const own = folder({ "flow.ts": flow({ source: SOURCE }) })
    await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd: own })
    fill(simulated(own), count)
    const server = await UiServer.start([simulated(own)])
    const seen = await Browsers.open(browser, server.served.address())
    try {
      await seen.page.waitForSelector("table.runs a")
      await seen.page.locator("table.runs a").click()
      await seen.tab("rows")
      await seen.until(`${count.toLocaleString("en-US")} rows`)
      await seen.page.waitForFunction(`!/more are being read/.test(document.body.innerText)`, { timeout: 30_000 })
      const drawn = () =>
        seen.page.evaluate(`document.querySelectorAll('.grid [role="row"]').length`) as Promise<number>
      assert.isBelow(await drawn(), 80)
      await seen.page.evaluate(
        `document.querySelector(".grid").scrollTop = document.querySelector(".grid").scrollHeight`
      )
      await seen.until(last)
      assert.isBelow(await drawn(), 80)
      await seen.page.focus(".grid")
      await seen.page.keyboard.press("Home")
      await seen.page.waitForFunction(`document.querySelector(".grid").scrollTop === 0`)
      // Sorted by the server, over all rows: the dearest is the last.
      await seen.page.evaluate(
        `[...document.querySelectorAll('[role="columnheader"] button')].find((b) => b.textContent === "cost").click()`
      )
      await seen.page.waitForFunction(`location.hash.includes("sort=cost")`)
      await seen.page.waitForSelector(`[aria-sort="ascending"] button`)
      await seen.page.locator(`[aria-sort="ascending"] button`).click()
      await seen.page.waitForFunction(`/^${last}\\s/.test(document.querySelector("#row-0")?.innerText ?? "")`)
      renameSync(simulated(own), `${simulated(own)}.away`)
      writeFileSync(simulated(own), "")
      await server.close()
      await seen.until("pipe ui does not answer")
      // What was there stays.
      assert.include(await seen.text(), last)
    } finally {
      await seen.page.close()
    }
  })
})
