/** The fields that `docs/reference/json.md` lists by hand are those that the commands print. */
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@pipe/plugins"
import { Effect } from "effect"
import { others } from "../../../scripts/reference/json.ts"
import * as BatchFlows from "./BatchFlows.ts"
import { flow, folder, pipe } from "./Pipe.ts"
import { at, envOf, simulated } from "./TunedFlow.ts"

/** Every object has all fields that are not optional, and none that the page does not list. */
const compare = (command: string, printed: string): void => {
  const listed = others.find(([commands]) => commands.split(", ").includes(command))?.[2]
  assert.isDefined(listed, command)
  const known = new Set(listed?.map(([name]) => name))
  const required = listed?.filter(([, type]) => !type.endsWith(", optional")).map(([name]) => name) ?? []
  const objects = printed
    .trim()
    .split("\n")
    .map((line): Record<string, unknown> => JSON.parse(line))
  for (const object of objects) {
    const found = Object.keys(object)
    assert.deepStrictEqual(
      found.filter((name) => !known.has(name)),
      [],
      `${command} prints fields that the page does not list`
    )
    assert.deepStrictEqual(
      required.filter((name) => !found.includes(name)),
      [],
      `${command} lacks fields that the page lists`
    )
  }
}

const printed = async (command: string, args: ReadonlyArray<string>, options: Parameters<typeof pipe>[1]) => {
  const { stderr, stdout } = await pipe(args, options)
  assert.isNotEmpty(stdout, `${command}: ${stderr}`)
  compare(command, stdout)
}

describe("the JSON output that the reference lists", { concurrent: false }, () => {
  it("of runs, failed rows, cache and doctor", async () => {
    const source = `Source.fromIterable("rows", ["bee", "hive"])`
    const cwd = folder({
      "flow.ts": flow({ source }).replace(
        "(r) => r.text)))",
        `(r) => { if (row === "bee") throw new Error("no bees"); return r.text })))`
      )
    })
    await pipe(["run", "flow.ts", "--simulate", "--quiet"], { cwd })
    const simulate = ["--simulate", "--json"]
    await printed("pipe runs --json", ["runs", ...simulate], { cwd })
    await printed("pipe show --json", ["show", "last", ...simulate], { cwd })
    await printed("pipe show --failed --json", ["show", "last", "--failed", ...simulate], { cwd })
    await printed("pipe show --row --json", ["show", "last", "--row", "rows[1]", ...simulate], { cwd })
    await printed("pipe show --sample --json", ["show", "last", "--sample", "2", ...simulate], { cwd })
    await printed("pipe cache stats --json", ["cache", "stats", ...simulate], { cwd })
    await printed("pipe doctor --json", ["doctor", "--json"], { cwd })
  })

  it.live("of batches", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "1 hour" } })
        const options = { cwd: folder(BatchFlows.files("openai", 3)), env: BatchFlows.envOf(simulator) }
        yield* Effect.promise(() => pipe(["run", "flow.ts", "--batch", "--detach"], options))
        yield* Effect.promise(() => printed("pipe batches --json", ["batches", "--json"], options))
      })
    )
  )

  it.live("of a tuning and its check", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const env = envOf(yield* Simulator.start(simulated()))
        const cwd = at()
        yield* Effect.promise(() =>
          printed("pipe tune --json", ["tune", "flow.ts", "--sample", "300", "--json"], { cwd, env })
        )
        yield* Effect.promise(() =>
          printed("pipe tune --check --json", ["tune", "flow.ts", "--check", "--json"], { cwd, env })
        )
      })
    )
  )
})
