/**
 * Finds earlier results of steps by content: a row with the same inputs and the same step is not run again.
 *
 * **Details** A result is kept as soon as it is made. Rows with equal inputs share a result where a cache would give
 * them one answer, or when the temperature is 0; otherwise each has its own, in a stable order. Before the first result
 * of a step is reused, its requests for the inputs of an earlier row are compared with those it sent then: a helper or
 * a file that its source does not show makes it another step.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as SqlError from "effect/sql/SqlError"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as SingleFlight from "../cache/SingleFlight.ts"
import * as CallOutcome from "../client/CallOutcome.ts"
import * as CallContext from "../client/CallContext.ts"
import * as Occurrences from "../client/Occurrences.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import type * as FlowCost from "../flow/FlowCost.ts"
import * as Node from "../flow/Node.ts"
import * as StepKey from "../flow/StepKey.ts"
import * as Store from "../store/Store.ts"
import type * as RowCosts from "./RowCosts.ts"
import type * as RowRepo from "./RowRepo.ts"
import * as StepIdentity from "./StepIdentity.ts"
import * as StoredCost from "./StoredCost.ts"

/** The journal of one node. */
export interface NodeJournal {
  /** Looks up the node's value for some inputs: immediately when it is in memory. `run` would compute it. */
  readonly find: (
    input: unknown,
    sample: number,
    run: StepIdentity.StepRun,
    /** The position of the row. */
    position: string
  ) => Hit | Effect.Effect<JournalEntry, never, unknown>
  /** Computes a missing value, and keeps it. */
  readonly keep: (
    missing: Missing,
    input: unknown,
    run: StepIdentity.StepRun
  ) => Effect.Effect<unknown, unknown, unknown>
  /** Explains why a value was not found, for display. */
  readonly why: (missing: Missing) => Effect.Effect<string>
}

export type JournalEntry = Hit | Missing

export interface Hit {
  readonly _tag: "Hit"
  readonly value: unknown
  /** What its calls cost, where a node reads it and it was kept. */
  readonly cost?: FlowCost.Cost
}

export interface Missing {
  readonly _tag: "Missing"
  /** `undefined` when the inputs cannot be compared, so nothing is kept. */
  readonly key: string | undefined
  /** The number of equal rows before this one, where each has its own value. */
  readonly before?: number
}

export interface Options extends StepIdentity.Options {
  /** The start of the run: a result that was valid then stays valid for the whole run. */
  readonly at: number
  readonly environment: StepKey.StepKeyEnvironment
  /** Whether results of other runs are reused. */
  readonly reuse: boolean
  /** Whether other processes compute rows of this run: a step of which nothing was known may have results by now. */
  readonly workers?: boolean
  /** What the calls of rows cost, for nodes that read it. */
  readonly costs?: RowCosts.RowCosts | undefined
  /** A value of a node was kept, or cannot be kept. */
  readonly onKept?: (node: Node.Any, isKept: boolean) => void
}

/** A computed value and its stored form. */
interface Computed {
  readonly text: string | undefined
  readonly value: unknown
}

const isTimeout = (reason: Cause.Reason<unknown>): boolean =>
  Cause.isFailReason(reason) && Cause.isTimeoutError(reason.error)

const nothing: Missing = { _tag: "Missing", key: undefined }

const isCached = ({ environment, reuse }: Options): boolean =>
  reuse && LayerAnnotations.has(environment.layers, LayerAnnotations.Cached)

/** Tests whether the calls of a node have a temperature of 0, which no row changes. */
const isCold = (node: Node.Any, { environment }: Options): boolean => {
  const own = "policy" in node.kind ? node.kind.policy.settings?.temperature : undefined
  return Node.callsOf(node).settings === undefined && (own ?? environment.settings.temperature) === 0
}

/** Tests whether rows with equal inputs share an answer. */
const sharesEqual = (node: Node.Any, options: Options): boolean =>
  Node.gathers(node) || isCold(node, options) || isCached(options)

/** A node, with the identity its journal uses. */
interface Known {
  readonly node: Node.Any
  readonly parts: StepKey.StepKeyParts
  readonly options: Options
  readonly identity: StepIdentity.StepIdentity
  readonly results: Store.Service["rows"]["results"]
  /** Distinguishes equal rows; `undefined` when they share a value. */
  readonly occurrences: Occurrences.Occurrences | undefined
}

/** The journal of a node; `undefined` for a node whose value is always computed. */
export const forNode = (node: Node.Any, options: Options): NodeJournal | undefined => {
  const parts = StepKey.parts(node, options.environment)
  if (parts === undefined) return undefined
  const known: Known = {
    node,
    parts,
    options,
    identity: StepIdentity.make(node, parts, options),
    results: options.store.rows.results,
    occurrences: sharesEqual(node, options) ? undefined : Occurrences.make()
  }
  return { find: finder(known), keep: keeper(known), why: why(known) }
}

/** The value of a result that may be used: it has not expired, and is of this run where others do not count. */
const usable = ({ at, reuse, run }: Options, result: RowRepo.StepResult | undefined): Option.Option<unknown> =>
  result !== undefined
  && (result.expires_at === null || Number(result.expires_at) > at)
  && (reuse || Number(result.run) === run)
    ? StoredValue.decode(result.value)
    : Option.none()

/** The key of a row's value, and the number of equal rows before it, where each has its own value. */
interface RowKey {
  readonly key: string
  readonly before: number | undefined
}

/** Looks up stored values. */
const finder = ({ identity, node, occurrences, options, results }: Known): NodeJournal["find"] => {
  const { store } = options
  const isTracked = options.costs?.isTracked(node.name) === true

  /** Numbers the equal rows that do not share a value, from the second on. */
  const keyFor = (step: { readonly key: string }, sample: number, text: string, position: string): RowKey => {
    const key = ContentHash.make(`${step.key}\n${sample}\n${text}`)
    const before = occurrences?.of(key, position)
    return { key: before === undefined || before === 0 ? key : ContentHash.make(`${key}\n${before}`), before }
  }

  const toFound = ({ before, key }: RowKey, result: RowRepo.StepResult | undefined): JournalEntry => {
    const value = usable(options, result)
    if (Option.isNone(value)) return { _tag: "Missing", key, ...(before === undefined ? undefined : { before }) }
    if (!isTracked) return { _tag: "Hit", value: value.value }
    const cost = StoredCost.of(result!.value)
    return { _tag: "Hit", value: value.value, ...(cost === undefined ? undefined : { cost }) }
  }

  const lookUp = (row: RowKey, step: StepIdentity.NodeIdentity): Effect.Effect<JournalEntry, SqlError.SqlError> =>
    Effect.mapEager(results.get(row.key, step.isNew && options.workers !== true), (result) => toFound(row, result))

  /**
   * Tests whether a row keeps the result of an earlier version of the step: it did not fail in the run that is retried.
   */
  const keepsEarlier = (position: string): boolean =>
    identity.earlier().length > 0 && options.retry?.(position) === false

  const lookUpEarlier = Effect.fnUntraced(function* (
    step: StepIdentity.NodeIdentity,
    sample: number,
    text: string,
    position: string
  ) {
    for (const key of identity.earlier()) {
      const row = keyFor({ key }, sample, text, position)
      const found = toFound(row, yield* results.get(row.key, false))
      if (found._tag === "Hit") return found
    }
    return yield* lookUp(keyFor(step, sample, text, position), step)
  })

  let warned = false
  const unreadable = (error: SqlError.SqlError) =>
    Effect.suspend(() => {
      if (warned) return Effect.void
      warned = true
      return Effect.logWarning(
        `${store.name} cannot be read: ${Store.messageOf(error)}; rows of ${node.name} run again`
      )
    })

  const orMissing = (found: Effect.Effect<JournalEntry, SqlError.SqlError, unknown>) =>
    Effect.catchEager(found, (error) => Effect.as(unreadable(error), nothing))

  return (input, sample, run, position) => {
    const text = StoredValue.content(input)
    if (text === undefined) return Effect.succeed(nothing)
    const step = identity.known()
    if (step === undefined) {
      return orMissing(
        Effect.flatMap(identity.find(run), (step) =>
          keepsEarlier(position)
            ? lookUpEarlier(step, sample, text, position)
            : lookUp(keyFor(step, sample, text, position), step)
        )
      )
    }
    if (keepsEarlier(position)) return orMissing(lookUpEarlier(step, sample, text, position))
    const row = keyFor(step, sample, text, position)
    const found = toFound(row, results.peek(row.key))
    return found._tag === "Hit" ? found : orMissing(lookUp(row, step))
  }
}

/** Waits for another process of the store that computes the same value. */
const sharing = ({ options, results }: Pick<Known, "options" | "results">) => {
  // A cache in the stack sees to it that processes pay once for a request.
  const flights =
    options.reuse && !LayerAnnotations.has(options.environment.layers, LayerAnnotations.Cached)
      ? results.flights
      : undefined
  const kept = (key: string): Effect.Effect<Computed | undefined, SqlError.SqlError> =>
    Effect.map(
      Effect.suspend(() => results.get(key)),
      (result) => {
        if (result === undefined || (result.expires_at !== null && Number(result.expires_at) <= options.at))
          return undefined
        const value = StoredValue.decode(result.value)
        return Option.isSome(value) ? { text: result.value, value: value.value } : undefined
      }
    )
  return (key: string, work: Effect.Effect<Computed, unknown, unknown>) =>
    flights === undefined ? work : flights.once(key, kept(key), work)
}

type Once = (what: string, log: (message: string) => Effect.Effect<void>, message: () => string) => Effect.Effect<void>

/** Logs each kind of message once. */
const logger = (): Once => {
  const reported = new Set<string>()
  return (what, log, message) =>
    Effect.suspend(() => {
      if (reported.has(what)) return Effect.void
      reported.add(what)
      return log(message())
    })
}

/** Keeps a value, unless one of its calls has failed or it cannot be encoded. Returns a warning, if any. */
const valueKeeper = ({ identity, node, options, results }: Known, once: Once) => {
  const hasCache = isCached(options)
  const timeToLive = Math.min(
    ...options.environment.layers.map(
      (layer) => LayerAnnotations.get(layer, LayerAnnotations.Cached)?.timeToLive ?? Number.POSITIVE_INFINITY
    )
  )
  return (key: string, { text }: Computed, fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> | undefined => {
    const state = CallContext.stateOf(fiber)
    const hasFailed = state.outcome !== undefined && CallOutcome.hasFailed(state.outcome)
    Suspension.noteKept(state, text !== undefined && !hasFailed)
    if (hasFailed) {
      return once(
        "failed",
        Effect.logWarning,
        () =>
          `step ${node.name} gave a value for ${fiber.getRef(CallContext.CallContext).position} although one of its calls failed: it is not kept, and the row runs again next time. Others like it are not reported`
      )
    }
    options.onKept?.(node, text !== undefined)
    if (text === undefined) {
      return once(
        "unkept",
        Effect.logWarning,
        () =>
          `the result of step ${node.name} cannot be kept (it contains a class instance or a function): its rows run again each time, ${hasCache ? "with answers from the cache" : "and their calls are paid again"}. Return plain data to keep them: { ...instance }`
      )
    }
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    results.append({
      key,
      step: identity.known()!.id,
      run: options.run,
      expires_at: Number.isFinite(timeToLive) ? now + timeToLive : null,
      value: text
    })
    return undefined
  }
}

/** Computes a value once for all rows of a plan that share it. */
const planOnce = (planned: Map<string, unknown>, key: string, work: Effect.Effect<unknown, unknown, unknown>) =>
  Effect.suspend(() =>
    planned.has(key)
      ? Effect.succeed(planned.get(key))
      : Effect.map(work, (value) => {
          planned.set(key, value)
          return value
        })
  )

/** Computes and keeps values. Equal rows in progress compute one value. */
const keeper = (known: Known): NodeJournal["keep"] => {
  const { identity, node, occurrences, options, results } = known
  // The row that computes may be interrupted or reach its time limit: another one then computes.
  const flights = SingleFlight.make<Computed, unknown>((cause) => cause.reasons.every(isTimeout))
  const shared = sharing({ options, results })
  const once = logger()
  const keepValue = valueKeeper(known, once)
  // A plan keeps nothing: only a cache would know that rows share an answer.
  const isPlanned = !options.keep && isCold(node, options) && !isCached(options) && !Node.gathers(node)
  const planned = isPlanned ? new Map<string, unknown>() : undefined
  const { costs } = options
  const isTracked = costs?.isTracked(node.name) === true

  /** The stored form of a value; with what its calls cost, where a node reads it. Samples are not told apart. */
  const textOf = (value: unknown, row: number): string | undefined => {
    const text = StoredValue.encode(value)
    return text === undefined || !isTracked || (node.kind._tag === "Step" && node.kind.samples !== undefined)
      ? text
      : StoredCost.add(text, costs.of(node.name, row))
  }

  /** Keeps the value of work as soon as it exists: an interruption cannot come between the two. */
  const keeping = (key: string, work: Effect.Effect<unknown, unknown, unknown>) =>
    Effect.withFiber<Computed, unknown, unknown>((fiber) => {
      let computed: Computed | undefined
      return Effect.map(
        Effect.onExitPrimitive(work, (exit) => {
          if (Exit.isFailure(exit)) return undefined
          computed = { text: textOf(exit.value, fiber.getRef(CallContext.CallContext).row), value: exit.value }
          return keepValue(key, computed, fiber)
        }),
        () => computed!
      )
    })

  /** A value that another row has computed costs what it cost that row. */
  const noteCost = ({ text }: Computed, fiber: Fiber.Fiber<unknown, unknown>): void => {
    const cost = text === undefined ? undefined : StoredCost.of(text)
    if (cost !== undefined) costs!.set(node.name, fiber.getRef(CallContext.CallContext).row, cost)
  }

  return ({ before = 0, key }, input, run) => {
    const compute = Effect.suspend(() => run(input))
    // A batch has a line for each of the rows that do not share an answer.
    const called =
      occurrences === undefined
        ? compute
        : Effect.withFiber((fiber) =>
            CallContext.stateOf(fiber).row === undefined
              ? compute
              : CallContext.provideState({ equalBefore: before })(compute)
          )
    if (key === undefined) return called
    if (!options.keep) return planned === undefined ? called : planOnce(planned, key, called)
    return Effect.withFiber((fiber) => {
      // Another row with these inputs may have ended while this one waited for its turn.
      const found = occurrences === undefined ? results.peek(key) : undefined
      const known = usable(options, found)
      if (Option.isSome(known)) {
        if (isTracked) noteCost({ text: found!.value, value: known.value }, fiber)
        return Effect.succeed(known.value)
      }
      const isShared = flights.has(key)
      const work = shared(key, keeping(key, identity.fingerprinted(input, called)))
      const value = Effect.map(flights.run(key, work, true), (computed) => {
        const { text, value } = computed
        if (isTracked) noteCost(computed, fiber)
        // Waiting rows receive a copy.
        return isShared && text !== undefined ? Option.getOrUndefined(StoredValue.decode(text)) : value
      })
      if (occurrences?.hasEqual() !== true) return value
      const message = () =>
        `step ${node.name}: rows with equal inputs get separate answers. Cache.layer(), or a temperature of 0, lets them share one`
      return Effect.andThen(once("equal", Effect.logInfo, message), value)
    })
  }
}

/** Explains why a value was not found, for display. */
const why =
  ({ identity, node, options, parts }: Known): NodeJournal["why"] =>
  ({ key }) => {
    if (key === undefined) return Effect.succeed("its inputs cannot be encoded, so they cannot be recognised")
    if (!options.reuse) return Effect.succeed("results of other runs are not used (--no-cache)")
    const step = identity.known()
    if (step?.isNew !== true) {
      return Effect.succeed(
        "no earlier run had these inputs: the row is new, it or its inputs have changed, or it failed"
      )
    }
    const { store } = options
    return Effect.catch(
      Effect.map(store.rows.before(options.flow, node.name, step.key), (versions) => {
        const before = StepKey.nearest(parts, versions)
        if (before === undefined) return `step ${node.name} has not run before`
        return before.key === identity.base
          ? `step ${node.name} sends other requests now`
          : `step ${node.name} ${StepKey.difference(parts, before.parts)}`
      }),
      (error) => Effect.succeed(`${store.name} cannot be read: ${Store.messageOf(error)}`)
    )
  }
