/** The loop most people write: the `openai` SDK under p-map; an object by `.parse` with zod. */
import OpenAI from "openai"
import { zodResponseFormat } from "openai/helpers/zod"
import pMap from "p-map"
import { apiKey, model, retries, type Run } from "../peer.ts"
import * as Schema from "../schema.ts"
import { answerRow, prompts } from "../tasks.ts"

export const run: Run = async ({ baseURL, rows: count, task }) => {
  const client = new OpenAI({ apiKey, baseURL, maxRetries: task.limit === undefined ? 0 : retries })
  const format = zodResponseFormat(Schema.zod, "message")
  let rows = 0
  let tokens = 0

  const text = async (content: string): Promise<string> => {
    const completion = await client.chat.completions.create({ model, messages: [{ role: "user", content }] })
    tokens += completion.usage?.total_tokens ?? 0
    return completion.choices[0]?.message.content ?? ""
  }

  const object = async (content: string): Promise<void> => {
    const completion = await client.chat.completions.parse({
      model,
      messages: [{ role: "user", content }],
      response_format: format
    })
    if (completion.choices[0]?.message.parsed === undefined || completion.choices[0].message.parsed === null)
      throw new Error("No object")
    tokens += completion.usage?.total_tokens ?? 0
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
