/** The outputs that the documentation shows are those of the commands above them. `pnpm outputs` updates them. */
import { assert, describe, it } from "vitest"
import * as Soak from "./Soak.ts"
import { blocksIn, outputsOf, pagesWithOutputs, stable } from "../scripts/outputs.ts"

describe("the outputs of the documentation", () => {
  it("are on the pages that a reader sees first, and in each guide", () => {
    assert.includeMembers(
      [...pagesWithOutputs()],
      [
        "README.md",
        "docs/start/first-flow.md",
        ...["answers", "batches", "cut-costs", "reuse", "routing", "runs"].map((name) => `docs/guides/${name}.md`)
      ]
    )
  })

  // The longest of them start twenty commands: they are tried where there is time.
  const long = ["batches", "cut-costs", "routing", "runs"].map((name) => `docs/guides/${name}.md`)

  for (const page of pagesWithOutputs()) {
    it.skipIf(!Soak.isSoak && long.includes(page))(
      page,
      () => {
        const outputs = outputsOf(page)
        assert.strictEqual(
          outputs.length,
          blocksIn(page),
          "an output block follows an sh block, with an empty line between"
        )
        for (const { actual, line, shown } of outputs)
          assert.strictEqual(stable(actual), stable(shown), `${page}:${line}`)
      },
      120_000
    )
  }
})
