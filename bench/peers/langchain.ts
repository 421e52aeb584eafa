/** LangChain.js: one `.batch` over all rows (it takes and returns arrays), tokens counted by a callback, no cache. */
import { awaitAllCallbacks } from "@langchain/core/callbacks/promises"
import type { LLMResult } from "@langchain/core/outputs"
import { ChatOpenAI } from "@langchain/openai"
import { apiKey, model, prompts, type RunOptions, type RunResult } from "../peer.ts"

export const run = async (options: RunOptions): Promise<RunResult> => {
  const chat = new ChatOpenAI({ apiKey, model, maxRetries: 0, configuration: { baseURL: options.baseURL } })
  let tokens = 0

  const messages = await chat.batch([...prompts(options.rows)], {
    maxConcurrency: options.concurrency,
    callbacks: [
      {
        handleLLMEnd: (output: LLMResult) => {
          tokens += output.llmOutput?.["tokenUsage"]?.totalTokens ?? 0
        }
      }
    ]
  })
  await awaitAllCallbacks()
  return { rows: messages.length, tokens }
}
