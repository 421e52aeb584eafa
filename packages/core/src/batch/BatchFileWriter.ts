/**
 * Writes the requests of one batch to a file as they arrive. Memory holds only their keys.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Scope from "effect/Scope"
import type * as Attempt from "../client/Attempt.ts"
import * as Money from "../price/Money.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchLine from "./BatchLine.ts"
import * as BatchSplit from "./BatchSplit.ts"

/** A request for a batch. */
export interface BatchRequest extends BatchLine.New, Pick<BatchLine.BatchLine, "most"> {
  /** Counted tokens. */
  readonly tokens: number
  /** Its expected cost. */
  readonly expected: Money.Money
  /** The budget's reservation for it, and the callback for its end. */
  readonly admission: Pick<Attempt.Admitted, "held" | "end" | "limited">
}

export interface BatchFileWriter {
  readonly name: string
  readonly endpoint: string
  readonly model: string
  readonly file: string
  readonly fill: () => BatchSplit.Fill
  readonly expected: () => Money.Money
  readonly entries: ReadonlyArray<BatchRequest>
  /** The id of the next request. */
  readonly nextId: () => string
  readonly append: (
    entry: BatchRequest,
    line: Uint8Array,
    fill: BatchSplit.Fill
  ) => Effect.Effect<void, PlatformError.PlatformError>
  /** Closes the file. */
  readonly finish: Effect.Effect<void, PlatformError.PlatformError>
  /** Deletes the file. */
  readonly discard: Effect.Effect<void>
}

/** The id of a request in a batch: letters, digits and dashes, well below the 64 characters that providers allow. */
export const customId = (batch: string, number: number): string => `${batch}-${number}`

/** The request number of an id; `undefined` when it is not of this batch. */
export const numberOf = (batch: { readonly name: string }, id: string): number | undefined => {
  if (!id.startsWith(`${batch.name}-`)) return undefined
  const digits = id.slice(batch.name.length + 1)
  return /^\d{1,7}$/.test(digits) ? Number(digits) : undefined
}

/** The buffer size before bytes are written. */
const BUFFER = 1 << 20

const encoder = new TextEncoder()

/** Creates a file. */
export const make = Effect.fnUntraced(function* (
  fs: FileSystem.FileSystem,
  options: {
    readonly name: string
    readonly file: string
    readonly endpoint: string
    readonly model: string
    readonly frame: BatchProvider.Frame
  }
) {
  const { file, frame, name } = options
  const scope = yield* Scope.make()
  const handle = yield* Scope.provide(fs.open(file, { flag: "w" }), scope)
  const entries: Array<BatchRequest> = []
  let fill = BatchSplit.empty(frame)
  let expected = Money.zero
  const separator = encoder.encode(frame.separator)
  const buffer = new Uint8Array(BUFFER)
  let held = 0
  /** Flushes the buffer when more does not fit. */
  const push = (bytes: Uint8Array): Effect.Effect<void, PlatformError.PlatformError> => {
    if (held + bytes.length <= BUFFER) {
      buffer.set(bytes, held)
      held += bytes.length
      return Effect.void
    }
    return Effect.andThen(
      flush,
      Effect.suspend(() => (bytes.length > BUFFER ? handle.writeAll(bytes) : push(bytes)))
    )
  }
  const flush = Effect.suspend(() => {
    const bytes = buffer.slice(0, held)
    held = 0
    return handle.writeAll(bytes)
  })
  yield* push(encoder.encode(frame.head))
  const close = Scope.close(scope, Exit.void)
  const writer: BatchFileWriter = {
    ...options,
    fill: () => fill,
    expected: () => expected,
    entries,
    nextId: () => customId(name, entries.length),
    append: (entry, line, next) =>
      Effect.suspend(() => {
        const isFirst = entries.length === 0
        entries.push(entry)
        fill = next
        expected += entry.expected
        return isFirst ? push(line) : Effect.andThen(push(separator), push(line))
      }),
    finish: Effect.suspend(() => push(encoder.encode(frame.tail))).pipe(
      Effect.andThen(flush),
      Effect.andThen(handle.sync),
      Effect.andThen(close)
    ),
    discard: Effect.andThen(close, Effect.ignore(fs.remove(file)))
  }
  return writer
})
