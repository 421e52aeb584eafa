/** Each file of the corpus has its right rows and its refusals. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { oddFiles } from "./OddFiles.ts"
import { read } from "./ReadSource.ts"

/** Paths as their last part, and instances as their fields. */
const shown = (row: unknown): unknown =>
  typeof row !== "object" || row === null || Array.isArray(row)
    ? row
    : { ...row, ...("path" in row ? { path: String(row.path).replace(/^.*\//, "") } : {}) }

describe("an odd file", () => {
  for (const { bytes, ends, failed = [], name, read: source, rows, says } of oddFiles) {
    it.live(name, () =>
      Effect.gen(function* () {
        const path = join(mkdtempSync(join(tmpdir(), "pipe-odd-")), "rows")
        writeFileSync(path, bytes)
        const found = yield* read(source(path))
        assert.deepStrictEqual(found.rows.map(shown), rows)
        assert.deepStrictEqual(
          found.failed.map(([position]) => position),
          failed.map(([position]) => position)
        )
        for (const [at, [, message]] of found.failed.entries()) assert.include(message, failed[at]![1])
        if (ends === undefined) assert.isUndefined(found.failure)
        else assert.include(found.failure, ends)
        if (says !== undefined) assert.include(found.said, says)
      })
    )
  }
})
