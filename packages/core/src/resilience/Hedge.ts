/**
 * Sends a second request when an answer is late, and uses whichever answers first: a call that is slow by accident does
 * not delay a row.
 *
 * **Details** The second request is sent when an answer takes longer than nearly all recent ones did (`quantile` of the
 * model's last 200, at least `atLeast`). The slower call is then cut; the ledger records it at its maximum
 * possible cost, because a provider bills what it has started. At most the share `atMost` of the requests is sent twice, so
 * a provider that is slow altogether does not double the cost ("The tail at scale", Dean and Barroso, Communications of
 * the ACM 56, 2013). Requests in batches are never sent twice.
 *
 * Put it under `Cache`, which would make both requests wait for one answer, and under `Retry`, above `RateLimit`.
 * `Retry` repeats calls that *failed*; `Hedge` repeats calls that are *late*.
 *
 * **Example** (late means slower than 19 of 20 answers)
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
import * as CallContext from "../client/CallContext.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as ModelRequest from "../model/ModelRequest.ts"

/** The options of `Hedge.layer`. */
export interface Options {
  /** The share of earlier answers that must have been faster for an answer to be late. Default: 0.95. */
  readonly quantile?: number
  /** The shortest time after which an answer is late. Default: 1 second. */
  readonly atLeast?: Duration.Input
  /** The largest share of requests that are sent twice. Default: 0.1. */
  readonly atMost?: number
  /** The model of the second request. Default: the same. */
  readonly model?: string
}

/** The number of answers whose times are remembered. */
const REMEMBERED = 200

/** Fewer answers say nothing about what is usual. */
const LEAST = 20

interface Times {
  readonly last: Array<number>
  sent: number
  twice: number
}

/** Sends late requests a second time. */
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
            const times = timesOf(next.resolve(request, fiber.getRef(CallContext.CallContext)).model ?? "")
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
    { name: "Hedge", answers: model ?? false }
  )
}

/** The milliseconds after which a call is late; `undefined` when too few have been seen. */
const lateAfter = ({ last }: Times, quantile: number, least: number): number | undefined =>
  last.length < LEAST
    ? undefined
    : Math.max(least, last.toSorted((a, b) => a - b)[Math.ceil(quantile * last.length) - 1]!)

/** A call that records how long it took. */
const timed = <A, E>(call: Effect.Effect<A, E>, times: Times, clock: Clock.Clock): Effect.Effect<A, E> => {
  const started = clock.currentTimeMillisUnsafe()
  const note = Effect.sync(() => {
    times.last.push(clock.currentTimeMillisUnsafe() - started)
    if (times.last.length > REMEMBERED) times.last.shift()
  })
  return Effect.tap(call, () => note)
}

/** The second request: sent when the first is late and the share allows it. */
const second = <A, E>(call: Effect.Effect<A, E>, times: Times, late: number, atMost: number): Effect.Effect<A> =>
  Effect.andThen(
    Effect.sleep(late),
    Effect.suspend(() => {
      if (times.twice + 1 > atMost * times.sent) return Effect.never
      times.twice++
      // A failure of the second request does not matter while the first is in flight.
      return Effect.catch(call, () => Effect.never)
    })
  )
