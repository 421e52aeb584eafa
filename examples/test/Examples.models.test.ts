import { assert, describe, it } from "@effect/vitest"
import { resolve } from "node:path"
import { folder, pipe } from "../../packages/cli/test/Pipe.ts"
import * as Soak from "../../test/Soak.ts"

describe("the example of reuse by meaning", () => {
  it.skipIf(!Soak.isSoak)("runs without a key", async () => {
    const flow = resolve(import.meta.dirname, "../08-reuse/flow.ts")
    const { code, stderr } = await pipe(["run", flow, "--simulate", "--overwrite"], { cwd: folder() })
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, "total cost")
  })
})
