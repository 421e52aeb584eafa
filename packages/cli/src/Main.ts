/** Runs a command other than help. */
import * as Program from "./Program.ts"
import * as Process from "./process/Process.ts"

Process.main(Program.make(process.argv.slice(2)))
