/** `pipe --help`, `pipe run --help`, `--version` and `--completions`: describes the commands without running one. */
import * as Cli from "./Cli.ts"
import * as Process from "./process/Process.ts"

Process.main(Cli.run(Cli.command([]), process.argv.slice(2)))
