/**
 * Runs the documentation's samples, each in a folder of its own, and prints one line of JSON for each. Every module is imported, each
 * `expression // => value` compared, and what a sample defines is used: flows run, nodes and sinks in a flow, layers below a step,
 * effects with a model; all on simulated answers.
 */
import { Flow, Ledger, ModelClient, type Node, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { type Operation, Provider } from "@pipe/plugins/provider"
import { Context, Effect, Layer, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { gzipSync } from "node:zlib"
import { pathToFileURL } from "node:url"
import type { Sample } from "../../scripts/samples.ts"

export interface Outcome {
  readonly name: string
  /** What was compared or used: `default: flow`. */
  readonly used: ReadonlyArray<string>
  readonly failures: ReadonlyArray<string>
}

/** They need a database, which the tests of their modules start. */
const SERVERS = /"(?:postgres|redis):\/\//

const simulated = Layer.mergeAll(NodeHost.layerMemory, Simulator.layer({ seed: "samples" }))
const provider = OpenAi.layer({ model: "gpt-4o-mini", embeddings: "text-embedding-3-small" })
const question = Source.fromIterable("questions", ["Where is my card?"])
const answer = Flow.step("answer", { question }, ({ question }) =>
  Effect.map(LanguageModel.generateText({ prompt: question }), ({ text }) => text)
)

const has = (value: unknown, key: string): boolean => typeof value === "object" && value !== null && key in value
const isNode = (value: unknown): value is Node.Node<unknown> => has(value, "~@pipe/core/Node")
const isSink = (value: unknown): value is Sink.Sink<never, never> => has(value, "~@pipe/core/Sink")

/** A flow that calls no provider needs no simulator, which replaces only providers. */
const runFlow = async (flow: Flow.Any): Promise<string> => {
  const host = flow.stack === undefined ? NodeHost.layerMemory : simulated
  const summary = await Effect.runPromise(Runner.run(flow).pipe(Effect.provide(host)))
  if (summary.status !== "done" || summary.rows.failed > 0) {
    const rows = summary.errorsFile === undefined ? "" : fs.readFileSync(summary.errorsFile, "utf8")
    throw new Error(`the run is ${summary.status}, ${summary.rows.failed} rows failed: ${rows}`)
  }
  return "flow"
}

/** A model's layer answers a row; another is only built. */
const runLayer = async (
  layer: Layer.Layer<ModelClient.ModelClient, unknown, ModelClient.ModelClient>
): Promise<string> => {
  const isModel = await Effect.runPromise(
    Effect.scoped(Layer.build(layer.pipe(Layer.provide(provider), Layer.provide(simulated)))).pipe(
      Effect.map((context) => Context.getOption(context, ModelClient.ModelClient)._tag === "Some")
    )
  )
  if (!isModel) return "service"
  const outputs = [Sink.jsonl("answers.jsonl", { answer })]
  // A provider may name no model of its own.
  const settings = { model: "gpt-4o-mini" }
  await runFlow(Flow.make("layer", { outputs, settings, stack: Stack.make(Ledger.layer, layer, provider) }))
  return "layer"
}

/** An operation of a provider, by its parts. */
const isOperation = (value: unknown): value is Operation.CompletionOperation =>
  has(value, "path") && has(value, "body") && has(value, "format")

const use = async (value: unknown): Promise<string | undefined> => {
  if (Flow.isFlow(value)) return runFlow(value)
  // A function of nothing makes what is used; any other is only type-checked.
  if (typeof value === "function") return value.length === 0 ? use(value()) : "function"
  if (isOperation(value)) {
    const definition = { name: "sample", baseUrl: "https://api.sample.example", completion: value }
    return runLayer(Provider.layer(definition, { apiKey: "sample-key", model: "sample-1" }))
  }
  const stack = Stack.make(Ledger.layer, provider)
  if (isNode(value)) {
    await runFlow(Flow.make("node", { outputs: [Sink.jsonl("node.jsonl", { value })], stack }))
    return "node"
  }
  if (isSink(value)) {
    await runFlow(Flow.make("sink", { outputs: [value], stack }))
    return "sink"
  }
  if (Layer.isLayer(value)) {
    return runLayer(value as Layer.Layer<ModelClient.ModelClient, unknown, ModelClient.ModelClient>)
  }
  if (Stream.isStream(value)) return use(Stream.runDrain(value as Stream.Stream<unknown>))
  if (Effect.isEffect(value) && !(value instanceof Error)) {
    const one = Flow.step("one", { question }, () => Effect.as(value as Effect.Effect<unknown>, "done"))
    await runFlow(Flow.make("effect", { outputs: [Sink.jsonl("one.jsonl", { one })], stack }))
    return "effect"
  }
  return undefined
}

const folder = (): string => {
  const made = fs.mkdtempSync(path.join(tmpdir(), "pipe-sample-"))
  for (const name of ["words.txt", "handbook.txt", "questions.txt"])
    fs.writeFileSync(path.join(made, name), "tree\nbee\n")
  fs.mkdirSync(path.join(made, "docs"))
  fs.writeFileSync(path.join(made, "docs", "page.md"), "# A page\n\nOf two paragraphs.\n")
  fs.mkdirSync(path.join(made, "exports"))
  fs.writeFileSync(
    path.join(made, "exports", "reviews.csv.gz"),
    gzipSync(
      "id,stars,when,review.text\n1,5,2026-11-30T00:00:00.000Z,A lovely lamp.\n2,,2026-11-30T00:00:00.000Z,None\n"
    )
  )
  fs.writeFileSync(
    path.join(made, "reviews.jsonl"),
    `${JSON.stringify({ id: "1", product: "lamp", text: "A lovely lamp." })}\n`
  )
  return made
}

const out = path.resolve(import.meta.dirname, "../../out/run-samples")

const run = async ({ code, name }: Sample): Promise<Outcome> => {
  const failures: Array<string> = []
  const used: Array<string> = [...code.matchAll(/ \/\/ => (.+)$/gm)].map(([, value]) => value!)
  const attempt = async (what: string, body: () => Promise<void>) =>
    body().catch((cause: unknown) =>
      failures.push(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`)
    )
  const names = [...code.matchAll(/^(?:export )?const (\w+)/gm)].map(([, found]) => found!)
  const compared = code.replace(/^(?! *\/\/)(.+?) +\/\/ => (.+)$/gm, "same($1, () => ($2))")
  const same = pathToFileURL(path.join(import.meta.dirname, "Same.ts")).href
  const file = path.join(out, `${name}.ts`)
  fs.writeFileSync(
    file,
    `import { same } from "${same}"\n${compared}\nvoid same\nexport const samples = { ${names.join(", ")} }\n`
  )
  process.chdir(folder())
  await attempt("import", async () => {
    const module: { readonly default?: unknown; readonly samples: Readonly<Record<string, unknown>> } = await import(
      pathToFileURL(file).href
    )
    if (SERVERS.test(code) || code.includes('"node:test"')) {
      used.push("imported")
      return
    }
    for (const [key, value] of Object.entries({ ...module.samples, default: module.default })) {
      await attempt(key, async () => {
        const as = await use(value)
        if (as !== undefined) used.push(`${key}: ${as}`)
      })
    }
  })
  return { name, used, failures }
}

process.env["OPENAI_API_KEY"] = "sk-sample"
process.env["ANTHROPIC_API_KEY"] = "sk-ant-sample"
process.env["OPENAI_KEY_A"] = "sk-sample-a"
process.env["OPENAI_KEY_B"] = "sk-sample-b"
fs.mkdirSync(out, { recursive: true })
const samples: ReadonlyArray<Sample> = JSON.parse(fs.readFileSync(0, "utf8"))
for (const sample of samples) {
  const outcome = await run(sample)
  process.stderr.write(`${JSON.stringify(outcome)}\n`)
}
process.exit(0)
