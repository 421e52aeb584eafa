/**
 * Reads the routing file of a cascade, and uses it only if its models and judges match.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as Closure from "../closure/Closure.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type * as Judge from "./Judge.ts"
import * as Routing from "./Routing.ts"

/**
 * Invalid cascade, or unusable routing file: it is damaged, or was tuned for other models or judges.
 *
 * **Remedy** Tune again with `pipe tune`, or delete the routing file to use the strong model for every row.
 */
export class CascadeError extends Schema.TaggedError<CascadeError>()("CascadeError", {
  message: Schema.String
}) {}

/** A judge with the part that changes its verdict. */
export interface KnownJudge extends Judge.Judge {
  readonly key: string
}

/** The URL of the file. */
export const fileOf = (routing: string | URL) =>
  typeof routing === "string"
    ? Effect.succeed(routing)
    : Effect.flatMap(Path.Path, (path) =>
        Effect.mapError(
          path.fromFileUrl(routing),
          ({ message }) => new CascadeError({ message: `${routing.href}: ${message}` })
        )
      )

/** The routing of a file, when it exists and matches the models and judges. */
export const read = Effect.fnUntraced(function* (
  file: string,
  models: ReadonlyArray<string>,
  judges: ReadonlyArray<KnownJudge>
) {
  const fs = yield* FileSystem.FileSystem
  const unusable = (why: string) =>
    new CascadeError({ message: `${file}: ${why}: tune again with pipe tune, or delete the file` })
  const text = yield* fs.readFileString(file).pipe(
    Effect.catchReason("PlatformError", "NotFound", () => Effect.undefined),
    Effect.mapError(({ message }) => unusable(`cannot be read (${message})`))
  )
  if (text === undefined) return undefined
  const routing = yield* Effect.mapError(Routing.decode(text), ({ message }) =>
    unusable(`is not a routing file (${message.replace(/\s*\n\s*/g, " ")})`)
  )
  const names = (all: ReadonlyArray<{ readonly name: string }>): string =>
    all
      .map(({ name }) => name)
      .toSorted()
      .join(", ") || "none"
  if (names(judges) !== names(routing.judges)) {
    return yield* unusable(`was tuned with the judges ${names(routing.judges)}, and the flow has ${names(judges)}`)
  }
  const other = judges.find(({ key, name }) => routing.judges.some((one) => one.name === name && one.key !== key))
  if (other !== undefined)
    return yield* unusable(`was tuned with another judge ${other.name}: its code or its options have changed`)
  const missing = routing.models.filter((model) => !models.includes(model))
  if (missing.length > 0 || routing.models.at(-1) !== models.at(-1)) {
    return yield* unusable(`was tuned for ${routing.models.join(", ")}, and the flow has ${models.join(", ")}`)
  }
  return routing
})

/** The identity of a judge: its `by`, or the code of its functions with what they capture. */
export const identityOf = <R>({
  answer,
  by,
  identify,
  name,
  prepare,
  row
}: Judge.Judge<R>): Effect.Effect<string, never, R> =>
  Effect.gen(function* () {
    const known = yield* identify ?? Effect.undefined
    const closures = yield* Closure.Current
    const codeOf = (f: Function | undefined) => {
      if (f === undefined) return null
      const meaning = closures?.of(f)
      return meaning?.isOwn === true ? [meaning.code, Object.fromEntries(meaning.captured)] : f.toString()
    }
    return RequestKey.canonical([name, by ?? [answer, row, prepare].map(codeOf), known ?? null])
  })
