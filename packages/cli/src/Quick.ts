/** `pipe --help`, `--version` and `--completions`: the commands are described, not run. */
import * as Effect from "effect/Effect"
import * as Cli from "./Cli.ts"

Cli.main(Effect.succeed(Cli.command([])), process.argv.slice(2))
