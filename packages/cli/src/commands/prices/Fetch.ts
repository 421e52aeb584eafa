/** Reads JSON from an address or a file of someone else: bounded in time and size, with one line where it fails. */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Stream from "effect/Stream"
import { createReadStream, statSync } from "node:fs"
import { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import * as ExitCode from "../../process/ExitCode.ts"

/** The most bytes of a table, unpacked. The public ones have less than 5 MB. */
const MOST_BYTES = 50_000_000

/** How long a table may take to arrive. */
const TIME = "60 seconds"

const isAddress = (source: string): boolean => /^https?:\/\//i.test(source)

/** A source for display: an address without its secrets. */
export const shown = (source: string): string => {
  if (!isAddress(source)) return SafeText.line(source, 300)
  const url = URL.canParse(source) ? new URL(source) : undefined
  return url === undefined ? SafeText.line(source, 300) : `${url.origin}${url.pathname}`
}

const refuse = (source: string, why: string) =>
  new ExitCode.Failure({
    message: `${shown(source)}: ${why}. Nothing was written; name another table with --url, or a file that you have fetched`,
    exitCode: ExitCode.failed
  })

const messageOf = (error: unknown): string => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return SafeText.line(cause instanceof Error ? cause.message : String(cause), 200)
}

/** The day of what was fetched, as its source says it. */
interface Dated {
  modified?: Date
}

const remote = (source: string, dated: Dated): Stream.Stream<Uint8Array, ExitCode.Failure> =>
  Stream.unwrap(
    HttpClient.get(source, { headers: { accept: "application/json" } }).pipe(
      Effect.mapError((error) => refuse(source, `it could not be fetched (${messageOf(error.reason)})`)),
      Effect.flatMap((response) =>
        response.status === 200
          ? Effect.sync(() => {
              const modified = new Date(response.headers["last-modified"] ?? "")
              if (!Number.isNaN(modified.getTime())) dated.modified = modified
              return Stream.mapError(response.stream, (error) =>
                refuse(source, `it was cut off while it arrived (${messageOf(error.reason)})`)
              )
            })
          : Effect.fail(refuse(source, `the server answered ${response.status}`))
      )
    )
  ).pipe(Stream.provide(FetchHttpClient.layer))

const local = (source: string, dated: Dated): Stream.Stream<Uint8Array, ExitCode.Failure> =>
  Stream.suspend(() => {
    const file = /^file:/i.test(source) ? fileURLToPath(source) : source
    const modified = statSync(file, { throwIfNoEntry: false })?.mtime
    if (modified !== undefined) dated.modified = modified
    return Stream.fromReadableStream<Uint8Array, ExitCode.Failure>({
      evaluate: () => Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>,
      onError: (error) => refuse(source, `it cannot be read (${messageOf(error)})`)
    })
  })

/** The JSON at a source, and when its source says that it was last changed. */
export const json = (
  source: string
): Effect.Effect<{ readonly json: unknown; readonly modified?: Date }, ExitCode.Failure> => {
  const dated: Dated = {}
  return (isAddress(source) ? remote(source, dated) : local(source, dated)).pipe(
    Stream.runFoldEffect(
      () => ({ bytes: 0, chunks: [] as Array<Uint8Array> }),
      (read, chunk) => {
        const bytes = read.bytes + chunk.length
        if (bytes > MOST_BYTES) return Effect.fail(refuse(source, `it has more than ${MOST_BYTES / 1e6} MB`))
        read.chunks.push(chunk)
        return Effect.succeed({ bytes, chunks: read.chunks })
      }
    ),
    Effect.timeoutOrElse({
      duration: TIME,
      orElse: () => Effect.fail(refuse(source, `it has not arrived within ${TIME}`))
    }),
    Effect.flatMap(({ chunks }) =>
      Effect.try({
        try: () => ({ json: JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown, ...dated }),
        catch: (error) => refuse(source, `it is not whole JSON (${messageOf(error)})`)
      })
    )
  )
}
