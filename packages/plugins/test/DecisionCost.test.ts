/** Labels of banking77 as decisions and as objects: what each costs by the price table, as plan and run say. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, Plan, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { readFileSync } from "node:fs"
import { join } from "node:path"

/** Rows of banking77 and its 77 labels (examples/data/README.md has their source and licence). */
const data = (name: string): string => readFileSync(join(import.meta.dirname, "../../../examples/data", name), "utf8")
const questions = data("questions.csv").trim().split("\n").slice(1, 201)
const labels: ReadonlyArray<string> = JSON.parse(data("intents.json"))

const question = Source.fromIterable("question", questions)

const INSTRUCTIONS = "Which of these intents does the customer's question have?"

const decided = Flow.decide("intent", { question }, { instructions: INSTRUCTIONS, options: labels as [string, string] })

const Intent = Schema.Struct({ intent: Schema.Literals(labels) })
const generated = Flow.step("intent", { question }, ({ question }) =>
  Effect.map(
    LanguageModel.generateObject({ schema: Intent, prompt: `${INSTRUCTIONS}\n${labels.join("\n")}\n\n${question}` }),
    ({ value }) => value.intent
  )
)

const flowOf = (node: typeof decided | typeof generated, model: string) =>
  Flow.make("labels", {
    outputs: [Sink.forEach("out", node as typeof generated, () => Effect.void)],
    stack: Stack.make(Ledger.layer, Retry.layer(), OpenAi.layer({ apiKey: "sk-none-0123456789abcdef", model }))
  })

describe("labels of banking77", () => {
  it.live("cost at most a tenth as decisions of what objects of the same family cost, and the plan says so", () =>
    Effect.gen(function* () {
      const flow = flowOf(decided, "gpt-6-luna")
      const plan = yield* Plan.make(flow)
      assert.strictEqual(plan.lines[0]!.serviceTier, "decision")
      const without = plan.strategies.find(({ name }) => name === "without decisions")!
      assert.isTrue(without.cost > plan.cost.expected)
      const decisions = yield* Runner.run(flow, { errorsFile: false })
      assert.strictEqual(decisions.rows.failed, 0)
      assert.deepStrictEqual(
        decisions.steps.map(({ serviceTier }) => serviceTier),
        ["decision"]
      )
      const objects = yield* Runner.run(flowOf(generated, "gpt-6-sol"), { errorsFile: false })
      assert.strictEqual(objects.rows.failed, 0)
      assert.isAtMost(Number(decisions.cost), Number(objects.cost) / 10)
      // On the same model, completions cost more by what they write.
      const same = yield* Runner.run(flowOf(generated, "gpt-6-luna"), { errorsFile: false })
      assert.isTrue(decisions.cost < same.cost)
    }).pipe(Effect.provide(Simulator.layer({ seed: "labels" })), Effect.provide(NodeHost.layerMemory))
  )
})
