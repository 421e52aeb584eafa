/** What a user gets: the tarballs of core and plugins, installed outside the workspace, run by plain Node. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as PluginTemplate from "../src/commands/init/PluginTemplate.ts"
import * as Template from "../src/commands/init/Template.ts"
import * as Soak from "../../../test/Soak.ts"
import * as Packages from "../../../scripts/packages.ts"

const root = path.resolve(import.meta.dirname, "../../..")
const read = (file: string) => JSON.parse(fs.readFileSync(file, "utf8"))

/** Without what the package manager that started the tests told its children. */
const env: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(?:npm_|pnpm_|NODE_OPTIONS|NODE_PATH|VITEST)/i.test(name))
)

const exec = (command: string, args: ReadonlyArray<string>, cwd: string): string => {
  try {
    return execFileSync(command, args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
  } catch (error) {
    const { stderr, stdout } = error as { readonly stderr?: string; readonly stdout?: string }
    throw new Error(`${[command, ...args].join(" ")} failed:\n${stdout ?? ""}${stderr ?? ""}`, { cause: error })
  }
}

const flow = `
import { Flow, ModelClient, Runner, Sink, Source } from "@pipe/core"
import * as Money from "@pipe/core/Money"
import { NodeHost } from "@pipe/plugins"
import { Effect } from "effect"

const out: Array<number> = []
const numbers = Source.fromIterable("numbers", [1, 2, 3])
const doubled = Flow.map("doubled", { n: numbers }, ({ n }: { readonly n: number }) => n * 2)
const flow = Flow.make("double", {
  outputs: [Sink.forEach("collect", doubled, (n) => Effect.sync(() => out.push(n)))]
})

await Effect.runPromise(Runner.run(flow).pipe(Effect.provide(NodeHost.layerMemory)))
console.log(JSON.stringify({ out, usd: Money.toUsd(Money.perMillionTokens(0.02)), client: typeof ModelClient.ModelClient }))
`

const simulated = `
import { Flow, Ledger, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"

const out: Array<string> = []
const program = Effect.gen(function*() {
  const simulator = yield* Simulator.start({ answer: ({ prompt }) => prompt.includes("bee") ? "Biene" : "Bienenstock" })
  const words = Source.fromIterable("words", ["bee", "hive"])
  const german = Flow.step("german", { word: words }, ({ word }) =>
    LanguageModel.generateText({ prompt: \`Translate: \${word}\` }).pipe(Effect.map((r) => r.text)))
  const flow = Flow.make("translate", {
    outputs: [Sink.forEach("collect", german, (text) => Effect.sync(() => out.push(text)))],
    stack: Stack.make(Ledger.layer, OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "test" }))
  })
  yield* Runner.run(flow).pipe(Effect.provide(NodeHost.layerMemory))
})
await Effect.runPromise(Effect.scoped(program))
console.log(JSON.stringify(out))
`

describe("the packed packages", { timeout: 120_000 }, () => {
  let folder = ""

  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "pipe-pack-"))
    const { tarballs } = await Packages.make()
    const { peerDependencies } = read(path.join(root, "packages/plugins/package.json"))
    fs.writeFileSync(
      path.join(folder, "package.json"),
      JSON.stringify({ name: "outside", private: true, type: "module" })
    )
    exec(
      "npm",
      [
        "install",
        "--prefer-offline",
        "--no-audit",
        "--no-fund",
        ...["core", "plugins"].map((name) => tarballs[name]!),
        "esbuild@0.28.2",
        ...["effect", "@effect/platform-node"].map((name) => `${name}@${peerDependencies[name]}`)
      ],
      folder
    )
  }, 120_000)

  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

  it("hold the licence, the code and its declarations, no test and no build state", () => {
    for (const name of ["core", "plugins"]) {
      const installed = path.join(folder, "node_modules/@pipe", name)
      const manifest = read(path.join(installed, "package.json"))
      assert.isTrue(fs.existsSync(path.join(installed, "LICENSE")))
      assert.deepStrictEqual(
        fs
          .readdirSync(installed)
          .filter((file) => file !== "node_modules")
          .sort(),
        ["LICENSE", "dist", "package.json", "src"]
      )
      assert.notInclude(fs.readdirSync(path.join(installed, "dist")), ".tsbuildinfo")
      assert.notMatch(JSON.stringify(manifest), /"(?:workspace|catalog):/)
      for (const target of Object.values<string | Record<string, string>>(manifest.exports)) {
        for (const file of typeof target === "string" ? [target] : Object.values(target)) {
          assert.isTrue(fs.existsSync(path.join(installed, file)), `${name} exports ${file}, which is not there`)
        }
      }
    }
  })

  it("run a flow under plain Node, without the optional peers", () => {
    assert.isFalse(fs.existsSync(path.join(folder, "node_modules/openai")))
    fs.writeFileSync(path.join(folder, "flow.ts"), flow)
    const lines = exec(process.execPath, ["flow.ts"], folder).trim().split("\n")
    assert.deepStrictEqual(JSON.parse(lines.at(-1)!), { out: [2, 4, 6], usd: "0.00000002", client: "function" })
  })

  it("are bundled without the optional peers (pkg-06)", () => {
    fs.writeFileSync(
      path.join(folder, "bundled.ts"),
      flow.replace("{ NodeHost }", "{ Anthropic, LocalEmbedder, NodeHost, OpenAi, PgVector, Postgres, Redis, Usearch }")
        + "\nexport const all = [Anthropic, LocalEmbedder, OpenAi, PgVector, Postgres, Redis, Usearch]\n"
    )
    const banner = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
    exec(
      path.join(folder, "node_modules/.bin/esbuild"),
      ["bundled.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=bundled.mjs", `--banner:js=${banner}`],
      folder
    )
    const lines = exec(process.execPath, ["bundled.mjs"], folder).trim().split("\n")
    assert.deepInclude(JSON.parse(lines.at(-1)!), { out: [2, 4, 6] })
  })

  it("type-check from outside, declarations and all, without the optional peers (pkg-02)", () => {
    fs.writeFileSync(
      path.join(folder, "flow.ts"),
      `${flow}\nimport * as Plugins from "@pipe/plugins"\nexport const all = Object.keys(Plugins)\n`
    )
    fs.writeFileSync(
      path.join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          target: "ES2024",
          module: "NodeNext",
          strict: true,
          noEmit: true,
          skipLibCheck: false,
          types: ["node"],
          typeRoots: [path.join(root, "node_modules/@types")]
        },
        files: ["flow.ts"]
      })
    )
    exec(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", "."], folder)
  })

  it("hold the plugins of `pipe init --plugin` to their contracts, by Node's own test runner, and type-check them", () => {
    for (const kind of Soak.isSoak ? PluginTemplate.kinds : PluginTemplate.kinds.slice(0, 1)) {
      const plugin = path.join(folder, `a-${kind}`)
      fs.mkdirSync(plugin)
      for (const [name, text] of PluginTemplate.filesOf(kind, "ts")) fs.writeFileSync(path.join(plugin, name), text)
    }
    const { compilerOptions } = JSON.parse(Template.projectFiles[0]![1]) as { readonly compilerOptions: object }
    const typeRoots = [path.join(root, "node_modules/@types")]
    fs.writeFileSync(
      path.join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions: { ...compilerOptions, typeRoots }, include: ["a-*/*.ts"] })
    )
    const tsc = path.join(root, "node_modules/typescript/bin/tsc")
    exec(process.execPath, [tsc, "-p", "."], folder)
    // In one process: each would load the packages again.
    const tests = PluginTemplate.kinds.map((kind) => path.join(folder, `a-${kind}`, "plugin.test.ts"))
    const outcome = exec(process.execPath, ["--test", "--test-isolation=none", "--test-reporter=tap", ...tests], folder)
    assert.match(outcome, /^# fail 0$/m)
    assert.match(outcome, /^# pass [1-9]\d\d?$/m)
  })

  it("call a model without an SDK", () => {
    for (const peer of ["openai", "@anthropic-ai/sdk"]) {
      assert.isFalse(fs.existsSync(path.join(folder, "node_modules", peer)))
    }
    fs.writeFileSync(path.join(folder, "simulated.ts"), simulated)
    const lines = exec(process.execPath, ["simulated.ts"], folder).trim().split("\n")
    assert.deepStrictEqual(JSON.parse(lines.at(-1)!), ["Biene", "Bienenstock"])
  })

  it("say at once which package batches need: nothing is sent and nothing retried", () => {
    const batched = simulated
      .replace("Runner.run(flow)", "Effect.flip(Runner.run(flow, { batch: {} }))")
      .replace("yield* Effect.flip", "const failure = yield* Effect.flip")
      .replace(
        "})\nawait Effect.runPromise(Effect.scoped(program))",
        "  out.push(failure.message)\n})\nawait Effect.runPromise(Effect.scoped(program))"
      )
    fs.writeFileSync(path.join(folder, "batched.ts"), batched)
    const lines = exec(process.execPath, ["batched.ts"], folder).trim().split("\n")
    assert.match(lines.at(-1)!, /needs the package openai, which is not installed: npm install openai@/)
  })
})
