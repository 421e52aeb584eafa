/** The contract of sources. */
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { SourceContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Schema } from "effect"
import { records } from "./plugin.ts"

const path = join(mkdtempSync(join(tmpdir(), "records-")), "records.txt")
writeFileSync(path, "id: 1\ntext: a tree\n\nid: 2\ntext: a bee: two\n\nname: no id\n")

const cases = SourceContract.cases({
  source: records("records", { path, schema: Schema.Struct({ id: Schema.String, text: Schema.String }) }),
  rows: [
    { id: "1", text: "a tree" },
    { id: "2", text: "a bee: two" }
  ],
  failing: 1,
  host: NodeHost.layerMemory
})
for (const { name, run } of cases) test(name, run)
