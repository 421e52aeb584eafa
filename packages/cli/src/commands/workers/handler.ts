/** Implements `pipe workers`. */
import { count } from "@pipe/core/internal/Format"
import * as WorkCode from "@pipe/core/internal/WorkCode"
import * as WorkerList from "@pipe/core/internal/WorkerList"
import * as WorkQueue from "@pipe/core/internal/WorkQueue"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ExitCode from "../../process/ExitCode.ts"
import * as OpenStore from "../../process/OpenStore.ts"

/** A worker for display. */
interface Shown extends Pick<WorkerList.WorkerRecord, "host" | "pid" | "flow" | "joinedAt" | "chunks"> {
  readonly rows: number
  /** The run that it works on. */
  readonly run: string | undefined
  /** Why it gets no rows. */
  readonly refused: string | undefined
}

const textOf = (worker: Shown): string => {
  const { chunks, flow, refused, rows, run } = worker
  const does = run !== undefined ? `works on ${run}` : refused === undefined ? "waits" : `gets no rows: ${refused}`
  return `${WorkerList.nameOf(worker)}  ${flow}  ${count(rows)} rows, ${count(chunks)} chunks in hand  ${does}`
}

const label = (text: string): string => JSON.stringify(text)

/** The text format of Prometheus (prometheus.io/docs/instrumenting/exposition_formats, 2026-11-29). */
const prometheusOf = (workers: ReadonlyArray<Shown>, queues: ReadonlyArray<WorkQueue.Depth>): string => {
  const metric = (name: string, help: string, type: string, samples: ReadonlyArray<string>) =>
    [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples.map((sample) => `${name}${sample}`)].join("\n")
  const of = ({ flow, host, pid, run }: Shown) =>
    `{host=${label(host)},pid="${pid}",flow=${label(flow)},run=${label(run ?? "")}}`
  return [
    metric(
      "pipe_worker",
      "1 for each worker with a lease",
      "gauge",
      workers.map((worker) => `${of(worker)} 1`)
    ),
    metric(
      "pipe_worker_rows_total",
      "rows that a worker has computed",
      "counter",
      workers.map((worker) => `${of(worker)} ${worker.rows}`)
    ),
    metric(
      "pipe_worker_chunks",
      "chunks of rows that a worker has taken",
      "gauge",
      workers.map((worker) => `${of(worker)} ${worker.chunks}`)
    ),
    metric(
      "pipe_queue_chunks",
      "chunks of a run that no worker has taken",
      "gauge",
      queues.map(({ flow, run, waiting }) => `{flow=${label(flow)},run=${label(run)}} ${waiting}`)
    )
  ].join("\n")
}

export const list = (input: {
  readonly json: boolean
  readonly prometheus: boolean
  readonly store: Option.Option<string>
}) =>
  OpenStore.withStore(input, (store) =>
    Effect.gen(function* () {
      const { database } = store
      const { server } = database
      if (server === undefined)
        return yield* ExitCode.refuse(`${store.name} is of this machine and has no workers: name a store on PostgreSQL`)
      const runs = new Map((yield* store.runs.list(1_000)).map((run) => [run.id, run.name]))
      const workers = (yield* WorkerList.make(database, server).all).map(({ lease: _, state, ...worker }): Shown => {
        const is = Option.getOrUndefined(WorkCode.decodeState(state))
        return {
          ...worker,
          rows: is?.rows ?? 0,
          run: is?.run === undefined ? undefined : runs.get(is.run),
          refused: is?.refused?.at(-1)?.why
        }
      })
      if (input.prometheus)
        return yield* Console.log(prometheusOf(workers, yield* WorkQueue.make(database, server).depths))
      if (workers.length > 0)
        return yield* Console.log(
          workers.map((worker) => (input.json ? JSON.stringify(worker) : textOf(worker))).join("\n")
        )
      if (!input.json) yield* Console.log("no worker: start one with pipe worker <flow>")
    })
  )
