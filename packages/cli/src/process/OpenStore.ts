/** Opens an existing store for commands that read it. */
import * as Store from "@pipe/core/Store"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { existsSync } from "node:fs"
import { dirname, isAbsolute, join, relative } from "node:path"
import * as StoreFlag from "../flags/StoreFlag.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Log from "./Log.ts"

/** Whether a store may exist. A server is contacted when it is used. */
export const exists = (location: string): boolean => NodeHost.isPostgres(location) || existsSync(location)

/** The store of a parent folder, when a command runs in a part of a project. */
const above = (location: string): string | undefined => {
  if (isAbsolute(location)) return undefined
  for (let folder = dirname(process.cwd()); ; folder = dirname(folder)) {
    const file = join(folder, location)
    if (existsSync(file)) return relative(process.cwd(), file)
    if (dirname(folder) === folder) return undefined
  }
}

/** Runs an effect with a store, or reports in one line that there is none. */
export const use = <A, E>(
  location: string,
  f: (store: Store.Service) => Effect.Effect<A, E>
): Effect.Effect<A, E | ExitCode.Failure> =>
  Effect.suspend((): Effect.Effect<A, E | ExitCode.Failure> => {
    if (!exists(location)) {
      const other = above(location)
      return Effect.fail(
        ExitCode.refuse(
          `${location}: there is no store yet: ${other === undefined ? "pipe run <flow> creates one" : `there is one in a parent folder, --store ${other}`}`
        )
      )
    }
    return Effect.scoped(
      Effect.flatMap(
        Effect.mapError(Layer.build(NodeHost.existingStore(location)), (error) => ExitCode.refuse(error.message)),
        (context) => Effect.provideContext(Effect.flatMap(Store.Store, f), context)
      )
    )
  }).pipe(Effect.provide(Log.plain))

/** Reports store errors in one line. */
export const readable = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, ExitCode.Failure> =>
  Effect.mapError(effect, (error) =>
    error instanceof ExitCode.Failure ? error : ExitCode.refuse(Store.messageOf(error))
  )

/** Runs an effect with the store that the flags of a command name, and reports its errors in one line. */
export const withStore = <A, E>(
  input: Parameters<typeof StoreFlag.resolve>[0],
  f: (store: Store.Service) => Effect.Effect<A, E>
): Effect.Effect<A, ExitCode.Failure> => readable(use(StoreFlag.resolve(input), f))
