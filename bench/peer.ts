/**
 * What every peer is given and must do. To add one: a module in `peers/`, and a line in `peers.ts`.
 */

/** What a peer is called to do: `rows` calls to `baseURL`, at most `concurrency` of them open at once. */
export interface RunOptions {
  readonly baseURL: string
  readonly rows: number
  readonly concurrency: number
}

/** What a peer has done: the calls answered, and the total tokens summed over the usage in those answers. */
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

/** The prompt of row `index`: about 60 characters, no two alike. */
export const prompt = (index: number): string => `Translate to English: row ${index} le chat dort sur la chaise`

/** The prompts of `rows` rows, each made when it is asked for. */
export function* prompts(rows: number): Generator<string, void> {
  for (let index = 0; index < rows; index++) yield prompt(index)
}
