/**
 * Works on the items of a stream with some workers, and hands on what they make in the order of the stream.
 *
 * **Details** A slow item does not hold up the others: finished ones wait for it in a window, whose size bounds the
 * memory. When the window is full, or whoever takes the results is slow, the stream is not read on.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"

export interface Options<A, B, E, R> {
  readonly concurrency: number
  /** Items begun and not yet handed on, at most. */
  readonly window: number
  readonly work: (item: A, index: number) => Effect.Effect<B, E, R>
  /** Takes finished items in order; called by one worker at a time. */
  readonly emit: (items: Array<B>) => Effect.Effect<void, E, R>
  /** When this holds no new item is begun; those under way are finished and handed on. */
  readonly isStopped: () => boolean
  /** Ends when that holds: then the stream is no more waited for. */
  readonly stopping: Effect.Effect<void>
}

/** Runs a stream through the pool; ends when all is handed on. */
export const run = <A, B, E, R>(
  stream: Stream.Stream<A, E, R>,
  options: Options<A, B, E, R>
): Effect.Effect<void, E, R | Scope.Scope> =>
  Effect.flatMap(Stream.toPull(stream), (pull) => {
    const reading = Semaphore.makeUnsafe(1)
    const space = Latch.makeUnsafe(true)
    const finished = new Map<number, B>()
    let chunk: ReadonlyArray<A> = []
    let position = 0
    let begun = 0
    let handedOn = 0
    let emitting = false
    let ended = false
    let working = 0
    const idle = Latch.makeUnsafe(false)

    const read = reading.withPermit(
      Effect.suspend(() =>
        position < chunk.length || ended
          ? Effect.void
          : Pull.matchEffect(pull, {
              onSuccess: (items) =>
                Effect.sync(() => {
                  chunk = items
                  position = 0
                }),
              onFailure: (cause) => Effect.failCause(cause),
              onDone: () =>
                Effect.sync(() => {
                  ended = true
                })
            })
      )
    )

    const handOn = Effect.gen(function* () {
      if (emitting) return
      emitting = true
      while (finished.has(handedOn)) {
        const ready: Array<B> = []
        while (finished.has(handedOn)) {
          ready.push(finished.get(handedOn)!)
          finished.delete(handedOn)
          handedOn++
        }
        yield* options.emit(ready)
        space.openUnsafe()
      }
      emitting = false
    })

    const worker = Effect.gen(function* () {
      for (;;) {
        if (options.isStopped()) return
        if (begun - handedOn >= options.window) {
          space.closeUnsafe()
          yield* space.await
          continue
        }
        if (position >= chunk.length) {
          if (ended) return
          yield* read
          continue
        }
        const item = chunk[position++]!
        const index = begun++
        working++
        finished.set(index, yield* options.work(item, index))
        if (!emitting && finished.has(handedOn)) yield* handOn
        if (--working === 0 && options.isStopped()) idle.openUnsafe()
      }
    })

    const workers = Effect.forEach(Array.from({ length: options.concurrency }), () => worker, {
      concurrency: "unbounded",
      discard: true
    })
    const stopped = Effect.andThen(
      options.stopping,
      Effect.suspend(() => (working === 0 ? Effect.void : idle.await))
    )
    return Effect.raceFirst(workers, stopped)
  })
