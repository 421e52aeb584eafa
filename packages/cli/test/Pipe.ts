/** Runs the real command in a folder of its own. */
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const bin = resolve(import.meta.dirname, "../src/bin.ts")

/** A new folder with some files. */
export const folder = (files: { readonly [name: string]: string | Uint8Array } = {}): string => {
  const path = mkdtempSync(join(tmpdir(), "pipe-cli-"))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

export interface Options {
  readonly cwd: string
  readonly env?: { readonly [name: string]: string }
  /** Called with all of standard error so far, whenever more comes. */
  readonly onStderr?: (text: string, child: ReturnType<typeof spawn>) => void
  readonly onStart?: (child: ReturnType<typeof spawn>) => void
  readonly stdin?: string
  /** Closes the reading end of standard output after so many chunks, as `head -1` does. */
  readonly closeStdoutAfter?: number
}

/** Runs `pipe` with arguments to its end. */
export const pipe = (args: ReadonlyArray<string>, options: Options): Promise<Outcome> =>
  new Promise((done) => {
    const { OPENAI_API_KEY: _, OPENAI_BASE_URL: __, ANTHROPIC_API_KEY: ___, ...inherited } = process.env
    const child = spawn(process.execPath, ["--", bin, ...args], {
      cwd: options.cwd,
      env: { ...inherited, ...options.env }
    })
    options.onStart?.(child)
    let stdout = ""
    let stderr = ""
    let chunks = 0
    child.stdout.on("data", (chunk) => {
      stdout += chunk
      if (++chunks === options.closeStdoutAfter) child.stdout.destroy()
    })
    child.stderr.on("data", (chunk) => {
      stderr += chunk
      options.onStderr?.(stderr, child)
    })
    child.stdin.end(options.stdin ?? "")
    child.on("close", (code) => done({ code, stdout, stderr }))
  })

/** A flow over some texts with one model step; its parts can be replaced. */
export const flow = (
  parts: {
    readonly source?: string
    readonly stack?: string
    readonly options?: string
    readonly output?: string
  } = {}
): string => `
import { Cache, Flow, Ledger, Parameter, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const rows = ${parts.source ?? `Source.fromIterable("rows", ["bee", "hive", "bee"])`}
const answer = Flow.step("answer", { row: rows }, ({ row }) =>
  LanguageModel.generateText({ prompt: "Say something of " + JSON.stringify(row) }).pipe(Effect.map((r) => r.text)))

export default Flow.make("test", {
  outputs: [${parts.output ?? `Sink.jsonl("out.jsonl", { row: rows, answer })`}],
  ${parts.options ?? ""}
  stack: ${
    parts.stack
    ?? `Stack.make(Ledger.layer, Cache.layer(), Retry.layer({ attempts: 2, base: "1 millis" }), OpenAi.layer({ model: "gpt-4o-mini" }))`
  }
})
`
