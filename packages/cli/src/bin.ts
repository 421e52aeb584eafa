#!/usr/bin/env -S node --max-semi-space-size=16 --
/** The `pipe` command. What only describes the command needs no flow and no provider, and loads neither. */
const [first] = process.argv.slice(2)

if (first === undefined || first.startsWith("-")) await import("./Quick.ts")
else await import("./Main.ts")
