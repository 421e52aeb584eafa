/** The loop most people write: the `openai` SDK under p-map. */
import OpenAI from "openai"
import pMap from "p-map"
import { apiKey, model, prompts, type RunOptions, type RunResult } from "../peer.ts"

export const run = async (options: RunOptions): Promise<RunResult> => {
  const client = new OpenAI({ apiKey, baseURL: options.baseURL, maxRetries: 0 })
  let rows = 0
  let tokens = 0

  await pMap(
    prompts(options.rows),
    async (content) => {
      const completion = await client.chat.completions.create({ model, messages: [{ role: "user", content }] })
      rows++
      tokens += completion.usage?.total_tokens ?? 0
    },
    { concurrency: options.concurrency }
  )
  return { rows, tokens }
}
