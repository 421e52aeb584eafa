/**
 * A batch API in memory: it reads the file of a batch, answers its requests as single calls are answered, and has the
 * results at the first question.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import type * as BatchProvider from "../batch/BatchProvider.ts"
import * as CallContext from "../client/CallContext.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as Failure from "../model/Failure.ts"
import * as ModelResponse from "../model/ModelResponse.ts"

/** A request, with the call that it belongs to. */
interface Line {
  readonly request: ModelRequest.ModelRequest
  readonly call: CallContext.CallContext
}

interface Batch {
  readonly name: string
  readonly results: ReadonlyArray<Extract<BatchProvider.BatchResult, { readonly customId: string }>>
}

type Answer = (
  request: ModelRequest.ModelRequest,
  call: CallContext.CallContext
) => Effect.Effect<ModelResponse.ModelResponse, AiError.AiError>

/** Makes the batch API of a provider. */
export const make = (provider: string, answer: Answer): BatchProvider.BatchProvider => {
  const lines = new Map<string, Line>()
  const batches = new Map<string, Batch>()
  const statusOf = (id: string, { results }: Batch): BatchProvider.BatchStatus => {
    const answered = results.filter(({ outcome }) => outcome._tag === "Answered").length
    return {
      id,
      state: "ended",
      answered,
      failed: results.length - answered,
      counted: answered,
      isWhole: true,
      files: [id]
    }
  }
  const answered = (customId: string) =>
    Effect.suspend(() => {
      const { call, request } = lines.get(customId)!
      // An answer that throws fails its line, and no other.
      const whole = Effect.catchDefect(answer(request, call), (defect) =>
        Effect.fail(Failure.invalid(defect instanceof Error ? defect.message : String(defect), { module: "TestModel" }))
      )
      return Effect.map(Effect.result(whole), (result): BatchProvider.BatchOutcome =>
        result._tag === "Success"
          ? { _tag: "Answered", response: ModelResponse.inTier(result.success, "batch") }
          : { _tag: "Failed", error: result.failure }
      )
    })
  return {
    name: provider,
    account: { id: `${provider}/test`, label: "the test" },
    limits: { requests: 10_000, bytes: 50_000_000 },
    frame: { head: "", separator: "\n", tail: "\n" },
    encode: (customId, request) =>
      Effect.map(CallContext.CallContext, (call) => {
        lines.set(customId, { request, call })
        const inputs = request._tag === "Embedding" ? request.inputs.length : 0
        return { endpoint: request._tag, text: JSON.stringify({ id: customId, request }), inputs }
      }),
    create: ({ file, name }) =>
      Effect.gen(function* () {
        const ids = readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => (JSON.parse(line) as { readonly id: string }).id)
        const results = yield* Effect.forEach(ids, (customId) =>
          Effect.map(answered(customId), (outcome) => ({ customId, outcome }))
        )
        const id = `test-${batches.size}`
        const batch = { name, results }
        batches.set(id, batch)
        return { ...statusOf(id, batch), state: "running", files: [] }
      }),
    find: ({ name }) =>
      Effect.sync(() => {
        const found = [...batches].find(([, batch]) => batch.name === name)
        return found && statusOf(...found)
      }),
    status: (id) =>
      Effect.sync(() => {
        const batch = batches.get(id)
        return batch && statusOf(id, batch)
      }),
    cancel: () => Effect.void,
    results: ({ id }) => Stream.fromIterable(batches.get(id)?.results ?? [])
  }
}
