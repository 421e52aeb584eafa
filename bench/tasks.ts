/**
 * What the peers are measured with. Each task is the same rows for every peer, and a server that answers them alike.
 */

/** How long the server waits before it answers, in milliseconds. With `sigma`, waits are lognormal around the mean. */
export interface Latency {
  readonly mean: number
  readonly sigma?: number
}

export interface Task {
  /** What it is, in a table. */
  readonly title: string
  /** What a row is: one call for a text, one for an object with a schema, or three calls in turn. */
  readonly kind: "text" | "object" | "steps"
  readonly prompt: (index: number) => string
  readonly latency: Latency
  /** Calls open at once. */
  readonly concurrency: number
  /** Rows that are measured. */
  readonly rows: number
  /** Requests a second beyond which the server refuses with 429 and `Retry-After: 1`. */
  readonly limit?: number
}

/** About 60 characters, no two alike. */
const line = (index: number): string => `Translate to English: row ${index} le chat dort sur la chaise`

const paragraph =
  "The customer writes that the parcel arrived late, that one of the cups was broken, and asks for a refund. "

/** About 2,000 characters, no two alike. */
const page = (index: number): string => `Message ${index}:\n${paragraph.repeat(18)}`

const text = (latency: number, rows: number): Task => ({
  title: `a line each, ${latency} ms`,
  kind: "text",
  prompt: line,
  latency: { mean: latency },
  concurrency: 64,
  rows
})

export const tasks: Readonly<Record<string, Task>> = {
  "text-0": text(0, 60_000),
  "text-20": text(20, 12_000),
  "text-50": text(50, 8_000),
  "text-100": text(100, 6_000),
  object: {
    title: "objects of 10 fields from 2 kB, 200 ms (lognormal), 256 open",
    kind: "object",
    prompt: page,
    latency: { mean: 200, sigma: 0.5 },
    concurrency: 256,
    rows: 20_000
  },
  "object-0": {
    title: "objects of 10 fields from 2 kB, 0 ms",
    kind: "object",
    prompt: page,
    latency: { mean: 0 },
    concurrency: 64,
    rows: 20_000
  },
  steps: {
    title: "three calls a row on 2 kB, 200 ms (lognormal), 256 open",
    kind: "steps",
    prompt: page,
    latency: { mean: 200, sigma: 0.5 },
    concurrency: 256,
    rows: 6_000
  },
  "steps-0": {
    title: "three calls a row on 2 kB, 0 ms",
    kind: "steps",
    prompt: page,
    latency: { mean: 0 },
    concurrency: 64,
    rows: 8_000
  },
  wide: {
    title: "a line each, 500 ms (lognormal), 512 open",
    kind: "text",
    prompt: line,
    latency: { mean: 500, sigma: 0.5 },
    concurrency: 512,
    rows: 10_000
  },
  refused: {
    title: "a line each, 100 ms, 429 beyond 400 a second",
    kind: "text",
    prompt: line,
    latency: { mean: 100 },
    concurrency: 64,
    rows: 4_000,
    limit: 400
  }
}

/** Calls that a row makes. */
export const callsOf = ({ kind }: Task): number => (kind === "steps" ? 3 : 1)

/** The task of a name. */
export const named = (name: string): Task => {
  const task = tasks[name]
  if (task === undefined) throw new Error(`No task "${name}"; there are ${Object.keys(tasks).join(", ")}`)
  return task
}

/** The prompts of `rows` rows, each made when it is asked for. */
export function* prompts({ prompt }: Task, rows: number): Generator<string, void> {
  for (let index = 0; index < rows; index++) yield prompt(index)
}

/** The fields of an object: names, and what each is. */
export const fields = {
  subject: "string",
  language: "string",
  sentiment: "string",
  product: "string",
  summary: "string",
  urgency: "number",
  confidence: "number",
  wantsRefund: "boolean",
  isAngry: "boolean",
  tags: "strings"
} as const

/** The object in every answer of the server. */
export const object = {
  subject: "late and broken parcel",
  language: "en",
  sentiment: "negative",
  product: "cups",
  summary: "The parcel was late and a cup was broken. The customer asks for a refund.",
  urgency: 3,
  confidence: 0.92,
  wantsRefund: true,
  isAngry: false,
  tags: ["delivery", "damage", "refund"]
}

/** The second and third call of a row, from the answer before. */
export const shorten = (answer: string, prompt: string): string => `Shorten: ${answer}\n\n${prompt}`
export const entitle = (answer: string, prompt: string): string => `Give a title: ${answer}\n\n${prompt}`

/** How a peer without steps of its own makes a call. */
export interface Calls {
  readonly text: (prompt: string) => Promise<string>
  readonly object: (prompt: string) => Promise<unknown>
}

/** Makes the calls of a row, one after the other. */
export const answerRow = async ({ kind }: Task, { object, text }: Calls, prompt: string): Promise<void> => {
  if (kind === "object") {
    await object(prompt)
    return
  }
  const answer = await text(prompt)
  if (kind === "steps") await text(entitle(await text(shorten(answer, prompt)), prompt))
}
