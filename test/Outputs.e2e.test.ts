/** The outputs that the documentation shows are those of the commands above them. `pnpm outputs` updates them. */
import { assert, describe, it } from "vitest"
import { outputsOf, pagesWithOutputs, stable } from "../scripts/outputs.ts"

describe("the outputs of the documentation", () => {
  for (const page of pagesWithOutputs()) {
    it(
      page,
      () => {
        const outputs = outputsOf(page)
        assert.isNotEmpty(outputs, "an output block follows an sh block, with an empty line between")
        for (const { actual, line, shown } of outputs)
          assert.strictEqual(stable(actual), stable(shown), `${page}:${line}`)
      },
      120_000
    )
  }
})
