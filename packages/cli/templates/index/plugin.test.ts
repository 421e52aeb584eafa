/** The contract of vector indexes. */
import { test } from "node:test"
import { VectorIndexContract } from "@pipe/core/testing"
import { layer } from "./plugin.ts"

for (const { name, run } of VectorIndexContract.cases({ index: layer, recall: 0.9 })) test(name, run)
