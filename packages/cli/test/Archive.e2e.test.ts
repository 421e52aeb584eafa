/** The installed command reads its modules and those of its packages from one file, and each is one all the same. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import * as Packages from "../../../scripts/packages.ts"
import { isSoak } from "../../../test/Soak.ts"
import { environment, folder } from "./Flows.ts"

/** A flow with modules that the archive has and lacks, and with a layer of another package. */
const FLOW = `
import { Cache, Flow, Ledger, ModelClient, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import * as OwnRetry from "@pipe/core/Retry"
import { Effect, Schema } from "effect"
import * as OwnEffect from "effect/Effect"
import { LanguageModel } from "effect/ai"
import * as Model from "effect/schema/Model"
import * as other from "pipe-other"

const isOne = Effect.gen === OwnEffect.gen && Retry.layer === OwnRetry.layer && other.Effect.gen === Effect.gen
  && other.ModelClient.ModelClient === ModelClient.ModelClient && typeof Model.Class === "function"
console.error("one of each: " + isOne)

const decode = Schema.decodeUnknownSync(Schema.Struct({ what: Schema.String }))
const rows = Source.fromIterable("rows", ["bee", "hive"])
const answer = Flow.step("answer", { row: rows }, ({ row }) =>
  LanguageModel.generateObject({ schema: Schema.Struct({ what: Schema.String }), prompt: "Say something of " + row }).pipe(Effect.map((r) => decode(r.value))))
export default Flow.make("test", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer })],
  stack: Stack.make(Ledger.layer, other.layer, Cache.layer(), Retry.layer(), OpenAi.layer({ model: "gpt-4o-mini" }))
})
`

const OTHER = `
import { ModelClient } from "@pipe/core"
import { Effect } from "effect"
export { Effect, ModelClient }
export const layer = ModelClient.middleware((send) => (request) => send(request), { name: "Other", answers: false })
`

/** A project with copies of the installed packages, and one of a third party. */
const project = (app: string): string => {
  const cwd = folder({
    "flow.ts": FLOW,
    "package.json": JSON.stringify({ name: "project", type: "module", private: true }),
    "node_modules/pipe-other/index.js": OTHER,
    "node_modules/pipe-other/package.json": JSON.stringify({
      name: "pipe-other",
      type: "module",
      exports: "./index.js"
    })
  })
  const modules = path.join(cwd, "node_modules")
  for (const name of fs.readdirSync(path.join(app, "node_modules")))
    if (name !== "@pipe") fs.symlinkSync(path.join(app, "node_modules", name), path.join(modules, name))
  fs.cpSync(path.join(app, "node_modules/@pipe"), path.join(modules, "@pipe"), { recursive: true })
  return cwd
}

const run = (cwd: string, ...args: ReadonlyArray<string>) =>
  promisify(execFile)(process.execPath, [path.join(cwd, "node_modules/@pipe/cli/dist/bin.js"), ...args], {
    cwd,
    env: environment()
  }).catch((error: { readonly stdout: string; readonly stderr: string }) => error)

/** Changes a file of the same length. */
const change = (file: string, from: string, to: string): void => {
  const text = fs.readFileSync(file, "utf8")
  assert.include(text, from)
  fs.writeFileSync(file, text.replaceAll(from, to))
}

const SAID = "no such flow file"
const CHANGED = "no such FLOW file"

describe("the archive of modules", () => {
  let cwd: string
  const inCli = (file: string): string => path.join(cwd, "node_modules/@pipe/cli/dist", file)
  /** The message about a file that does not exist: it is in the archive, and in a file of `main`. */
  const message = async () => (await run(cwd, "run", "nothing.ts")).stderr

  beforeAll(async () => {
    cwd = project((await Packages.make()).app)
  }, 240_000)

  it("is where modules are read from; a flow and its packages have the same ones, and nothing is computed again without it", async () => {
    const first = await run(cwd, "run", "flow.ts", "--simulate")
    assert.include(first.stderr, "one of each: true")
    assert.lengthOf(fs.readFileSync(path.join(cwd, "out.simulated.jsonl"), "utf8").trim().split("\n"), 2)
    fs.renameSync(inCli("archive"), inCli("away"))
    const without = await run(cwd, "run", "flow.ts", "--simulate")
    fs.renameSync(inCli("away"), inCli("archive"))
    assert.include(without.stderr, "one of each: true")
    assert.include(without.stderr, "reused: answer 2 of 2 rows")
    assert.include(await message(), SAID)
    change(inCli("archive/modules.txt"), SAID, CHANGED)
    assert.include(await message(), CHANGED)
  })

  it.skipIf(!isSoak)("is left alone where a package is of another version, or a file was changed", async () => {
    assert.include(await message(), CHANGED)
    const index = JSON.parse(fs.readFileSync(inCli("archive/index.json"), "utf8")) as {
      readonly packages: ReadonlyArray<{ readonly name: string; version: string }>
    }
    const text = JSON.stringify(index)
    for (const one of index.packages) {
      const { version } = one
      one.version = "0.0.1"
      fs.writeFileSync(inCli("archive/index.json"), JSON.stringify(index))
      assert.notInclude(await message(), CHANGED, one.name)
      one.version = version
    }
    fs.writeFileSync(inCli("archive/index.json"), text)
    assert.include(await message(), CHANGED)
    const [file] = fs
      .readdirSync(inCli("main"))
      .filter((name) => name.endsWith(".js") && fs.readFileSync(inCli(`main/${name}`), "utf8").includes(SAID))
    fs.appendFileSync(inCli(`main/${file}`), "\n// changed\n")
    assert.notInclude(await message(), CHANGED)
  })

  it("does not stand in the way of a message about a package that is not installed", async () => {
    fs.writeFileSync(path.join(cwd, "missing.ts"), `import "no-such-package"\n`)
    assert.include(
      (await run(cwd, "run", "missing.ts", "--simulate")).stderr,
      "imports no-such-package, which is not installed"
    )
  })

  it("is not needed for the help of a command", async () => {
    for (const command of ["run", "plan", "prices", "ui", "store"])
      assert.match((await run(cwd, command, "--help")).stdout, new RegExp(`pipe ${command}`), command)
  })
})
