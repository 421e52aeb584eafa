/** Leaves a time between the calls of a tenant. Put `spaced(…)` right above the provider. */
import { CallContext, LayerAnnotations, ModelClient, RunHooks } from "@pipe/core"
import { Clock, Context, Duration, Effect } from "effect"

/** For a number of calls per minute, `RateLimit.layer({ by })` is enough. This one has an own rule. */
export const spaced = (options: {
  readonly by: (call: CallContext.CallContext) => string
  readonly every: Duration.Input
}) =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.sync((): ModelClient.Send => {
        const every = Duration.toMillis(Duration.fromInputUnsafe(options.every))
        /** When the next call of a tenant may start, in milliseconds since 1970. */
        const free = new Map<string, number>()
        const turn = Effect.gen(function* () {
          const of = options.by(yield* CallContext.CallContext)
          const now = yield* Clock.currentTimeMillis
          const at = Math.max(now, free.get(of) ?? 0)
          free.set(of, at + every)
          // The display of the run shows the wait.
          yield* RunHooks.wait("the turn", at - now, { of })
        })
        return (request) => Effect.andThen(turn, next.send(request))
      }),
    // It only decides when calls are sent: batches go past it.
    { name: "Spaced", annotations: Context.make(LayerAnnotations.Paces, true) }
  )
