/**
 * Fails, with one line each, where a public export has no comment: the functions, values, interfaces, classes and type aliases of the modules
 * that the packages export. A value and a type of one name share a comment.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./samples.ts"

const modulesOf = (name: string): ReadonlyArray<string> => {
  const index = fs.readFileSync(path.join(root, `packages/${name}/src/index.ts`), "utf8")
  return [...index.matchAll(/^export \* as \w+ from "\.\/(.+)"/gm)].map(([, file]) => `packages/${name}/src/${file}`)
}

const EXPORT = /^export (?:declare )?(?:abstract )?(?:const|function|class|interface|type) (\w+)/

/** The exports of a module without a comment above, by name. */
const undocumented = (file: string): ReadonlyArray<{ readonly line: number; readonly name: string }> => {
  const lines = fs.readFileSync(path.join(root, file), "utf8").split("\n")
  const documented = new Set<string>()
  const bare = new Map<string, number>()
  for (const [at, line] of lines.entries()) {
    const name = EXPORT.exec(line)?.[1]
    if (name === undefined) continue
    if (lines[at - 1]?.trim().endsWith("*/") === true) documented.add(name)
    else if (!bare.has(name)) bare.set(name, at + 1)
  }
  return [...bare].flatMap(([name, line]) => (documented.has(name) ? [] : [{ line, name }]))
}

let found = 0
const modules = ["core", "plugins"].flatMap(modulesOf)
for (const file of modules) {
  for (const { line, name } of undocumented(file)) {
    found++
    console.error(`${file}:${line}: ${name} has no comment`)
  }
}
if (found > 0) process.exitCode = 1
else console.log(`docstrings: ${modules.length} modules, every export has a comment`)
