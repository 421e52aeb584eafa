/** A project from nothing, by a user who has the README alone: from the tarballs, in clean folders, on each Node. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import * as Packages from "../../../scripts/packages.ts"
import * as Soak from "../../../test/Soak.ts"

/** Without what the package manager that started the tests told its children. */
const env: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_|pnpm_|NODE_OPTIONS|NODE_PATH|VITEST|OPENAI_|ANTHROPIC_|PIPE_)/i.test(name)
  )
)

const exec = (command: string, args: ReadonlyArray<string>, cwd: string, more: NodeJS.ProcessEnv = {}) => {
  const { status, stderr, stdout } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...env, ...more },
    timeout: 120_000
  })
  return { code: status, stdout, stderr, all: `${command} ${args.join(" ")}\n${stdout}${stderr}` }
}

const succeed = (...given: Parameters<typeof exec>) => {
  const outcome = exec(...given)
  assert.strictEqual(outcome.code, 0, outcome.all)
  return outcome
}

const folder = () => mkdtempSync(join(realpathSync(tmpdir()), "pipe-init-"))

const read = (...path: ReadonlyArray<string>) => readFileSync(join(...path), "utf8")

/** Runtimes as npm has them. The newest ones are tried in the soak: they are installed for it alone. */
const RUNTIMES: { readonly [name: string]: string } = {
  "20": "npm:node@20",
  "22.19": "npm:node@22.19.0",
  ...(Soak.isSoak ? { "26": "npm:node@26" } : undefined)
}

let tarballs: ReadonlyArray<string> = []
let project = ""
let runtimes = ""

const runtime = (name: string): string => join(runtimes, "node_modules", `node-${name}`, "bin/node")

/** Another command, beside which this one continues. */
const start = (command: string, args: ReadonlyArray<string>, cwd: string) =>
  new Promise<{ readonly code: number | null; readonly all: string }>((done) => {
    const child = spawn(command, args, { cwd, env })
    let all = ""
    child.stdout.on("data", (chunk) => (all += chunk))
    child.stderr.on("data", (chunk) => (all += chunk))
    child.on("close", (code) => done({ code, all }))
  })

beforeAll(async () => {
  tarballs = Object.values((await Packages.make()).tarballs)
  const root = folder()
  runtimes = folder()
  writeFileSync(join(runtimes, "package.json"), "{}")
  const wanted = Object.entries(RUNTIMES).map(([name, source]) => `node-${name}@${source}`)
  const installing = start(
    "npm",
    ["install", "--prefer-offline", "--no-audit", "--no-fund", ...wanted, ...(Soak.isSoak ? ["deno@2.9.6"] : [])],
    runtimes
  )
  // One command, from nothing to a priced, simulated result.
  const { all, code } = await start(
    "npm",
    [
      "exec",
      "--yes",
      "--prefer-offline",
      ...tarballs.map((file) => `--package=${file}`),
      "--",
      "pipe",
      "init",
      "my-flow"
    ],
    root
  )
  assert.strictEqual(code, 0, all)
  assert.match(all, /reviews: done in .*: 3 rows read/)
  assert.match(all, /total cost +\$0\.0000\d+/)
  project = join(root, "my-flow")
  await installing
}, 240_000)

const inProject = (command: string, ...args: ReadonlyArray<string>) => succeed(command, args, project)

describe("a new project", { concurrent: false, timeout: 120_000 }, () => {
  it("has what it needs, exactly", () => {
    const manifest = JSON.parse(read(project, "package.json"))
    assert.strictEqual(manifest.type, "module")
    assert.deepInclude(manifest.dependencies, { effect: "4.1.0", "@effect/platform-node": "4.1.0" })
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
      assert.match(String(version), /^(?:\d+\.\d+\.\d+|file:\/.*\.tgz)$/, name)
    }
    assert.includeMembers(read(project, ".gitignore").split("\n"), [".pipe/", "node_modules/", ".env"])
    assert.isTrue(existsSync(join(project, "verdicts.simulated.jsonl")))
    assert.isFalse(existsSync(join(project, "verdicts.jsonl")))
    // The versions are those that the packages are tested with.
    const catalog = read(resolve(import.meta.dirname, "../../../pnpm-workspace.yaml"))
    for (const name of ["typescript", "@types/node", "effect", "@effect/platform-node"]) {
      const version = { ...manifest.dependencies, ...manifest.devDependencies }[name]
      assert.match(catalog, new RegExp(`"?${name.replace("/", "\\/")}"?: ${version}\\n`))
    }
  })

  it("is tested, checked, run again, edited, planned, reported and looked at by the commands of the README", () => {
    inProject("npm", "test")
    inProject("npx", "tsc")
    assert.include(inProject("node_modules/.bin/pipe", "run", "flow.ts", "--simulate").all, "reused: verdict 3 of 3")
    const flow = join(project, "flow.ts")
    writeFileSync(flow, readFileSync(flow, "utf8").replaceAll("positive or negative", "good or bad"))
    assert.include(
      inProject("node_modules/.bin/pipe", "run", "flow.ts", "--simulate", "--explain").all,
      "has other code"
    )
    assert.match(inProject("npx", "pipe", "plan", "flow.ts").stdout, /3 rows, 3 calls to pay, \$0\.000/)
    assert.match(inProject("node_modules/.bin/pipe", "runs").stdout, /reviews \(simulated\)/)
    inProject("node_modules/.bin/pipe", "show")
    assert.include(inProject("node_modules/.bin/pipe", "report").stdout, "reviews.simulated.report.html")
    const doctor = inProject("node_modules/.bin/pipe", "doctor", "--offline").stdout
    assert.match(doctor, /✓ project .*package\.json: modules/)
    assert.match(doctor, /openai is not installed .*: npm install openai@\^/)
  })

  it("has the page of its runs, from the command that is installed", async () => {
    const child = spawn(join(project, "node_modules/.bin/pipe"), ["ui", "last"], { cwd: project, env })
    try {
      const address = await new Promise<string>((found, failed) => {
        let said = ""
        const hear = (chunk: Buffer) => {
          said += String(chunk)
          const address = /http:\/\/127\.0\.0\.1:\S+/.exec(said)?.[0]
          if (address !== undefined) found(address)
        }
        child.stdout.on("data", hear)
        child.stderr.on("data", hear)
        child.on("close", () => failed(new Error(said)))
      })
      const first = await fetch(address, { redirect: "manual" })
      const cookie = first.headers.get("set-cookie")!.split(";")[0]!
      for (const [path, words] of [
        ["/", "/page.js"],
        ["/page.js", "review"],
        ["/page.css", ".grid"],
        ["/api/runs", "reviews"]
      ] as const) {
        const reply = await fetch(new URL(path, address), { headers: { cookie } })
        assert.strictEqual(reply.status, 200, path)
        assert.include(await reply.text(), words)
      }
    } finally {
      child.kill("SIGTERM")
    }
  })

  it("says in one line which package is missing, and how it is installed", () => {
    const text = read(project, "flow.ts").replace("{ OpenAi }", "{ Anthropic }")
    writeFileSync(
      join(project, "anthropic.ts"),
      text.replace(/OpenAi\.layer\([^)]*\)/, `Anthropic.layer({ model: "claude-haiku-4-5", transport: "sdk" })`)
    )
    const { code, stderr } = exec("npx", ["pipe", "run", "anthropic.ts", "-q"], project, {
      ANTHROPIC_API_KEY: "sk-none-0123456789"
    })
    assert.strictEqual(code, 2)
    assert.match(
      stderr.trim(),
      /^Anthropic by its SDK \(transport, batches\) needs the package @anthropic-ai\/sdk, which is not installed: npm install @anthropic-ai\/sdk@\^\S+$/
    )
  })

  for (const name of Object.keys(RUNTIMES)) {
    // The oldest one is tried by its refusal where time is short.
    it.skipIf(!Soak.isSoak && name !== "20")(
      name === "20" ? "is refused in one line by Node 20" : `runs on Node ${name}`,
      () => {
        const { code, stderr } = exec(
          runtime(name),
          ["node_modules/@pipe/cli/dist/bin.js", "run", "flow.ts", "--simulate", "--no-cache"],
          project
        )
        if (name === "20") {
          assert.strictEqual(code, 1)
          assert.match(
            stderr,
            /^pipe needs Node\.js 22\.19 or newer, and this is 20\.\d+\.\d+: install one from nodejs\.org\n$/
          )
        } else {
          assert.strictEqual(code, 0, stderr)
          assert.include(stderr, "3 rows read")
          assert.notInclude(stderr, "Warning")
        }
      }
    )
  }

  it.skipIf(!Soak.isSoak)("runs on Deno, without reuse from run to run", () => {
    const deno = readdirSync(join(runtimes, "node_modules/@deno"))[0]!
    const { all } = succeed(
      join(runtimes, "node_modules/@deno", deno, "deno"),
      ["run", "-A", "node_modules/@pipe/cli/dist/bin.js", "run", "flow.ts", "--simulate"],
      project
    )
    assert.include(all, "3 rows read")
    assert.include(all, "its results are not reused in other runs")
  })
})

describe("a project that is there", { concurrent: false, timeout: 60_000 }, () => {
  const at = (files: { readonly [name: string]: string }) => {
    // Packages are found where they are installed.
    const cwd = mkdtempSync(join(dirname(project), "there-"))
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(cwd, name)), { recursive: true })
      writeFileSync(join(cwd, name), text)
    }
    return cwd
  }
  const pipe = (cwd: string, ...args: ReadonlyArray<string>) =>
    exec(process.execPath, [join(project, "node_modules/@pipe/cli/dist/bin.js"), ...args], cwd)

  it.skipIf(!Soak.isSoak)("receives what it lacks, and has it when that is said; what is there stays", () => {
    const cwd = at({
      "package.json": '{"name":"mine","scripts":{"test":"mine"},"dependencies":{"effect":"4.1.2"}}',
      "reviews.jsonl": "mine\n",
      ".gitignore": "node_modules"
    })
    const before = readdirSync(cwd)
    const told = pipe(cwd, "init", "--no-install")
    assert.strictEqual(told.code, 0, told.all)
    assert.include(told.stdout, "package.json: @pipe/core, @pipe/plugins, @effect/platform-node")
    assert.include(told.stdout, "add it: pipe init --yes")
    assert.deepStrictEqual(readdirSync(cwd), before)
    const added = pipe(cwd, "init", "--yes", "--no-install")
    assert.strictEqual(added.code, 0, added.all)
    assert.strictEqual(read(cwd, "reviews.jsonl"), "mine\n")
    assert.include(added.stdout, "node --test flow.test.mts")
    const manifest = JSON.parse(read(cwd, "package.json"))
    // Its other files may be CommonJS: the flow's name says what it is.
    assert.strictEqual(manifest.name, "mine")
    assert.isUndefined(manifest.type)
    assert.include(added.stdout, "flow.mts")
    const ran = exec("ln", ["-s", join(project, "node_modules"), "node_modules"], cwd)
    assert.strictEqual(ran.code, 0)
    writeFileSync(join(cwd, "reviews.jsonl"), '{"id":"1","text":"a"}\n{"id":"2","text":"b"}\n{"id":"3","text":"c"}\n')
    assert.strictEqual(pipe(cwd, "run", "flow.mts", "--simulate").code, 0)
    assert.strictEqual(exec(process.execPath, ["--test", "flow.test.mts"], cwd).code, 0)
    assert.deepInclude(manifest.dependencies, { effect: "4.1.2" })
    assert.strictEqual(manifest.scripts.test, "mine")
    assert.match(read(cwd, ".gitignore"), /^node_modules\n\.pipe\/\n/)
    assert.include(pipe(cwd, "init", "--no-install").stdout, "nothing is missing here")
  })

  it.skipIf(!Soak.isSoak)("of CommonJS runs flows all the same", () => {
    const cwd = at({
      "package.json": '{"type":"commonjs"}',
      "flow.ts": read(project, "flow.ts"),
      "reviews.jsonl": read(project, "reviews.jsonl")
    })
    const run = exec("ln", ["-s", join(project, "node_modules"), "node_modules"], cwd)
    assert.strictEqual(run.code, 0)
    const { all, code } = pipe(cwd, "run", "flow.ts", "--simulate")
    assert.strictEqual(code, 0, all)
    assert.include(pipe(cwd, "init", "--no-install").stderr, "flow.ts exists already and is left unchanged")
    // A flow of somebody's is not run by init.
    assert.notInclude(pipe(cwd, "init", "--yes", "--no-install").all, "simulate")
  })

  it("whose package.json cannot be read is left alone, in one line", () => {
    const cwd = at({ "package.json": "{" })
    const { code, stderr } = pipe(cwd, "init", "--yes")
    assert.strictEqual(code, 2)
    assert.match(stderr, /^package\.json: cannot be read: .*\n$/)
    assert.deepStrictEqual(readdirSync(cwd), ["package.json"])
  })
})
