/**
 * Environment files: what is set already wins, then `--env-file`, then `.env` in the working folder or the nearest above.
 */
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import * as ExitCode from "./ExitCode.ts"

const FLAG = "--env-file"

/** The file that arguments name. */
export const namedIn = (args: ReadonlyArray<string>): string | undefined => {
  const index = args.findIndex((arg) => arg === FLAG || arg.startsWith(`${FLAG}=`))
  return index === -1 ? undefined : args[index] === FLAG ? args[index + 1] : args[index]!.slice(FLAG.length + 1)
}

/** Loads them; a named file that does not exist is an error. */
export const load = (named: string | undefined): Effect.Effect<void, ExitCode.Failure> =>
  Effect.suspend(() => {
    if (named !== undefined) {
      if (!existsSync(named)) {
        return Effect.fail(
          new ExitCode.Failure({ message: `${named}: there is no such file (--env-file)`, exitCode: ExitCode.usage })
        )
      }
      process.loadEnvFile(named)
    }
    const nearest = find(resolve("."))
    if (nearest !== undefined) process.loadEnvFile(nearest)
    return Effect.void
  })

const find = (folder: string): string | undefined => {
  const file = join(folder, ".env")
  if (existsSync(file)) return file
  return dirname(folder) === folder ? undefined : find(dirname(folder))
}
