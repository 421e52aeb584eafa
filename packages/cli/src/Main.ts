/** Runs a command that does something. */
import * as Process from "./Process.ts"
import * as Program from "./Program.ts"

Process.main(Program.make(process.argv.slice(2)))
