/** A process of `Schedules.servers.test.ts`: a worker, or a run with workers. It gets its options as JSON. */
import { Cache, Flow, Ledger, Parameter, RateLimit, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Schema, Stream } from "effect"
import { LanguageModel } from "effect/ai"

/** The options of a process. */
export interface ProcessOptions {
  readonly role: "worker" | "run"
  readonly store: string
  readonly baseUrl: string
  readonly rate?: number
  readonly tag?: string
  readonly rows?: number
  readonly usd?: string
  readonly resume?: string
}

const given: ProcessOptions = JSON.parse(process.argv[2]!)

const tag = Parameter.make("tag", Schema.String)
const count = Parameter.make("count", Schema.Int)

/** Every third prompt is that of another row. */
const row = Source.fromStream(
  "rows",
  Stream.unwrap(
    Effect.gen(function* () {
      const [name, rows] = [yield* tag, yield* count]
      return Stream.fromIterable(
        Array.from({ length: rows }, (_, n) => `${name} ${n % 3 === 2 ? n - 2 : n} ${"word ".repeat(n % 5)}`)
      )
    })
  )
)
const text = Flow.step(
  "text",
  { row },
  ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row.replace(/ (?:word )*$/, "") }), ({ text }) => text),
  { settings: { maxTokens: 60 } }
)
const limits = given.rate === undefined ? undefined : RateLimit.layer({ requestsPerMinute: given.rate })
const provider = OpenAi.layer({ model: "gpt-4o-mini", baseUrl: given.baseUrl, apiKey: "none" })
let written = 0
const flow = Flow.make("schedules", {
  outputs: [Sink.forEach("out", { row, text }, () => Effect.sync(() => void written++))],
  parameters: [tag, count],
  concurrency: 8,
  stack:
    limits === undefined
      ? Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), provider)
      : Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), limits, provider)
})

const program =
  given.role === "worker"
    ? Runner.work(flow)
    : Runner.run(flow, {
        workers: true,
        errorsFile: false,
        parameters: { tag: given.tag!, count: given.rows! },
        ...(given.usd === undefined ? undefined : { budget: { usd: given.usd } }),
        ...(given.resume === undefined ? undefined : { resume: given.resume }),
        observe: (event) =>
          Effect.sync(() => {
            if (event._tag === "RunStarted") console.log(JSON.stringify({ run: event.run }))
          })
      })

const exit = await Effect.runPromiseExit(
  Effect.asVoid<unknown, unknown, Flow.Host>(program).pipe(Effect.provide(NodeHost.layer({ store: given.store })))
)
console.log(JSON.stringify({ written, ...(exit._tag === "Failure" ? { failure: String(exit.cause) } : undefined) }))
process.exit()
