/** Implements `pipe run`. */
import type * as Flow from "@pipe/core/Flow"
import * as Format from "@pipe/core/internal/Format"
import * as Plan from "@pipe/core/Plan"
import * as Report from "@pipe/core/Report"
import * as RequestKey from "@pipe/core/RequestKey"
import * as ReportText from "../../view/ReportText.ts"
import * as RunEvent from "@pipe/core/RunEvent"
import * as Runner from "@pipe/core/Runner"
import * as Sink from "@pipe/core/Sink"
import type * as RunRepo from "@pipe/core/internal/RunRepo"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Prompt from "effect/cli/Prompt"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { relative, resolve } from "node:path"
import type * as RunFlags from "../../flags/RunFlags.ts"
import * as Spending from "../../flags/Spending.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Time from "../../flags/Time.ts"
import * as Environment from "../../process/Environment.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Heap from "../../process/Heap.ts"
import * as Host from "../../process/Host.ts"
import * as Interrupt from "../../process/Interrupt.ts"
import * as LocalWorkers from "../../process/LocalWorkers.ts"
import * as LoadFlow from "../../process/LoadFlow.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as Output from "../../process/Output.ts"
import * as CheckText from "../../view/CheckText.ts"
import * as PlanText from "../../view/PlanText.ts"
import * as View from "../../view/View.ts"
import type { Input } from "./flags.ts"

/** A run to start or resume. */
export interface Session {
  readonly flow: Flow.Any
  readonly file: string
  /** The run to resume. */
  readonly run?: string
  /** Runs only its failed rows. */
  readonly retry?: boolean
  /** As the parameters' schemas encode them. */
  readonly parameters: { readonly [name: string]: Schema.Json }
  readonly limit?: number
  readonly concurrency?: number
  readonly cache: boolean
  readonly overwrite: boolean
  /** The options that the run was started with. Flags override them. */
  readonly started?: Pick<RunRepo.StoredRun, "startedAt"> & Pick<RunRepo.Options, "batch" | "deadline" | "limit">
  readonly input: RunFlags.Input
}

/** Runs a flow from its file. */
export const runFlow = Effect.fnUntraced(function* (input: Input) {
  const flow = yield* LoadFlow.load(input.flow)
  const session: Session = {
    flow,
    file: relative(process.cwd(), resolve(input.flow)),
    parameters: yield* Host.parametersOf(flow, input),
    ...(Option.isSome(input.limit) ? { limit: input.limit.value } : undefined),
    ...(Option.isSome(input.concurrency) ? { concurrency: input.concurrency.value } : undefined),
    cache: !input.noCache,
    overwrite: input.overwrite,
    input
  }
  if (input.check) return yield* checkFlow(session)
  const unfinished = yield* unfinishedRun(session)
  if (unfinished === undefined) return yield* execute(session)
  // The budget that the run was started with still applies, unless it has been reached: resuming then exceeds it.
  const budget =
    input.budget.length > 0 || unfinished.status === "budget" ? input.budget : (unfinished.options.budget ?? [])
  return yield* execute({
    ...session,
    run: unfinished.name,
    started: { startedAt: unfinished.startedAt, ...unfinished.options },
    input: { ...input, budget }
  })
})

const identityOf = ({ file, flow, limit, parameters }: Session): string =>
  Host.identityOf({ file, flow: flow.name, parameters, limit })

/** A detached run of the same flow and parameters, over other rows: `--limit` does not change what its requests cost. */
const detachedOf = ({ file, parameters }: Session, waiting: ReadonlyArray<RunRepo.StoredRun>) =>
  waiting.find(
    (run) =>
      Environment.inProject(file) === (run.options.projectFile ?? run.options.file)
      && RequestKey.canonical(run.options.parameters ?? {}) === RequestKey.canonical(parameters)
  )

/** The unfinished run to resume, if the user at a terminal confirms it; otherwise a new run reuses its work. */
const unfinishedRun = Effect.fnUntraced(function* (session: Session) {
  const { input } = session
  const location = StoreFlag.resolve(input)
  if (!session.cache || !OpenStore.exists(location)) return undefined
  const last = yield* OpenStore.use(location, (store) => store.runs.latest(identityOf(session))).pipe(
    Effect.catch(() => Effect.undefined)
  )
  if (last === undefined || last.status === "done" || last.status === "running" || !Report.hasStarted(last)) {
    const detached = detachedOf(
      session,
      yield* OpenStore.use(location, (store) => store.runs.waiting(session.flow.name)).pipe(
        Effect.catch(() => Effect.succeed([]))
      )
    )
    if (detached !== undefined)
      yield* refusePaying(session, location, detached, "was detached with batches in progress")
    return undefined
  }
  const how =
    last.status === "budget"
      ? "reached its budget"
      : last.status === "failed"
        ? "failed"
        : last.status === "waiting"
          ? "was detached with batches in progress"
          : "was interrupted"
  const output = yield* Output.Output
  const canPrompt = output.canPrompt && output.canRepaint
  if (!canPrompt || input.json || input.quiet) yield* refusePaying(session, location, last, how)
  if (input.json || input.quiet) return undefined
  if (!canPrompt) {
    yield* Output.error(`run ${last.name} ${how}; its finished work is reused (pipe resume ${last.name} resumes it)`)
    return undefined
  }
  const isResumed = yield* Prompt.run(
    Prompt.Confirm({ message: `Run ${last.name} of this flow ${how}. Resume it?`, initial: true })
  )
  return isResumed ? last : undefined
})

/** Refuses to send again what another run has at a provider, or has not received yet. */
const refusePaying = Effect.fnUntraced(function* (
  { input }: Session,
  location: string,
  run: RunRepo.StoredRun,
  how: string
) {
  if (input.online || input.batch || input.detach || Option.isSome(input.deadline)) return
  const pending = yield* OpenStore.use(location, (store) => store.batches.pending(run.id)).pipe(
    Effect.catch(() => Effect.succeed(0))
  )
  if (pending === 0) return
  return yield* ExitCode.refuse(
    `run ${run.name} ${how}: ${pending} of its requests are at the provider or answered, and would be paid for twice. Resume it: pipe resume ${run.name}; or reuse them in a new run: --batch; or send them again: --online`
  )
})

/** Runs a flow with a live view, and turns its end into an exit code. */
export const execute = Effect.fnUntraced(function* (session: Session) {
  const { flow, input } = session
  yield* check(session)
  const output = yield* Output.Output
  const view = View.make(View.modeOf(input, output), output)
  if (input.simulate && !input.json && !input.quiet) {
    view.note(
      "answers are simulated: no provider is called, nothing is paid, and outputs have .simulated in their names"
        + (flow.outputs.some(Sink.isUnwritten) ? "; outputs of your own are not written" : "")
    )
  }
  const options = yield* optionsOf(session, view)
  yield* Heap.settle(typeof options.batch === "object")
  const exit = yield* Effect.exit(
    Effect.provide(runWithWorkers(session, options, view), Host.layer({ ...input, view }))
  )
  view.end()
  if (Exit.isSuccess(exit)) return yield* endWell(session, exit.value, view)
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (error === undefined) return yield* Effect.failCause(exit.cause as never)
  return error._tag === "RunFailed"
    ? yield* endEarly(session, error)
    : yield* new ExitCode.Failure({ message: error.message, exitCode: ExitCode.usage })
})

/** Reads all rows and makes the first prompts, without a call. */
const checkFlow = Effect.fnUntraced(function* (session: Session) {
  const { cache, flow, input, limit, parameters } = session
  yield* check(session)
  const output = yield* Output.Output
  const budget = yield* Spending.parse(input.budget)
  const view = View.make(input.json ? "quiet" : "plain", output)
  const found = yield* Effect.provide(
    Plan.check(flow, {
      parameters,
      cache,
      ...(limit === undefined ? undefined : { limit }),
      ...(budget === undefined ? undefined : { budget }),
      ...(input.batch ? { batch: true } : input.online ? { batch: false } : undefined)
    }),
    Host.layer({ ...input, view })
  ).pipe(Effect.mapError(({ message }) => ExitCode.refuse(message)))
  yield* Console.log(input.json ? JSON.stringify(Plan.checkToJson(found)) : CheckText.render(found))
  if (!Plan.isSound(found, flow.allowFailedRows))
    return yield* ExitCode.end(found.problems.length > 0 ? ExitCode.usage : ExitCode.failed)
})

/** Compares the files of a run before a store is created. */
const check = Effect.fnUntraced(function* ({ file, flow, input, parameters }: Session) {
  const files = yield* Effect.mapError(
    Runner.check(flow, {
      stdout: input.json,
      parameters,
      record: { file, simulate: input.simulate },
      stores: StoreFlag.filesOf(input)
    }),
    ({ message }) => ExitCode.refuse(message)
  )
  if (input.json && files.toStdout) {
    return yield* ExitCode.refuse(
      "--json writes events to standard output, and so does an output of this flow: give that output a file"
    )
  }
})

/** The options for the runner. */
const optionsOf = Effect.fnUntraced(function* (session: Session, view: View.View) {
  const { started, file, input } = session
  const budget = yield* Spending.parse(input.budget)
  const grace = yield* Time.parse("--grace", input.grace)
  const batch = yield* batchOf(session)
  if (input.simulate && input.detach) {
    return yield* ExitCode.refuse(
      "--detach: the simulator and its batches end with this command: omit --detach or --simulate"
    )
  }
  const shape = {
    parameters: session.parameters,
    ...(session.limit === undefined ? undefined : { limit: session.limit }),
    ...(session.concurrency === undefined ? undefined : { concurrency: session.concurrency }),
    cache: session.cache
  }
  const options: Runner.Options = {
    ...(session.run === undefined ? undefined : { resume: session.run }),
    ...(session.retry === undefined ? undefined : { retry: session.retry }),
    ...shape,
    overwrite: session.overwrite,
    record: {
      ...shape,
      ...(started?.limit === undefined ? undefined : { limit: started.limit }),
      file,
      projectFile: Environment.inProject(file),
      simulate: input.simulate,
      ...(Option.isSome(input.simulateSeed) ? { simulateSeed: input.simulateSeed.value } : undefined),
      budget: input.budget,
      ...(Option.isSome(input.workers) ? { workers: input.workers.value } : undefined),
      ...(batch === undefined ? undefined : { batch: batch !== "off" }),
      ...(typeof batch !== "object" || batch.deadline === undefined
        ? undefined
        : { deadline: Duration.toMillis(batch.deadline) })
    },
    identity: identityOf(session),
    ...(budget === undefined ? undefined : { budget }),
    ...(batch === undefined ? undefined : { batch }),
    detach: input.detach,
    ...(grace === undefined ? undefined : { grace }),
    workers: Option.isSome(input.workers),
    explain: input.explain,
    rowEvents: input.json,
    drain: Effect.tap(Interrupt.first, () =>
      Effect.sync(() => {
        if (input.json) return
        view.note("stopping: calls in flight may finish. Ctrl-C again exits at once. Resume with: pipe resume last")
      })
    ),
    observe: (event) => Effect.sync(() => view.show(event))
  }
  return options
})

/** Runs a flow, with its workers on this machine. */
const runWithWorkers = ({ concurrency, file, flow, input }: Session, options: Runner.Options, view: View.View) => {
  const count = Option.getOrElse(input.workers, () => "any")
  if (count === "any") return Runner.run(flow, options)
  const given = (flag: string, value: Option.Option<string>) => (Option.isSome(value) ? [flag, value.value] : [])
  const flags = [
    ...(concurrency === undefined ? [] : ["--concurrency", String(concurrency)]),
    ...(input.simulate ? ["--simulate"] : []),
    ...given("--simulate-seed", input.simulateSeed),
    ...given("--simulate-latency", input.simulateLatency),
    ...given("--simulate-faults", input.simulateFaults),
    ...given("--store-patience", input.storePatience),
    ...given("--env-file", input.envFile)
  ]
  const warn = (message: string) => view.show({ _tag: "Warning", message })
  const started = Deferred.makeUnsafe<string>()
  const observe: Runner.Options["observe"] = (event) => {
    if (event._tag === "RunStarted") Deferred.doneUnsafe(started, Effect.succeed(event.run))
    return options.observe?.(event) ?? Effect.void
  }
  return Effect.raceFirst(
    Runner.run(flow, { ...options, observe }),
    Effect.flatMap(Deferred.await(started), (run) =>
      LocalWorkers.run(run, { count: Number(count), flow: file, store: StoreFlag.resolve(input), flags, warn })
    )
  )
}

/** The end of a run that has processed all its rows. */
const endWell = Effect.fnUntraced(function* ({ flow, input }: Session, summary: RunEvent.RunFinished, view: View.View) {
  const output = yield* Output.Output
  if (!input.json && !input.quiet) {
    output.err(`${ReportText.render(summary)}\n`)
    const beside = yield* besidePlan(input, summary)
    if (beside !== undefined) view.note(`  ${beside}`)
  }
  const { errorsFile, rows, run, unkept } = summary
  if (rows.failed > 0 && !input.json) {
    const said = input.quiet
      ? `${Format.count(rows.failed)} of ${Format.of(rows.read, "row")} failed`
      : "the failed rows"
    output.err(
      `${said}: ${unkept === true ? errorsFile : `pipe show ${run} --failed; run them again: pipe retry ${run} --failed`}\n`
    )
  }
  if (rows.failed > flow.allowFailedRows) return yield* ExitCode.end(ExitCode.failed)
})

/** The end of a run that stopped early: why, and how to continue. */
const endEarly = Effect.fnUntraced(function* (
  { input, retry }: Session,
  { message, summary }: Runner.RunFailed
): Effect.fn.Return<void, ExitCode.Failure> {
  const output = yield* Output.Output
  const { batches, calls, run, status, unkept } = summary
  if (!input.json && !input.quiet && calls.attempts > 0) output.err(`${ReportText.render(withoutFailure(summary))}\n`)
  const command = retry === true ? `pipe retry ${run} --failed` : `pipe resume ${run}`
  const resume = unkept === true ? "; this run is not stored, so it cannot be resumed" : `; resume with: ${command}`
  const open = batches?.open ?? 0
  const away = open === 0 ? "" : `; ${open === 1 ? "a batch continues" : `${open} batches continue`} at the provider`
  switch (status) {
    case "waiting":
      if (!input.json) output.err(`${message}; collect with: ${command}\n`)
      return
    case "interrupted":
      return yield* new ExitCode.Failure({ message: `interrupted${away}${resume}`, exitCode: ExitCode.interrupted })
    case "budget": {
      const more = unkept === true ? "" : ` ${Spending.more(input.budget, summary.cost)}`
      return yield* new ExitCode.Failure({ message: `${message}${resume}${more}`, exitCode: ExitCode.budget })
    }
    default: {
      const hasWork = RunEvent.hasWork(summary)
      return yield* new ExitCode.Failure({
        message: `${message}${hasWork ? resume : ""}`,
        exitCode: hasWork ? ExitCode.failed : ExitCode.usage
      })
    }
  }
})

/** Whether requests go in batches: by the flags, or as when the run was started. */
const batchOf = Effect.fnUntraced(function* ({ started, input }: Session) {
  const time = yield* Time.parse("--deadline", input.deadline)
  if (input.online) {
    return input.batch || time !== undefined || input.detach
      ? yield* ExitCode.refuse("--online sends single calls: omit --batch, --deadline and --detach")
      : ("off" as const)
  }
  if (time !== undefined) {
    // Counted from now; a run counts from its start.
    const before = started === undefined ? 0 : (yield* Clock.currentTimeMillis) - started.startedAt
    return { deadline: Duration.millis(before + Duration.toMillis(time)) }
  }
  if (input.batch || input.detach || started?.batch === true) {
    return started?.deadline === undefined ? {} : { deadline: Duration.millis(started.deadline) }
  }
  return started?.batch === false ? ("off" as const) : undefined
})

/** Compares the plan with the result, if there is a plan. */
const besidePlan = (input: RunFlags.Input, summary: RunEvent.RunFinished) =>
  OpenStore.use(StoreFlag.resolve(input), (store) => store.runs.find(summary.run)).pipe(
    Effect.map((run) => {
      const plan = Report.planOf(run)
      return plan === undefined ? undefined : PlanText.beside(plan, summary)
    }),
    Effect.catch(() => Effect.undefined)
  )

/** The failure itself is printed last, on a separate line. */
const withoutFailure = ({ failure: _, ...summary }: RunEvent.RunFinished): RunEvent.RunFinished => summary
