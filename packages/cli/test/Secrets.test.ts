/** A key, given in each of the ways that exist, and a run that fails in each way: the key is in no file, log, store, page or terminal. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { serve } from "./Endpoint.ts"
import { flow, folder, pipe } from "./Pipe.ts"
import * as TunedFlow from "./TunedFlow.ts"

/** What the endpoint says of a request; it knows the key, and repeats it. */
let answer: (body: string) => { readonly status: number; readonly body: string; readonly type?: string } = () => ({
  status: 500,
  body: "{}"
})

let server: Awaited<ReturnType<typeof serve>>
beforeAll(async () => {
  server = await serve((body) => answer(body))
})
afterAll(() => server.close())

interface Way {
  readonly key: string
  /** What must not be seen, where that is not the key. */
  readonly canary?: string
  readonly env?: { readonly [name: string]: string }
  readonly files?: { readonly [name: string]: string }
  readonly options?: string
}

const provider = (options: string) =>
  `Stack.make(Retry.layer({ attempts: 1 }), OpenAi.layer({ model: "gpt-4o-mini"${options} }))`

const LONG = "plainsecretvalue9876543210"

const ways: { readonly [name: string]: () => Way } = {
  "the environment": () => ({ key: LONG, env: { OPENAI_API_KEY: LONG } }),
  "the environment, with a line end behind it": () => ({ key: LONG, env: { OPENAI_API_KEY: `${LONG}\r` } }),
  "the environment, of seven characters": () => ({ key: "k7Q9z2x", env: { OPENAI_API_KEY: "k7Q9z2x" } }),
  "a .env file": () => ({ key: LONG, files: { ".env": `OPENAI_API_KEY=${LONG}\n` } }),
  "an option": () => ({ key: LONG, options: `, apiKey: "${LONG}"` }),
  "a header": () => ({
    key: LONG,
    env: { OPENAI_API_KEY: "none" },
    options: `, headers: { "x-gateway-key": "${LONG}", authorization: "Basic ${LONG}" }`
  }),
  "the address": () => ({
    key: "pa55w0rd-SECRET",
    env: { OPENAI_API_KEY: "none", OPENAI_BASE_URL: server.url.replace("http://", "http://me:pa55w0rd-SECRET@") }
  }),
  "the address, as an option, with characters that are encoded": () => ({
    key: "p:55/w0rd#SECRET",
    env: { OPENAI_API_KEY: "none" },
    options: `, baseUrl: "${server.url.replace("http://", "http://me:p%3A55%2Fw0rd%23SECRET@")}"`
  }),
  "the query of the address": () => ({
    key: LONG,
    env: { OPENAI_API_KEY: "none", OPENAI_BASE_URL: `${server.url}?api-key=${LONG}` }
  }),
  "a key with quotes and a slash": () => ({
    key: 'sec"ret\\\\key/0123',
    env: { OPENAI_API_KEY: 'sec"ret\\\\key/0123' }
  })
}

const failures: { readonly [name: string]: (key: string) => ReturnType<typeof answer> } = {
  "401 with the key": (key) => ({
    status: 401,
    body: JSON.stringify({ error: { message: `Incorrect API key provided: ${key}` } })
  }),
  "400 with the key": (key) => ({ status: 400, body: JSON.stringify({ error: { message: `no: ${key}`, code: key } }) }),
  "500 in text": (key) => ({ status: 500, body: `broken: ${key}`, type: "text/plain" }),
  "a page that is cut inside of the key": (key) => ({
    status: 200,
    body: `${"x".repeat(80 - key.length + 4)}${key}`,
    type: "text/html"
  }),
  "broken JSON": (key) => ({ status: 200, body: `{"a": "${key}` }),
  "an error with status 200": (key) => ({ status: 200, body: JSON.stringify({ error: { message: `bad ${key}` } }) }),
  "the key in base64 and encoded": (key) => ({
    status: 400,
    body: JSON.stringify({
      error: { message: `sent ${Buffer.from(key).toString("base64")} and ${encodeURIComponent(key)}` }
    })
  })
}

/** Of a row that is named like a failure: that failure. */
const failureOf = (body: string, key: string): ReturnType<typeof answer> =>
  Object.entries(failures).find(([name]) => body.includes(name))![1](key)

/** A flow with a row for each failure. */
const failing = (names: ReadonlyArray<string>, parts: { readonly stack: string }): string =>
  flow({ source: `Source.fromIterable("rows", ${JSON.stringify(names)})`, ...parts })

const [wrongKey, ...others] = Object.keys(failures)

/** What begins what a terminal obeys. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const COMMANDS = /[\u001b\u009b\u0007]/

/** All that is in a folder, as text. */
const textsIn = (folder: string): ReadonlyArray<readonly [name: string, text: string]> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).flatMap((name) =>
    statSync(join(folder, name)).isFile() ? [[name, readFileSync(join(folder, name), "latin1")] as const] : []
  )

const formsOf = (key: string) =>
  [key, encodeURIComponent(key), JSON.stringify(key).slice(1, -1)].concat(
    key.length < 8 ? [] : [Buffer.from(key).toString("base64"), key.slice(0, Math.ceil(key.length * 0.8))]
  )

describe("a key that is given by", { concurrent: false }, () => {
  for (const [way, make] of Object.entries(ways)) {
    it(`${way} is nowhere`, async () => {
      const { env = {}, files = {}, key, options = "" } = make()
      const cwd = folder({
        ...files,
        "package.json": "{}",
        "wrong-key.ts": failing([wrongKey!], { stack: provider(options) }),
        "flow.ts": failing(others, { stack: provider(options) })
      })
      const outputs: Array<readonly [what: string, text: string]> = []
      const command = async (...args: ReadonlyArray<string>) => {
        const { stderr, stdout } = await pipe(args, { cwd, env: { OPENAI_BASE_URL: server.url, ...env } })
        outputs.push([args.join(" "), stdout + stderr])
      }
      answer = (body) => failureOf(body, key)
      await command("run", "wrong-key.ts")
      await command("run", "flow.ts", "--explain")
      await command("run", "flow.ts", "--json")
      assert.isAbove(outputs.filter(([, text]) => text.includes("[secret]")).length, 2)
      for (const args of [
        ["show", "--failed"],
        ["show", "--failed", "--json"],
        ["show"],
        ["runs"],
        ["report", "--out", "page.html"],
        ["report", "--json"],
        ["report", "--csv", "--all"],
        ["doctor", "--offline"]
      ]) {
        await command(...args)
      }
      const given = new Set(["flow.ts", "wrong-key.ts", ".env"])
      for (const form of formsOf(key)) {
        for (const [what, text] of outputs) assert.notInclude(text, form, what)
        for (const [name, text] of textsIn(cwd)) if (!given.has(name)) assert.notInclude(text, form, name)
      }
    })
  }

  const transports: { readonly [name: string]: readonly [stack: string, ...args: ReadonlyArray<string>] } = {
    "the SDK": [`OpenAi.layer({ model: "gpt-4o-mini", transport: "sdk" })`],
    "a stream": [`OpenAi.layer({ model: "gpt-4o-mini", stream: true })`],
    "the Responses API": [`OpenAi.layer({ model: "gpt-4o-mini", api: "responses" })`],
    "a batch": [`OpenAi.layer({ model: "gpt-4o-mini" })`, "--batch"],
    embeddings: [`OpenAi.layer({ model: "text-embedding-3-small" })`],
    Anthropic: [`Anthropic.layer({ model: "claude-haiku-4-5" })`],
    "a batch of Anthropic": [`Anthropic.layer({ model: "claude-haiku-4-5" })`, "--batch"]
  }
  for (const [name, [stack, ...args]] of Object.entries(transports)) {
    it(`the environment is nowhere, by ${name}`, async () => {
      const cwd = folder({
        "package.json": "{}",
        // A server that is out of order is waited for, for a while, by batches.
        "flow.ts": failing(args.includes("--batch") ? others.filter((name) => name.startsWith("4")) : others, {
          stack: `Stack.make(Retry.layer({ attempts: 1 }), ${stack})`
        })
          .replace("import { OpenAi }", "import { Anthropic, OpenAi }")
          .replace(
            /LanguageModel\.generateText.*$/m,
            name === "embeddings"
              ? `Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => Effect.map(model.embed(row), ({ vector }) => vector)))`
              : "$&"
          )
          .replace("{ LanguageModel }", "{ EmbeddingModel, LanguageModel }")
      })
      const env = {
        OPENAI_API_KEY: LONG,
        ANTHROPIC_API_KEY: LONG,
        OPENAI_BASE_URL: server.url,
        ANTHROPIC_BASE_URL: server.url.replace("/v1", "")
      }
      const outputs: Array<string> = []
      const run = async () => {
        const { stderr, stdout } = await pipe(["run", "flow.ts", ...args], { cwd, env })
        outputs.push(stdout + stderr)
      }
      answer = () => failures[wrongKey!]!(LONG)
      await run()
      answer = (body) => failureOf(args.includes("--batch") ? "400 with the key" : body, LONG)
      await run()
      assert.isTrue(outputs.some((text) => text.includes("[secret]")))
      for (const form of formsOf(LONG)) {
        for (const text of outputs) assert.notInclude(text, form)
        for (const [file, text] of textsIn(cwd)) if (file !== "flow.ts") assert.notInclude(text, form, file)
      }
    })
  }

  it("the environment is not in what is said of a flow that throws while it loads", async () => {
    const cwd = folder({ "flow.ts": `throw new Error("cannot log in with " + process.env.GATEWAY_TOKEN)\n` })
    const { code, stderr } = await pipe(["run", "flow.ts"], { cwd, env: { GATEWAY_TOKEN: LONG } })
    assert.strictEqual(code, 2)
    assert.include(stderr, "cannot log in with [secret]")
  })

  it("an option is not in what is said of a flow that throws after it", async () => {
    for (const [option, key] of [
      [`apiKey: "${LONG}"`, LONG],
      [`headers: { "x-api-key": "${LONG}" }`, LONG],
      [`baseUrl: "https://me:${LONG}@example.com/v1"`, LONG]
    ] as const) {
      const cwd = folder({
        "flow.ts": `import { OpenAi } from "@pipe/plugins"\nconst made = OpenAi.layer({ ${option} })\nthrow new Error("cannot use ${key}")\n`
      })
      const { code, stderr } = await pipe(["run", "flow.ts"], { cwd, env: {} })
      assert.strictEqual(code, 2)
      assert.include(stderr, "cannot use [secret]")
    }
  })

  it("the environment is nowhere where a tuning fails, or a key begins with a slash", async () => {
    const key = "/Ab3dEf9hIjKlMnOpQrS/uVwXyZ0123456789abcd"
    answer = () => ({ status: 401, body: JSON.stringify({ error: { message: `Incorrect API key provided: ${key}` } }) })
    const cwd = TunedFlow.at()
    const { code, stderr, stdout } = await pipe(["tune", "flow.ts", "--sample", "200"], {
      cwd,
      env: { OPENAI_API_KEY: key, OPENAI_BASE_URL: server.url }
    })
    assert.notStrictEqual(code, 0)
    assert.include(stderr, "[secret]")
    for (const form of formsOf(key)) {
      assert.notInclude(stdout + stderr, form)
      for (const [file, text] of textsIn(cwd)) if (file !== "flow.ts") assert.notInclude(text, form, file)
    }
  })

  it("the environment is not in what a step throws", async () => {
    const cwd = folder({
      "flow.ts": flow({
        source: `Source.fromIterable("rows", ["bee"]).pipe((rows) => rows)`,
        output: `Sink.jsonl("out.jsonl", { thrown: Flow.step("thrown", { row: rows }, () => Effect.die(new Error("with " + process.env.GATEWAY_TOKEN))) })`
      }).replace(".pipe((rows) => rows)", "")
    })
    const { stderr } = await pipe(["run", "flow.ts", "--simulate"], { cwd, env: { GATEWAY_TOKEN: LONG } })
    assert.include(stderr, "with [secret]")
    for (const [name, text] of textsIn(cwd)) if (name !== "flow.ts") assert.notInclude(text, LONG, name)
  })
})

describe("what strangers say", { concurrent: false }, () => {
  it("commands no terminal: not from an error, a row, a name or an answer", async () => {
    const evil = "\u001b]52;c;ZXZpbA==\u0007\u001b[2J\u009b31m"
    answer = () => ({ status: 400, body: JSON.stringify({ error: { message: `no ${evil} such`, code: evil } }) })
    const cwd = folder({
      "flow.ts": flow({
        source: `Source.lines("rows", { path: ${JSON.stringify(`rows${evil}.txt`)} })`,
        stack: provider("")
      })
    })
    writeFileSync(join(cwd, `rows${evil}.txt`), `a${evil}b\n`)
    const env = { OPENAI_API_KEY: LONG, OPENAI_BASE_URL: server.url }
    for (const args of [["run", "flow.ts"], ["show", "--failed"], ["show"], ["report", "--out", "page.html"]]) {
      const { stderr, stdout } = await pipe(args, { cwd, env })
      // Standard output is no terminal here, and gets a row's text as it is.
      assert.notMatch(stderr, COMMANDS)
      if (args[1] !== "--failed") assert.notInclude(stdout, "\u001b]52")
    }
    for (const name of ["page.html", "test.errors.jsonl"])
      assert.notMatch(readFileSync(join(cwd, name), "utf8"), COMMANDS)
  })
})

describe("environment files", { concurrent: false }, () => {
  const rows = { source: `Source.fromIterable("rows", ["bee"])`, stack: provider("") }

  it("are looked for up to the project's root, and no farther", async () => {
    const outer = folder({
      ".env": "OPENAI_API_KEY=sk-outer-0123456789abcdef\n",
      "a/package.json": "{}",
      "a/b/flow.ts": flow(rows)
    })
    const { code, stderr } = await pipe(["run", "flow.ts"], { cwd: join(outer, "a/b"), env: {} })
    assert.strictEqual(code, 2)
    assert.include(stderr, "OPENAI_API_KEY is not set")
  })

  it("that set an address for a key from elsewhere say where the key goes", async () => {
    answer = () => ({ status: 400, body: "{}" })
    const cwd = folder({ ".env": `OPENAI_BASE_URL=${server.url}\n`, "package.json": "{}", "flow.ts": flow(rows) })
    const { stderr } = await pipe(["run", "flow.ts"], { cwd, env: { OPENAI_API_KEY: LONG } })
    assert.include(
      stderr,
      `note: OPENAI_BASE_URL is from .env, and OPENAI_API_KEY is not: the key goes to ${new URL(server.url).host}`
    )
    const both = folder({
      ".env": `OPENAI_BASE_URL=${server.url}\nOPENAI_API_KEY=${LONG}\n`,
      "package.json": "{}",
      "flow.ts": flow(rows)
    })
    assert.notInclude((await pipe(["run", "flow.ts"], { cwd: both, env: {} })).stderr, "note: OPENAI_BASE_URL")
  })
})

describe("the flow that a store names for a run", { concurrent: false }, () => {
  it("is loaded where it is a flow of this project, and any other by its name alone", async () => {
    const { DatabaseSync } = await import("node:sqlite")
    answer = () => ({ status: 400, body: "{}" })
    const cwd = folder({
      "package.json": "{}",
      "flow.ts": flow({ source: `Source.fromIterable("rows", ["bee"])`, stack: provider("") }),
      "script.mjs": `import { writeFileSync } from "node:fs"; writeFileSync("RAN", "x")\nexport default 1\n`
    })
    const elsewhere = folder({ "evil.mjs": `import { writeFileSync } from "node:fs"; writeFileSync("RAN", "x")\n` })
    const env = { OPENAI_API_KEY: LONG, OPENAI_BASE_URL: server.url }
    const first = await pipe(["run", "flow.ts", "-q"], { cwd, env })
    assert.strictEqual(first.code, 1, first.stderr)
    const point = (file: string) => {
      const db = new DatabaseSync(join(cwd, ".pipe/pipe.db"))
      const options = JSON.parse(String(db.prepare("SELECT options FROM runs").get()!["options"])) as object
      db.prepare("UPDATE runs SET options = ?").run(JSON.stringify({ ...options, file, projectFile: file }))
      db.close()
    }
    for (const file of [join(elsewhere, "evil.mjs"), "../../../../../../evil.mjs", "script.mjs", "gone.ts"]) {
      point(file)
      const { code, stderr } = await pipe(["retry", "--failed"], { cwd, env })
      assert.strictEqual(code, 2, file)
      assert.include(stderr, "--flow")
      assert.notInclude(readdirSync(cwd), "RAN")
    }
    const named = await pipe(["retry", "--failed", "--flow", "flow.ts", "-q"], { cwd, env })
    assert.strictEqual(named.code, 1, named.stderr)
  })
})
