/** Writes records of lines "name: value", with an empty line between them. */
import { type Node, Sink } from "@pipe/core"
import { Effect, FileSystem } from "effect"

/** The rows in a file, which appears when the run is complete. */
export const records = <A extends object, E, R>(path: string, rows: Node.Node<A, E, R>) =>
  Sink.make(path, rows, {
    open: Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const partial = `${path}.partial`
      yield* fs.writeFileString(partial, "")
      const textOf = (row: A) =>
        Object.entries(row)
          .map(([name, value]) => `${name}: ${String(value)}\n`)
          .join("") + "\n"
      return {
        write: (some) => fs.writeFileString(partial, some.map(textOf).join(""), { flag: "a" }),
        finish: fs.rename(partial, path)
      }
    })
  })
