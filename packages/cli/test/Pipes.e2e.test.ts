/** Pipes and descriptors as a shell gives them, and signals while nobody is at the other end. */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync, spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"
import { environment } from "./Flows.ts"
import { bin, flow, folder, pipe } from "./Process.ts"

const ROWS = '{"text":"a"}\n{"text":"b"}\n'

/** No request is sent: no step asks a model. */
const env = { OPENAI_API_KEY: "sk-none-0123456789abcdef" }

const at = (source: string, output: string) => {
  const cwd = folder({
    "flow.ts": flow({
      source: `Source.jsonl("rows", { path: "${source}", schema: Schema.Struct({ text: Schema.String }) })`,
      output: `Sink.jsonl("${output}", { row: rows })`
    }),
    "rows.jsonl": ROWS
  })
  execFileSync("mkfifo", [join(cwd, "pipe")])
  return cwd
}

/** Sends signals when the run has started, until the process has gone. */
const signalled = (cwd: string, signals: ReadonlyArray<NodeJS.Signals>) => {
  let began = false
  return pipe(["run", "flow.ts"], {
    cwd,
    env,
    onStderr: (text, child) => {
      if (began || !/rows 0|waits for/.test(text)) return
      began = true
      for (const signal of signals) child.kill(signal)
    }
  })
}

const shell = (cwd: string, command: string) =>
  spawnSync("bash", ["-c", command], {
    cwd,
    encoding: "utf8",
    timeout: 30_000,
    env: environment({ ...env, PIPE: `${process.execPath} ${bin}` }) as NodeJS.ProcessEnv
  })

describe("a run that waits", () => {
  const table: ReadonlyArray<
    readonly [what: string, source: string, output: string, signals: ReadonlyArray<NodeJS.Signals>]
  > = [
    ["a writer of its source", "pipe", "out.jsonl", ["SIGINT"]],
    ["a writer of its source", "pipe", "out.jsonl", ["SIGTERM"]],
    ["a reader of its output", "rows.jsonl", "pipe", ["SIGHUP"]],
    ["a reader of its output", "rows.jsonl", "pipe", ["SIGINT"]]
  ]
  for (const [index, [what, source, output, signals]] of table.entries()) {
    it.skipIf(!Soak.isSoak && index !== 0)(`for ${what} ends at ${signals.join()}`, async () => {
      const { code, stderr } = await signalled(at(source, output), signals)
      assert.strictEqual(code, 130, stderr)
      assert.include(stderr, "interrupted; resume with")
    })
  }

  it("for input that does not end is interrupted too", async () => {
    const { status, stderr } = shell(
      at("-", "out.jsonl"),
      `mkfifo never; sleep 60 > never & holder=$!; $PIPE run flow.ts < never & run=$!
while ! ls .pipe/pipe.db > /dev/null 2>&1; do sleep 0.1; done; kill -INT $run; wait $run; code=$?; kill $holder; exit $code`
    )
    assert.strictEqual(status, 130, stderr)
  })
})

describe("what a shell gives", () => {
  const table: ReadonlyArray<readonly [name: string, source: string, output: string, command: string]> = [
    ["a pipe that is written while the run reads", "pipe", "out", `cat rows.jsonl > pipe & $PIPE run flow.ts -q; wait`],
    ["a pipe that is written late", "pipe", "out", `(sleep 1; cat rows.jsonl > pipe) & $PIPE run flow.ts -q; wait`],
    ["a pipe by its number", "/dev/fd/5", "out", `$PIPE run flow.ts -q 5< <(cat rows.jsonl)`],
    ["a file as standard input", "/dev/stdin", "out", `$PIPE run flow.ts -q < rows.jsonl`],
    ["a pipe that is read while the run writes", "rows.jsonl", "pipe", `cat pipe > out & $PIPE run flow.ts -q; wait`],
    ["a file as standard output", "rows.jsonl", "/dev/stdout", `$PIPE run flow.ts -q > out`],
    ["a file by its number, which is added to", "rows.jsonl", "/dev/fd/3", `: > out; $PIPE run flow.ts -q 3>> out`]
  ]
  for (const [index, [name, source, output, command]] of table.entries()) {
    it.skipIf(!Soak.isSoak && index % 3 !== 0)(name, () => {
      const cwd = at(source, output)
      const { status, stderr } = shell(cwd, command)
      assert.strictEqual(status, 0, stderr)
      assert.strictEqual(readFileSync(join(cwd, "out"), "utf8"), '{"row":{"text":"a"}}\n{"row":{"text":"b"}}\n')
    })
  }

  it.skipIf(!Soak.isSoak)("an open file keeps what was in it", () => {
    const cwd = at("rows.jsonl", "/dev/fd/3")
    const { status, stderr } = shell(
      cwd,
      `echo head > out; inode=$(stat -c %i out); $PIPE run flow.ts -q 3>> out; [ $(stat -c %i out) = $inode ]`
    )
    assert.strictEqual(status, 0, stderr)
    assert.isTrue(readFileSync(join(cwd, "out"), "utf8").startsWith("head\n"))
  })

  it.skipIf(!Soak.isSoak)("a pipe that is slower or faster than the run loses no row", () => {
    const slow = at("/dev/fd/5", "out")
    writeFileSync(
      join(slow, "flow.ts"),
      readFileSync(join(slow, "flow.ts"), "utf8")
        .replace(
          /const answer = [^]*?\n\n/,
          `const answer = Flow.step("answer", { row: rows }, ({ row }) => Effect.as(Effect.sleep("5 millis"), row))\n\n`
        )
        .replace(`Sink.jsonl("out", { row: rows })`, `Sink.jsonl("out", { row: rows, answer })`)
    )
    const filler = "x".repeat(300)
    for (const feed of [
      `for i in $(seq 400); do echo "{\\"text\\":\\"$i\\"}"; [ $((i % 7)) = 0 ] && sleep .004; done`,
      `seq 3000 | sed 's/.*/{"text":"& ${filler}"}/'`
    ]) {
      const { status, stderr } = shell(slow, `$PIPE run flow.ts -q --overwrite 5< <(${feed})`)
      assert.strictEqual(status, 0, stderr)
      const rows = readFileSync(join(slow, "out"), "utf8").trim().split("\n")
      assert.lengthOf(rows, feed.startsWith("seq") ? 3_000 : 400)
      assert.lengthOf(new Set(rows), rows.length)
    }
  })

  it.skipIf(!Soak.isSoak)("a number that nothing is open under is refused, though Node has something there", () => {
    for (const number of Soak.isSoak ? [3, 4, 6, 8, 9, 12, 14, 16, 18, 20] : [6]) {
      const { status, stderr } = shell(at("rows.jsonl", `/dev/fd/${number}`), `$PIPE run flow.ts -q`)
      assert.strictEqual(status, 2, stderr)
      assert.include(stderr, "this descriptor is not open")
    }
  })

  it("what standard output is redirected to is no source and no errors file", () => {
    const table = [
      [`$PIPE run flow.ts -q >> rows.jsonl`, "is both source rows and standard output"],
      [`$PIPE run flow.ts -q > test.errors.jsonl`, "is both the errors file and standard output"],
      [`$PIPE run flow.ts -q 2> test.errors.jsonl`, "is both the errors file and standard error"]
    ] as const
    for (const [command, says] of Soak.isSoak ? table : table.slice(0, 1)) {
      const cwd = at("rows.jsonl", command.includes("2>") ? "out" : "-")
      const { status, stderr } = shell(cwd, command)
      assert.strictEqual(status, 2, stderr)
      assert.include(command.includes("2>") ? readFileSync(join(cwd, "test.errors.jsonl"), "utf8") : stderr, says)
      assert.strictEqual(readFileSync(join(cwd, "rows.jsonl"), "utf8"), ROWS)
    }
  })

  it("a pipe that ends at once has no rows", () => {
    const cwd = at("/dev/fd/5", "out")
    const { status, stderr } = shell(cwd, `$PIPE run flow.ts -q 5< <(true)`)
    assert.strictEqual(status, 0, stderr)
  })

  it.skipIf(!Soak.isSoak)("a plan with a sample reads a pipe and standard input once", () => {
    const fromPipe = shell(at("/dev/fd/5", "out"), `$PIPE plan flow.ts --sample 1 --simulate 5< <(cat rows.jsonl)`)
    assert.include(fromPipe.stdout, "test: 2 rows", fromPipe.stderr)
    const fromStdin = shell(at("-", "out"), `cat rows.jsonl | $PIPE plan flow.ts --sample 1 --simulate`)
    assert.include(fromStdin.stdout, "test: 2 rows", fromStdin.stderr)
  })
})
