/** Reads JSON from an address or a file of someone else: bounded in time and size, with one line where it fails. */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Stream from "effect/Stream"
import { createReadStream } from "node:fs"
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

const remote = (source: string): Stream.Stream<Uint8Array, ExitCode.Failure> =>
  Stream.unwrap(
    HttpClient.get(source, { headers: { accept: "application/json" } }).pipe(
      Effect.mapError((error) => refuse(source, `it could not be fetched (${messageOf(error.reason)})`)),
      Effect.flatMap((response) =>
        response.status === 200
          ? Effect.succeed(
              Stream.mapError(response.stream, (error) =>
                refuse(source, `it was cut off while it arrived (${messageOf(error.reason)})`)
              )
            )
          : Effect.fail(refuse(source, `the server answered ${response.status}`))
      )
    )
  ).pipe(Stream.provide(FetchHttpClient.layer))

const local = (source: string): Stream.Stream<Uint8Array, ExitCode.Failure> =>
  Stream.suspend(() =>
    Stream.fromReadableStream<Uint8Array, ExitCode.Failure>({
      evaluate: () =>
        Readable.toWeb(
          createReadStream(/^file:/i.test(source) ? fileURLToPath(source) : source)
        ) as ReadableStream<Uint8Array>,
      onError: (error) => refuse(source, `it cannot be read (${messageOf(error)})`)
    })
  )

/** The JSON at a source. */
export const json = (source: string): Effect.Effect<unknown, ExitCode.Failure> =>
  (isAddress(source) ? remote(source) : local(source)).pipe(
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
        try: (): unknown => JSON.parse(Buffer.concat(chunks).toString("utf8")),
        catch: (error) => refuse(source, `it is not whole JSON (${messageOf(error)})`)
      })
    )
  )
