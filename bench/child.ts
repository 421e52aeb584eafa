/**
 * Measures one peer in this process and prints one JSON line. Run by `bench.ts`:
 *
 *     node child.ts <peer> <baseURL> <rows> <concurrency>
 */
import { performance } from "node:perf_hooks"
import { usage, type RunOptions } from "./peer.ts"
import { peers } from "./peers.ts"

/** Rows before the clock starts: modules are loaded, connections open, the code is warm. */
export const warmUpRows = 500

/** What was measured of one peer. */
export interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakMB: number
}

const measure = async (name: string, options: RunOptions): Promise<Measured> => {
  const load = peers[name]
  if (load === undefined) throw new Error(`No peer "${name}"`)
  const { run } = await load()

  const runChecked = async (rows: number) => {
    const result = await run({ ...options, rows })
    if (result.rows !== rows || result.tokens !== rows * usage.total_tokens) {
      throw new Error(`Asked for ${rows} rows of ${usage.total_tokens} tokens, got ${JSON.stringify(result)}`)
    }
  }

  await runChecked(warmUpRows)
  const cpuBefore = process.cpuUsage()
  const before = performance.now()
  await runChecked(options.rows)
  const seconds = (performance.now() - before) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  return { seconds, cpuSeconds: (cpu.user + cpu.system) / 1e6, peakMB: process.resourceUsage().maxRSS / 1024 }
}

if (import.meta.main) {
  const [name = "", baseURL = "", rows, concurrency] = process.argv.slice(2)
  const measured = await measure(name, { baseURL, rows: Number(rows), concurrency: Number(concurrency) })
  process.stdout.write(`${JSON.stringify(measured)}\n`, () => process.exit())
}
