/** Implements `pipe ui`. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as FindRun from "../../process/FindRun.ts"
import * as Interrupt from "../../process/Interrupt.ts"
import * as Log from "../../process/Log.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as Server from "../../ui/Server.ts"
import type { Input } from "./flags.ts"

/** The project's stores, or the one that was named. */
const storesOf = (input: Input): ReadonlyArray<string> =>
  Option.isSome(input.store) ? [input.store.value] : [StoreFlag.resolve(input), StoreFlag.simulatedStore]

/** Serves the page until Ctrl-C. */
export const serveUi = Effect.fnUntraced(function* (input: Input) {
  const named = Option.isSome(input.run) ? input.run : Option.none()
  const run = Option.isNone(named)
    ? undefined
    : (yield* FindRun.find({ run: named, store: input.store, simulate: false })).run.name
  if (Option.isSome(input.store) && !OpenStore.exists(input.store.value))
    return yield* ExitCode.refuse(`${input.store.value}: there is no such store`)
  yield* Effect.scoped(
    Effect.gen(function* () {
      const served = yield* Effect.mapError(
        Server.serve({
          stores: storesOf(input),
          port: input.port,
          self: { command: process.execPath, args: [...process.execArgv, process.argv[1]!] }
        }),
        ({ message }) => ExitCode.refuse(message)
      )
      const address = served.address(run)
      yield* Console.log(`the page is at ${address}`)
      yield* Console.log("only this machine can open it; Ctrl-C ends it")
      if (input.open) browse(served.addressOnce(run))
      yield* Interrupt.first
    })
  ).pipe(Effect.provide(Log.plain))
})

/** Opens an address in the browser, where there is one. */
const browse = (address: string): void => {
  const command = process.platform === "darwin" ? "open" : process.platform === "win32" ? "explorer" : "xdg-open"
  spawn(command, [address], { stdio: "ignore", detached: true })
    .on("error", () => process.stderr.write("pipe ui found no browser to open: open the address yourself\n"))
    .unref()
}
