/** The plugins hold to the public contracts, and so do those of a third party. */
import { describe, it } from "@effect/vitest"
import { CacheStore, Sink, Source, Store } from "@pipe/core"
import {
  CacheStoreContract,
  type Case,
  ModelClientContract,
  SinkContract,
  SourceContract,
  VectorIndexContract
} from "@pipe/core/testing"
import { Anthropic, NodeHost, OpenAi, Simulator, Usearch } from "@pipe/plugins"
import { Effect, FileSystem, Layer, Schema } from "effect"
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Nimbus from "./Nimbus.ts"
import * as NimbusKit from "./NimbusKit.ts"

/** Cases of a contract may share a place: they run one at a time. */
const register = (cases: ReadonlyArray<Case.Case>): void => {
  for (const { name, run } of cases) it(name, { concurrent: false }, run)
}

const folder = () => mkdtempSync(join(tmpdir(), "pipe-contracts-"))

const host = NodeHost.layerMemory

describe("OpenAI, by its pool and by its SDK", () => {
  for (const transport of ["pool", "sdk"] as const) {
    const server = Effect.map(Simulator.start(), ({ openAiUrl }) => ({ baseUrl: openAiUrl, apiKey: "none" }))
    const provider = (endpoint: ModelClientContract.Endpoint) =>
      OpenAi.layer({ model: "gpt-4o-mini", transport, ...endpoint })
    describe(transport, () => {
      register(ModelClientContract.cases({ provider, server, host }))
    })
  }
})

describe("Anthropic", () => {
  const server = Effect.map(Simulator.start(), ({ anthropicUrl }) => ({ baseUrl: anthropicUrl, apiKey: "none" }))
  const provider = (endpoint: ModelClientContract.Endpoint) =>
    Anthropic.layer({ model: "claude-haiku-4-5", ...endpoint })
  register(ModelClientContract.cases({ provider, server, host }))
})

describe("a third party's provider", () => {
  const server = Effect.map(Nimbus.start({ key: "nimbus-key-1", models: ["nimbus-1"] }), ({ url }) => ({
    baseUrl: url,
    apiKey: "nimbus-key-1"
  }))
  const provider = (endpoint: ModelClientContract.Endpoint) => NimbusKit.layer({ model: "nimbus-1", ...endpoint })
  register(ModelClientContract.cases({ provider, server, host }))
})

describe("stores of the exact cache", () => {
  const store = Layer.provide(Store.layerCache, NodeHost.layer({ store: join(folder(), "pipe.db") }))
  describe("in a file", () => {
    register(CacheStoreContract.cases({ store, isKept: true }))
  })
  describe("in memory", () => {
    register(CacheStoreContract.cases({ store: CacheStore.layerMemory() }))
  })
})

describe("the exact index", () => {
  register(VectorIndexContract.cases({ index: Layer.empty }))
})

describe("Usearch", () => {
  register(VectorIndexContract.cases({ index: Usearch.layer, folder: folder() }))
})

const Row = Schema.Struct({ id: Schema.Int, text: Schema.String })
const rows = [1, 2, 3, 4].map((id) => ({ id, text: `row ${id}, "quoted"` }))

describe("sources of files", () => {
  const at = folder()
  const write = (name: string, text: string): string => {
    writeFileSync(join(at, name), text)
    return join(at, name)
  }
  const lines = rows.map((row) => JSON.stringify(row))
  const sources = {
    jsonl: Source.jsonl("rows", { path: write("rows.jsonl", [...lines, '{"id":"x"}', ""].join("\n")), schema: Row }),
    json: Source.json("rows", { path: write("rows.json", `[${[...lines, "7"].join(",")}]`), schema: Row }),
    csv: Source.csv("rows", {
      path: write(
        "rows.csv",
        ["id,text", ...rows.map(({ id, text }) => `${id},"${text.replaceAll('"', '""')}"`), "x,y"].join("\n")
      ),
      schema: Schema.Struct({ id: Schema.Int, text: Schema.String })
    })
  }
  for (const [name, source] of Object.entries(sources)) {
    describe(name, () => {
      register(SourceContract.cases({ source, rows, failing: 1, host }))
    })
  }
})

describe("outputs in files", () => {
  const written = (path: string, read: (text: string) => ReadonlyArray<unknown>) =>
    Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.map(fs.readFileString(path), read))
  const at = folder()
  const ofLines = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown)
  const [jsonl, json] = [join(at, "out.jsonl"), join(at, "out.json")]
  describe("jsonl", () => {
    register(
      SinkContract.cases({ sink: (node) => Sink.jsonl(jsonl, node), rows, written: written(jsonl, ofLines), host })
    )
  })
  describe("json", () => {
    register(
      SinkContract.cases({
        sink: (node) => Sink.json(json, node),
        rows,
        written: written(json, (text) => JSON.parse(text) as ReadonlyArray<unknown>),
        host
      })
    )
  })
})
