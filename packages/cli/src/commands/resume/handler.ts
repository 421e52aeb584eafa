/** Implements `pipe resume` and `pipe retry`: a run continues with the options it was started with. */
import * as Report from "@pipe/core/Report"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs"
import { relative, resolve } from "node:path"
import * as Environment from "../../process/Environment.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as FindRun from "../../process/FindRun.ts"
import * as LoadFlow from "../../process/LoadFlow.ts"
import type * as RunFlags from "../../flags/RunFlags.ts"
import { execute } from "../run/handler.ts"

export type ResumeInput = RunFlags.Input & {
  readonly run: Option.Option<string>
  readonly flow: Option.Option<string>
}

/** Resumes an unfinished run, or retries the failed rows of one. */
export const resume = Effect.fnUntraced(function* (input: ResumeInput, what: "unfinished" | "failed") {
  const { run, simulate } = yield* FindRun.find(input)
  const summary = Report.summaryOf(run)
  const failed = summary?.rows.failed ?? 0
  if (run.status === "running") {
    return yield* ExitCode.refuse(`run ${run.name} is active already (process ${run.owner.pid} on ${run.owner.host})`)
  }
  if (what === "unfinished" && run.status === "done") {
    return yield* ExitCode.refuse(
      failed > 0
        ? `run ${run.name} is done, with ${failed} failed rows: pipe retry ${run.name} --failed`
        : `run ${run.name} is done: there is nothing to resume`
    )
  }
  if (what === "failed" && failed === 0 && run.status === "done")
    return yield* ExitCode.refuse(`run ${run.name} has no failed rows`)
  const { options } = run
  if (options.tuning === true)
    return yield* ExitCode.refuse(`run ${run.name} was a tuning: tune again with pipe tune; its answers are kept`)
  if (options.file === undefined)
    return yield* ExitCode.refuse(`run ${run.name} was started by a program: resume it there (Runner.run with resume)`)
  const file = yield* flowFileOf(run.name, hereOf(options.file, options.projectFile), input)
  const flow = yield* LoadFlow.load(file)
  return yield* execute({
    flow,
    file,
    run: run.name,
    retry: what === "failed",
    parameters: options.parameters ?? {},
    ...(options.limit === undefined ? undefined : { limit: options.limit }),
    ...(options.concurrency === undefined ? undefined : { concurrency: options.concurrency }),
    cache: options.cache ?? true,
    overwrite: input.overwrite,
    started: { startedAt: run.startedAt, ...options },
    input: {
      ...input,
      simulate,
      simulateSeed: Option.orElse(input.simulateSeed, () => Option.fromUndefinedOr(options.simulateSeed)),
      budget: input.budget.length > 0 ? input.budget : (options.budget ?? []),
      // Failed rows are retried by one process.
      workers:
        what === "failed" ? input.workers : Option.orElse(input.workers, () => Option.fromUndefinedOr(options.workers))
    }
  })
})

/** The path of the flow's file from here: the run may have been started in another folder, or on another machine. */
const hereOf = (file: string, projectFile: string | undefined): string => {
  if (projectFile === undefined) return file
  const inProject = resolve(Environment.rootOf(process.cwd()), projectFile)
  return existsSync(inProject) ? relative(process.cwd(), inProject) : file
}

/**
 * The file to load for a run. The store names it, and so does anyone who can write to the store: only a flow of this
 * project is loaded automatically, and any other must be named on the command line.
 */
const flowFileOf = Effect.fnUntraced(function* (run: string, file: string, input: Pick<ResumeInput, "flow">) {
  if (Option.isSome(input.flow)) return relative(process.cwd(), resolve(input.flow.value))
  const way = `if you trust it: pipe resume ${run} --flow ${file}`
  if (!existsSync(file)) {
    return yield* ExitCode.refuse(
      `${file}: the flow file of run ${run} does not exist any more: name its new path with --flow`
    )
  }
  const root = realpathSync(Environment.rootOf(process.cwd()))
  if (relative(root, realpathSync(file)).startsWith("..")) {
    return yield* ExitCode.refuse(
      `${file}: the store names this file for run ${run}, which is outside this project: ${way}`
    )
  }
  if (!statSync(file).isFile() || !/@pipe\/|\bFlow\b/.test(readFileSync(file, "utf8"))) {
    return yield* ExitCode.refuse(`${file}: the store names this file for run ${run}, which is not a flow: ${way}`)
  }
  return file
})
