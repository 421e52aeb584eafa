/**
 * What a step asks, seen without asking it: by that it is noticed that a step has changed in a way that its source does not
 * show.
 *
 * **Details** The requests of one row are kept as hashes, with their answers. Run again for that row, the step is given those
 * answers, so that what it asks after them is compared too. A request with tools is the last that is looked at: what a tool does
 * must not be done for a comparison.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Caller from "../client/Caller.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as RowValues from "../client/RowValues.ts"
import * as CallInterceptor from "../client/CallInterceptor.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type * as RowRepo from "./RowRepo.ts"

/** A request that a step has made, and what it was answered. */
interface Call {
  readonly hash: string
  /** As JSON; absent where nothing is to be asked after it. */
  readonly answer?: string
}

const Calls = Schema.fromJsonString(
  Schema.Array(Schema.Struct({ hash: Schema.String, answer: Schema.optionalKey(Schema.String) }))
)

const encode = Schema.encodeSync(Calls)

const decodeCalls = Schema.decodeUnknownOption(Calls)

/** The calls that are kept; versions before kept the hash of the first alone. */
const callsOf = (text: string): ReadonlyArray<Call> => Option.getOrElse(decodeCalls(text), () => [{ hash: text }])

/** Calls and characters of answers that are kept of a row. */
const MOST_CALLS = 16
const MOST_CHARACTERS = 200_000

/** What is asked, by whichever sample of a row. */
const hashOf = (client: ModelClient.Service, request: ModelRequest.ModelRequest): string => {
  const resolved = client.resolve(request)
  return ContentHash.make(RequestKey.content(resolved._tag === "Completion" ? { ...resolved, sample: 0 } : resolved))
}

const hasTools = (request: ModelRequest.ModelRequest): boolean =>
  request._tag === "Completion" && request.tools.length > 0

/** Runs an effect, and gives its calls to a function, once it has succeeded. */
export const record = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  client: ModelClient.Service,
  onCalls: (calls: string) => void
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const calls: Array<{ hash: string; answer?: string }> = []
    let isOver = false
    let characters = 0
    const watch: CallInterceptor.CallInterceptor = (request, send) => {
      if (isOver || calls.length >= MOST_CALLS) return send
      const call: { hash: string; answer?: string } = { hash: hashOf(client, request) }
      calls.push(call)
      if (hasTools(request)) {
        isOver = true
        return send
      }
      return Effect.tap(send, (response) =>
        Effect.sync(() => {
          const answer = JSON.stringify(response)
          characters += answer.length
          if (characters <= MOST_CHARACTERS) call.answer = answer
        })
      )
    }
    return Effect.tap(Effect.provideService(effect, CallInterceptor.CallInterceptor, watch), () =>
      Effect.sync(() => {
        if (calls.length > 0) onCalls(encode(calls))
      })
    )
  })

const enough = AiError.make({
  module: "Fingerprint",
  method: "send",
  reason: new AiError.UnknownError({ description: "a request was looked at and not sent" })
})

/** What a step asks for some inputs, as far as the answers that are kept lead. */
interface Rendered {
  readonly hashes: ReadonlyArray<string>
  /** Whether it came to its end. */
  readonly isWhole: boolean
}

/** Runs a step on the answers that are kept. */
const render = (
  run: (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>,
  input: unknown,
  client: ModelClient.Service,
  calls: ReadonlyArray<Call>,
  step: string
): Effect.Effect<Rendered, never, unknown> =>
  Effect.suspend(() => {
    const answers = new Map(
      calls.flatMap(({ answer, hash }) => (answer === undefined ? [] : [[hash, answer] as const]))
    )
    const asked: Array<string> = []
    const watch: CallInterceptor.CallInterceptor = (request) => {
      const hash = hashOf(client, request)
      asked.push(hash)
      const answer = hasTools(request)
        ? Option.none()
        : Option.flatMap(Option.fromUndefinedOr(answers.get(hash)), ModelResponse.decode)
      return Option.isSome(answer) ? Effect.succeed(answer.value as never) : Effect.fail(enough)
    }
    return Effect.suspend(() => run(input)).pipe(
      Effect.provideService(CallInterceptor.CallInterceptor, watch),
      Effect.provideService(RowValues.RowValues, input as RowValues.Values),
      Effect.updateService(Caller.Caller, (caller) => ({ ...caller, step })),
      Effect.exit,
      Effect.map((exit) => ({ hashes: asked, isWhole: exit._tag === "Success" }))
    )
  })

/** Whether a step asks what it asked: nothing else, and nothing less where it came to its end. */
const isSame = ({ hashes, isWhole }: Rendered, calls: ReadonlyArray<Call>): boolean => {
  const known = new Set(calls.map(({ hash }) => hash))
  return (
    hashes.length > 0
    && hashes.every((hash) => known.has(hash))
    && (!isWhole || calls.every(({ hash }) => hashes.includes(hash)))
  )
}

/**
 * What a step asks now, where that differs from what it asked for the same inputs; `undefined` where it does not, and for
 * a step that never asks the same twice (a time or a random number is in its prompt).
 */
export const compare = Effect.fnUntraced(function* (
  step: string,
  probe: RowRepo.Probe,
  run: (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>,
  client: ModelClient.Service
) {
  const kept = StoredValue.decode(probe.input)
  if (Option.isNone(kept)) return undefined
  const calls = callsOf(probe.request)
  const now = yield* render(run, kept.value, client, calls, step)
  if (isSame(now, calls)) return undefined
  yield* Effect.sleep(5)
  const again = yield* render(run, kept.value, client, calls, step)
  const key = RequestKey.canonical(now.hashes)
  return RequestKey.canonical(again.hashes) === key ? key : undefined
})
