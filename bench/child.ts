/**
 * Measures one peer in this process and prints one JSON line. Run by `measure.ts`:
 *
 *     node child.ts <peer> <task> <baseURL> <rows> <baseURL of the warm-up> <its rows>
 */
import { performance } from "node:perf_hooks"
import { usage } from "./peer.ts"
import { peers } from "./peers.ts"
import { callsOf, named } from "./tasks.ts"

/** What was measured of one peer. */
export interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakMB: number
}

/** Rows sent to a server. */
interface Rows {
  readonly baseURL: string
  readonly rows: number
}

const measure = async (peer: string, taskName: string, measured: Rows, warmUp: Rows): Promise<Measured> => {
  const load = peers[peer]
  if (load === undefined) throw new Error(`No peer "${peer}"`)
  const { run } = await load()
  const task = named(taskName)

  const runChecked = async ({ baseURL, rows }: Rows) => {
    const result = await run({ baseURL, rows, task })
    const tokens = rows * callsOf(task) * usage.total_tokens
    if (result.rows !== rows || result.tokens !== tokens)
      throw new Error(`Asked for ${rows} rows and ${tokens} tokens, got ${JSON.stringify(result)}`)
  }

  if (warmUp.rows > 0) await runChecked(warmUp)
  const cpuBefore = process.cpuUsage()
  const before = performance.now()
  await runChecked(measured)
  const seconds = (performance.now() - before) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  return {
    seconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakMB: process.resourceUsage().maxRSS / 1024
  }
}

if (import.meta.main) {
  const [peer = "", task = "", baseURL = "", rows, warmUpURL = "", warmUp] = process.argv.slice(2)
  const measured = await measure(
    peer,
    task,
    { baseURL, rows: Number(rows) },
    { baseURL: warmUpURL, rows: Number(warmUp) }
  )
  process.stdout.write(`${JSON.stringify(measured)}\n`, () => process.exit())
}
