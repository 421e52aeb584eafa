/** The check of the structure finds what it is there to find. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Structure from "../scripts/structure.ts"

const clean: Record<string, string> = {
  "core/package.json": `{ "exports": { ".": "./src/index.ts", "./A": "./src/data/A.ts" } }`,
  "plugins/package.json": `{ "exports": { ".": "./src/index.ts" } }`,
  "core/src/index.ts": `export * as A from "./data/A.ts"\n`,
  "core/src/data/A.ts": `/** import * as L from "../layers/L.ts" */\nexport const quote = /["\`]/\nexport const text = \`\nimport "../layers/L.ts"\n\`\n`,
  "core/src/data/B.ts": `import * as A from "./A.ts"\nexport const b = A\n`,
  "core/src/layers/L.ts": `import * as A from "../data/A.ts"\nimport type * as M from "./M.ts"\nexport const l: typeof M = A as any\n`,
  "core/src/layers/M.ts": `export {}\n`,
  "core/src/store/S.ts": `import "node:sqlite"\n`,
  "plugins/src/P.ts": `import * as A from "@pipe/core/A"\nexport const p = A\n`
}

describe("scripts/structure.ts", () => {
  let folder = ""
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "pipe-structure-"))
  })
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

  const check = (changes: Record<string, string>) => {
    const root = fs.mkdtempSync(path.join(folder, "case-"))
    for (const [file, text] of Object.entries({ ...clean, ...changes })) {
      const at = path.join(root, "packages", file)
      fs.mkdirSync(path.dirname(at), { recursive: true })
      fs.writeFileSync(at, text)
    }
    return Structure.check(root).problems
  }

  it("passes what keeps the order, and reads no import in comments and templates", () => {
    assert.deepStrictEqual(check({}), [])
  })

  const cases: ReadonlyArray<readonly [name: string, file: string, text: string, problem: string]> = [
    [
      "a cycle",
      "core/src/data/A.ts",
      `import "./B.ts"`,
      "core/src/data/A.ts: cycle: packages/core/src/data/A.ts -> packages/core/src/data/B.ts -> packages/core/src/data/A.ts"
    ],
    [
      "a rank, for types too",
      "core/src/data/A.ts",
      `import type * as L from "../layers/L.ts"`,
      "core/src/data/A.ts:1: rank: data/ imports ../layers/L.ts; layers/ stands below it"
    ],
    [
      "a rank of import()",
      "core/src/data/A.ts",
      `export const l = () => import("../layers/L.ts")`,
      "core/src/data/A.ts:1: rank: data/ imports ../layers/L.ts; layers/ stands below it"
    ],
    [
      "a folder without a rank",
      "core/src/odd/O.ts",
      "export {}",
      "core/src/odd/O.ts: rank: the folder odd/ has no place in the list of ranks"
    ],
    [
      "a layer that imports a layer",
      "core/src/layers/L.ts",
      `import {\n  m\n} from "./M.ts"`,
      "core/src/layers/L.ts:1: rank: a layer imports the layer ./M.ts; only its types may be"
    ],
    [
      "an index of its own",
      "core/src/store/S.ts",
      `import { A } from "../index.ts"`,
      "core/src/store/S.ts:1: barrel: ../index.ts is an index; import the module itself"
    ],
    [
      "an index of a package",
      "plugins/src/P.ts",
      `\nimport { A } from "@pipe/core"`,
      "plugins/src/P.ts:2: barrel: @pipe/core is an index; import the module itself"
    ],
    [
      "a node: module in core",
      "core/src/data/A.ts",
      `import "node:fs"`,
      "core/src/data/A.ts:1: node: core imports node:fs outside file/ and store/ and closure/"
    ],
    [
      "the wrong direction",
      "core/src/data/A.ts",
      `import "@pipe/plugins/P"`,
      "core/src/data/A.ts:1: direction: core imports plugins; the way is cli -> plugins -> core"
    ],
    [
      "a way out of the package",
      "plugins/src/P.ts",
      `export * from "../../core/src/data/A.ts"`,
      "plugins/src/P.ts:1: direction: ../../core/src/data/A.ts leaves the package; import @pipe/core by a subpath"
    ]
  ]
  for (const [name, file, text, problem] of cases) {
    it(`finds ${name}`, () => {
      assert.deepStrictEqual(check({ [file]: text }), [`packages/${problem}`])
    })
  }
})
