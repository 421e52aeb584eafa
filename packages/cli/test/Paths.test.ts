/** The files of a run: a file, a folder, a link, a pipe or a device at each of its places, and what none may replace. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { lines, type Outcome } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"

let server: Awaited<ReturnType<typeof serve>>
beforeAll(async () => {
  server = await serve(() => ({ status: 200, body: completion("fine") }))
})
afterAll(() => server.close())

const env = () => ({ OPENAI_API_KEY: "sk-paths-0123456789abcdef", OPENAI_BASE_URL: server.url })

const ROWS = '{"text":"a"}\n{"text":"b"}\n{"text":"c"}\n'

const fromFile = (path: string) =>
  `Source.jsonl("rows", { path: ${JSON.stringify(path)}, schema: Schema.Struct({ text: Schema.String }) })`

const toFile = (path: string) => `Sink.jsonl(${JSON.stringify(path)}, { row: rows, answer })`

interface Run extends Outcome {
  readonly cwd: string
  readonly calls: number
}

const run = async (
  parts: { readonly source?: string; readonly output?: string; readonly options?: string },
  make: (cwd: string) => void = () => {},
  args: ReadonlyArray<string> = []
): Promise<Run> => {
  const cwd = folder({
    "flow.ts": flow({
      source: fromFile(parts.source ?? "rows.jsonl"),
      output: toFile(parts.output ?? "out.jsonl"),
      ...(parts.options === undefined ? undefined : { options: parts.options })
    }),
    "rows.jsonl": ROWS
  })
  make(cwd)
  return again(cwd, args)
}

const again = async (cwd: string, args: ReadonlyArray<string> = [], file = "flow.ts"): Promise<Run> => {
  const before = server.seen.length
  const outcome = await pipe(["run", file, "-q", ...args], { cwd, env: env() })
  return { ...outcome, cwd, calls: server.seen.length - before }
}

const read = (cwd: string, name: string) => fs.readFileSync(join(cwd, name), "utf8")

/** What is at a path before a run, by name. */
const kinds: { readonly [kind: string]: (cwd: string, name: string) => void } = {
  file: (cwd, name) => fs.writeFileSync(join(cwd, name), ""),
  folder: (cwd, name) => fs.mkdirSync(join(cwd, name)),
  link: (cwd, name) => {
    fs.writeFileSync(join(cwd, "target"), name === "in" ? ROWS : "")
    fs.symlinkSync("target", join(cwd, name))
  },
  "dangling link": (cwd, name) => fs.symlinkSync("elsewhere", join(cwd, name)),
  "ring of links": (cwd, name) => {
    fs.symlinkSync("other", join(cwd, name))
    fs.symlinkSync(name, join(cwd, "other"))
  },
  pipe: (cwd, name) => execFileSync("mkfifo", [join(cwd, name)]),
  device: (cwd, name) => fs.symlinkSync("/dev/null", join(cwd, name)),
  nothing: () => {}
}

const shown = (cwd: string, name: string) => {
  const info = fs.lstatSync(join(cwd, name), { throwIfNoEntry: false })
  return info === undefined
    ? "nothing"
    : info.isSymbolicLink()
      ? "link"
      : info.isDirectory()
        ? "folder"
        : info.isFIFO()
          ? "pipe"
          : "file"
}

describe("at the place of a source stands", { concurrent: false }, () => {
  const table: ReadonlyArray<readonly [kind: string, code: number, says: string]> = [
    ["file", 0, "is empty"],
    ["folder", 2, "in: is a folder, not a file (source rows)"],
    ["link", 0, ""],
    ["dangling link", 2, "in: there is no such file"],
    ["ring of links", 2, "in: "],
    ["device", 0, ""],
    ["nothing", 2, "in: there is no such file"]
  ]
  for (const [kind, code, says] of table) {
    it(`a ${kind}`, async () => {
      const made = await run({ source: "in" }, (cwd) => kinds[kind]!(cwd, "in"))
      assert.strictEqual(made.code, code, made.stderr)
      assert.include(made.stderr, says)
      if (code === 2) assert.strictEqual(made.stderr.trim().split("\n").length, 1)
      // A run that cannot start leaves nothing behind.
      if (code === 2)
        assert.deepStrictEqual(
          fs.readdirSync(made.cwd).filter((name) => /out|pipe/.test(name)),
          []
        )
    })
  }

  it("a pipe, which is read as it comes", async () => {
    const made = await run({ source: "in" }, (cwd) => {
      kinds["pipe"]!(cwd, "in")
      fs.promises.writeFile(join(cwd, "in"), ROWS).catch(() => {})
    })
    assert.strictEqual(made.code, 0, made.stderr)
    assert.lengthOf(lines(read(made.cwd, "out.jsonl")), 3)
  })
})

describe("at the place of an output stands", { concurrent: false }, () => {
  const table: ReadonlyArray<readonly [kind: string, code: number, after: string]> = [
    ["file", 0, "file"],
    ["folder", 2, "folder"],
    ["link", 0, "link"],
    ["dangling link", 0, "link"],
    ["ring of links", 2, "link"],
    ["device", 0, "link"],
    ["nothing", 0, "file"]
  ]
  for (const [kind, code, after] of table) {
    it(`a ${kind}`, async () => {
      const made = await run({ output: "out" }, (cwd) => kinds[kind]!(cwd, "out"))
      assert.strictEqual(made.code, code, made.stderr)
      assert.strictEqual(shown(made.cwd, "out"), after)
      if (code === 2) assert.strictEqual(made.calls, 0)
      if (code === 0 && kind !== "device") assert.lengthOf(lines(read(made.cwd, "out")), 3)
    })
  }

  it("a pipe, which is written as rows come", async () => {
    let text: Promise<string> = Promise.resolve("")
    const made = await run({ output: "out" }, (cwd) => {
      kinds["pipe"]!(cwd, "out")
      text = fs.promises.readFile(join(cwd, "out"), "utf8")
    })
    assert.strictEqual(made.code, 0, made.stderr)
    assert.lengthOf(lines(await text), 3)
    assert.strictEqual(shown(made.cwd, "out"), "pipe")
  })

  it("what is no place of files, which is said before a row is read", async () => {
    const table: ReadonlyArray<readonly [output: string, says: string]> = [
      ["/proc/nothing/x", "/proc/nothing/x: cannot be written: there is no such file or folder"],
      ["rows.jsonl/x", "a part of its path is a file, not a folder"],
      ["x".repeat(256), "its name is too long"],
      ["https://example.com/out.jsonl", "it is a URL (https:), not a file"],
      ["file:///a%2Fb", "must not include encoded / characters"],
      [".pipe/simulated.db", "is both an output and the store"]
    ]
    for (const [output, says] of table) {
      const made = await run({ output })
      assert.strictEqual(made.code, 2, made.stderr)
      assert.include(made.stderr, says)
      assert.strictEqual(made.calls, 0)
      assert.strictEqual(made.stderr.trim().split("\n").length, 1)
    }
  })

  it("a full device, which is said in words", async () => {
    const made = await run({ output: "/dev/full" })
    assert.strictEqual(made.code, 1)
    assert.include(made.stderr, "/dev/full: cannot be written: no space is left on its disk")
  })

  it("names as long as names may be", async () => {
    for (const output of ["x".repeat(240), "y".repeat(255), "é".repeat(127)]) {
      const made = await run({ output })
      assert.strictEqual(made.code, 0, made.stderr)
      assert.lengthOf(lines(read(made.cwd, output)), 3)
      assert.notInclude(fs.readdirSync(made.cwd).join(), ".partial")
    }
  })

  it("an address of a file, and folders that are not there yet", async () => {
    const made = await run({ output: "a/b/out.jsonl" })
    assert.lengthOf(lines(read(made.cwd, "a/b/out.jsonl")), 3)
    const cwd = folder({ "rows.jsonl": ROWS })
    const there = await run({ source: `file://${cwd}/rows.jsonl`, output: `file://${cwd}/out.jsonl` })
    assert.strictEqual(there.code, 0, there.stderr)
    assert.lengthOf(lines(read(cwd, "out.jsonl")), 3)
  })

  it("a socket", async () => {
    const cwd = folder()
    const socket = createServer().listen(join(cwd, "socket"))
    for (const parts of [{ output: join(cwd, "socket") }, { source: join(cwd, "socket") }]) {
      const made = await run(parts)
      assert.strictEqual(made.code, 2)
      assert.include(made.stderr, "a socket")
    }
    socket.close()
  })

  it("a file of mode 640, which it keeps", async () => {
    const made = await run({ output: "out" }, (cwd) => fs.writeFileSync(join(cwd, "out"), "", { mode: 0o640 }))
    assert.strictEqual(fs.statSync(join(made.cwd, "out")).mode & 0o777, 0o640)
  })

  it("another's link where a partial file would stand, which is not followed", async () => {
    const made = await run({}, (cwd) => {
      fs.writeFileSync(join(cwd, "victim"), "precious")
      fs.symlinkSync("victim", join(cwd, "out.jsonl.partial"))
    })
    assert.strictEqual(made.code, 0, made.stderr)
    assert.strictEqual(read(made.cwd, "victim"), "precious")
  })
})

describe("at the place of the errors file stands", { concurrent: false }, () => {
  const table: ReadonlyArray<readonly [kind: string, code: number]> = [
    ["file", 0],
    ["folder", 2],
    ["link", 0],
    ["device", 0],
    ["nothing", 0]
  ]
  for (const [kind, code] of table) {
    it(`a ${kind}`, async () => {
      const made = await run({}, (cwd) => kinds[kind]!(cwd, "test.errors.jsonl"))
      assert.strictEqual(made.code, code, made.stderr)
    })
  }

  it("a file of somebody's, which stays as it is", async () => {
    const made = await run({}, (cwd) => fs.writeFileSync(join(cwd, "test.errors.jsonl"), "my notes\n"))
    assert.strictEqual(made.code, 2)
    assert.include(made.stderr, "test.errors.jsonl: is needed for the errors file, but holds something else")
    assert.strictEqual(read(made.cwd, "test.errors.jsonl"), "my notes\n")
  })

  it("that of an earlier run, which stays until rows of another fail, or none does", async () => {
    const failing = (rows: string) => (cwd: string) => fs.writeFileSync(join(cwd, "rows.jsonl"), rows)
    const made = await run({}, failing('{"text":"a"}\n{"bad":1}\n'))
    const errors = read(made.cwd, "test.errors.jsonl")
    for (const args of [
      ["--budget", "1tokens", "--no-cache"],
      ["--limit", "1", "--budget", "1tokens", "--no-cache"]
    ]) {
      const stopped = await again(made.cwd, args)
      assert.strictEqual(stopped.code === 3 || stopped.code === 2, true, stopped.stderr)
      assert.strictEqual(read(made.cwd, "test.errors.jsonl"), errors)
    }
    const sampled = await pipe(["plan", "flow.ts", "--sample", "2"], { cwd: made.cwd, env: env() })
    assert.strictEqual(sampled.code, 0, sampled.stderr)
    assert.strictEqual(read(made.cwd, "test.errors.jsonl"), errors)
    fs.writeFileSync(join(made.cwd, "rows.jsonl"), '{"text":"a"}\n')
    assert.strictEqual((await again(made.cwd)).code, 0)
    assert.isFalse(fs.existsSync(join(made.cwd, "test.errors.jsonl")))
  })

  it("one file for each flow, however alike their names are", async () => {
    const names = ["a-b", "a/b", "a b", "a\\\\b", "a".repeat(300)]
    const cwd = folder({ "rows.jsonl": '{"bad":1}\n' })
    for (const [index, name] of names.entries()) {
      const text = flow({ source: fromFile("rows.jsonl"), output: toFile(`out${index}.jsonl`) })
      fs.writeFileSync(join(cwd, `${index}.ts`), text.replace('"test"', `"${name}"`))
      assert.strictEqual((await again(cwd, [], `${index}.ts`)).code, 1)
    }
    assert.lengthOf(
      fs.readdirSync(cwd).filter((name) => name.endsWith(".errors.jsonl")),
      names.length
    )
  })

  it("the name of a flow, whatever it is: it never leads to another folder", async () => {
    const cwd = folder({
      "a/flow.ts": flow({ source: fromFile("rows.jsonl"), output: toFile("out.jsonl") }).replace(
        '"test"',
        '"../../up"'
      ),
      "a/rows.jsonl": '{"text":"a"}\n{"bad":1}\n'
    })
    const made = await again(join(cwd, "a"))
    assert.strictEqual(made.code, 1)
    assert.deepStrictEqual(fs.readdirSync(cwd), ["a"])
    assert.include(fs.readdirSync(join(cwd, "a")).join(), "-up-29b18949.errors.jsonl")
  })
})

describe("at the place of the store stands", { concurrent: false }, () => {
  const table: ReadonlyArray<readonly [kind: string, code: number, says: string]> = [
    ["folder", 2, "store: cannot be the store: it is a folder"],
    ["pipe", 2, "it is a pipe or a device"],
    ["device", 2, "it is a pipe or a device"],
    ["file", 0, ""],
    ["dangling link", 0, ""],
    ["nothing", 0, ""]
  ]

  it("another's file, which is left as it is by every command", async () => {
    const { cwd } = await run({})
    const before = read(cwd, "rows.jsonl")
    for (const args of [
      ["run", "flow.ts"],
      ["runs"],
      ["show"],
      ["report"],
      ["doctor", "--offline"],
      ["cache", "stats"],
      ["plan", "flow.ts"],
      ["resume"],
      ["retry", "--failed"],
      ["batches"]
    ]) {
      for (const file of ["rows.jsonl", "flow.ts"]) {
        await pipe([...args, "--store", file], { cwd, env: env() })
        assert.strictEqual(read(cwd, "rows.jsonl"), before, args.join(" "))
        assert.include(read(cwd, "flow.ts"), "Flow.make", args.join(" "))
      }
    }
    assert.notInclude(fs.readdirSync(cwd).join(), "damaged")
  })

  for (const [kind, code, says] of table) {
    it(`a ${kind}`, async () => {
      const made = await run({}, (cwd) => kinds[kind]!(cwd, "store"), ["--store", "store"])
      assert.strictEqual(made.code, code, made.stderr)
      assert.include(made.stderr, says)
      if (code === 2) assert.strictEqual(made.calls, 0)
    })
  }

  it("nothing, and it is for its owner alone", async () => {
    const { cwd } = await run({})
    assert.strictEqual(fs.statSync(join(cwd, ".pipe")).mode & 0o777, 0o700)
    for (const name of fs.readdirSync(join(cwd, ".pipe"))) {
      assert.strictEqual(fs.statSync(join(cwd, ".pipe", name)).mode & 0o077, 0, name)
    }
  })

  it("an empty name, or an address that is no store", async () => {
    for (const store of ["", "foo://x"]) {
      const made = await run({}, undefined, ["--store", store])
      assert.strictEqual(made.code, 2, made.stderr)
      assert.deepStrictEqual(fs.readdirSync(made.cwd).toSorted(), ["flow.ts", "rows.jsonl"])
    }
  })
})

describe("one file at two places", { concurrent: false }, () => {
  const table: ReadonlyArray<
    readonly [name: string, parts: Parameters<typeof run>[0], make: (cwd: string) => void, kept: string]
  > = [
    ["an output that is its source", { output: "rows.jsonl" }, () => {}, "rows.jsonl"],
    ["by another way", { output: "./x/../rows.jsonl" }, (cwd) => fs.mkdirSync(join(cwd, "x")), "rows.jsonl"],
    ["by a link", { output: "out" }, (cwd) => fs.symlinkSync("rows.jsonl", join(cwd, "out")), "rows.jsonl"],
    [
      "by a hard link",
      { output: "out" },
      (cwd) => fs.linkSync(join(cwd, "rows.jsonl"), join(cwd, "out")),
      "rows.jsonl"
    ],
    [
      "by a linked folder",
      { output: "there/rows.jsonl" },
      (cwd) => fs.symlinkSync(".", join(cwd, "there")),
      "rows.jsonl"
    ],
    ["an output that is the flow", { output: "flow.ts" }, () => {}, "flow.ts"],
    ["an output that is the errors file", { output: "test.errors.jsonl" }, () => {}, "rows.jsonl"],
    [
      "a source that is the errors file",
      { source: "test.errors.jsonl" },
      (cwd) => fs.writeFileSync(join(cwd, "test.errors.jsonl"), ROWS),
      "test.errors.jsonl"
    ],
    ["an output that is the store", { output: ".pipe/pipe.db" }, () => {}, "rows.jsonl"],
    ["an output that is the store's log", { output: ".pipe/pipe.db-wal" }, () => {}, "rows.jsonl"]
  ]
  for (const [name, parts, make, kept] of table) {
    it(`is refused: ${name}`, async () => {
      let before = ""
      const made = await run(parts, (cwd) => {
        make(cwd)
        before = read(cwd, kept)
      })
      assert.strictEqual(made.code, 2, made.stderr)
      assert.strictEqual(made.calls, 0)
      assert.strictEqual(read(made.cwd, kept), before)
      assert.strictEqual(made.stderr.trim().split("\n").length, 1, made.stderr)
    })
  }
})

describe("what is there is never replaced by less", { concurrent: false }, () => {
  const whole = async () => {
    const made = await run({})
    assert.strictEqual(made.code, 0, made.stderr)
    return { cwd: made.cwd, before: read(made.cwd, "out.jsonl") }
  }

  const refused = (made: Run, says: string, before: string) => {
    assert.strictEqual(made.code, 2, made.stderr)
    assert.include(made.stderr, says)
    assert.include(made.stderr, "--overwrite")
    assert.strictEqual(made.calls, 0)
    assert.strictEqual(read(made.cwd, "out.jsonl"), before)
  }

  it("by fewer rows, by another flow; and is, where one insists", async () => {
    const { before, cwd } = await whole()
    refused(await again(cwd, ["--limit", "2"]), "the rows of --limit 2 would replace those of run", before)
    fs.writeFileSync(join(cwd, "other.ts"), read(cwd, "flow.ts").replace('"test"', '"other"'))
    refused(await again(cwd, [], "other.ts"), "it holds the result of another flow, test (run", before)
    const insisted = await again(cwd, ["--limit", "2", "--overwrite"])
    assert.strictEqual(insisted.code, 0, insisted.stderr)
    assert.lengthOf(lines(read(cwd, "out.jsonl")), 2)
    // What is limited itself gives way to any run of the flow.
    assert.strictEqual((await again(cwd, ["--limit", "1"])).code, 0)
    assert.strictEqual((await again(cwd)).code, 0)
    assert.lengthOf(lines(read(cwd, "out.jsonl")), 3)
  })

  it("where as many rows may come, the run is as good", async () => {
    const { before, cwd } = await whole()
    assert.strictEqual((await again(cwd, ["--limit", "3"])).code, 0)
    assert.strictEqual(read(cwd, "out.jsonl"), before)
  })

  it("by no rows", async () => {
    const { before, cwd } = await whole()
    fs.writeFileSync(join(cwd, "rows.jsonl"), "")
    const made = await again(cwd)
    assert.strictEqual(made.code, 2, made.stderr)
    assert.include(made.stderr, "out.jsonl: the run gave no row for it, so the existing file is kept")
    assert.strictEqual(read(cwd, "out.jsonl"), before)
    assert.strictEqual((await again(cwd, ["--overwrite"])).code, 0)
    assert.strictEqual(read(cwd, "out.jsonl"), "")
  })

  it("and a file that no run has written is no run's to shorten", async () => {
    const made = await run({}, (cwd) => fs.writeFileSync(join(cwd, "out.jsonl"), "mine\n"), ["--limit", "1"])
    refused(made, "would replace a file that", "mine\n")
  })

  it("by simulated rows, which have files of their own (A4)", async () => {
    const { before, cwd } = await whole()
    fs.writeFileSync(join(cwd, "rows.jsonl"), `${ROWS}{"bad":1}\n`)
    const simulated = await again(cwd, ["--simulate", "--limit", "2"])
    assert.strictEqual(simulated.code, 0, simulated.stderr)
    assert.strictEqual(simulated.calls, 0)
    assert.lengthOf(lines(read(cwd, "out.simulated.jsonl")), 2)
    assert.strictEqual((await again(cwd, ["--simulate"])).code, 1)
    assert.lengthOf(lines(read(cwd, "out.simulated.jsonl")), 3)
    assert.lengthOf(lines(read(cwd, "test.simulated.errors.jsonl")), 1)
    assert.isFalse(fs.existsSync(join(cwd, "test.errors.jsonl")))
    assert.strictEqual(read(cwd, "out.jsonl"), before)
    // Neither finds the other's answers.
    for (const [args, says] of [
      [["--simulate", "--store", ".pipe/pipe.db"], "holds real runs"],
      [["--store", ".pipe/simulated.db"], "holds simulated runs"]
    ] as const) {
      const mixed = await again(cwd, args)
      assert.strictEqual(mixed.code, 2, mixed.stderr)
      assert.include(mixed.stderr, says)
      assert.strictEqual(mixed.calls, 0)
    }
  })
})

describe("what a run leaves", { concurrent: false }, () => {
  it("is as whole as before after a limit that nothing reaches, or that reaches all", async () => {
    const { cwd } = await run({})
    for (const limit of ["3", "5"]) assert.strictEqual((await again(cwd, ["--limit", limit])).code, 0)
    assert.strictEqual((await again(cwd, ["--limit", "1"])).code, 2)
    const other = await run({}, undefined, ["--limit", "9"])
    assert.strictEqual((await again(other.cwd, ["--limit", "1"])).code, 2)
  })

  it("is no place for a report or an export", async () => {
    const { cwd } = await run({})
    const before = read(cwd, "out.jsonl")
    for (const args of [
      ["report", "--out", "out.jsonl"],
      ["cache", "export", "./out.jsonl"]
    ]) {
      const made = await pipe(args, { cwd, env: env() })
      assert.strictEqual(made.code, 2)
      assert.include(made.stderr, "it is the result of run")
      assert.strictEqual(read(cwd, "out.jsonl"), before)
    }
  })

  it("is no place for a report, and neither is what is no report", async () => {
    const { cwd } = await run({})
    for (const args of [
      ["report", "--out", "rows.jsonl"],
      ["report", "--json", "--out", `file://${cwd}/rows.jsonl`],
      ["report", "--csv", "--out", "rows.jsonl"],
      ["cache", "export", "rows.jsonl"]
    ]) {
      const made = await pipe(args, { cwd, env: env() })
      assert.strictEqual(made.code, 2)
      assert.include(made.stderr, "rows.jsonl: holds something other than")
      assert.strictEqual(read(cwd, "rows.jsonl"), ROWS)
    }
    for (const args of [
      ["report", "--out", "page"],
      ["report", "--json", "--out", "json"],
      ["report", "--csv", "--out", "csv"],
      ["cache", "export", "answers"]
    ]) {
      // Its like may be replaced.
      for (let time = 0; time < 2; time++) assert.strictEqual((await pipe(args, { cwd, env: env() })).code, 0)
    }
  })

  it("is not taken for a partial file of another output, or of a source", async () => {
    const source = await run({ source: "out.jsonl.partial" }, (cwd) =>
      fs.writeFileSync(join(cwd, "out.jsonl.partial"), ROWS)
    )
    assert.strictEqual(source.code, 2, source.stderr)
    assert.strictEqual(read(source.cwd, "out.jsonl.partial"), ROWS)
  })

  it("is not less than what another run has left meanwhile", async () => {
    const cwd = folder({
      "flow.ts": flow({ source: fromFile("rows.jsonl"), output: toFile("out.jsonl") }),
      "rows.jsonl": ROWS,
      // It writes what a whole run would, while the limited one is active.
      "slow.ts": flow({ source: fromFile("rows.jsonl"), output: toFile("out.jsonl") })
        .replace(
          "LanguageModel.generateText(",
          `Effect.andThen(Effect.sync(() => writeFileSync("out.jsonl", "much more than one line of rows\\n")), LanguageModel.generateText(`
        )
        .replace("JSON.stringify(row) })", "JSON.stringify(row) }))")
        .replace("import { OpenAi }", 'import { writeFileSync } from "node:fs"\nimport { OpenAi }')
    })
    const made = await again(cwd, ["--limit", "1"], "slow.ts")
    assert.notStrictEqual(made.code, 0)
    assert.include(made.stderr, "the rows of --limit 1 would replace")
    assert.strictEqual(read(cwd, "out.jsonl"), "much more than one line of rows\n")
  })
})

describe("the rows of a CSV file", { concurrent: false }, () => {
  const texts: ReadonlyArray<readonly [name: string, text: string, rows: number]> = [
    ["with a stray quote", 'text\na\nb 5" nail\nc\n', 3],
    ["with line ends of two kinds", "text\r\na\nb\r\nc\n", 3],
    ["with line ends of the other kind", "text\na\r\nb\r\n", 2],
    ["with a mark of their encoding", "\ufefftext\na\n", 1]
  ]
  for (const [name, text, rows] of texts) {
    it(name, async () => {
      const cwd = folder({
        "flow.ts": flow({
          source: `Source.csv("rows", { path: "rows.csv", schema: Schema.Struct({ text: Schema.String }) })`,
          output: toFile("out.jsonl")
        }),
        "rows.csv": text
      })
      const made = await again(cwd)
      assert.strictEqual(made.code, 0, made.stderr)
      const out = lines(read(cwd, "out.jsonl"))
      assert.lengthOf(out, rows)
      assert.notInclude(out.join(), "\\r")
    })
  }

  it("one of which is not UTF-8 fail alone", async () => {
    const cwd = folder({
      "flow.ts": flow({
        source: `Source.csv("rows", { path: "rows.csv", schema: Schema.Struct({ text: Schema.String }) })`,
        output: toFile("out.jsonl")
      }),
      "rows.csv": Buffer.from("text\na\ncaf\xe9\nb\n", "latin1")
    })
    const made = await again(cwd)
    assert.strictEqual(made.code, 1)
    assert.lengthOf(lines(read(cwd, "out.jsonl")), 2)
    assert.include(read(cwd, "test.errors.jsonl"), "rows.csv:3")
  })

  it("are read under a header with one name twice, and refused in a damaged archive", async () => {
    for (const [text, code, says] of [
      ["text,text\na,b\n", 0, "column 2 is text_2"],
      [Buffer.from([0x1f, 0x8b, 8, 0]), 2, "cannot be decompressed"]
    ] as const) {
      const cwd = folder({
        "flow.ts": flow({
          source: `Source.csv("rows", { path: "rows.csv", schema: Schema.Struct({ text: Schema.String }) })`,
          output: toFile("out.jsonl")
        }),
        "rows.csv": text
      })
      const made = await again(cwd)
      assert.strictEqual(made.code, code, made.stderr)
      assert.include(made.stderr, says)
      assert.strictEqual(made.calls, code === 0 ? 1 : 0)
    }
  })
})

describe("numbers", { concurrent: false }, () => {
  for (const flag of ["--limit=0", "--limit=-3", "--concurrency=0", "-c=-2", "--limit=1.5", "--limit=1e99"]) {
    it(`${flag} is refused, and nothing is emptied`, async () => {
      const made = await run({}, (cwd) => fs.writeFileSync(join(cwd, "out.jsonl"), "earlier\n"), [flag])
      assert.strictEqual(made.code, 2, made.stderr)
      assert.strictEqual(read(made.cwd, "out.jsonl"), "earlier\n")
    })
  }
})

describe("what a command writes to a named file", { concurrent: false }, () => {
  it("is never the store or the flow", async () => {
    const { cwd } = await run({})
    for (const args of [
      ["report", "--out", ".pipe/pipe.db"],
      ["report", "--out", "flow.ts"],
      ["report", "--csv", "--out", ".pipe/pipe.db-wal"],
      ["cache", "export", ".pipe/pipe.db"]
    ]) {
      const size = fs.statSync(join(cwd, ".pipe/pipe.db")).size
      const made = await pipe(args, { cwd, env: env() })
      assert.strictEqual(made.code, 2, made.stderr)
      assert.isAtLeast(fs.statSync(join(cwd, ".pipe/pipe.db")).size, size)
      assert.include(read(cwd, "flow.ts"), "Flow.make")
    }
    const made = await pipe(["cache", "export", "/dev/null"], { cwd, env: env() })
    assert.strictEqual(made.code, 0, made.stderr)
    assert.isTrue(fs.statSync("/dev/null").isCharacterDevice())
  })
})
