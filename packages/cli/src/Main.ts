/** Runs a command that does something. */
import * as Program from "./Program.ts"
import * as Process from "./process/Process.ts"

Process.main(Program.make(process.argv.slice(2)))
