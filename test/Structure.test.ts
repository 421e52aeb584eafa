/** The check of the structure finds what it is there to find. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Structure from "../scripts/structure.ts"

const clean: Record<string, string> = {
  "core/package.json": `{ "exports": { ".": "./src/index.ts", "./A": "./src/encoding/A.ts" } }`,
  "plugins/package.json": `{ "exports": { ".": "./src/index.ts" } }`,
  "core/src/index.ts": `export * as A from "./encoding/A.ts"\n`,
  "core/src/encoding/A.ts": `/** import * as L from "../cache/L.ts" */\nexport const quote = /["\`]/\nexport const text = \`\nimport "../cache/L.ts"\n\`\n`,
  "core/src/encoding/B.ts": `import * as A from "./A.ts"\nexport const b = A\n`,
  "core/src/cache/L.ts": `import * as A from "../encoding/A.ts"\nexport const l = A\n`,
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
      "core/src/encoding/A.ts",
      `import "./B.ts"`,
      "core/src/encoding/A.ts: cycle: packages/core/src/encoding/A.ts -> packages/core/src/encoding/B.ts -> packages/core/src/encoding/A.ts"
    ],
    [
      "a cycle of types",
      "core/src/encoding/A.ts",
      `import type * as L from "../cache/L.ts"`,
      "core/src/encoding/A.ts: cycle: packages/core/src/encoding/A.ts -> packages/core/src/cache/L.ts -> packages/core/src/encoding/A.ts"
    ],
    [
      "a cycle through import()",
      "core/src/encoding/A.ts",
      `export const l = () => import("../cache/L.ts")`,
      "core/src/encoding/A.ts: cycle: packages/core/src/encoding/A.ts -> packages/core/src/cache/L.ts -> packages/core/src/encoding/A.ts"
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
      "core/src/encoding/A.ts",
      `import "node:fs"`,
      "core/src/encoding/A.ts:1: node: core imports node:fs outside file/, store/, closure/, testing/, encoding/ContentHash.ts"
    ],
    [
      "the wrong direction",
      "core/src/encoding/A.ts",
      `import "@pipe/plugins/P"`,
      "core/src/encoding/A.ts:1: direction: core imports plugins; the way is cli -> plugins -> core"
    ],
    [
      "a way out of the package",
      "plugins/src/P.ts",
      `export * from "../../core/src/encoding/A.ts"`,
      "plugins/src/P.ts:1: direction: ../../core/src/encoding/A.ts leaves the package; import @pipe/core by a subpath"
    ]
  ]
  for (const [name, file, text, problem] of cases) {
    it(`finds ${name}`, () => {
      assert.deepStrictEqual(check({ [file]: text }), [`packages/${problem}`])
    })
  }
})
