/** Starts workers on this machine for a run, and starts those again that end before it does. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"

export interface Options {
  readonly count: number
  readonly flow: string
  /** The store, in their environment: arguments are visible to all users of the machine. */
  readonly store: string
  /** Flags of the run that its workers share. */
  readonly flags: ReadonlyArray<string>
  readonly warn: (text: string) => void
}

/** How long after its end a worker is started again: longer each time, in milliseconds. */
const PAUSE = 1_000
const MOST_PAUSE = 30_000

/** Works until it is interrupted. */
export const run = (name: string, { count, flags, flow, store, warn }: Options): Effect.Effect<never> => {
  const worker = Effect.callback<number | undefined>((resume) => {
    const child = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1]!, "worker", flow, "--run", name, "--quiet", ...flags],
      { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PIPE_STORE: store } }
    )
    let said = ""
    child.stderr.on("data", (chunk) => (said = (said + String(chunk)).slice(-2_000)))
    child.on("error", () => resume(Effect.undefined))
    child.on("close", (code) => {
      if (code !== 0 && said.trim() !== "") warn(`a worker ended: ${said.trim()}`)
      resume(Effect.succeed(code ?? undefined))
    })
    return Effect.sync(() => void child.kill("SIGTERM"))
  })
  const kept = Effect.gen(function* () {
    for (let start = 1; ; start++) {
      yield* worker
      yield* Effect.sleep(Math.min(MOST_PAUSE, PAUSE * start))
    }
  })
  return Effect.forEach(Array.from({ length: count }), () => kept, { concurrency: "unbounded" }) as Effect.Effect<never>
}
