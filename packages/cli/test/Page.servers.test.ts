/** The report's page in a real browser: Chromium, without a network. */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Servers from "../../../test/Servers.ts"
import { flow, folder, pipe } from "./Pipe.ts"

/** The page's document after its scripts have run, and what the browser complained of. */
const open = (file: string, ...flags: ReadonlyArray<string>) => {
  const profile = mkdtempSync(join(tmpdir(), "pipe-chromium-"))
  return execFileSync(
    Servers.chromium!,
    [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--user-data-dir=${profile}`,
      "--virtual-time-budget=3000",
      ...flags,
      "--dump-dom",
      `file://${file}`
    ],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 60_000 }
  )
}

describe.skipIf(Servers.chromium === undefined)("the report's page", () => {
  it("draws its graph and its charts, with rows that try to be markup", async () => {
    const cwd = folder({
      "flow.ts": flow({
        source: `Source.fromIterable("rows", ["bee", "</script><script>document.title='taken'</script>", "hive"])`
      })
    })
    await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
    const made = await pipe(["report"], { cwd })
    assert.strictEqual(made.code, 0, made.stderr)
    for (const size of ["--window-size=1280,900", "--window-size=390,844"]) {
      const page = open(join(cwd, "test.simulated.report.html"), size)
      assert.notInclude(page, "<title>taken</title>")
      const pictures = [...page.matchAll(/<svg [^>]*aria-label="([^"]+)"/g)].map(([, name]) => name)
      for (const name of ["money so far, by step", "money by step", "money by model"]) assert.include(pictures, name)
      // Every shape has a place: no figure was drawn from what is not a number.
      assert.notMatch(page, /(?:NaN|Infinity|undefined)/)
      assert.notInclude(page, "<script")
      assert.match(page, /<svg class="graph"[\s\S]*<text class="name"[^>]*>answer<\/text>/)
    }
  }, 120_000)
})
