/** Implements `pipe workers`. */
import { count } from "@pipe/core/internal/Format"
import * as WorkCode from "@pipe/core/internal/WorkCode"
import * as WorkerList from "@pipe/core/internal/WorkerList"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as OpenStore from "../../process/OpenStore.ts"

export const list = (input: { readonly json: boolean; readonly store: Option.Option<string> }) =>
  OpenStore.readable(
    OpenStore.use(StoreFlag.resolve(input), (store) =>
      Effect.gen(function* () {
        const { server } = store.database
        if (server === undefined)
          return yield* ExitCode.refuse(
            `${store.name} is of this machine and has no workers: name a store on PostgreSQL`
          )
        const workers = yield* WorkerList.make(store.database, server).all
        const runs = new Map((yield* store.runs.list(1_000)).map((run) => [run.id, run.name]))
        const lines = workers.map((worker) => {
          const state = Option.getOrElse(WorkCode.decodeState(worker.state), (): WorkCode.WorkerState => ({ rows: 0 }))
          const { flow, host, joinedAt, pid } = worker
          const run = state.run === undefined ? undefined : runs.get(state.run)
          if (input.json)
            return JSON.stringify({
              host,
              pid,
              flow,
              joinedAt,
              chunks: worker.chunks,
              rows: state.rows,
              ...(run === undefined ? undefined : { run }),
              ...(state.refused === undefined ? undefined : { refused: state.refused.why })
            })
          const does =
            run !== undefined
              ? `works on ${run}`
              : state.refused === undefined
                ? "waits"
                : `gets no rows: ${state.refused.why}`
          return `${host} (process ${pid})  ${flow}  ${count(state.rows)} rows, ${count(worker.chunks)} chunks in hand  ${does}`
        })
        if (lines.length > 0) yield* Console.log(lines.join("\n"))
        else if (!input.json) yield* Console.log("no worker: start one with pipe worker <flow>")
      })
    )
  )
