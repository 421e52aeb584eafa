/** `pipe init`: a new flow that runs. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as ExitCode from "../ExitCode.ts"

const flow = `/** Says of each review whether it is positive, and why. Run it: pipe run flow.ts --simulate */
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { Cache, Flow, Ledger, RateLimit, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"

const Review = Schema.Struct({ id: Schema.String, text: Schema.String })
const Verdict = Schema.Struct({
  sentiment: Schema.Literals(["positive", "negative"]),
  reason: Schema.String
})

const reviews = Source.jsonl("reviews", { path: new URL("reviews.jsonl", import.meta.url), schema: Review })

const verdict = Flow.step("verdict", { review: reviews }, ({ review }) =>
  LanguageModel.generateObject({
    schema: Verdict,
    prompt: \`Is this review positive or negative, and why? \${review.text}\`
  }).pipe(Effect.map((response) => response.value)))

export default Flow.make("reviews", {
  outputs: [Sink.jsonl(new URL("verdicts.jsonl", import.meta.url), { review: reviews, verdict })],
  stack: Stack.make(
    Ledger.layer,
    Cache.layer({ timeToLive: "30 days" }),
    Retry.layer(),
    RateLimit.layer({ requestsPerMinute: 500, tokensPerMinute: 200_000 }),
    OpenAi.layer({ model: "gpt-4o-mini" })
  )
})
`

const reviews = [
  { id: "1", text: "The parcel came a day early, and the lamp is lovely." },
  { id: "2", text: "It broke on the second evening, and nobody answers my mail." },
  { id: "3", text: "Does what it says. The cable could be longer." }
]
  .map((row) => `${JSON.stringify(row)}\n`)
  .join("")

export const command = Command.make(
  "init",
  {
    folder: Argument.String("folder").pipe(
      Argument.withDescription("where the flow goes; made if it is not there"),
      Argument.withDefault(".")
    )
  },
  ({ folder }) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      yield* fs.makeDirectory(folder, { recursive: true })
      for (const [name, text] of [
        ["flow.ts", flow],
        ["reviews.jsonl", reviews]
      ] as const) {
        const file = path.join(folder, name)
        if (yield* fs.exists(file)) {
          return yield* new ExitCode.Failure({
            message: `${file} is there already: it was left alone; name another folder`,
            exitCode: ExitCode.usage
          })
        }
        yield* fs.writeFileString(file, text)
      }
      const run = path.join(folder, "flow.ts")
      yield* Console.log(
        `${run} and ${path.join(folder, "reviews.jsonl")} are written.\n\nTry it without a key:  pipe run ${run} --simulate\nThen with one:         OPENAI_API_KEY=… pipe run ${run}`
      )
    })
).pipe(
  Command.withDescription("Write a new flow that runs, with some rows"),
  Command.withExamples([{ command: "pipe init my-flow" }])
)
