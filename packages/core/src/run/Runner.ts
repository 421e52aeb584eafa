/**
 * Runs a flow: streams the rows of every source through their steps to the outputs.
 *
 * **Details** Memory is bounded whatever the number of rows: a window of rows for each source, the state of groups, and
 * the second side of joins. Outputs are in the order of the source. Failed rows are kept, and the others go on.
 *
 * **Example** (running a flow from code)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const doubled = Flow.map("doubled", { n: numbers }, ({ n }) => n * 2)
 * const out: Array<number> = []
 *
 * const flow = Flow.make("double", {
 *   outputs: [Sink.forEach("collect", doubled, (n) => Effect.sync(() => out.push(n)))]
 * })
 *
 * await Effect.runPromise(Runner.run(flow).pipe(Effect.provide(NodeHost.layerMemory)))
 * out // => [2, 4, 6]
 * ```
 *
 * @since 0.1.0
 */
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"
import type * as Sink from "../flow/Sink.ts"
import * as Budget from "../layers/Budget.ts"
import * as Cache from "../layers/Cache.ts"
import * as Ledger from "../layers/Ledger.ts"
import * as Pricing from "../price/Pricing.ts"
import type * as LedgerEntry from "../seam/LedgerEntry.ts"
import * as ModelClient from "../seam/ModelClient.ts"
import * as ModelSettings from "../seam/ModelSettings.ts"
import * as Notice from "../seam/Notice.ts"
import * as ToEmbeddingModel from "../seam/ToEmbeddingModel.ts"
import * as ToLanguageModel from "../seam/ToLanguageModel.ts"
import type * as LedgerRepo from "../store/LedgerRepo.ts"
import type * as RunRepo from "../store/RunRepo.ts"
import * as Store from "../store/Store.ts"
import * as CutCalls from "./CutCalls.ts"
import * as DomainPlan from "./DomainPlan.ts"
import * as FailedRow from "./FailedRow.ts"
import * as Journal from "./Journal.ts"
import * as OrderedPool from "./OrderedPool.ts"
import * as Probe from "./Probe.ts"
import * as RowProgram from "./RowProgram.ts"
import * as RunEvent from "./RunEvent.ts"
import * as RunState from "./RunState.ts"

export type { Options } from "./RunState.ts"

/** A run that stopped before its end: its summary says why. What was finished is kept, and it can be gone on with. */
export class RunFailed extends Schema.TaggedError<RunFailed>()("RunFailed", {
  message: Schema.String,
  summary: RunEvent.RunFinished
}) {}

/** What keeps a run from starting. */
export type StartError = Node.FlowError | Pricing.PriceError | RunRepo.RunError | Budget.BudgetError | Store.StoreError

/** Runs a flow to its end and returns the summary, also when rows failed. */
export const run = <E>(
  flow: Flow.Flow<E>,
  options: RunState.Options = {}
): Effect.Effect<RunEvent.RunFinished, RunFailed | StartError, Flow.Host> =>
  Effect.scoped(Effect.gen(function*() {
    const parameters = yield* decodeParameters(flow, options.parameters ?? {})
    const host = yield* Effect.context<Flow.Host>()
    const store = Context.get(host, Store.Store)
    const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
    const budget = yield* budgetOf(flow, options, pricing)
    const begun = yield* begin(flow, options, store)
    const at = yield* Clock.currentTimeMillis
    const errors = yield* FailedRow.open(options.errorsFile ?? `${flow.name}.errors.jsonl`)
    const state = RunState.make({ flow, run: begun, at, errors, store, left: () => budget?.left(), options })
    const books = yield* openBooks(begun, store, pricing, state, budget)
    // Whatever happens to this fiber, the run does not stay behind as running.
    let ended = false
    yield* Effect.addFinalizer(() =>
      ended ? Effect.void : Effect.ignore(Effect.flatMap(Clock.currentTimeMillis, (at) => {
        const summary = state.finished({ at, stop: { kind: "interrupted", message: "interrupted" }, outputs: [] })
        return store.runs.finish(begun, { status: "interrupted", at, summary: RunEvent.summaryToJson(summary) })
      }))
    )
    const settings = yield* Effect.withFiberSucceed((fiber) =>
      ModelSettings.merge(fiber.getRef(ModelSettings.ModelSettings), flow.settings))
    const context = host.pipe(
      Context.add(Pricing.Pricing, pricing),
      Context.add(Parameter.Values, parameters),
      Context.add(ModelSettings.ModelSettings, settings),
      Context.add(Ledger.Book, books.record),
      Context.add(Ledger.Calls, books.calls),
      Context.add(ModelClient.Guard, budget?.guard),
      Context.add(Notice.Notice, state.notice),
      Context.add(Cache.Mode, options.cache === false ? "off" as const : "on" as const)
    )
    yield* state.emit(state.started())
    const main = Effect.gen(function*() {
      const { client, context } = yield* services(flow)
      const journal: Journal.Options = {
        store,
        flow: flow.name,
        run: begun.id,
        environment: {
          settings,
          parameters: new Map([...parameters].filter(([name]) => !flow.places.has(name))),
          layers: client?.layers ?? [],
          code: options.code
        },
        client,
        reuse: options.cache !== false,
        keep: true
      }
      state.useJournals((node) => Journal.forNode(node, journal))
      return yield* Effect.provideContext(runDomains(flow, state, options), context as Context.Context<unknown>)
    })
    const heartbeat = Effect.forever(Effect.andThen(Effect.sleep("5 seconds"), store.runs.heartbeat(begun)))
    const drain = options.drain === undefined ? Effect.never : Effect.andThen(
      options.drain,
      Effect.andThen(
        Effect.sync(() => state.stop({ kind: "interrupted", message: "interrupted" })),
        Effect.sleep(options.grace ?? "10 seconds")
      )
    )
    const exit = yield* Effect.exit(
      Effect.raceFirst(
        Effect.raceFirst(Effect.provideContext(main, context), Effect.raceFirst(state.ticker, heartbeat)),
        Effect.as(drain, [])
      ) as Effect.Effect<
        ReadonlyArray<{ readonly name: string; readonly rows: number }>,
        unknown,
        Scope.Scope
      >
    )
    if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && state.stopped() === undefined) {
      return yield* Effect.interrupt
    }
    yield* books.settle
    const stop = state.stopped() ??
      (Exit.isFailure(exit) ? { kind: "failed" as const, message: FailedRow.describe(exit.cause).message } : undefined)
    const summary = state.finished({
      at: yield* Clock.currentTimeMillis,
      stop,
      outputs: Exit.isSuccess(exit) ? exit.value : []
    })
    ended = true
    const written = yield* Effect.result(store.runs.finish(begun, {
      status: summary.status,
      at: summary.at,
      summary: RunEvent.summaryToJson(summary)
    }))
    if (written._tag === "Failure") {
      yield* Effect.logWarning(`${store.name} cannot be written (${Store.messageOf(written.failure)}): what came last of this run is not kept`)
    }
    yield* state.emit(state.progress(summary.at))
    yield* state.emit(summary)
    return stop === undefined ? summary : yield* new RunFailed({ message: stop.message, summary })
  }))

/** Begins a run, or goes on with one. */
const begin = Effect.fnUntraced(function*(flow: Flow.Any, options: RunState.Options, store: Store.Service) {
  const claimed = options.resume === undefined
    ? store.runs.create({
      flow: flow.name,
      identity: options.identity,
      options: options.record ?? {},
      graph: RunState.graphOf(flow),
      plan: options.plan
    })
    : Effect.flatMap(store.runs.find(options.resume), (run) => store.runs.claim(run))
  return yield* Effect.mapError(claimed, (error) =>
    error._tag === "RunError" ? error : new Store.StoreError({
      kind: "unavailable",
      file: store.name,
      message: `${store.name} cannot be used: ${Store.messageOf(error)}`
    }))
})

const budgetOf = (flow: Flow.Any, options: RunState.Options, pricing: Pricing.Service) => {
  const limits = { ...flow.budget, ...options.budget }
  return Object.keys(limits).length === 0 ? Effect.undefined : Effect.try({
    try: () => Budget.make(limits, pricing),
    catch: (error) => error as Budget.BudgetError
  })
}

/** The books of a run: those of its earlier tries, and what comes. */
const openBooks = Effect.fnUntraced(function*(
  run: RunRepo.Run,
  store: Store.Service,
  pricing: Pricing.Service,
  state: RunState.RunState,
  budget: Budget.Budget | undefined
) {
  const { ledger, rows } = store
  const book = (entry: Ledger.Entry): void => {
    state.tally.record(entry)
    ledger.append(run.id, entry)
  }
  let cut: ReadonlyArray<LedgerRepo.CutCall> = []
  if (run.tries > 1) {
    const before = Effect.mapError(Effect.all([ledger.sums(run.id), ledger.cutCalls(run.id)]), (error) =>
      new Store.StoreError({ kind: "unavailable", file: store.name, message: `${store.name} cannot be read: ${Store.messageOf(error)}` }))
    const [sums, calls] = yield* before
    for (const sum of sums) {
      state.tally.restore(sum)
      budget?.restore(sum)
    }
    cut = calls
    rows.clearFailures(run.id)
  }
  const cutCalls = CutCalls.make(cut, { run: run.name, pricing, book })
  // A process numbers its calls apart from those of the tries before.
  let number = run.tries * 2 ** 32
  return {
    record: (entry: Ledger.Entry): void => {
      book(entry)
      cutCalls.see(entry)
    },
    calls: store.inMemory ? undefined : (call: LedgerEntry.Call) => {
      const id = ++number
      return Effect.as(
        Effect.catch(ledger.begin(run.id, id, call), (error) => {
          state.stop({
            kind: "failed",
            message: `${store.name} cannot be written (${Store.messageOf(error)}): nothing more is asked, since it could not be kept. Mend that, and go on with the run`
          })
          return Effect.interrupt
        }),
        id
      )
    },
    settle: cutCalls.settle
  }
})

/** The models of the flow's stack and the author's services, in the scope of the run. */
const services = Effect.fnUntraced(function*(flow: Flow.Any) {
  const context = yield* Effect.context<Flow.Host | Scope.Scope>()
  const own = yield* Layer.build(flow.services)
  const base = Context.merge(context, own)
  if (flow.stack === undefined) return { client: undefined, context: base }
  const client = Probe.watched(Context.get(yield* Layer.build(flow.stack), ModelClient.ModelClient))
  return {
    client,
    context: base.pipe(
      Context.add(ModelClient.ModelClient, client),
      Context.add(LanguageModel.LanguageModel, yield* ToLanguageModel.make(client)),
      Context.add(EmbeddingModel.EmbeddingModel, yield* ToEmbeddingModel.make(client))
    )
  }
})

/** Checks the values of parameters, and that those without a default are there. */
const decodeParameters = Effect.fnUntraced(function*(
  flow: Flow.Any,
  given: { readonly [name: string]: unknown }
) {
  const values = new Map<string, unknown>()
  for (const name of Object.keys(given)) {
    if (!flow.parameters.some(({ parameter }) => parameter.name === name)) {
      return yield* new Node.FlowError({
        message: `flow ${flow.name} has no parameter ${name}; it has ${
          flow.parameters.map(({ parameter }) => parameter.name).join(", ") || "none"
        }`
      })
    }
  }
  for (const { parameter } of flow.parameters) {
    const { name, schema } = parameter
    if (!(name in given)) {
      if (parameter.default._tag === "None") {
        return yield* new Node.FlowError({ message: `flow ${flow.name} needs a value for its parameter ${name}` })
      }
      continue
    }
    values.set(
      name,
      yield* Effect.mapError(
        Schema.decodeUnknownEffect(schema as Schema.Codec<unknown>)(given[name]),
        (error) => new Node.FlowError({ message: `parameter ${name}: ${error.message.replace(/\s*\n\s*/g, " ")}` })
      )
    )
  }
  return values
})

/** How many finished rows may wait for a slow one before them. */
const windowFor = (concurrency: number): number => Math.max(256, concurrency * 8)

type Item = { readonly value: unknown; readonly position: string; readonly parent: RowProgram.Row | undefined }

const runDomains = Effect.fnUntraced(function*(flow: Flow.Any, state: RunState.RunState, options: RunState.Options) {
  const plans = DomainPlan.make(flow)
  const slots = new Map(plans.map((plan) => [plan.root.domain, RowProgram.slotsOf(plan.root, plan.members)]))
  const concurrency = options.concurrency ?? flow.concurrency
  const feeds = new Map<Node.Any, Queue.Queue<Item, Cause.Done>>()
  const tables = new Map<Node.Any, JoinTable>()
  for (const { root } of plans) {
    if (root.kind._tag === "Source") continue
    feeds.set(root, yield* Queue.bounded<Item, Cause.Done>(windowFor(concurrency)))
    if (root.kind._tag === "Join") tables.set(root, makeTable())
  }
  const writers = new Map<Sink.Any, { readonly writer: Sink.Writer<unknown, unknown>; rows: number }>()
  for (const output of flow.outputs) {
    writers.set(output, { writer: yield* output.open as Effect.Effect<Sink.Writer<unknown, unknown>>, rows: 0 })
  }

  const runDomain = Effect.fnUntraced(function*(plan: DomainPlan.DomainPlan) {
    const program = RowProgram.make({ root: plan.root, members: plan.members, slots, run: state })
    const size = slots.get(plan.root.domain)!.size
    const stats = state.statsOf(plan.root)
    const isReduce = plan.root.kind._tag === "Reduce"
    const outlets = plan.outlets.map((outlet) =>
      makeOutlet(outlet, plan.root.domain, slots, { feeds, tables, writers, state, plans }))
    let read: RunState.Reading | undefined
    const stream: Stream.Stream<Item | Node.SourceRow<unknown>, unknown, unknown> = plan.root.kind._tag === "Source"
      ? Stream.unwrap(Effect.map(plan.root.kind.open, (reading) => {
        state.readings.set(plan.root, read = { size: reading.size, offset: 0, ended: false })
        return options.limit === undefined ? reading.rows : Stream.take(reading.rows, options.limit)
      }))
      : Stream.fromQueue(feeds.get(plan.root)!)
    yield* OrderedPool.run(stream, {
      concurrency,
      window: windowFor(concurrency),
      isStopped: () => state.stopped() !== undefined,
      work: (item, index) => {
        const row: RowProgram.Row = {
          index,
          position: item.position,
          parent: "parent" in item ? item.parent : undefined,
          values: new Array<unknown>(size),
          failed: false
        }
        if (read !== undefined && "offset" in item) read.offset = item.offset ?? 0
        if ("problem" in item) return Effect.as(state.onBadRow(plan.root, row, item), row)
        row.values[0] = item.value
        if (!isReduce) stats.done++
        return Effect.as(program(row) as Effect.Effect<void>, row)
      },
      emit: (rows) =>
        Effect.andThen(
          Effect.forEach(outlets, (outlet) => outlet.take(rows), { discard: true }),
          state.onRows(plan.root, rows)
        )
    })
    const feed = feeds.get(plan.root)
    // Nobody reads on: who still gives rows must not wait for it.
    if (feed !== undefined && state.stopped() !== undefined) yield* Queue.shutdown(feed)
    if (read !== undefined) (read as RunState.Reading).ended = true
    yield* Effect.forEach(outlets, (outlet) => outlet.end, { discard: true })
  })

  yield* Effect.forEach(plans, runDomain, { concurrency: "unbounded", discard: true })
  if (state.stopped() !== undefined) return []
  return yield* Effect.forEach(flow.outputs, (output) =>
    Effect.gen(function*() {
      const { rows, writer } = writers.get(output)!
      yield* writer.finish
      yield* state.emit({ _tag: "OutputWritten", run: state.id, output: output.name, rows })
      return { name: output.name, rows }
    }))
})

/** The second side of a join by key. */
interface JoinTable {
  readonly rows: Map<string | number, Array<unknown>>
  readonly complete: Deferred.Deferred<void>
}

const makeTable = (): JoinTable => ({ rows: new Map(), complete: Deferred.makeUnsafe() })

/** Takes a domain's finished rows on to what reads them. */
interface Outlet {
  readonly take: (rows: ReadonlyArray<RowProgram.Row>) => Effect.Effect<void, unknown, unknown>
  /** The domain has no more rows. */
  readonly end: Effect.Effect<void, unknown, unknown>
}

const makeOutlet = (
  outlet: DomainPlan.Outlet,
  domain: Node.Domain,
  slots: ReadonlyMap<Node.Domain, RowProgram.Slots>,
  env: {
    readonly feeds: ReadonlyMap<Node.Any, Queue.Queue<Item, Cause.Done>>
    readonly tables: ReadonlyMap<Node.Any, JoinTable>
    readonly writers: ReadonlyMap<Sink.Any, { readonly writer: Sink.Writer<unknown, unknown>; rows: number }>
    readonly state: RunState.RunState
    readonly plans: ReadonlyArray<DomainPlan.DomainPlan>
  }
): Outlet => {
  const present = (read: RowProgram.Reader, rows: ReadonlyArray<RowProgram.Row>) =>
    rows.flatMap((row) => {
      const values = read(row)
      return values === undefined ? [] : [{ row, values }]
    })
  switch (outlet._tag) {
    case "Sink": {
      const read = RowProgram.reader(outlet.sink.inputs, domain, slots)
      const entry = env.writers.get(outlet.sink)!
      return {
        end: Effect.void,
        take: (rows) => {
          const records = present(read, rows).map(({ values }) => values)
          entry.rows += records.length
          return records.length === 0 ? Effect.void : entry.writer.write(records)
        }
      }
    }
    case "Expand": {
      const feed = env.feeds.get(outlet.node)!
      const slot = slots.get(domain)!.get(outlet.slotNode)!
      return {
        end: Effect.asVoid(Queue.end(feed)),
        take: (rows) =>
          Effect.forEach(rows, (row) => {
            const items = row.values[slot]
            if (items === RowProgram.absent) return Effect.void
            // The list itself is not kept: its items are rows of their own now.
            row.values[slot] = undefined
            return Queue.offerAll(
              feed,
              (items as ReadonlyArray<unknown>).map((value, index) => ({
                value,
                position: `${row.position}[${index}]`,
                parent: row
              }))
            )
          }, { discard: true })
      }
    }
    case "Reduce": {
      const { by, initial, inputs, step } = outlet.kind
      const read = RowProgram.reader(inputs, domain, slots)
      const feed = env.feeds.get(outlet.node)!
      const groups = new Map<string, unknown>()
      return {
        take: (rows) =>
          Effect.forEach(present(read, rows), ({ row, values }) => {
            try {
              const key = by === undefined ? "" : by(values)
              groups.set(key, step(groups.has(key) ? groups.get(key) : initial(), values))
              return Effect.void
            } catch (defect) {
              return env.state.onDefect(outlet.node, row, values, defect)
            }
          }, { discard: true }),
        end: Effect.suspend(() => {
          if (by === undefined && groups.size === 0) groups.set("", initial())
          return Effect.andThen(
            Queue.offerAll(
              feed,
              Array.from(groups, ([key, state]) => ({
                value: { key, state },
                position: by === undefined ? outlet.node.name : `${outlet.node.name}[${key}]`,
                parent: undefined
              }))
            ),
            Queue.end(feed)
          )
        })
      }
    }
    case "Join":
      return makeJoinOutlet(outlet, RowProgram.reader({ value: outlet.input }, domain, slots), env)
  }
}

const makeJoinOutlet = (
  outlet: Extract<DomainPlan.Outlet, { readonly _tag: "Join" }>,
  read: RowProgram.Reader,
  env: {
    readonly feeds: ReadonlyMap<Node.Any, Queue.Queue<Item, Cause.Done>>
    readonly tables: ReadonlyMap<Node.Any, JoinTable>
  }
): Outlet => {
  const feed = env.feeds.get(outlet.node)!
  const table = env.tables.get(outlet.node)!
  const keyOf = outlet.kind.on[outlet.side]!
  const valuesOf = (rows: ReadonlyArray<RowProgram.Row>) =>
    rows.flatMap((row) => {
      const values = read(row)
      return values === undefined ? [] : [{ row, value: values["value"] }]
    })
  if (!outlet.first) {
    return {
      take: (rows) =>
        Effect.sync(() => {
          for (const { value } of valuesOf(rows)) {
            const key = keyOf(value)
            const partners = table.rows.get(key)
            if (partners === undefined) table.rows.set(key, [value])
            else partners.push(value)
          }
        }),
      end: Effect.asVoid(Deferred.succeed(table.complete, undefined))
    }
  }
  const [firstName, secondName] = Object.keys(outlet.kind.inputs) as [string, string]
  const probe = (items: ReadonlyArray<{ readonly row: RowProgram.Row; readonly value: unknown }>) =>
    Queue.offerAll(
      feed,
      items.flatMap(({ row, value }) => {
        const partners = table.rows.get(keyOf(value)) ?? (outlet.kind.type === "left" ? [undefined] : [])
        return partners.map((partner) => ({
          value: { [firstName]: value, [secondName]: partner },
          position: row.position,
          parent: undefined
        }))
      })
    )
  // Where the second side comes out of the first one's rows, waiting for it here would wait for ever.
  const held: Array<{ readonly row: RowProgram.Row; readonly value: unknown }> = []
  return {
    take: (rows) =>
      outlet.holdFirst
        ? Effect.sync(() => {
          held.push(...valuesOf(rows))
        })
        : Effect.andThen(Deferred.await(table.complete), probe(valuesOf(rows))),
    end: outlet.holdFirst
      // The rest of this domain's outlets must end before the second side can be complete.
      ? Effect.asVoid(Effect.forkScoped(
        Effect.andThen(Effect.andThen(Deferred.await(table.complete), Effect.suspend(() => probe(held))), Queue.end(feed))
      ))
      : Effect.andThen(Effect.andThen(Deferred.await(table.complete), Effect.void), Effect.asVoid(Queue.end(feed)))
  }
}
