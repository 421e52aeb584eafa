/** `pipe --help`, `--version` and `--completions`: the commands are described, not run. */
import * as Cli from "./Cli.ts"

Cli.main(Cli.command([]), process.argv.slice(2))
