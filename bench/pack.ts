/**
 * Measures packed prompts on a flow with a long instruction: what texts cost and how many answers agree with single ones, for
 * 1, 5, 10 and 20 texts in a prompt, and for a size that is found by trial.
 *
 *     node pack.ts [--rows 2000] [--instruction 1200] [--missing 0.005] [--wrong 0.01]
 *
 * The provider is the simulator, which answers each text as if alone, but for the shares that go wrong: `--missing` of the texts
 * of a prompt have no answer, `--wrong` have that of their neighbour, both as they are for 5 texts and growing with the size. So the
 * cost is what a provider would bill; how a model's answers change with the size only a run against it shows.
 */
import { Cache, Flow, Ledger, Money, Pack, PromptCache, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "2000" },
    instruction: { type: "string", default: "1200" },
    missing: { type: "string", default: "0.005" },
    wrong: { type: "string", default: "0.01" }
  }
})
const count = Number(values.rows)
const intents = [
  "card_arrival",
  "lost_card",
  "top_up_failed",
  "exchange_rate",
  "refund_request",
  "pin_blocked",
  "cash_withdrawal",
  "transfer_pending"
]
const instruction =
  "Read the question of a customer and name its intent by the handbook of the bank, which follows. ".repeat(
    Math.ceil(Number(values.instruction) / 18)
  )
const questions = Array.from(
  { length: count },
  (_, at) => `Question ${at}: what about my ${intents[(at * 7) % intents.length]!.replaceAll("_", " ")}, please?`
)

const run = (size: number | "auto", cached: boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      const growth = size === "auto" ? 4 : size / 5
      const simulator = yield* Simulator.start({
        latency: "20 millis",
        packs: { missing: Number(values.missing) * growth, wrong: Number(values.wrong) * growth }
      })
      const rows = Source.fromIterable("question", questions)
      const answers: Array<string> = []
      const intent = Flow.step(
        "intent",
        { question: rows },
        ({ question }) =>
          LanguageModel.generateObject({
            schema: Schema.Struct({ intent: Schema.Literals(intents) }),
            prompt: `${instruction}\n\n${question}`
          }).pipe(Effect.map(({ value }) => value.intent)),
        { varies: ({ question }) => question, pack: { size } }
      )
      const layers = [Ledger.layer, Cache.layer(), Pack.layer(), Retry.layer()] as const
      const provider = OpenAi.layer({ apiKey: "bench-key-0123", baseUrl: simulator.openAiUrl, model: "gpt-4o-mini" })
      const flow = Flow.make("pack", {
        outputs: [Sink.forEach("out", intent, (value) => Effect.sync(() => void answers.push(value)))],
        stack: cached ? Stack.make(...layers, PromptCache.layer(), provider) : Stack.make(...layers, provider)
      })
      const startedAt = performance.now()
      const summary = yield* Runner.run(flow, {
        errorsFile: join(mkdtempSync(join(tmpdir(), "pipe-pack-")), "errors.jsonl")
      })
      const right = answers.filter((answer, at) => answer === intents[(at * 7) % intents.length]).length
      const [packs] = summary.packs ?? []
      return [
        String(size) + (cached ? " + prompt cache" : ""),
        Money.format(summary.cost),
        String(summary.calls.attempts),
        `${((right / count) * 100).toFixed(1)} %`,
        packs === undefined || packs.compared === 0 ? "–" : `${packs.agreed} of ${packs.compared}`,
        String(packs === undefined ? 0 : packs.texts - packs.answered),
        `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`
      ]
    })
  ).pipe(Effect.provide(NodeHost.layerMemory))

const table = [["size", "cost", "calls", "right", "agree", "sent again", "time"]]
for (const size of [1, 5, 10, 20, "auto"] as const) {
  table.push(await Effect.runPromise(run(size, false)))
}
table.push(await Effect.runPromise(run(1, true)), await Effect.runPromise(run(20, true)))
const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
console.log(table.map((row) => row.map((cell, column) => cell.padStart(widths[column]!)).join("  ")).join("\n"))
