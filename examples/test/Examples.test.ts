import { assert, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import { resolve } from "node:path"
import { folder, pipe } from "../../packages/cli/test/Pipe.ts"

const examples = resolve(import.meta.dirname, "..")

describe("every example runs without a key", { concurrent: false }, () => {
  for (const name of readdirSync(examples).filter((entry) => /^\d\d-(?!reuse)/.test(entry))) {
    it(name, async () => {
      const { code, stderr } = await pipe(["run", resolve(examples, name, "flow.ts"), "--simulate", "--overwrite"], {
        cwd: folder()
      })
      assert.strictEqual(code, 0, stderr)
      assert.include(stderr, "total cost")
    })
  }
})
