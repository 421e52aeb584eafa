/** Half of the price: 100 translations by the provider's Batch API. The same flow, the same keys, the same cache and ledger. */
import { Batch, Cache, Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"

const texts = Source.fromIterable(
  "texts",
  Array.from({ length: 100 }, (_, i) => `测试${i}`)
)

const english = Flow.step("english", { text: texts }, ({ text }) =>
  LanguageModel.generateText({ prompt: `翻译成英文：${text}` }).pipe(Effect.map((response) => response.text))
)

export default Flow.make("batch-api", {
  outputs: [Sink.jsonl(new URL("../out/batch-api.jsonl", import.meta.url), { text: texts, english })],
  settings: { temperature: 0 },
  stack: Stack.make(
    Ledger.layer,
    Cache.layer(),
    Retry.layer(),
    // What is not back within two hours is cancelled, and asked at once.
    Batch.layer({ deadline: "2 hours" }),
    OpenAi.layer({ model: "gpt-4o-mini" })
  )
})
