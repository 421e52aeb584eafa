/** Reads records of lines "name: value", with an empty line between them. */
import { Source } from "@pipe/core"
import { Effect, FileSystem, type Schema, Stream } from "effect"

/** The rows of a file. A record that does not fit the schema fails alone, with the line at which it begins. */
export const records = <A>(
  name: string,
  options: { readonly path: string; readonly schema: Schema.Codec<A, unknown> }
) =>
  Source.make(name, {
    schema: options.schema,
    open: Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      let line = 0
      let record: { [name: string]: string } = {}
      const closed = (): ReadonlyArray<Source.SourceRow> => {
        const value = record
        record = {}
        const at = line - Object.keys(value).length
        return Object.keys(value).length === 0 ? [] : [{ position: `${options.path}:${at}`, value }]
      }
      const lines = fs.stream(options.path).pipe(Stream.decodeText, Stream.splitLines)
      const rows = Stream.concat(lines, Stream.make("")).pipe(
        Stream.map((text) => {
          line++
          if (text.trim() === "") return closed()
          const [field = "", ...rest] = text.split(":")
          record[field.trim()] = rest.join(":").trim()
          return []
        }),
        Stream.flattenIterable
      )
      return { rows }
    })
  })
