/** Implements `pipe batches`. */
import * as Batches from "@pipe/core/Batches"
import type * as BatchRepo from "@pipe/core/internal/BatchRepo"
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as Money from "@pipe/core/Money"
import { count } from "@pipe/core/internal/Format"
import * as Store from "@pipe/core/Store"
import * as Prompt from "effect/cli/Prompt"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Host from "../../process/Host.ts"
import * as LoadFlow from "../../process/LoadFlow.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as Output from "../../process/Output.ts"
import * as RunText from "../../view/RunText.ts"
import * as Table from "../../view/Table.ts"
import * as View from "../../view/View.ts"

interface Shared {
  readonly store: Option.Option<string>
  /** Whether batches of simulated runs are meant. */
  readonly simulate?: boolean
}

const states: { readonly [S in BatchRepo.BatchState]: string } = {
  ready: "to be sent",
  creating: "being sent",
  sent: "at the provider",
  collected: "collected",
  rejected: "not done",
  gone: "not found"
}

const toJson = ({ cost, expected, file: _, held, ...batch }: BatchRepo.StoredBatch) => ({
  ...batch,
  cost: Money.toUsd(cost),
  expected: Money.toUsd(expected),
  held: { ...held, money: Money.toUsd(held.money) }
})

export const list = (input: Shared & { readonly limit: number; readonly json: boolean }) =>
  OpenStore.withStore(input, (store) =>
    Effect.flatMap(store.batches.list(input.limit), (batches) =>
      batches.length === 0 && !input.json
        ? Console.log(
            `no batches yet: pipe run <flow> --batch${input.simulate === true ? " --simulate" : ""} sends some`
          )
        : Console.log(
            input.json
              ? batches.map((batch) => JSON.stringify(toJson(batch))).join("\n")
              : Table.lines({
                  header: ["batch", "run", "model", "made", "state", "requests", "answered", "failed", "cost"],
                  rows: batches.map((batch) => [
                    batch.name,
                    batch.runName ?? "–",
                    batch.model,
                    RunText.time(batch.createdAt),
                    states[batch.state],
                    count(batch.requests),
                    count(batch.answered),
                    count(batch.failed),
                    batch.state === "collected" ? Money.format(batch.cost) : `≈ ${Money.format(batch.expected)}`
                  ]),
                  left: 5
                }).join("\n")
          )
    )
  )

/** The batch with a name. */
const find = (store: Store.Service, name: string, simulate = false) =>
  Effect.flatMap(
    Effect.mapError(store.batches.named(name), (error) => ExitCode.refuse(Store.messageOf(error))),
    (found) =>
      found.length === 1
        ? Effect.succeed(found[0]!)
        : Effect.fail(
            ExitCode.refuse(
              found.length === 0
                ? `${store.name} has no batch ${name}: pipe batches${simulate ? " --simulate" : ""} lists them`
                : `more than one batch starts with ${name}: ${found
                    .slice(0, 5)
                    .map((batch) => batch.name)
                    .join(", ")}`
            )
          )
  )

const describe = (batch: BatchRepo.StoredBatch): string => {
  const resume = batch.runName === undefined ? [] : [`pipe resume ${batch.runName}`]
  const next: { readonly [S in BatchRepo.BatchState]: ReadonlyArray<string> } = {
    ready: resume,
    creating: resume,
    sent: [...resume, `pipe batches collect ${batch.name}`, `pipe batches cancel ${batch.name}`],
    collected: [],
    rejected: [],
    gone: [...resume, `pipe batches forget ${batch.name}`]
  }
  return [
    `batch ${batch.name}${batch.remote === undefined ? "" : ` (${batch.remote})`}: ${states[batch.state]}`,
    `  ${batch.provider} ${batch.model}, ${batch.endpoint}, account ${batch.account}`,
    `  ${count(batch.requests)} requests, ${count(batch.bytes)} bytes, about ${count(batch.tokens)} input tokens`,
    ...(batch.runName === undefined ? [] : [`  of run ${batch.runName}`]),
    `  made ${RunText.time(batch.createdAt)}${batch.sentAt === undefined ? "" : `, sent ${RunText.time(batch.sentAt)}`}${
      batch.endedAt === undefined ? "" : `, ended ${RunText.time(batch.endedAt)}`
    }`,
    batch.state === "collected"
      ? `  ${count(batch.answered)} answered, ${count(batch.failed)} failed, ${count(batch.requests - batch.answered - batch.failed)} to be sent again: ${Money.format(batch.cost)}`
      : `  expected cost: ${Money.format(batch.expected)}`,
    ...(batch.message === undefined ? [] : [`  ${batch.message}`]),
    ...next[batch.state].map((command) => `  ${command}`)
  ].join("\n")
}

export const show = (input: Shared & { readonly batch: string; readonly json: boolean }) =>
  OpenStore.withStore(input, (store) =>
    Effect.flatMap(find(store, input.batch, input.simulate), (batch) =>
      Console.log(input.json ? JSON.stringify(toJson(batch)) : describe(batch))
    )
  )

/** Handles the batches of a run through the provider of its flow. */
const throughFlow = <A, E>(input: Shared, runName: string, f: (batches: Batches.Batches) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const run = yield* OpenStore.withStore(input, (store) => store.runs.find(runName))
    const { file } = run.options
    if (file === undefined)
      return yield* ExitCode.refuse(`run ${runName} was started by a program: manage its batches there (Batches.open)`)
    const flow = yield* LoadFlow.load(file)
    const view = View.make("plain", yield* Output.Output)
    return yield* Effect.scoped(Effect.flatMap(Batches.open(flow), f)).pipe(
      Effect.provide(Host.layer({ ...input, simulate: false, view })),
      Effect.mapError((error) =>
        error instanceof ExitCode.Failure
          ? error
          : new ExitCode.Failure({
              message: error instanceof Error ? error.message : String(error),
              exitCode: ExitCode.failed
            })
      )
    )
  })

const runOf = (batch: BatchRepo.StoredBatch) =>
  batch.runName === undefined
    ? Effect.fail(ExitCode.refuse(`batch ${batch.name} belongs to no run: manage it in the program that sent it`))
    : Effect.succeed(batch.runName)

export const collect = (input: Shared & { readonly batch: Option.Option<string> }) =>
  Effect.gen(function* () {
    const name = Option.getOrUndefined(input.batch)
    const chosen = yield* name === undefined
      ? OpenStore.withStore(input, (store) => store.batches.open(undefined))
      : Effect.map(
          OpenStore.withStore(input, (store) => find(store, name)),
          (batch) => [batch]
        )
    if (chosen.length === 0) return yield* Console.log("no batch is in progress")
    let hasFailed = false
    for (const [runName, batches] of Map.groupBy(chosen, ({ runName }) => runName)) {
      if (runName === undefined) {
        yield* Console.log(`${batches.length} belong to no run and are left to the program that sent them`)
        continue
      }
      const run = yield* OpenStore.withStore(input, (store) => store.runs.find(runName))
      if (run.status === "running") {
        yield* Console.log(
          `${batches.map(({ name }) => name).join(", ")}: run ${runName} is active and collects them itself`
        )
        continue
      }
      yield* throughFlow(input, runName, (opened) =>
        Effect.map(
          Effect.forEach(batches, (batch) => collectOne(opened, batch)),
          (collected) => {
            if (collected.includes(false)) hasFailed = true
          }
        )
      )
      yield* Console.log(`pass them to their rows: pipe resume ${runName}`)
    }
    if (hasFailed) return yield* ExitCode.end(ExitCode.failed)
  })

/** Collects a batch and reports its status. A batch that cannot be collected does not stop the others. */
const collectOne = (opened: Batches.Batches, batch: BatchRepo.StoredBatch): Effect.Effect<boolean> =>
  Effect.flatMap(opened.collect(batch), sayCollected).pipe(
    Effect.as(true),
    Effect.catch((error) => Effect.as(Output.error(ModelFailure.message(error)), false))
  )

const sayCollected = ({ batch: now, status }: Batches.Collected) =>
  Console.log(
    now.state === "collected"
      ? `${now.name}: ${count(now.answered)} answered, ${count(now.failed)} failed, ${count(now.requests - now.answered - now.failed)} to be sent again`
      : status === undefined
        ? `${now.name}: ${states[now.state]}`
        : `${now.name}: ${count(status.answered)} of ${count(now.requests)} answered, ${count(status.failed)} failed so far`
  )

export const cancel = (input: Shared & { readonly batch: string }) =>
  Effect.gen(function* () {
    const batch = yield* OpenStore.withStore(input, (store) => find(store, input.batch))
    if (batch.state !== "sent" && batch.state !== "ready")
      return yield* ExitCode.refuse(`batch ${batch.name} is ${states[batch.state]}`)
    yield* throughFlow(input, yield* runOf(batch), (batches) => batches.cancel(batch))
    yield* Console.log(`${batch.name} is cancelled; collect its answers: pipe batches collect ${batch.name}`)
  })

export const forget = (input: Shared & { readonly batch: string; readonly yes: boolean }) =>
  Effect.gen(function* () {
    const batch = yield* OpenStore.withStore(input, (store) => find(store, input.batch))
    if (batch.state === "collected" || batch.state === "rejected")
      return yield* ExitCode.refuse(`batch ${batch.name} is ${states[batch.state]}`)
    if (!input.yes) {
      if (!(yield* Output.Output).canPrompt)
        return yield* ExitCode.refuse(
          `pipe batches forget sends ${batch.requests} requests again, and they are paid for again: confirm with --yes`
        )
      const yes = yield* Prompt.run(
        Prompt.Confirm({ message: `Send ${batch.requests} requests again, and pay for them again?`, initial: false })
      )
      if (!yes) return
    }
    yield* OpenStore.withStore(input, (store) => Batches.forget(store, batch))
    yield* Console.log(
      `${batch.name} is given up${batch.runName === undefined ? "" : `; its requests are sent again by: pipe resume ${batch.runName}`}`
    )
  })
