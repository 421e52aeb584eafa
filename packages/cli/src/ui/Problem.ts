/** The answer to a request that cannot be served. */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Store from "@pipe/core/Store"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** An answer that is not what was asked for, with its status. */
export class Problem extends Schema.TaggedError<Problem>()("UiProblem", {
  status: Schema.Int,
  message: Schema.String
}) {}

export const badRequest = (message: string): Problem => new Problem({ status: 400, message })

/** How long the answer of a store is waited for: a server that is away may come back. */
const PATIENCE = "5 seconds"

/** Reports a store that cannot be read. */
export const unreadable = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Problem, R> =>
  Effect.mapError(effect, (error) =>
    error instanceof Problem
      ? error
      : new Problem({ status: 503, message: `the store cannot be read: ${SafeText.line(Store.messageOf(error))}` })
  )

/** The same for a store that does not answer. */
export const dead = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Problem, R> =>
  Effect.timeoutOrElse(unreadable(effect), {
    duration: PATIENCE,
    orElse: () =>
      Effect.fail(
        new Problem({ status: 503, message: `the store has not answered for ${PATIENCE}: it is away, or busy` })
      )
  })
