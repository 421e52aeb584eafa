/** The command as a process: its streams, its signals and its exit code. */
import * as NodeStdio from "@effect/platform-node/NodeStdio"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type * as Stdio from "effect/Stdio"
import { inspect } from "node:util"
import * as Cli from "../Cli.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Heap from "./Heap.ts"
import * as Interrupt from "./Interrupt.ts"
import * as Output from "./Output.ts"

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** Flushes the standard streams, then exits: an open timer or connection of a flow does not keep the process alive. */
const leave = (code: number): void => {
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)))
}

/** A run ended by a signal has no exit code of its own. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  onExit(Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : ExitCode.interrupted)

const runMain = Runtime.makeRunMain(({ fiber, teardown: finish }) => {
  let isInterrupted = false
  const onSignal = (signal: NodeJS.Signals) => {
    if (isInterrupted) {
      stopListening()
      process.kill(process.pid, signal)
    }
    isInterrupted = true
    if (!Interrupt.notify()) fiber.interruptUnsafe()
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  // From here on a signal ends the process by itself, even while it waits for a thread that reads a device.
  const stopListening = () => {
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
  // Stops the run cleanly, so its work and its ledger are complete.
  let isBroken = false
  const fail = (message: string) => {
    if (!isBroken) process.stderr.write(`${SafeText.terminal(message)}\n`)
    isBroken = true
    fiber.interruptUnsafe()
  }
  // Errors that a flow throws outside its steps.
  const onStray = (error: unknown) =>
    fail(
      `an error outside the steps of the flow: ${error instanceof Error ? (error.stack ?? error.message) : inspect(error)}`
    )
  process.on("uncaughtException", onStray)
  process.on("unhandledRejection", onStray)
  // Neither a closed reader of standard output nor a closed terminal is a failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE" || error.code === "EIO") return
    fail(`standard output cannot be written: ${error.message}`)
  })
  process.stderr.on("error", () => {})
  fiber.addObserver((exit) => {
    stopListening()
    finish(exit, (code) => leave(isBroken ? ExitCode.failed : code))
  })
})

/** Runs the command to its exit code: the first signal stops it cleanly, the second at once. */
export const main = (command: Effect.Effect<void, unknown, Stdio.Stdio>): void =>
  runMain(
    Effect.exit(command).pipe(
      Effect.flatMap(Cli.exitCode),
      Effect.provide([NodeStdio.layer, Output.layer(Output.fromProcess())]),
      Effect.provideService(Heap.IsOwn, true)
    ),
    { disableErrorReporting: true, teardown }
  )
