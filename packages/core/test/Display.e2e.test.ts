/** What an author's editor shows: the types of nodes as they are printed, and the words of the errors. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import * as Soak from "../../../test/Soak.ts"

const root = resolve(import.meta.dirname, "../../..")
/** Inside the workspace, so that its packages are found. */
mkdirSync(join(root, "node_modules/.cache"), { recursive: true })
const folder = mkdtempSync(join(root, "node_modules/.cache/display-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Compiles one file: its printed declarations, and the compiler's words. */
const compile = (name: string, code: string): { readonly types: string; readonly errors: string } => {
  const at = join(folder, name)
  mkdirSync(at)
  writeFileSync(
    join(at, "flow.ts"),
    `import { Flow, Sink, Source } from "@pipe/core"
import { Context, Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
const reviews = Source.jsonl("reviews", { path: "r.jsonl", schema: Schema.Struct({ id: Schema.Int, text: Schema.String }) })
${code}
export {}
`
  )
  writeFileSync(
    join(at, "tsconfig.json"),
    JSON.stringify({
      extends: "../../../../tsconfig.base.json",
      compilerOptions: {
        noEmit: false,
        emitDeclarationOnly: true,
        declarationMap: false,
        sourceMap: false,
        outDir: "out",
        rootDir: root
      },
      include: ["flow.ts"]
    })
  )
  let errors = ""
  try {
    execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", at], { encoding: "utf8", stdio: "pipe" })
  } catch (error) {
    errors = (error as { readonly stdout: string }).stdout
  }
  const types = errors === "" ? readFileSync(join(at, "out", relative(root, at), "flow.d.ts"), "utf8") : ""
  return { types: types.replace(/\s+/g, " "), errors: errors.replace(/\s+/g, " ") }
}

describe("an editor shows", () => {
  it.skipIf(!Soak.isSoak)("the value of a node first, in the author's own terms", () => {
    const { errors, types } = compile(
      "types",
      `export const english = Flow.step("english", { review: reviews }, ({ review }) =>
  LanguageModel.generateText({ prompt: review.text }).pipe(Effect.map((r) => r.text)))
export const long = Flow.step("long", { english }, ({ english }) => Effect.succeed(english.length), { when: ({ english }) => english !== "" })
export const list = Flow.step("list", { english }, () => Effect.succeed(true), { samples: 2 })`
    )
    assert.strictEqual(errors, "")
    assert.match(types, /english: (?:import\([^)]*\)|\w+)\.Node<string, /)
    assert.match(types, /long: (?:import\([^)]*\)|\w+)\.Node<number \| undefined, /)
    assert.match(types, /list: (?:import\([^)]*\)|\w+)\.Node<(?:readonly boolean\[\]|ReadonlyArray<boolean>), /)
  })

  it("what is missing, by its name, where a flow cannot run", () => {
    const { errors } = compile(
      "missing",
      `class Dictionary extends Context.Service<Dictionary, { readonly look: string }>()("Dictionary") {}
const word = Flow.step("word", { review: reviews }, () => Effect.map(Dictionary, (d) => d.look))
export default Flow.make("f", { outputs: [Sink.jsonl("o.jsonl", { word })] })`
    )
    assert.include(errors, "this flow needs services that nothing provides")
    assert.include(errors, "flow.ts(7,")
  })

  it.skipIf(!Soak.isSoak)("the inputs that there are, where a function reads another", () => {
    const { errors } = compile("input", `Flow.map("x", { review: reviews }, ({ reveiw }) => reveiw)`)
    assert.include(errors, "Property 'reveiw' does not exist")
    assert.include(errors, "review")
  })
})
