/** The floor: a bare undici pool, no client library. An object is parsed, not checked; a refused call waits as long as its header says. */
import { setTimeout } from "node:timers/promises"
import { Pool } from "undici"
import { apiKey, model, type Run } from "../peer.ts"
import * as JsonSchema from "../schema.ts"
import { answerRow, prompts } from "../tasks.ts"

const headers = { "content-type": "application/json", authorization: `Bearer ${apiKey}` }

interface Completion {
  readonly choices: ReadonlyArray<{ readonly message: { readonly content: string } }>
  readonly usage: { readonly total_tokens: number }
}

export const run: Run = async ({ baseURL, rows: count, task }) => {
  const { origin, pathname } = new URL(baseURL)
  const path = `${pathname}/chat/completions`
  const pool = new Pool(origin, { connections: task.concurrency })
  const contents = prompts(task, count)
  const format = task.kind === "object" ? { response_format: JsonSchema.responseFormat } : undefined
  let rows = 0
  let tokens = 0

  const text = async (content: string): Promise<string> => {
    const body = JSON.stringify({ model, messages: [{ role: "user", content }], ...format })
    for (;;) {
      const response = await pool.request({ method: "POST", path, headers, body })
      if (response.statusCode === 429) {
        await response.body.dump()
        await setTimeout(Number(response.headers["retry-after"]) * 1_000)
        continue
      }
      if (response.statusCode !== 200) throw new Error(`Answered with status ${response.statusCode}`)
      const { choices, usage } = (await response.body.json()) as Completion
      tokens += usage.total_tokens
      return choices[0]!.message.content
    }
  }

  const object = async (content: string): Promise<unknown> => JSON.parse(await text(content))

  const worker = async () => {
    for (const content of contents) {
      await answerRow(task, { text, object }, content)
      rows++
    }
  }

  try {
    await Promise.all(Array.from({ length: task.concurrency }, worker))
  } finally {
    await pool.close()
  }
  return { rows, tokens }
}
