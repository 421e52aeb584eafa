/** Every sample of the documentation runs, and gives what its comments say. */
import { assert, beforeAll, describe, it } from "vitest"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { root, samples } from "../scripts/samples.ts"
import type { Outcome } from "./docs/SampleRun.ts"

const all = samples()
const outcomes = new Map<string, Outcome>()

/** One process for all of them: importing the packages takes longer than running a sample. */
const runAll = async (): Promise<string> => {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, "docs/SampleRun.ts")], {
    stdio: ["pipe", "pipe", "pipe"]
  })
  child.stdin.end(JSON.stringify(all))
  child.stdout.resume()
  // A sample that hangs ends the process: those after it fail.
  const hanging = setTimeout(() => child.kill("SIGKILL"), 200_000)
  let rest = ""
  for await (const line of readline.createInterface({ input: child.stderr })) {
    if (!line.startsWith("{")) rest += `${line}\n`
    else {
      const outcome: Outcome = JSON.parse(line)
      outcomes.set(outcome.name, outcome)
    }
  }
  clearTimeout(hanging)
  return rest
}

describe("the samples of the documentation", () => {
  let rest = ""
  beforeAll(async () => {
    rest = await runAll()
  }, 240_000)

  it("write what a value is as `// => value`", () => {
    const other = all.filter(({ code }) => /\/\/ ?(?:->|=>\S)|^\s*\/\/ =>/m.test(code))
    assert.deepStrictEqual(
      other.map(({ document, line }) => `${document}:${line}`),
      []
    )
  })

  it("open the pages that show one thing with a flow that runs", () => {
    const guides = [
      "decisions",
      "embeddings",
      "files",
      "from-code",
      "local-servers",
      "messages",
      "parameters",
      "rows",
      "several-calls",
      "testing",
      "tools"
    ]
    const opening = [
      ...guides.map((name) => `docs/guides/${name}.md`),
      "docs/start/install.md",
      "docs/start/effect.md",
      "docs/operate/ci.md"
    ]
    for (const page of opening) {
      const text = readFileSync(path.join(root, page), "utf8")
      const first = text.slice(0, text.indexOf("```")).split("\n").length
      const sample = all.find(({ document, line }) => document === page && line === first)
      assert.include(sample?.code ?? "", "Flow.make(", page)
      assert.isNotEmpty(outcomes.get(sample!.name)?.used, page)
    }
  })

  for (const { document, line, name } of all) {
    it(`${document}:${line}`, () => {
      const outcome = outcomes.get(name)
      assert.isDefined(outcome, rest)
      assert.deepStrictEqual(outcome?.failures, [])
      assert.isNotEmpty(outcome?.used, "the sample compares and defines nothing that can run")
    })
  }
})
