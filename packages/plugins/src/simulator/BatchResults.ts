/**
 * The results of the simulator's batches: one line per request, in its wire format.
 *
 * @internal
 */
import {
  type SimulatedBatch,
  type SimulatedRequest,
  type Fate,
  fatesOf,
  type SimulatedBatchState
} from "./BatchState.ts"
import * as Script from "./Script.ts"

export interface Results {
  readonly output: string
  readonly errors: string
}

const made = new WeakMap<SimulatedBatch, Results>()

/** The lines of answers and of errors, made once. */
export const of = (state: SimulatedBatchState, batch: SimulatedBatch): Results => {
  let results = made.get(batch)
  if (results === undefined) {
    const { errors, output } = linesOf(state, batch)
    results = {
      output: output.map((line) => `${line}\n`).join(""),
      errors: errors.map((line) => `${line}\n`).join("")
    }
    made.set(batch, results)
  }
  return results
}

const linesOf = (
  state: SimulatedBatchState,
  batch: SimulatedBatch
): { readonly output: ReadonlyArray<string>; readonly errors: ReadonlyArray<string> } => {
  const { engine, options } = state
  const output: Array<string> = []
  const errors: Array<string> = []
  fatesOf(state, batch).forEach((fate, index) => {
    const entry = batch.entries[index]!
    if (fate === undefined) return
    const line = batch.wire === "openai" ? openAiLine(state, entry, fate) : anthropicLine(state, entry, fate)
    const text = JSON.stringify({ ...line, custom_id: entry.customId })
    const lines = fate === "answered" || batch.wire === "anthropic" ? output : errors
    lines.push(text)
    if (Script.chance(engine.seed, "duplicate", entry.customId) < (options.duplicates ?? 0)) lines.push(text)
  })
  const shuffled = (lines: ReadonlyArray<string>) =>
    options.ordered === true
      ? lines
      : lines
          .map((line, index) => [Script.chance(engine.seed, "order", String(index)), line] as const)
          .sort(([a], [b]) => a - b)
          .map(([, line]) => line)
  return { output: shuffled(output), errors: shuffled(errors) }
}

const openAiLine = (
  { engine, nextId }: SimulatedBatchState,
  { body, endpoint }: SimulatedRequest,
  fate: Exclude<Fate, undefined>
) => {
  switch (fate) {
    case "answered":
      return {
        id: nextId("batch_req"),
        response: { status_code: 200, request_id: "", body: engine.answer(endpoint, body, "batch") },
        error: null
      }
    case "refused":
    case "failed": {
      const [status_code, type, message] = errorOf(fate)
      return {
        id: nextId("batch_req"),
        response: { status_code, request_id: "", body: { error: { message, type, param: null, code: null } } },
        error: null
      }
    }
    default:
      return {
        id: nextId("batch_req"),
        response: null,
        error: { code: `batch_${fate}`, message: "This request was not executed." }
      }
  }
}

const anthropicLine = (
  { engine }: SimulatedBatchState,
  { body, endpoint }: SimulatedRequest,
  fate: Exclude<Fate, undefined>
) => {
  switch (fate) {
    case "answered":
      return { result: { type: "succeeded", message: engine.answer(endpoint, body, "batch") } }
    case "refused":
    case "failed": {
      const [, type, message] = errorOf(fate)
      return {
        result: {
          type: "errored",
          error: { type: "error", error: { type: type === "server_error" ? "api_error" : type, message } }
        }
      }
    }
    default:
      return { result: { type: fate === "cancelled" ? "canceled" : fate } }
  }
}

const errorOf = (fate: "refused" | "failed") =>
  fate === "refused"
    ? ([400, "invalid_request_error", "the simulator refused this request"] as const)
    : ([500, "server_error", "simulated server error"] as const)
