/**
 * LangChain.js: one `.batch` over all rows (it takes and returns arrays), tokens counted by a callback, no cache; an object by
 * `withStructuredOutput`, three calls by a sequence.
 */
import { awaitAllCallbacks } from "@langchain/core/callbacks/promises"
import type { LLMResult } from "@langchain/core/outputs"
import { type Runnable, RunnableLambda, RunnableSequence } from "@langchain/core/runnables"
import { ChatOpenAI } from "@langchain/openai"
import { apiKey, model, retries, type Run } from "../peer.ts"
import * as Schema from "../schema.ts"
import { entitle, prompts, shorten, type Task } from "../tasks.ts"

interface Row {
  readonly content: string
  readonly answer: string
}

const runnableOf = (chat: ChatOpenAI, kind: Task["kind"]): Runnable<string, unknown> => {
  switch (kind) {
    case "text":
      return chat
    case "object":
      return chat.withStructuredOutput(Schema.zod, { method: "jsonSchema" })
    case "steps": {
      const asked = (question: (row: Row) => string) =>
        RunnableLambda.from(async (row: Row): Promise<Row> => ({
          ...row,
          answer: (await chat.invoke(question(row))).text
        }))
      return RunnableSequence.from([
        RunnableLambda.from((content: string): Row => ({ content, answer: "" })),
        asked(({ content }) => content),
        asked(({ answer, content }) => shorten(answer, content)),
        asked(({ answer, content }) => entitle(answer, content))
      ])
    }
  }
}

export const run: Run = async ({ baseURL, rows, task }) => {
  let tokens = 0
  const chat = new ChatOpenAI({
    apiKey,
    model,
    maxRetries: task.limit === undefined ? 0 : retries,
    configuration: { baseURL },
    callbacks: [
      {
        handleLLMEnd: (output: LLMResult) => {
          tokens += output.llmOutput?.["tokenUsage"]?.totalTokens ?? 0
        }
      }
    ]
  })
  const answers = await runnableOf(chat, task.kind).batch([...prompts(task, rows)], {
    maxConcurrency: task.concurrency
  })
  await awaitAllCallbacks()
  return { rows: answers.length, tokens }
}
