/** The AI SDK: `generateText` under p-map; an object by `Output.object` with zod. */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, Output } from "ai"
import pMap from "p-map"
import { apiKey, model, retries, type Run } from "../peer.ts"
import * as Schema from "../schema.ts"
import { answerRow, prompts } from "../tasks.ts"

export const run: Run = async ({ baseURL, rows: count, task }) => {
  const chat = createOpenAI({ apiKey, baseURL }).chat(model)
  const maxRetries = task.limit === undefined ? 0 : retries
  let rows = 0
  let tokens = 0

  const text = async (prompt: string): Promise<string> => {
    const { text, usage } = await generateText({ model: chat, prompt, maxRetries })
    tokens += usage.totalTokens ?? 0
    return text
  }

  const object = async (prompt: string): Promise<void> => {
    const { output, usage } = await generateText({
      model: chat,
      prompt,
      maxRetries,
      output: Output.object({ schema: Schema.zod })
    })
    if (typeof output !== "object") throw new Error("No object")
    tokens += usage.totalTokens ?? 0
  }

  await pMap(
    prompts(task, count),
    async (content) => {
      await answerRow(task, { text, object }, content)
      rows++
    },
    { concurrency: task.concurrency }
  )
  return { rows, tokens }
}
