/** Real servers for tests: PostgreSQL and Redis, as Debian packages them, each on a port and in a folder of its own. */
import { Effect, type Scope } from "effect"
import { execFileSync, spawn, type ChildProcess } from "node:child_process"
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const postgresFolder = (): string | undefined => {
  const base = "/usr/lib/postgresql"
  const version = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a))[0] : undefined
  const bin = version === undefined ? undefined : join(base, version, "bin")
  return bin !== undefined && existsSync(join(bin, "initdb")) ? bin : undefined
}

const has = (command: string): boolean => {
  try {
    execFileSync("which", [command], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

export const hasPostgres = postgresFolder() !== undefined
export const hasRedis = has("redis-server")

/** The browser's file. */
export const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync)

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** The server refuses to be root's: then it runs as the first user who is not. */
const owner = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((line) => /^(?:postgres|nobody):/.test(line))!
  const [, , uid, gid] = line.split(":")
  return { uid: Number(uid), gid: Number(gid) }
}

const stopped = (child: ChildProcess, signal: NodeJS.Signals) =>
  Effect.callback<void>((resume) => {
    child.on("exit", () => resume(Effect.void))
    child.kill(signal)
  })

/** A new PostgreSQL server; its URL. */
export const postgres: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function* () {
  const bin = postgresFolder()!
  const user = owner()
  const at = mkdtempSync(join(tmpdir(), "pipe-pg-"))
  chmodSync(at, 0o700)
  if (user !== undefined) chownSync(at, user.uid, user.gid)
  const port = yield* freePort
  execFileSync(join(bin, "initdb"), ["-D", at, "-U", "pipe", "--auth=trust", "--no-sync", "-E", "UTF8"], {
    ...user,
    cwd: at,
    stdio: "ignore"
  })
  const server = spawn(
    join(bin, "postgres"),
    [
      "-D",
      at,
      "-p",
      String(port),
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      "unix_socket_directories=",
      "-c",
      "fsync=off"
    ],
    { ...user, cwd: at, stdio: "ignore" }
  )
  yield* Effect.addFinalizer(() => stopped(server, "SIGQUIT"))
  while (true) {
    try {
      execFileSync(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", String(port)], { stdio: "ignore" })
      return `postgres://pipe:secret-password@127.0.0.1:${port}/postgres`
    } catch {
      yield* Effect.sleep(50)
    }
  }
})

/** A new Redis server; its URL. */
export const redis: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function* () {
  const port = yield* freePort
  const server = spawn(
    "redis-server",
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    { stdio: ["ignore", "pipe", "ignore"] }
  )
  yield* Effect.addFinalizer(() => stopped(server, "SIGTERM"))
  yield* Effect.callback<void>((resume) => {
    let log = ""
    server.stdout.on("data", (chunk) => {
      log += chunk
      if (log.includes("Ready to accept connections")) resume(Effect.void)
    })
  })
  return `redis://127.0.0.1:${port}`
})
