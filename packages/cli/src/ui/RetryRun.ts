/** Runs the failed rows of a run again, in a process of its own: `pipe retry`. */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as Problem from "./Problem.ts"

/** A retry that was started here. */
export interface Retry {
  readonly run: string
  readonly startedAt: number
  /** Absent while it runs. */
  readonly code?: number
  /** The last lines of what it said. */
  readonly said: ReadonlyArray<string>
}

/** How the command was started, to start it again. */
export interface Self {
  readonly command: string
  readonly args: ReadonlyArray<string>
}

const LINES = 12

export interface Retries {
  readonly start: (
    run: string,
    store: string,
    budget: string | undefined,
    at: number
  ) => Effect.Effect<Retry, Problem.Problem>
  readonly of: (run: string) => Retry | undefined
}

/** A budget as the command reads it: `2usd`. */
const BUDGET = /^\d+(?:\.\d+)?(?:usd|tokens)$/

export const make = ({ args, command }: Self): Retries => {
  const all = new Map<string, Retry>()
  return {
    of: (run) => all.get(run),
    start: (run, store, budget, at) =>
      Effect.suspend(() => {
        const before = all.get(run)
        if (before !== undefined && before.code === undefined)
          return Effect.fail(new Problem.Problem({ status: 409, message: `pipe retry ${run} is in progress` }))
        if (budget !== undefined && !BUDGET.test(budget))
          return Effect.fail(Problem.badRequest("a budget is an amount such as 2usd, or 100000tokens"))
        const child = spawn(
          command,
          [
            ...args,
            "retry",
            run,
            "--failed",
            "--quiet",
            "--store",
            store,
            ...(budget === undefined ? [] : ["--budget", budget])
          ],
          { stdio: ["ignore", "ignore", "pipe"], detached: true }
        )
        const said: Array<string> = []
        const set = (code?: number): Retry => {
          const retry = { run, startedAt: at, said: [...said], ...(code === undefined ? undefined : { code }) }
          all.set(run, retry)
          return retry
        }
        child.stderr.setEncoding("utf8")
        child.stderr.on("data", (text: string) => {
          said.push(...text.split("\n").flatMap((line) => (line.trim() === "" ? [] : [SafeText.line(line, 300)])))
          said.splice(0, Math.max(0, said.length - LINES))
          set()
        })
        child.on("error", (error) => {
          said.push(SafeText.line(error.message))
          set(1)
        })
        child.on("close", (code) => void set(code ?? 1))
        // It continues when the page's server ends.
        child.unref()
        return Effect.succeed(set())
      })
  }
}
