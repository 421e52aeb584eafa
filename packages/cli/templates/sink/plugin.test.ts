/** The contract of outputs. */
import { mkdtempSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { SinkContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect } from "effect"
import { records } from "./plugin.ts"

const path = join(mkdtempSync(join(tmpdir(), "records-")), "records.txt")

const cases = SinkContract.cases({
  sink: (rows) => records(path, rows),
  rows: [{ id: "1" }, { id: "2" }, { id: "3" }],
  written: Effect.promise(async () => (await readFile(path, "utf8")).trimEnd().split("\n\n")),
  expected: ["id: 1", "id: 2", "id: 3"],
  host: NodeHost.layerMemory
})
for (const { name, run } of cases) test(name, run)
