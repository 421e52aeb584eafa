/**
 * A command that does something. Environment files come first, since a flow file may read them where it is loaded; then the
 * flow that is to run, since its parameters are flags.
 */
import * as Effect from "effect/Effect"
import * as Cli from "./Cli.ts"
import * as Environment from "./Environment.ts"
import * as LoadFlow from "./LoadFlow.ts"

const args = process.argv.slice(2)
const file = args[0] === "run" || args[0] === "plan" || args[0] === "tune" ? LoadFlow.fileIn(args.slice(1)) : undefined

const parameters = file === undefined ? Effect.succeed([]) : Effect.map(LoadFlow.load(file), (flow) => flow.parameters)

Cli.main(Effect.map(Effect.andThen(Environment.load(Environment.namedIn(args)), parameters), Cli.command), args)
