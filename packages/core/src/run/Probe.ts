/**
 * What a step asks first, seen without asking it: by that it is noticed that a step has changed in a way that its source
 * does not show.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as ModelRequest from "../data/ModelRequest.ts"
import * as RequestKey from "../data/RequestKey.ts"
import * as StoredValue from "../data/StoredValue.ts"
import type * as RowValues from "../seam/RowValues.ts"
import type * as ModelClient from "../seam/ModelClient.ts"
import * as ContentHash from "../store/ContentHash.ts"
import type * as RowRepo from "../store/RowRepo.ts"

/** Sees each request of a fiber; an effect that it returns is run instead of asking. */
const Watch = Context.Reference<
  ((request: ModelRequest.ModelRequest) => Effect.Effect<never, AiError.AiError> | undefined) | undefined
>("@pipe/core/Probe/Watch", { defaultValue: () => undefined })

/** The top of a stack, where requests can be seen. */
export const watched = (client: ModelClient.Service): ModelClient.Service => ({
  ...client,
  send: (request) => Effect.withFiber((fiber) => fiber.getRef(Watch)?.(request) ?? client.send(request))
})

const hashOf = (client: ModelClient.Service, request: ModelRequest.ModelRequest): string =>
  ContentHash.make(RequestKey.content(client.resolve(request)))

/** Runs an effect, and gives the hash of its first request to a function, once it has succeeded. */
export const record = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  client: ModelClient.Service,
  onRequest: (hash: string) => void
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let first: string | undefined
    return Effect.tap(
      Effect.provideService(effect, Watch, (request) => {
        first ??= hashOf(client, request)
        return undefined
      }),
      () =>
        Effect.sync(() => {
          if (first !== undefined) onRequest(first)
        })
    )
  })

const enough = AiError.make({
  module: "Probe",
  method: "send",
  reason: new AiError.UnknownError({ description: "a request was looked at and not sent" })
})

/** The hash of what a step asks first for some inputs; `none` when it asks nothing. */
const render = (
  run: (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>,
  input: unknown,
  client: ModelClient.Service
): Effect.Effect<string, never, unknown> =>
  Effect.suspend(() => {
    let first = "none"
    return Effect.as(
      Effect.exit(
        Effect.provideService(
          Effect.suspend(() => run(input)),
          Watch,
          (request) => {
            if (first === "none") first = hashOf(client, request)
            return Effect.fail(enough)
          }
        )
      ),
      undefined
    ).pipe(Effect.map(() => first))
  })

/**
 * What a step asks now, where that differs from what it asked for the same inputs; `undefined` where it does not, and for
 * a step that never asks the same twice (a time or a random number is in its prompt).
 */
export const compare = Effect.fnUntraced(function* (
  probe: RowRepo.Probe,
  run: (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>,
  client: ModelClient.Service
) {
  const kept = StoredValue.decode(probe.input)
  if (Option.isNone(kept)) return undefined
  const input = kept.value
  const now = yield* render(run, input, client)
  if (now === probe.request) return undefined
  yield* Effect.sleep(5)
  return (yield* render(run, input, client)) === now ? now : undefined
})
