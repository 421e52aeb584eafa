/**
 * The packages as a user gets them: built, packed, and unpacked beside their dependencies in `out/packed/app`, outside of the
 * workspace. Built once for all who need it: again only when a source has changed, and by one process at a time.
 *
 * Run as a script it also checks them: `publint` and `attw` over each tarball, and the public surface of each package against
 * `api/<name>.md`, which `--write` updates.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Api from "./api.ts"

const root = path.resolve(import.meta.dirname, "..")
const out = path.join(root, "out/packed")
const stamp = path.join(out, "stamp")

/** A package comes after those that it needs. */
const names = ["core", "plugins", "cli"]

export interface Packed {
  /** A folder with the packages and all their dependencies installed, as a project of a user has them. */
  readonly app: string
  /** The command's file in it. */
  readonly bin: string
  readonly tarballs: { readonly [name: string]: string }
}

const packed: Packed = {
  app: path.join(out, "app"),
  bin: path.join(out, "app/node_modules/@pipe/cli/dist/bin.js"),
  tarballs: Object.fromEntries(names.map((name) => [name, path.join(out, `${name}.tgz`)]))
}

const filesBelow = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()

/** All that the result is made of. */
const fingerprint = (): string => {
  const hash = createHash("sha256")
  const files = [
    ...names.flatMap((name) => [
      ...["src", "scripts"].flatMap((folder) => {
        const own = path.join(root, "packages", name, folder)
        return fs.existsSync(own) ? filesBelow(own) : []
      }),
      ...["package.json", "tsconfig.build.json"].map((file) => path.join(root, "packages", name, file))
    ]),
    ...["tsconfig.base.json", "pnpm-lock.yaml", "LICENSE", "scripts/packages.ts"].map((file) => path.join(root, file))
  ]
  for (const file of files) {
    if (fs.existsSync(file))
      hash.update(path.relative(root, file)).update("\0").update(fs.readFileSync(file)).update("\0")
  }
  return hash.digest("hex")
}

const run = (command: string, args: ReadonlyArray<string>, cwd = root): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 1 << 28 })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed in ${cwd}:\n${stdout}${stderr}`)
  return stdout
}

const pnpm = (args: ReadonlyArray<string>, cwd: string): string => {
  const { packageManager } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
    readonly packageManager: string
  }
  return spawnSync("pnpm", ["--version"]).error === undefined
    ? run("pnpm", args, cwd)
    : run("npx", ["-y", packageManager, ...args], cwd)
}

/** Dependencies of the packages, beside them: the workspace's own copies. */
const link = (modules: string): void => {
  for (const name of names) {
    const from = path.join(root, "packages", name, "node_modules")
    for (const entry of filesAt(from)) {
      if (entry.startsWith("@pipe/") || fs.existsSync(path.join(modules, entry))) continue
      fs.mkdirSync(path.dirname(path.join(modules, entry)), { recursive: true })
      fs.symlinkSync(fs.realpathSync(path.join(from, entry)), path.join(modules, entry))
    }
  }
}

/** Packages installed in a `node_modules`, scoped ones with their scope. */
const filesAt = (modules: string): ReadonlyArray<string> =>
  fs
    .readdirSync(modules)
    .flatMap((entry) =>
      entry.startsWith(".")
        ? []
        : entry.startsWith("@")
          ? fs.readdirSync(path.join(modules, entry)).map((name) => `${entry}/${name}`)
          : [entry]
    )

const build = (): void => {
  fs.rmSync(out, { recursive: true, force: true })
  fs.mkdirSync(out, { recursive: true })
  for (const name of names) {
    const at = path.join(root, "packages", name)
    pnpm(["run", "build"], at)
    pnpm(["pack", "--out", packed.tarballs[name]!], at)
    const to = path.join(packed.app, "node_modules/@pipe", name)
    fs.mkdirSync(to, { recursive: true })
    run("tar", ["-xzf", packed.tarballs[name]!, "--strip-components=1", "-C", to])
  }
  link(path.join(packed.app, "node_modules"))
  fs.writeFileSync(path.join(packed.app, "package.json"), `{ "name": "app", "private": true, "type": "module" }\n`)
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Builds and packs what has changed, and says where it is. */
export const make = async (): Promise<Packed> => {
  const wanted = fingerprint()
  const isThere = (): boolean => fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === wanted
  const lock = path.join(root, "out/packed.lock")
  fs.mkdirSync(path.dirname(lock), { recursive: true })
  while (!isThere()) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: "wx" })
    } catch {
      const owner = Number(fs.existsSync(lock) ? fs.readFileSync(lock, "utf8") : 0)
      if (owner > 0 && !isAlive(owner)) fs.rmSync(lock, { force: true })
      await setTimeout(100)
      continue
    }
    try {
      if (!isThere()) {
        build()
        fs.writeFileSync(stamp, wanted)
      }
    } finally {
      fs.rmSync(lock, { force: true })
    }
  }
  return packed
}

/** `publint` and `attw` say what a user's tools would stumble over. */
const lint = (name: string): ReadonlyArray<string> =>
  [
    ["publint", "run", packed.tarballs[name]!, "--strict"],
    // ES modules alone: what CommonJS would see of them is no fault. The command has no module to import.
    ...(name === "cli" ? [] : [["attw", packed.tarballs[name]!, "--profile", "esm-only", "--format", "ascii"]])
  ].flatMap(([command, ...args]) => {
    const { error, status, stderr, stdout } = spawnSync(command!, args, { cwd: root, encoding: "utf8" })
    return error === undefined && status === 0 ? [] : [`${command} ${name}: ${error?.message ?? `${stdout}${stderr}`}`]
  })

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await make()
  const write = process.argv.includes("--write")
  const problems: Array<string> = []
  for (const name of names) {
    const file = path.join(root, "api", `${name}.md`)
    const surface =
      name === "cli" ? Api.command(packed.bin) : Api.modules(path.join(packed.app, "node_modules/@pipe", name))
    if (write) {
      fs.mkdirSync(path.dirname(file), { recursive: true })
      fs.writeFileSync(file, surface)
    } else if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== surface) {
      fs.writeFileSync(path.join(out, `${name}.md`), surface)
      const { stdout } = spawnSync("git", ["diff", "--no-index", "--stat", "-p", file, path.join(out, `${name}.md`)], {
        encoding: "utf8"
      })
      problems.push(`the public surface of ${name} has changed: read it, then pnpm api\n${stdout.slice(0, 4_000)}`)
    }
    if (!write) problems.push(...lint(name))
  }
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exit(1)
  console.log(`packages: ${names.join(", ")} build, pack and keep their public surface`)
}
