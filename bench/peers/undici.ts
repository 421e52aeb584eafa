/** The floor: a bare undici pool, no client library. */
import { Pool } from "undici"
import { apiKey, model, prompts, type RunOptions, type RunResult } from "../peer.ts"

const headers = { "content-type": "application/json", authorization: `Bearer ${apiKey}` }

export const run = async (options: RunOptions): Promise<RunResult> => {
  const { origin, pathname } = new URL(options.baseURL)
  const path = `${pathname}/chat/completions`
  const pool = new Pool(origin, { connections: options.concurrency })
  const contents = prompts(options.rows)
  let rows = 0
  let tokens = 0

  const worker = async () => {
    for (const content of contents) {
      const body = JSON.stringify({ model, messages: [{ role: "user", content }] })
      const response = await pool.request({ method: "POST", path, headers, body })
      if (response.statusCode !== 200) throw new Error(`Answered with status ${response.statusCode}`)
      const completion = (await response.body.json()) as { readonly usage: { readonly total_tokens: number } }
      rows++
      tokens += completion.usage.total_tokens
    }
  }

  try {
    await Promise.all(Array.from({ length: options.concurrency }, worker))
  } finally {
    await pool.close()
  }
  return { rows, tokens }
}
