/** `pipe run` as a process. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { flow, folder, pipe } from "./Process.ts"
import * as Soak from "../../../test/Soak.ts"

const read = (cwd: string, file: string) => readFileSync(join(cwd, file), "utf8")

const lines = (text: string) => text.trim().split("\n")

describe("pipe run", () => {
  it.skipIf(!Soak.isSoak)(
    "loads flows from paths with spaces, %, # and letters beyond ASCII (promptfoo#662)",
    async () => {
      const cwd = folder({ "my pipes/50% #1/žlutý.ts": flow() })
      const { code, stderr } = await pipe(["run", "./my pipes/50% #1/žlutý.ts", "--simulate"], { cwd })
      assert.strictEqual(code, 0, stderr)
    }
  )

  it.skipIf(!Soak.isSoak)("ends though the flow has left a timer and a server open", async () => {
    const cwd = folder({
      "flow.ts": `import { createServer } from "node:http"
createServer().listen(0)
setInterval(() => {}, 1_000)
${flow()}`
    })
    const { code, stderr } = await pipe(["run", "flow.ts", "--simulate"], { cwd })
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, "3 rows")
  })

  it("stops at Ctrl-C: no new call starts, what was finished is kept, exit code 130 (promptfoo#7606)", async () => {
    const server = await serve((_, count) => ({ status: 200, body: completion("ok"), wait: count <= 10 ? 0 : 60_000 }))
    const cwd = folder({
      "flow.ts": flow({
        source: `Source.fromIterable("rows", Array.from({ length: 100 }, (_, i) => i))`,
        options: "concurrency: 4,"
      })
    })
    let interrupted = false
    const done = pipe(["run", "flow.ts", "--grace", "500ms"], {
      cwd,
      env: { OPENAI_API_KEY: "sk-test-0123456789abcdef", OPENAI_BASE_URL: server.url },
      onStderr: (text, child) => {
        if (interrupted || !/answer 1\d\/100/.test(text)) return
        interrupted = true
        child.kill("SIGINT")
      }
    })
    const { code, stderr } = await done
    server.close()
    assert.strictEqual(code, 130, stderr)
    assert.match(stderr, /interrupted; resume with: pipe resume \d{14}-\w{4}/)
    assert.isAtMost(server.seen.length, 14)
    // Rows in flight were cut, and those after them wait for the resume.
    const partial = lines(read(cwd, "out.jsonl.partial")).length
    assert.isTrue(partial >= 7 && partial <= 10, `${partial}`)
    assert.isFalse(existsSync(join(cwd, "out.jsonl")))
  })
})

describe("large runs", () => {
  it.skipIf(!Soak.isSoak)("write row by row: 20,000 rows of 30 kB in a heap of 256 MB (promptfoo#672)", async () => {
    const cwd = folder({
      "flow.ts": `
import { Flow, Sink, Source } from "@pipe/core"
const rows = Source.fromIterable("rows", (function*() { for (let i = 0; i < 20_000; i++) yield i })())
const big = Flow.map("big", { row: rows }, ({ row }) => String(row).padEnd(30_000, "x"))
export default Flow.make("big", { outputs: [Sink.lines("out.txt", big)] })`
    })
    const { code, stderr } = await pipe(["run", "flow.ts"], { cwd, env: { NODE_OPTIONS: "--max-old-space-size=256" } })
    assert.strictEqual(code, 0, stderr)
    assert.strictEqual(statSync(join(cwd, "out.txt")).size, 20_000 * 30_001)
  })

  it("end quietly when the reader of standard output has gone", async () => {
    const cwd = folder({
      "flow.ts": `
import { Flow, Sink, Source } from "@pipe/core"
const rows = Source.fromIterable("rows", (function*() { for (let i = 0; i < 50_000; i++) yield "row " + i })())
export default Flow.make("many", { outputs: [Sink.lines("-", rows), Sink.lines("kept.txt", rows)] })`
    })
    const { code, stderr } = await pipe(["run", "flow.ts", "--quiet"], { cwd, closeStdoutAfter: 1 })
    assert.notInclude(stderr, "EPIPE")
    assert.notInclude(stderr, "    at ")
    assert.strictEqual(code, 0, stderr)
    assert.strictEqual(lines(read(cwd, "kept.txt")).length, 50_000)
  })
})
