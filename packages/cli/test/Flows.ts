/** Folders with flow files for tests of the command. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A new folder with some files. */
export const folder = (files: { readonly [name: string]: string | Uint8Array } = {}): string => {
  const path = mkdtempSync(join(tmpdir(), "pipe-cli-"))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

/** The environment of this process without what would reach a real provider, and without what started the tests. */
export const environment = (own: { readonly [name: string]: string } = {}): { [name: string]: string | undefined } => {
  const {
    ANTHROPIC_API_KEY: _a,
    OPENAI_API_KEY: _o,
    OPENAI_BASE_URL: _u,
    PIPE_STORE: _s,
    npm_config_user_agent: _n,
    ...inherited
  } = process.env
  return { ...inherited, ...own }
}

/** A flow over some texts with one model step; its parts can be replaced. */
export const flow = (
  parts: {
    readonly source?: string
    readonly stack?: string
    readonly options?: string
    readonly output?: string
    /** What stands before the call of the step. */
    readonly before?: string
  } = {}
): string => `
import { Cache, Flow, Ledger, Parameter, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const rows = ${parts.source ?? `Source.fromIterable("rows", ["bee", "hive", "bee"])`}
const answer = Flow.step("answer", { row: rows }, ({ row }) =>${parts.before === undefined ? "" : ` ${parts.before}`}
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

export const KEY = "sk-test-0123456789abcdef"

/** A source of numbered words, as a flow writes it. */
export const words = (n: number) => `Source.fromIterable("rows", Array.from({ length: ${n} }, (_, i) => "word " + i))`

export const lines = (text: string) => text.split("\n").filter((line) => line !== "")
