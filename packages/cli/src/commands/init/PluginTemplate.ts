/** The files of a new plugin: a layer, a provider, a source or an output, and a test that holds it to its contract. */
import type { Extension } from "./Template.ts"

/** What a plugin is. */
export const kinds = ["layer", "provider", "source", "sink"] as const

export type Kind = (typeof kinds)[number]

const layer = `/** Adds a request for an answer in German to every prompt. Put \`german()\` into a Stack.make. */
import { ModelClient, ModelRequest } from "@pipe/core"

/** \`mapRequest\` changes requests. For layers that do more, see "Write a plugin". */
export const german = (words = "Answer in German.") =>
  ModelClient.mapRequest(
    (request) => ModelRequest.mapText(request, (text, role) => (role === "user" ? \`\${text}\\n\\n\${words}\` : text)),
    { name: "German" }
  )
`

const layerTest = `/** The laws of layers: plans, caches, batches, resuming and the ledger work with it. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { ModelClient, ModelRequest } from "@pipe/core"
import { LayerLaws, TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { german } from "./plugin.ts"

for (const { name, run } of LayerLaws.cases({ layers: [german()], host: NodeHost.layerMemory })) test(name, run)

test("the prompt asks for German", async () => {
  const model = TestModel.make(() => "Baum")
  const request = ModelRequest.completion({ messages: [{ role: "user", content: "tree" }] })
  const stack = Layer.provide(german(), model.layer)
  await Effect.runPromise(Effect.provide(ModelClient.send(request), stack))
  assert.deepEqual(model.calls().map(({ prompt }) => prompt), ["tree\\n\\nAnswer in German."])
})
`

const provider = `/** The provider of an API. Put \`layer({ model: "nimbus-1" })\` at the end of a Stack.make. */
import { ModelRequest } from "@pipe/core"
import { type Connection, Operation, Provider } from "@pipe/plugins/provider"
import { Schema } from "effect"

/** An answer, as the API sends it. */
const Answer = Schema.Struct({
  text: Schema.String,
  stop: Schema.String,
  tokens: Schema.Struct({ input: Schema.Int, output: Schema.Int })
})

/** The key is NIMBUS_API_KEY, unless an option gives it. */
export const layer = (options: Connection.Options = {}) =>
  Provider.layer(
    {
      name: "nimbus",
      baseUrl: "https://api.nimbus.example",
      completion: Operation.completion({
        path: "/v1/answer",
        accepts: ["maxTokens", "temperature"],
        body: (request, model) => ({
          model,
          prompt: ModelRequest.text(request),
          max_tokens: request.settings.maxTokens,
          temperature: request.settings.temperature
        }),
        answer: Answer,
        read: ({ stop, text, tokens }) => ({ text, finishReason: stop, usage: tokens })
      }),
      // USD per million tokens.
      prices: { "nimbus-1": { input: 2, output: 10 } }
    },
    options
  )
`

const providerTest = `/** The contract of providers, over a server that answers for the API. */
import { test } from "node:test"
import { ModelClientContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Recording } from "@pipe/plugins/testing"
import { layer } from "./plugin.ts"

const cases = ModelClientContract.cases({
  provider: (endpoint) => layer({ model: "nimbus-1", ...endpoint }),
  // Answers come from plugin.recorded.json. To record them again, with your key:
  // PIPE_RECORD=1 NIMBUS_API_KEY=… npm test
  server: Recording.serve({
    file: new URL("plugin.recorded.json", import.meta.url),
    upstream: "https://api.nimbus.example",
    apiKey: "NIMBUS_API_KEY"
  }),
  host: NodeHost.layerMemory
})
for (const { name, run } of cases) test(name, run)
`

const recorded = `${JSON.stringify(
  {
    exchanges: [
      {
        request: { method: "POST", path: "/v1/answer", body: { model: "nimbus-1", prompt: "Say hello." } },
        response: {
          status: 200,
          headers: { "content-type": "application/json" },
          body: { text: "Hello.", stop: "stop", tokens: { input: 3, output: 2 } }
        }
      }
    ]
  },
  undefined,
  2
)}\n`

const source = `/** Reads records of lines "name: value", with an empty line between them. */
import { Source } from "@pipe/core"
import { Effect, FileSystem, Schema, Stream } from "effect"

/** The rows of a file. A record that does not fit the schema fails alone, with the line at which it begins. */
export const records = <A>(name: string, options: { readonly path: string; readonly schema: Schema.Codec<A, unknown> }) =>
  Source.make(name, {
    schema: options.schema,
    open: Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      let line = 0
      let record: { [name: string]: string } = {}
      const closed = (): ReadonlyArray<Source.SourceRow> => {
        const value = record
        record = {}
        const at = line - Object.keys(value).length
        return Object.keys(value).length === 0 ? [] : [{ position: \`\${options.path}:\${at}\`, value }]
      }
      const lines = fs.stream(options.path).pipe(Stream.decodeText, Stream.splitLines)
      const rows = Stream.concat(lines, Stream.make("")).pipe(
        Stream.map((text) => {
          line++
          if (text.trim() === "") return closed()
          const [field = "", ...rest] = text.split(":")
          record[field.trim()] = rest.join(":").trim()
          return []
        }),
        Stream.flattenIterable
      )
      return { rows }
    })
  })
`

const sourceTest = `/** The contract of sources. */
import { writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { SourceContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Schema } from "effect"
import { records } from "./plugin.ts"

const path = join(tmpdir(), \`records-\${process.pid}.txt\`)
writeFileSync(path, "id: 1\\ntext: a tree\\n\\nid: 2\\ntext: a bee: two\\n\\nname: no id\\n")

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
`

const sink = `/** Writes records of lines "name: value", with an empty line between them. */
import { type Node, Sink } from "@pipe/core"
import { Effect, FileSystem } from "effect"

/** The rows in a file, which appears when the run is complete. */
export const records = <A extends object>(path: string, rows: Node.Node<A>) =>
  Sink.make(path, rows, {
    open: Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const partial = \`\${path}.partial\`
      yield* fs.writeFileString(partial, "")
      const textOf = (row: A) =>
        Object.entries(row)
          .map(([name, value]) => \`\${name}: \${String(value)}\\n\`)
          .join("") + "\\n"
      return {
        write: (some) => fs.writeFileString(partial, some.map(textOf).join(""), { flag: "a" }),
        finish: fs.rename(partial, path)
      }
    })
  })
`

const sinkTest = `/** The contract of outputs. */
import { readFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { SinkContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Effect } from "effect"
import { records } from "./plugin.ts"

const path = join(tmpdir(), \`records-\${process.pid}.txt\`)

const cases = SinkContract.cases({
  sink: (rows) => records(path, rows),
  rows: [{ id: "1" }, { id: "2" }, { id: "3" }],
  written: Effect.promise(async () => (await readFile(path, "utf8")).trimEnd().split("\\n\\n")),
  expected: ["id: 1", "id: 2", "id: 3"],
  host: NodeHost.layerMemory
})
for (const { name, run } of cases) test(name, run)
`

const files: { readonly [K in Kind]: readonly [plugin: string, test: string] } = {
  layer: [layer, layerTest],
  provider: [provider, providerTest],
  source: [source, sourceTest],
  sink: [sink, sinkTest]
}

/** The files of a plugin. */
export const filesOf = (kind: Kind, extension: Extension): ReadonlyArray<readonly [name: string, text: string]> => [
  [`plugin.${extension}`, files[kind][0]],
  [`plugin.test.${extension}`, files[kind][1].replace("./plugin.ts", `./plugin.${extension}`)],
  ...(kind === "provider" ? [["plugin.recorded.json", recorded] as const] : [])
]
