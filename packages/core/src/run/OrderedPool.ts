/**
 * Processes the elements of a stream concurrently, and emits the results in the order of the stream.
 *
 * **Details** A slow element does not block the others: finished ones wait for it in a window whose size bounds the
 * memory. When the window is full, or the consumer is slow, the stream is not read any further.
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
  /** The most elements started but not emitted. */
  readonly window: number
  readonly work: (item: A, index: number) => Effect.Effect<B, E, R>
  /** Receives finished elements in order, from one worker at a time. */
  readonly emit: (items: Array<B>) => Effect.Effect<void, E, R>
  /** While it is true, no element is started; those in progress are finished and emitted. */
  readonly isStopped: () => boolean
  /** Ends when `isStopped` becomes true: the stream is then no longer waited for. */
  readonly stopping: Effect.Effect<void>
}

/** Runs a stream through the pool. Ends when everything is emitted. */
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
    let started = 0
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
        if (started - handedOn >= options.window) {
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
        const index = started++
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
