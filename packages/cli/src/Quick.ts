/** `pipe --help`, `--version` and `--completions`: the commands are described, not run. */
import * as Cli from "./Cli.ts"
import * as Process from "./process/Process.ts"

Process.main(Cli.run(Cli.command([]), process.argv.slice(2)))
