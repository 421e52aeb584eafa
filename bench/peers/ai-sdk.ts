/** The AI SDK: `generateText` under p-map. */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText } from "ai"
import pMap from "p-map"
import { apiKey, model, prompts, type RunOptions, type RunResult } from "../peer.ts"

export const run = async (options: RunOptions): Promise<RunResult> => {
  const chat = createOpenAI({ apiKey, baseURL: options.baseURL }).chat(model)
  let rows = 0
  let tokens = 0

  await pMap(
    prompts(options.rows),
    async (content) => {
      const { usage } = await generateText({ model: chat, prompt: content, maxRetries: 0 })
      rows++
      tokens += usage.totalTokens ?? 0
    },
    { concurrency: options.concurrency }
  )
  return { rows, tokens }
}
