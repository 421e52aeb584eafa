/** The files of a new project: a flow that runs, some rows, a test, and what TypeScript, npm and git need. */
import { version } from "../../Version.ts"

/** Exact versions for a new project: those that the packages are tested with. */
export const versions = {
  effect: "4.1.0",
  "@effect/platform-node": "4.1.0",
  typescript: "7.0.2",
  "@types/node": "24.19.2"
} as const

/** The packages of pipe, at the version of the command. */
export const own = { "@pipe/core": version, "@pipe/plugins": version, "@pipe/cli": version } as const

/** The packages needed to run a flow; the others are for development. */
export const dependencies = ["@pipe/core", "@pipe/plugins", "effect", "@effect/platform-node"] as const

export const devDependencies = ["@pipe/cli", "typescript", "@types/node"] as const

/** `.mts` when the package does not declare its files as modules: Node and TypeScript then recognise it by name. */
export type Extension = "ts" | "mts"

/** `main` is the file without its extension: `flow` or `plugin`. */
export const scripts = (main: string, extension: Extension) => ({
  test: `node --test ${main}.test.${extension}`,
  check: "tsc"
})

const flow = `/** Classifies each review as positive or negative, with a reason. Run it: npx pipe run flow.ts --simulate */
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"

const Review = Schema.Struct({ id: Schema.String, text: Schema.String })
const Verdict = Schema.Struct({
  sentiment: Schema.Literals(["positive", "negative"]),
  reason: Schema.String
})

export const reviews = Source.jsonl("reviews", { path: new URL("reviews.jsonl", import.meta.url), schema: Review })

export const verdict = Flow.step("verdict", { review: reviews }, ({ review }) =>
  LanguageModel.generateObject({
    schema: Verdict,
    prompt: \`Is this review positive or negative, and why? \${review.text}\`
  }).pipe(Effect.map((response) => response.value)))

export default Flow.make("reviews", {
  outputs: [Sink.jsonl(new URL("verdicts.jsonl", import.meta.url), { review: reviews, verdict })],
  // Labels need no thinking, which would cost more than the answer.
  settings: { reasoningEffort: "none" },
  stack: Stack.recommended({
    provider: OpenAi.layer({ model: "gpt-6-luna" }),
    cache: "30 days",
    requestsPerMinute: 500,
    tokensPerMinute: 200_000
  })
})
`

const reviews = [
  { id: "1", text: "The parcel came a day early, and the lamp is lovely." },
  { id: "2", text: "It broke on the second evening, and support never answers." },
  { id: "3", text: "Does what it says. The cable could be longer." }
]
  .map((row) => `${JSON.stringify(row)}\n`)
  .join("")

const test = `/** The flow with answers of a test model, in memory: npm test */
import assert from "node:assert/strict"
import { test } from "node:test"
import { Source } from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { Effect } from "effect"
import flow, { reviews, verdict } from "./flow.ts"

test("every review gets a verdict", async () => {
  const model = TestModel.make({
    verdict: ({ values }) => ({ sentiment: "positive", reason: \`it says: \${values["review"].text}\` })
  })
  const run = await Effect.runPromise(
    TestFlow.run(flow, { model, sources: [Source.given(reviews, [{ id: "1", text: "Lovely." }])] })
  )
  assert.deepEqual(run.rows(verdict), [{ sentiment: "positive", reason: "it says: Lovely." }])
  assert.deepEqual(run.failed, [])
  assert.equal(model.calls().length, 1)
})
`

const tsconfig = `{
  "compilerOptions": {
    "target": "ES2024",
    "module": "NodeNext",
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true,
    "types": ["node"],
    "allowImportingTsExtensions": true,
    "erasableSyntaxOnly": true,
    "verbatimModuleSyntax": true
  },
  "include": ["*.ts", "*.mts"]
}
`

/** Ignored by git: packages, the store, keys, and what runs leave next to their outputs. */
export const ignored = [
  "node_modules/",
  ".pipe/",
  ".env",
  "*.partial",
  "*.simulated.*",
  "*.errors.jsonl",
  "*.report.html"
]

/** The files of the flow. */
export const flowFiles = (extension: Extension): ReadonlyArray<readonly [name: string, text: string]> => [
  [`flow.${extension}`, flow.replace("flow.ts", `flow.${extension}`)],
  ["reviews.jsonl", reviews],
  [`flow.test.${extension}`, test.replace("./flow.ts", `./flow.${extension}`)]
]

/** The other files. */
export const projectFiles: ReadonlyArray<readonly [name: string, text: string]> = [["tsconfig.json", tsconfig]]
