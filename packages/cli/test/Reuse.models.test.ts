/** Reuse by meaning from the command line, with the local embedder. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"
import { folder, pipe } from "./Pipe.ts"
import { files, type Options, rows } from "./ReuseFlow.ts"

const at = (options: Options) => folder(files(options))

const few = rows.filter((_, at) => at % 6 === 0)

const jsonlOf = (some: typeof rows) => some.map((row) => JSON.stringify(row)).join("\n")

const csvOf = (some: typeof rows) =>
  `text,intent\n${some.map(({ intent, text }) => `"${text}",${intent}`).join("\n")}\n`

describe("pipe cache eval", { concurrent: false }, () => {
  it.skipIf(!Soak.isSoak)(
    "shows what would be reused on texts with their answers, beside thresholds, and draws it",
    async () => {
      const cwd = folder({
        "labelled.jsonl": jsonlOf(rows),
        "labelled.csv": csvOf(rows),
        "few.jsonl": jsonlOf(few),
        "few.csv": csvOf(few)
      })
      const args = ["--answer", "intent", "--max-error-rate", "0.05", "--shuffles", "2"]
      const shown = await pipe(["cache", "eval", "labelled.csv", ...args, "--svg", "curve.svg"], { cwd })
      assert.strictEqual(shown.code, 0, shown.stderr)
      assert.include(shown.stdout, `${rows.length} texts, 2 random orders`)
      assert.match(shown.stdout, /5\.0 % +\d+\.\d % +\d+\.\d % +0\.0 %/)
      assert.include(shown.stdout, "●")
      assert.match(readFileSync(join(cwd, "curve.svg"), "utf8"), /^<svg xmlns/)
      const json = await pipe(["cache", "eval", "labelled.jsonl", ...args, "--json"], { cwd })
      const evaluation = JSON.parse(json.stdout)
      assert.strictEqual(evaluation.outcomes[0].trials.length, 2)
      for (const { lookups, reused, wrong } of evaluation.outcomes[0].trials) {
        assert.strictEqual(lookups, rows.length)
        assert.isAbove(reused, 0)
        assert.isAtMost(wrong, reused)
      }
      // The same seed, the same orders, whatever the format.
      const [one, other] = [
        await pipe(["cache", "eval", "few.jsonl", ...args, "--json"], { cwd }),
        await pipe(["cache", "eval", "few.csv", ...args, "--json"], { cwd })
      ]
      assert.deepStrictEqual(JSON.parse(other.stdout), JSON.parse(one.stdout))
    }
  )

  it("takes pairs", async () => {
    const pairs = rows.slice(0, 60).flatMap((row, index) => [
      { a: row.text, b: rows[(index + 1) % 60]!.text, same: true },
      { a: row.text, b: rows[index + 200]!.text, same: false }
    ])
    const cwd = folder({ "pairs.jsonl": pairs.map((pair) => JSON.stringify(pair)).join("\n") })
    const shown = await pipe(["cache", "eval", "pairs.jsonl"], { cwd })
    assert.strictEqual(shown.code, 0, shown.stderr)
    assert.include(shown.stdout, "120 pairs")
  }, 60_000)
})

describe("a run that reuses", { concurrent: false }, () => {
  it.skipIf(!Soak.isSoak)(
    "reports what was reused and packed, counts it in the cache, and forgets it when it is cleared",
    async () => {
      const cwd = at({
        step: "reuse: { maxErrorRate: 0.05, audit: 0.1 }, pack: { size: 10 }",
        layers: "SemanticCache.layer().pipe(Layer.provide([LocalEmbedder.layer, Usearch.layer])), Pack.layer(),"
      })
      const run = await pipe(["run", "flow.ts", "--simulate"], { cwd })
      assert.strictEqual(run.code, 0, run.stderr)
      // The simulator's answers to different texts differ: nothing can be reused, and nothing is.
      assert.match(run.stderr, /label: 0 of \d+ answers reused by meaning; none audited yet/)
      assert.match(
        run.stderr,
        /label: \d+ texts in \d+ packed prompts, 0 sent again; \d+ of \d+ compared answers agree/
      )
      const stats = await pipe(["cache", "stats", "--simulate"], { cwd })
      assert.match(stats.stdout, /by meaning +\d+ answers, 288 vectors/)
      const cleared = await pipe(["cache", "clear", "--simulate", "--yes"], { cwd })
      assert.match(cleared.stdout, /reusable by meaning/)
      assert.notInclude((await pipe(["cache", "stats", "--simulate"], { cwd })).stdout, "by meaning")
      assert.isTrue(existsSync(join(cwd, "out.simulated.jsonl")))
    },
    120_000
  )
})
