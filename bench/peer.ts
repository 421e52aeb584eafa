/**
 * What every peer is given and must do. To add one: a module in `peers/`, and a line in `peers.ts`.
 */
import type { Task } from "./tasks.ts"

/** What a peer is called to do: `rows` rows of a task, sent to `baseURL`. */
export interface RunOptions {
  readonly baseURL: string
  readonly rows: number
  readonly task: Task
}

/** What a peer has done: the rows answered, and the total tokens summed over the usage in those answers. */
export interface RunResult {
  readonly rows: number
  readonly tokens: number
}

/** Makes the calls, and says what came. */
export type Run = (options: RunOptions) => Promise<RunResult>

/** What a module in `peers/` exports. */
export interface Peer {
  readonly run: Run
}

/** The model every peer names. */
export const model = "gpt-4o-mini"

/** The key every peer sends. The server does not look at it. */
export const apiKey = "bench"

/** The usage in every answer of the server. */
export const usage = { prompt_tokens: 20, completion_tokens: 12, total_tokens: 32 } as const

/** How often a peer that retries sends a refused call again. */
export const retries = 20
