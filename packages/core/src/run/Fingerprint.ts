/**
 * Compares the requests of a step with those of an earlier run without sending them. This detects a change that its
 * source does not show.
 *
 * **Details** The requests of one row are kept as hashes, with their answers. When the step runs again for that row it
 * receives those answers, so later requests are compared too. A request with tools is the last one compared: a
 * comparison must not execute tools.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import type * as RowValues from "../client/RowValues.ts"
import type * as CallState from "../client/CallState.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type * as RowRepo from "./RowRepo.ts"

/** A request of a step, with its answer. */
interface Call {
  readonly hash: string
  /** As JSON. Absent when nothing after it is compared. */
  readonly answer?: string
}

const Calls = Schema.fromJsonString(
  Schema.Array(Schema.Struct({ hash: Schema.String, answer: Schema.optionalKey(Schema.String) }))
)

const encode = Schema.encodeSync(Calls)

const decodeCalls = Schema.decodeUnknownOption(Calls)

/** The stored calls. Earlier versions stored the hash of the first one only. */
const callsOf = (text: string): ReadonlyArray<Call> => Option.getOrElse(decodeCalls(text), () => [{ hash: text }])

/** The most calls, and the most characters of their answers, stored per row. */
const MOST_CALLS = 16
const MOST_CHARACTERS = 200_000

/** The text of a request, whichever sample of a row it is for. */
const textOf = (resolved: ModelRequest.ModelRequest): (() => string) =>
  RequestKey.later(resolved._tag === "Completion" ? { ...resolved, sample: 0 } : resolved)

const hashOf = (resolved: ModelRequest.ModelRequest): string => ContentHash.make(textOf(resolved)())

const hasTools = (request: ModelRequest.ModelRequest): boolean =>
  request._tag === "Completion" && request.tools.length > 0

/** A call as it was sent. */
export interface RecordedCall {
  /** The text of its request, which is hashed. */
  readonly text: () => string
  readonly answer?: string
}

/** Calls as they are stored. */
export const stored = (calls: ReadonlyArray<RecordedCall>): string =>
  encode(
    calls.map(({ answer, text }) => ({
      hash: ContentHash.make(text()),
      ...(answer === undefined ? undefined : { answer })
    }))
  )

/** Runs an effect and passes its calls to a function when it has succeeded. */
export const record = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  onCalls: (calls: ReadonlyArray<RecordedCall>) => void
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    // Hashed at the end: of many rows that start, one is recorded.
    const calls: Array<{ readonly text: () => string; answer?: string }> = []
    let isOver = false
    let characters = 0
    const watch: CallState.CallInterceptor = (request, resolve, send) => {
      if (isOver || calls.length >= MOST_CALLS) return send
      const call: (typeof calls)[number] = { text: textOf(resolve()) }
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
    return Effect.tap(CallContext.provideState({ interceptor: watch })(effect), () =>
      Effect.sync(() => {
        if (calls.length > 0) onCalls(calls)
      })
    )
  })

const enough = AiError.make({
  module: "Fingerprint",
  method: "send",
  reason: new AiError.UnknownError({ description: "the request was compared and not sent" })
})

/** The requests of a step for some inputs, as far as the stored answers allow. */
interface Rendered {
  readonly hashes: ReadonlyArray<string>
  /** Whether the step ran to its end. */
  readonly isWhole: boolean
}

/** Runs a step with the stored answers. */
const render = (
  run: (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>,
  input: unknown,
  calls: ReadonlyArray<Call>,
  step: string
): Effect.Effect<Rendered, never, unknown> =>
  Effect.suspend(() => {
    const answers = new Map(
      calls.flatMap(({ answer, hash }) => (answer === undefined ? [] : [[hash, answer] as const]))
    )
    const asked: Array<string> = []
    const watch: CallState.CallInterceptor = (request, resolve) => {
      const hash = hashOf(resolve())
      asked.push(hash)
      const answer = hasTools(request)
        ? Option.none()
        : Option.flatMap(Option.fromUndefinedOr(answers.get(hash)), ModelResponse.decode)
      return Option.isSome(answer) ? Effect.succeed(answer.value as never) : Effect.fail(enough)
    }
    return Effect.suspend(() => run(input)).pipe(
      CallContext.provideState({ interceptor: watch }),
      CallContext.provide({ step, values: input as RowValues.Values }),
      // Nothing of a comparison is reported.
      RunHooks.provide({ onEvent: () => {} }),
      Effect.exit,
      Effect.map((exit) => ({ hashes: asked, isWhole: exit._tag === "Success" }))
    )
  })

/** Tests whether a step sends the same requests: no others, and no fewer when it ran to its end. */
const isSame = ({ hashes, isWhole }: Rendered, calls: ReadonlyArray<Call>): boolean => {
  const known = new Set(calls.map(({ hash }) => hash))
  return (
    hashes.length > 0
    && hashes.every((hash) => known.has(hash))
    && (!isWhole || calls.every(({ hash }) => hashes.includes(hash)))
  )
}

/**
 * The current requests of a step, when they differ from those for the same inputs before. `undefined` when they are
 * equal, and for a step whose requests differ every time (a time or a random number in its prompt).
 */
export const compare = Effect.fnUntraced(function* (
  step: string,
  probe: RowRepo.Probe,
  run: (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>
) {
  const kept = StoredValue.decode(probe.input)
  if (Option.isNone(kept)) return undefined
  const calls = callsOf(probe.request)
  const now = yield* render(run, kept.value, calls, step)
  if (isSame(now, calls)) return undefined
  yield* Effect.sleep(5)
  const again = yield* render(run, kept.value, calls, step)
  const key = RequestKey.canonical(now.hashes)
  return RequestKey.canonical(again.hashes) === key ? key : undefined
})
