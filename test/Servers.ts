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
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.on("exit", () => resume(Effect.void))
    child.kill(signal)
  })

/** A PostgreSQL server that a test stops, starts and freezes. */
export interface Postgres {
  readonly url: string
  /** Ends it at once, as a crash does. */
  readonly stop: Effect.Effect<void>
  readonly start: Effect.Effect<void>
  /** Stops all its processes where they are; `SIGCONT` lets them continue. */
  readonly signal: (signal: "SIGSTOP" | "SIGCONT") => Effect.Effect<void>
}

/** A new PostgreSQL server. */
export const postgresServer = (settings: ReadonlyArray<string> = []): Effect.Effect<Postgres, never, Scope.Scope> =>
  Effect.gen(function* () {
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
    const options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", ...settings]
    let server: ChildProcess | undefined
    const start = Effect.gen(function* () {
      server = spawn(
        join(bin, "postgres"),
        ["-D", at, "-p", String(port), ...options.flatMap((option) => ["-c", option])],
        { ...user, cwd: at, stdio: "ignore", detached: true }
      )
      while (true) {
        try {
          execFileSync(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", String(port)], { stdio: "ignore" })
          return
        } catch {
          yield* Effect.sleep(50)
        }
      }
    })
    const stop = Effect.suspend(() => (server === undefined ? Effect.void : stopped(server, "SIGQUIT")))
    const signal: Postgres["signal"] = (name) =>
      Effect.sync(() => {
        // Its processes are sessions of their own, so each is found by its parent.
        const children = execFileSync("ps", ["-o", "pid=", "--ppid", String(server!.pid)], { encoding: "utf8" })
        for (const pid of [server!.pid!, ...children.trim().split(/\s+/).map(Number)]) process.kill(pid, name)
      })
    yield* start
    yield* Effect.addFinalizer(() => stop)
    return { url: `postgres://pipe:secret-password@127.0.0.1:${port}/postgres`, stop, start, signal }
  })

/** A new PostgreSQL server; its URL. */
export const postgres: Effect.Effect<string, never, Scope.Scope> = Effect.map(postgresServer(), ({ url }) => url)

/** Runs a statement as the owner of a server, with the server's own client. */
export const sql = (url: string, statement: string): Effect.Effect<string> =>
  Effect.sync(() =>
    execFileSync(
      join(postgresFolder()!, "psql"),
      ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, url],
      {
        encoding: "utf8",
        cwd: "/"
      }
    )
  )

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
