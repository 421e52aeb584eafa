/**
 * Asks a second time when an answer is late, and takes the first of the two: what is slow by chance does not hold a row up.
 *
 * **Details** A second request is sent when an answer takes longer than nearly all have (`quantile` of the last 200 of the model, at least `atLeast`). The
 * other one is cut then: the books have it at the most that it can have cost, since a provider bills what it has begun. At most the share `atMost` of
 * the requests is sent twice, so that a provider that is slow altogether does not cost double ("The tail at scale", Dean and Barroso,
 * Communications of the ACM 56, 2013). Requests in batches are never sent twice.
 *
 * Put it under `Cache` (which would let both wait for one answer) and `Retry`, above `RateLimit`.
 *
 * **Example** (late is what takes longer than 19 of 20 answers)
 *
 * ```ts
 * import { Hedge } from "@pipe/core"
 *
 * export const hedge = Hedge.layer({ quantile: 0.95, atLeast: "2 seconds" })
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ModelRequest from "../model/ModelRequest.ts"

export interface Options {
  /** An answer is late that takes longer than this share of the earlier ones. Default: 0.95. */
  readonly quantile?: number
  /** And at least so long. Default: 1 second. */
  readonly atLeast?: Duration.Input
  /** Share of the requests that are sent twice, at most. Default: 0.1. */
  readonly atMost?: number
  /** Another model for the second request. Default: the same. */
  readonly model?: string
}

/** Answers whose times are remembered. */
const REMEMBERED = 200

/** Fewer say nothing of what is usual. */
const LEAST = 20

interface Times {
  readonly last: Array<number>
  sent: number
  twice: number
}

/** Sends late requests twice. */
export const layer = ({ atLeast = "1 second", atMost = 0.1, model, quantile = 0.95 }: Options = {}): Layer.Layer<
  ModelClient.ModelClient,
  never,
  ModelClient.ModelClient
> => {
  OptionNames.checkNumbers(
    "Hedge.layer",
    { atMost, quantile },
    { atMost: OptionNames.SHARE, quantile: OptionNames.SHARE }
  )
  const least = Duration.toMillis(Duration.fromInputUnsafe(atLeast))
  return ModelClient.middlewareEffect(
    (next) =>
      Effect.sync((): ModelClient.Send => {
        const models = new Map<string, Times>()
        const timesOf = (name: string): Times => {
          let times = models.get(name)
          if (times === undefined) models.set(name, (times = { last: [], sent: 0, twice: 0 }))
          return times
        }
        return (request) =>
          Effect.withFiber((fiber) => {
            if (Suspension.goesInBatch(next.layers, fiber)) return next.send(request)
            const times = timesOf(next.resolve(request).model ?? "")
            times.sent++
            const first = timed(next.send(request), times, fiber.getRef(Clock.Clock))
            const late = lateAfter(times, quantile, least)
            if (late === undefined) return first
            const again = Effect.suspend(() =>
              next.send(model === undefined ? request : ModelRequest.withModel(request, model))
            )
            return Effect.raceFirst(first, second(again, times, late, atMost))
          })
      }),
    { name: "Hedge", ...(model === undefined ? undefined : { answers: model }) }
  )
}

/** After how many milliseconds a call is late; `undefined`: too few have been seen. */
const lateAfter = ({ last }: Times, quantile: number, least: number): number | undefined =>
  last.length < LEAST
    ? undefined
    : Math.max(least, last.toSorted((a, b) => a - b)[Math.ceil(quantile * last.length) - 1]!)

/** A call that notes how long it took. */
const timed = <A, E>(call: Effect.Effect<A, E>, times: Times, clock: Clock.Clock): Effect.Effect<A, E> => {
  const started = clock.currentTimeMillisUnsafe()
  const note = Effect.sync(() => {
    times.last.push(clock.currentTimeMillisUnsafe() - started)
    if (times.last.length > REMEMBERED) times.last.shift()
  })
  return Effect.tap(call, () => note)
}

/** The second request: when the first is late, and so many may be sent twice. */
const second = <A, E>(call: Effect.Effect<A, E>, times: Times, late: number, atMost: number): Effect.Effect<A> =>
  Effect.andThen(
    Effect.sleep(late),
    Effect.suspend(() => {
      if (times.twice + 1 > atMost * times.sent) return Effect.never
      times.twice++
      // What goes wrong with the second request does not matter while the first is on its way.
      return Effect.catch(call, () => Effect.never)
    })
  )
