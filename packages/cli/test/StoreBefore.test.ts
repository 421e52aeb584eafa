/**
 * A store of an earlier version: the runs, results, cached answers, learned routing and reuse in `fixtures/store-0.1`, which
 * `make.ts` there has left at 30f434a, are what this version finds.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { gunzipSync } from "node:zlib"
import { lines } from "./Flows.ts"
import { folder, pipe } from "./Pipe.ts"
import * as Server from "./fixtures/store-0.1/server.ts"

const fixture = resolve(import.meta.dirname, "fixtures/store-0.1")
const read = (name: string) => readFileSync(join(fixture, name), "utf8")

const setUp = Effect.gen(function* () {
  const asked: Array<string> = []
  const { env } = yield* Server.start((prompt) => asked.push(prompt))
  const kept = readdirSync(fixture).filter((name) => !/^(make|server)\.ts$|\.gz$/.test(name))
  const cwd = folder({
    "package.json": '{"type": "module"}',
    ...Object.fromEntries(kept.map((name) => [name, read(name)]))
  })
  mkdirSync(join(cwd, ".pipe"))
  writeFileSync(join(cwd, ".pipe/pipe.db"), gunzipSync(readFileSync(join(fixture, "pipe.db.gz"))))
  return {
    asked,
    cwd,
    output: (name: string) => readFileSync(join(cwd, name), "utf8"),
    pipe: (...args: ReadonlyArray<string>) => Effect.promise(() => pipe(args, { cwd, env }))
  }
})

/** A report without what that version did not know: calls of layers' own. */
const known = (report: string): unknown =>
  JSON.parse(report, (key, value) => (key === "asides" && value === "0" ? undefined : value))

describe("a store of the version before", { concurrent: false }, () => {
  it.live("reports its runs as they were reported", () =>
    Effect.gen(function* () {
      const test = yield* setUp
      const reports: { readonly [run: string]: unknown } = JSON.parse(read("reports.json"))
      const runs = lines((yield* test.pipe("runs", "--json")).stdout).map((line) => JSON.parse(line))
      assert.deepStrictEqual(runs.map(({ run }) => run).sort(), Object.keys(reports).sort())
      for (const [run, report] of Object.entries(reports)) {
        const { code, stderr, stdout } = yield* test.pipe("report", run, "--json")
        assert.strictEqual(code, 0, stderr)
        assert.deepStrictEqual(known(stdout), report)
      }
    })
  )

  it.live("resumes the run that was killed: no answer is asked for twice", () =>
    Effect.gen(function* () {
      const test = yield* setUp
      const { code, stderr } = yield* test.pipe("resume")
      // Three rows fail by the flow's own code.
      assert.strictEqual(code, 1, stderr)
      assert.strictEqual(lines(test.output("verdicts.jsonl")).length, 57)
      // Kept when it was killed: 44 of 60 translations and 28 of 57 verdicts.
      assert.strictEqual(test.asked.length, 16 + 29)
    })
  )

  for (const [flow, output] of [
    ["questions", "labels.jsonl"],
    ["products", "products.out.jsonl"],
    ["words", "words.jsonl"]
  ] as const) {
    it.live(`has the results of ${flow}.ts, and the answers where a step is another`, () =>
      Effect.gen(function* () {
        const test = yield* setUp
        writeFileSync(join(test.cwd, output), "")
        const again = yield* test.pipe("run", `${flow}.ts`)
        assert.strictEqual(again.code, 0, again.stderr)
        assert.strictEqual(test.output(output), read(output))
        assert.deepStrictEqual(test.asked, [])

        const source = read(`${flow}.ts`)
        writeFileSync(
          join(test.cwd, `${flow}.ts`),
          source.replaceAll("(response) => response.text", '(response) => response.text + ""')
        )
        const edited = yield* test.pipe("run", `${flow}.ts`)
        assert.strictEqual(edited.code, 0, edited.stderr)
        assert.strictEqual(test.output(output), read(output))
        assert.deepStrictEqual(test.asked, [])
      })
    )
  }
})
