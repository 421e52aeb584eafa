/**
 * A run with workers: what it tells them, and what it learns from the store that they write to.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as Node from "../flow/Node.ts"
import type * as StepKey from "../flow/StepKey.ts"
import type * as Budget from "../ledger/Budget.ts"
import * as Money from "../price/Money.ts"
import * as Lease from "../store/Lease.ts"
import * as Coordinator from "../work/Coordinator.ts"
import * as WorkCode from "../work/WorkCode.ts"
import * as WorkerList from "../work/WorkerList.ts"
import * as WorkQueue from "../work/WorkQueue.ts"
import * as RunSession from "./RunSession.ts"

/** Announces the run to workers until the scope ends. */
export const start = Effect.fnUntraced(function* (
  session: RunSession.RunSession,
  environment: StepKey.StepKeyEnvironment,
  layers: ReadonlyArray<ModelClient.LayerInfo>
) {
  const { flow, holders, options, rest, run, state, store } = session
  const { server } = store.database
  const limits = RunSession.limitsOf(flow, options)
  const refuse = (message: string) => new Node.FlowError({ message })
  // Checked before the run was claimed.
  if (server === undefined) return undefined
  if (layers.some(({ name }) => name === "Budget"))
    return yield* refuse(
      "Budget.layer counts the calls of one process: give the flow its `budget` instead, which workers share"
    )
  if (holders.length > 0) return yield* refuse(RunSession.NO_BATCHES)
  const last = yield* store.rows.lastResult
  const team = { present: 0, shares: new Map() }
  state.team = team
  const coordinator = yield* Coordinator.make({
    queue: WorkQueue.make(store.database, server),
    list: WorkerList.make(store.database, server),
    run: { id: run.id, name: run.name, tries: run.tries, flow: flow.name },
    team,
    emit: state.emit,
    job: {
      code: WorkCode.of(flow, environment, session.pricing.table),
      parameters: yield* Effect.try({
        try: () => JSON.parse(JSON.stringify(options.parameters ?? {})) as WorkCode.JobContent["parameters"],
        catch: () => refuse("parameters of a run with workers must be plain data")
      }),
      ...(limits === undefined ? undefined : { budget: JSON.parse(JSON.stringify(limits)) as Schema.Json }),
      cache: options.cache !== false
    },
    budget: rest,
    giveBack: session.giveBack("ifIdle"),
    isCached: options.cache !== false && LayerAnnotations.has(layers, LayerAnnotations.Cached),
    isJournaled: (node) => state.journalOf(node) !== undefined,
    onFailure: state.failElsewhere,
    onMade: state.addMade,
    stop: state.stop
  })
  const warned = warnOfLimits(session)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.flatMap(Effect.timed(Effect.andThen(restoreTotals(session), warned)), ([took]) =>
        // A large ledger is added up less often.
        Effect.sleep(Duration.max(TOTALS, Duration.times(took, 20)))
      )
    )
  )
  const end = Effect.all(
    [coordinator.close, settled(session), restoreTotals(session), restoreMade(session, last), warned],
    {
      discard: true
    }
  )
  return { warm: coordinator.warm, end }
})

/** Warns, once, of each limit that only warns and that all processes together have spent. */
const warnOfLimits = ({ flow, options, pricing, run, store }: RunSession.RunSession): Effect.Effect<void> => {
  const limits = RunSession.limitsOf(flow, options)
  const known = new Map<string, { money: Money.Money; tokens: number }>()
  let budget: Budget.Budget | undefined
  return Effect.ignore(
    Effect.gen(function* () {
      budget ??= yield* RunSession.makeBudget(limits, pricing)
      if (budget?.warns !== true) return
      for (const { model, money, step, tokens } of yield* store.ledger.spent(run.id)) {
        const key = `${step}\n${model}`
        const before = known.get(key) ?? { money: Money.zero, tokens: 0 }
        budget.spend(step, model, money - before.money, tokens - before.tokens)
        known.set(key, { money, tokens })
      }
      for (const text of budget.warnings()) yield* Effect.logWarning(text)
    })
  )
}

/** How often the totals of a run with workers are read from the store. */
const TOTALS = Duration.seconds(2)

/** Records the calls of workers that have died, whose leases lapse within seconds. */
const settled = ({ run, state, store }: RunSession.RunSession): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* store.commit
    const until = (yield* Clock.currentTimeMillis) + Lease.DURATION + SETTLING
    while (state.stopped()?.kind !== "interrupted") {
      yield* store.ledger.settle(run.id)
      const isOpen = (yield* store.ledger.unsettled).includes(run.id)
      if (!isOpen || (yield* Clock.currentTimeMillis) > until) return
      yield* Effect.sleep(SETTLING / 10)
    }
  }).pipe(Effect.interruptible, Effect.ignore)

/** How much longer than a lease calls are waited for, in milliseconds. */
const SETTLING = 2_000

/** The ledger of all processes of the run. */
const restoreTotals = ({ run, state, store }: RunSession.RunSession): Effect.Effect<void> =>
  Effect.ignore(
    Effect.map(Effect.andThen(store.commit, store.ledger.sums(run.id)), (sums) => {
      state.totals.clear()
      for (const sum of sums) state.totals.restore(sum)
    })
  )

/** Counts what all processes have computed: results of a worker that died are not reused when they are found. */
const restoreMade = ({ flow, run, state, store }: RunSession.RunSession, last: number): Effect.Effect<void> =>
  Effect.ignore(
    Effect.map(store.rows.madeSince(run.id, last), (made) => {
      for (const node of flow.graph.nodes) {
        const results = made.get(node.name)
        if (results === undefined) continue
        const samples = node.kind._tag === "Step" ? (node.kind.samples ?? 1) : 1
        state.setMade(node.name, results, samples)
      }
    })
  )
