/** The contract of stores of answers. */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { CacheStoreContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Layer } from "effect"
import { jsonl } from "./plugin.ts"

const path = join(mkdtempSync(join(tmpdir(), "cache-")), "answers.jsonl")
const store = Layer.provide(jsonl(path), NodeHost.layerMemory)
for (const { name, run } of CacheStoreContract.cases({ store, isKept: true })) test(name, run)
