/** A source of any size is read and written in flat memory: rows are neither gathered nor kept. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { writeFileSync } from "node:fs"
import * as Soak from "../../../test/Soak.ts"
import { environment } from "./Flows.ts"
import { bin, folder } from "./Process.ts"

/** Bytes of input: a gigabyte when soaking. */
const SIZE = Soak.times(24, 1024) * 1024 * 1024

/** A process that reads it whole would need more than this, in kilobytes. */
const MOST = Soak.times(700, 900) * 1024

const formats = {
  jsonl: { head: "", row: (at: number, text: string) => `{"id":${at},"text":"${text}"}\n`, source: "jsonl" },
  csv: { head: "id,text\n", row: (at: number, text: string) => `${at},"${text}"\n`, source: "csv" }
} as const

/** Writes rows of a kilobyte to standard output, as its reader takes them. */
const writer = (format: keyof typeof formats): string => `
import { once } from "node:events"
const row = ${formats[format].row.toString()}
const text = "x".repeat(1000)
process.stdout.write(${JSON.stringify(formats[format].head)})
for (let at = 0, bytes = 0; bytes < ${SIZE}; ) {
  let group = ""
  for (let i = 0; i < 256; i++) group += row(at++, text)
  bytes += group.length
  if (!process.stdout.write(group)) await once(process.stdout, "drain")
}
`

const flow = (source: string): string => `
import { Flow, Sink, Source } from "@pipe/core"
import { Schema } from "effect"
process.on("exit", () => process.stderr.write("peak " + process.resourceUsage().maxRSS + "\\n"))
const row = Source.${source}("rows", { path: "-", schema: Schema.Struct({ id: Schema.Int, text: Schema.String }) })
const size = Flow.map("size", { row }, ({ row }) => ({ id: row.id, size: row.text.length }))
export default Flow.make("big", { outputs: [Sink.${source}("out.${source}", size)] })
`

describe("a source that is larger than memory should be", () => {
  for (const format of ["jsonl", "csv"] as const) {
    it(
      `is streamed (${format})`,
      () => {
        const cwd = folder({ "flow.ts": flow(formats[format].source) })
        writeFileSync(join(cwd, "rows.mjs"), writer(format))
        const { status, stderr } = spawnSync("bash", ["-c", `$NODE rows.mjs | $NODE ${bin} run flow.ts -q`], {
          cwd,
          encoding: "utf8",
          timeout: Soak.timeout(120_000),
          env: environment({ NODE: process.execPath }) as NodeJS.ProcessEnv
        })
        assert.strictEqual(status, 0, stderr)
        const peak = Number(/peak (\d+)/.exec(stderr)?.[1])
        assert.isBelow(peak, MOST)
      },
      Soak.timeout(150_000)
    )
  }
})
