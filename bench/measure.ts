/** Runs a peer on a task: in a process of its own, against a server of its own. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Measured } from "./child.ts"
import type { Served } from "./server.ts"
import { callsOf, named } from "./tasks.ts"

/** What was measured of one peer on one task. */
export interface Run extends Measured {
  readonly rows: number
  /** The share of one core that the server was busy. */
  readonly serverBusy: number
  /** Requests that the server refused, for each row. */
  readonly refused: number
}

export interface Options {
  readonly rows?: number | undefined
  readonly warmUp?: number | undefined
  /** Where the peer and the product are. Default: this checkout. */
  readonly checkout?: string | undefined
}

const here = import.meta.dirname

// Peers read variables (tracing, proxies, keys) that would change what is measured: none but PATH is passed on.
const start = (path: string, args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [path, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"] }
  })
  const exited = once(child, "exit")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    /** The next line that is JSON; a peer's library may print others. */
    next: async (): Promise<unknown> => {
      for (let line = await lines.next(); !line.done; line = await lines.next()) {
        if (line.value.startsWith("{")) return JSON.parse(line.value)
      }
      const [code, signal] = await exited
      throw new Error(`${path} ended early (${code ?? signal})`)
    },
    /** Ends its standard input. */
    end: () => child.stdin.end(),
    exited
  }
}

/** The server of a task, in a process of its own; with `milliseconds`, one that answers after them and refuses nothing. */
export const startServer = async (task: string, milliseconds?: string) => {
  const server = start(join(here, "server.ts"), milliseconds === undefined ? [task] : [task, milliseconds])
  const { port } = (await server.next()) as { readonly port: number }
  return { ...server, url: `http://127.0.0.1:${port}/v1` }
}

/** Calls before what is measured: modules are loaded, and Node has compiled the code. */
const WARM_UP = 20_000

export const measure = async (peer: string, taskName: string, options: Options = {}): Promise<Run> => {
  const task = named(taskName)
  const calls = callsOf(task)
  const { checkout, rows = task.rows, warmUp = Math.ceil(WARM_UP / calls) } = options
  const servers = [await startServer(taskName), await startServer(taskName, "0")] as const
  const [server, warming] = servers
  try {
    const script = join(checkout === undefined ? here : join(checkout, "bench"), "child.ts")
    const child = start(script, [peer, taskName, server.url, String(rows), warming.url, String(warmUp)])
    const measured = (await child.next()) as Measured
    server.end()
    const served = (await server.next()) as Served
    if (served.requests !== rows * calls) throw new Error(`${peer} sent ${served.requests} requests for ${rows} rows`)
    return {
      ...measured,
      rows,
      serverBusy: served.cpuSeconds / measured.seconds,
      refused: served.refused / rows
    }
  } finally {
    for (const { end, exited } of servers) {
      end()
      await exited
    }
  }
}

export const medianBy = <A>(all: ReadonlyArray<A>, of: (one: A) => number): A =>
  all.toSorted((a, b) => of(a) - of(b))[all.length >> 1]!

export const median = (all: ReadonlyArray<number>): number => medianBy(all, (one) => one)

/** Rows a second. */
export const perSecond = ({ rows, seconds }: Run): number => rows / seconds

/** Microseconds of CPU for a row. */
export const cpuPerRow = ({ cpuSeconds, rows }: Run): number => (cpuSeconds / rows) * 1e6
