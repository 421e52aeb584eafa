/**
 * Random edits of generated flow files: with what earlier versions have left in a store, each gives what it gives without one, and
 * only what depends on the edit is sent again.
 */
import { assert, describe, it } from "@effect/vitest"
import { Flow, type ModelClient, Runner, Stack } from "@pipe/core"
import { Effect, type Layer } from "effect"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import * as Soak from "../../../test/Soak.ts"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

/** What is edited, and which steps depend on it. */
const parts = {
  threshold: { values: ["3", "40", "64"], steps: ["a"] },
  second: { values: ['"hello"', '"bye"', '"well"'], steps: ["b"] },
  take: { values: ["1", "2", "3"], steps: ["c"] },
  deep: { values: ["1", "2", "3"], steps: ["d"] },
  word: { values: ['"x"', '"y"'], steps: ["e"] },
  helper: { values: ["text.slice(0, 4)", "text.slice(0, 5)", "text"], steps: ["f"] },
  constant: { values: ["7", "8"], steps: ["g"] },
  template: { values: ["one", "two", "three"], steps: ["h"] },
  limit: { values: ["10", "20"], steps: ["i"] },
  layer: { values: ['""', '" -- one"', '" -- two"'], steps: ["a", "b", "c", "d", "e", "f", "g", "h", "i"] },
  // Nothing depends on these.
  comment: { values: ["", "/* why */", "// because\n"], steps: [] },
  unused: { values: ["1", "2"], steps: [] },
  concurrency: { values: ["1", "4"], steps: [] },
  when: { values: ["true", "row !== 'z'"], steps: [] }
} as const

type Part = keyof typeof parts
type Version = { readonly [P in Part]: string }

/** A flow file and its helper, in two ways of formatting. */
const filesOf = (v: Version, spread: boolean) => {
  const gap = spread ? "\n    " : " "
  return {
    "template.txt": v.template,
    "helper.ts": `
const LIMIT = { used: ${v.constant}, unused: ${v.unused} }
export const shorten = (text: string): string => ${v.comment} ${v.helper}
export const limited = (text: string): boolean => text.length > LIMIT.used
`,
    "flow.ts": `
import { readFileSync } from "node:fs"
import { Flow, ModelClient, Sink, Source } from "@pipe/core"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { limited, shorten } from "./helper.ts"

export const rows = Source.fromIterable("rows", ["p", "q", "r"])
const template = readFileSync(new URL("./template.txt", import.meta.url), "utf8")
const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), (response) => response.text)
const long = (name: string, threshold: number) =>
  Flow.step(name, { row: rows }, ({ row }) =>${gap}Effect.map(ask("a " + row), (text) =>${gap}text.length > threshold), {
    concurrency: ${v.concurrency}, when: ({ row }) => ${v.when} })
const twice = (name: string, second: string) =>
  Flow.step(name, { row: rows }, ({ row }) => ${v.comment}
    Effect.flatMap(ask("b " + row), () => ask(second + " " + row)))
const top = (name: string, k: number) =>
  Flow.group(name, { row: rows }, { by: () => "all" }, ({ rows }) =>${gap}Effect.map(ask("c"), () => rows.slice(0, k).map(({ row }) => row)))
const nested = (name: string, k: number) => {
  const inner = () => ({ k })
  return Flow.step(name, { row: rows }, ({ row }) => Effect.map(ask("d " + row), (text) => [text, inner().k]))
}
class Style {
  readonly word: string
  constructor(word: string) { this.word = word }
  of(text: string): string { return this.word + text }
}
const styled = (name: string, style: Style) => Flow.step(name, { row: rows }, ({ row }) => Effect.map(ask("e " + row), (text) => style.of(text)))
export const steps = {
  a: long("a", ${v.threshold}),
  b: twice("b", ${v.second}),
  c: top("c", ${v.take}),
  d: nested("d", ${v.deep}),
  e: styled("e", new Style(${v.word})),
  f: Flow.step("f", { row: rows }, ({ row }) => Effect.map(ask("f " + row), (text) => shorten(text))),
  g: Flow.step("g", { row: rows }, ({ row }) => Effect.map(ask("g " + row), limited)),
  h: Flow.step("h", { row: rows }, ({ row }) => ask("h " + row + template)),
  ...Object.fromEntries([${v.limit}].map((limit) => ["i", Flow.step("i", { row: rows }, ({ row }) => Effect.map(ask("i " + row), (text) => text.length > limit))]))
}
export const outputs = (push: (step: string, value: unknown) => void) =>
  Object.entries(steps).map(([name, node]) => Sink.forEach(name, node as typeof steps.h, (value) => Effect.sync(() => push(name, value))))
const suffix = (words: string) => ModelClient.middleware((send) => (request) =>
  Effect.map(send(request), (response) => response._tag === "CompletionResponse"
    ? { ...response, parts: response.parts.map((part) => part.type === "text" ? { ...part, text: part.text + words } : part) } : response))
export const layer = suffix(${v.layer})
`
  }
}

interface Loaded {
  readonly outputs: (push: (step: string, value: unknown) => void) => ReadonlyArray<never>
  readonly layer: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>
}

const root = mkdtempSync(join(tmpdir(), "pipe-edits-"))
mkdirSync(join(root, "node_modules/@pipe"), { recursive: true })
symlinkSync(resolve(import.meta.dirname, ".."), join(root, "node_modules/@pipe/core"))
symlinkSync(resolve(import.meta.dirname, "../node_modules/effect"), join(root, "node_modules/effect"))
writeFileSync(join(root, "package.json"), '{"type":"module"}')

let loaded = 0

/** Loads a version as a process that starts would, and runs it: what each step gives, and which steps have asked. */
const run = (version: Version, spread: boolean, store: string) =>
  Effect.gen(function* () {
    const folder = join(root, `v${loaded++}`)
    mkdirSync(folder)
    for (const [name, text] of Object.entries(filesOf(version, spread))) writeFileSync(join(folder, name), text)
    const { layer, outputs } = (yield* Effect.promise(
      () => import(pathToFileURL(join(folder, "flow.ts")).href)
    )) as Loaded
    const asked = new Set<string>()
    const words = new Set(parts.second.values.map((value) => JSON.parse(value) as string))
    const model = Scripted.make((request) => {
      const prompt = Scripted.prompt(request)
      const first = prompt.split(" ")[0]!
      asked.add(words.has(first) ? "b" : first)
      return Scripted.response(createHash("sha256").update(prompt).digest("hex"))
    })
    const out: Record<string, Array<unknown>> = {}
    yield* Runner.run(
      Flow.make("edited", {
        outputs: outputs((step, value) => void (out[step] ??= []).push(value)),
        stack: Stack.make(layer, model.layer) as never
      }) as Flow.Flow<never>,
      { errorsFile: join(folder, "errors.jsonl") }
    ).pipe(Effect.provide(Host.layer({ store })))
    return { out, asked: [...asked].sort() }
  })

describe("random edits", () => {
  const count = Soak.times(12, 500)
  it.live(
    `${count} of them: each gives what it gives without a store, and sends again what depends on it alone`,
    () =>
      Effect.gen(function* () {
        const names = Object.keys(parts) as Array<Part>
        const draw = (seed: string, n: number) => createHash("sha256").update(seed).digest().readUInt32BE() % n
        const store = join(root, "edited.db")
        let version = Object.fromEntries(names.map((name) => [name, parts[name].values[0]])) as Version
        yield* run(version, false, store)
        let before = version
        for (let edit = 0; edit < count; edit++) {
          const part = names[draw(`part ${edit}`, names.length)]!
          const others = parts[part].values.filter((value) => value !== version[part])
          version = { ...version, [part]: others[draw(`value ${edit}`, others.length)]! }
          const spread = draw(`spread ${edit}`, 2) === 1
          const { asked, out } = yield* run(version, spread, store)
          const fresh = yield* run(version, spread, join(root, `fresh-${edit}.db`))
          const text = `edit ${edit}: ${part} from ${before[part]} to ${version[part]}`
          assert.deepStrictEqual(out, fresh.out, text)
          // What an earlier version of the same left is reused.
          const may: ReadonlyArray<string> = parts[part].steps
          assert.isTrue(
            asked.every((step) => may.includes(step)),
            `${text}: ${asked.join(", ")} sent again`
          )
          before = version
        }
        assert.isAbove(readFileSync(store).length, 0)
      }),
    Soak.timeout(120_000)
  )
})
