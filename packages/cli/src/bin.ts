#!/usr/bin/env -S node --max-semi-space-size=16 --
/** The `pipe` command. Help needs no provider, and loads none. */
import * as Archive from "./Archive.ts"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `pipe needs Node.js 22.19 or newer, and this is ${process.versions.node}: install one from nodejs.org\n`
  )
  process.exit(1)
}

// Node's warnings about its own features do not help a user of the command.
const emitWarning = process.emitWarning.bind(process)
process.emitWarning = ((warning: string | Error, ...rest: ReadonlyArray<unknown>) => {
  const [given] = rest
  const type = typeof given === "object" && given !== null ? (given as { readonly type?: unknown }).type : given
  const code = typeof given === "object" && given !== null ? (given as { readonly code?: unknown }).code : rest[1]
  if (type === "ExperimentalWarning" || code === "MODULE_TYPELESS_PACKAGE_JSON") return
  ;(emitWarning as (...all: ReadonlyArray<unknown>) => void)(warning, ...rest)
}) as typeof process.emitWarning

const args = process.argv.slice(2)

/** Help of a command, unless a file is named: a flow's parameters are flags, too. */
const isHelp = args.some((arg) => arg === "--help" || arg === "-h") && !args.some((arg) => /\.[cm]?[jt]sx?$/.test(arg))

if (isHelp || args[0] === undefined || args[0].startsWith("-")) await import("./Quick.ts")
else {
  Archive.open(new URL("./archive/", import.meta.url))
  await import("./Main.ts")
}
