/** A command that does something. One that takes a flow first loads it, since its parameters are flags too. */
import * as Cli from "./Cli.ts"
import * as LoadFlow from "./LoadFlow.ts"

const args = process.argv.slice(2)
const [name] = args
const file = name === "run" ? LoadFlow.fileIn(args.slice(1)) : undefined

if (file === undefined) Cli.main(Cli.command([]), args)
else Cli.mainWithFlow(file, args)
