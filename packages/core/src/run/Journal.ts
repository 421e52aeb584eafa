/**
 * What steps gave before, found by content: a row whose inputs and step are the same is not run again.
 *
 * **Details** A result is kept as soon as it is made. Rows with equal inputs share one where a cache would give them one answer, or
 * where the temperature is 0; elsewhere each of them has its own, the second of them in every run that of the second before.
 * Before the first result of a step is reused, what the step would ask for the inputs of an earlier row is compared with
 * what it asked then: a helper or a file that its source does not show makes it another step.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as SqlError from "effect/sql/SqlError"
import * as Cache from "../cache/Cache.ts"
import * as CallOutcome from "../client/CallOutcome.ts"
import * as Caller from "../client/Caller.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as Node from "../flow/Node.ts"
import * as StepKey from "../flow/StepKey.ts"
import * as Store from "../store/Store.ts"
import * as Fingerprint from "./Fingerprint.ts"
import * as Occurrences from "./Occurrences.ts"
import type * as RowRepo from "./RowRepo.ts"

/** The journal of one node. */
export interface NodeJournal {
  /**
   * What is known of the node's value for some inputs: at once where it is in memory, which costs no effect. `run` is what
   * would compute it.
   */
  readonly find: (
    input: unknown,
    sample: number,
    run: Run,
    /** The row's place. */
    position: string
  ) => Hit | Effect.Effect<Found, never, unknown>
  /** Computes a value that was not found, and keeps it. */
  readonly keep: (missing: Missing, input: unknown, run: Run) => Effect.Effect<unknown, unknown, unknown>
  /** Why a value was not found, for people. */
  readonly why: (missing: Missing) => Effect.Effect<string>
}

export type Run = (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>

export type Found = Hit | Missing

export interface Hit {
  readonly _tag: "Hit"
  readonly value: unknown
}

export interface Missing {
  readonly _tag: "Missing"
  /** `undefined`: the inputs cannot be told from others, so nothing is kept. */
  readonly key: string | undefined
}

export interface Options {
  readonly store: Store.Service
  readonly flow: string
  readonly run: number
  /** When the run began: a result that was good then is good for all of it. */
  readonly at: number
  readonly environment: StepKey.Environment
  readonly client: ModelClient.Service | undefined
  /** Whether results of other runs are reused. */
  readonly reuse: boolean
  /** Whether what is computed is kept: a plan only looks. */
  readonly keep: boolean
  /** In a retry: whether the row at a place failed. The others keep what an earlier version of the step gave in this run. */
  readonly retry: ((position: string) => boolean) | undefined
}

/** A node as it stands in the store. */
interface Step {
  readonly id: number
  readonly key: string
  readonly isNew: boolean
}

/** A value that was just computed, and as it is kept. */
interface Computed {
  readonly text: string | undefined
  readonly value: unknown
}

const isTimeout = (reason: Cause.Reason<unknown>): boolean =>
  Cause.isFailReason(reason) && Cause.isTimeoutError(reason.error)

const nothing: Missing = { _tag: "Missing", key: undefined }

/** Whether rows with equal inputs are meant to have one answer. */
const sharesEqual = ({ kind }: Node.Any, { environment, reuse }: Options): boolean => {
  const own = "policy" in kind ? kind.policy.settings?.temperature : undefined
  return (
    (own ?? environment.settings.temperature) === 0
    || (reuse && environment.layers.some(({ name }) => name === Cache.NAME))
  )
}

/** The journal of a node; `undefined` for one whose value is always computed. */
export const forNode = (node: Node.Any, options: Options): NodeJournal | undefined => {
  const parts = StepKey.parts(node, options.environment)
  if (parts === undefined) return undefined
  const { store } = options
  const { results } = store.rows
  const base = StepKey.make(node.name, parts)
  const timeToLive = Math.min(
    ...options.environment.layers.map((layer) => layer.timeToLive ?? Number.POSITIVE_INFINITY)
  )
  const flights = new Map<string, Deferred.Deferred<Computed, unknown>>()
  const inStep = ModelSettings.provide(Node.settingsOf((node.kind as { readonly policy: Node.Policy }).policy) ?? {})
  let step: Step | undefined
  /** Keys of the step as it was in the run that is retried. */
  let earlier: ReadonlyArray<string> = []
  let probeWanted = false
  let unkept = false
  let isToldOfFailures = false

  const register = (key: string): Effect.Effect<Step, SqlError.SqlError> =>
    options.keep
      ? Effect.map(store.rows.step(options.flow, options.run, { key, name: node.name, parts }), (known) => ({
          ...known,
          key
        }))
      : Effect.map(store.rows.find(key), (id) => ({ id: id ?? 0, key, isNew: id === undefined }))

  /** Finds out which step this is, once. */
  const identify = Effect.fnUntraced(function* (run: Run) {
    const before = options.retry !== undefined ? yield* store.rows.since(options.flow, node.name, options.run) : []
    let found: Step = yield* register(base)
    const [probe] = found.isNew ? [] : yield* store.rows.probes(found.id)
    if (probe === undefined) probeWanted = true
    else if (options.client !== undefined) {
      const asks = yield* Fingerprint.compare(
        node.name,
        probe,
        (input) => inStep(Effect.suspend(() => run(input))),
        options.client
      )
      if (asks !== undefined) {
        // The same source asks something else: it is another step, known by what it asks.
        found = yield* register(ContentHash.make(`${base}\n${asks}`))
        if (found.isNew) {
          probeWanted = true
          yield* Effect.logWarning(
            `step ${node.name} asks something else than in earlier runs, though its own source is the same (a helper, a file that it reads): its rows are run anew`
          )
        }
      }
    }
    earlier = before.flatMap(({ key }) => (key === found.key ? [] : [key]))
    const [last] = before
    if (found.isNew && last !== undefined) {
      yield* Effect.logWarning(
        `step ${node.name} ${StepKey.difference(parts, last.parts)} since the run: rows that did not fail keep what it gave then`
      )
    }
    step = found
    return found
  })

  let identifying: Deferred.Deferred<Step, SqlError.SqlError> | undefined
  const identified = (run: Run): Effect.Effect<Step, SqlError.SqlError, unknown> => {
    if (step !== undefined) return Effect.succeed(step)
    if (identifying !== undefined) return Deferred.await(identifying)
    const made: Deferred.Deferred<Step, SqlError.SqlError> = Deferred.makeUnsafe()
    identifying = made
    return Effect.onExitPrimitive(identify(run), (exit) => {
      Deferred.doneUnsafe(made, exit)
      return undefined
    })
  }

  const isGood = (result: RowRepo.Result): boolean =>
    (result.expires_at === null || Number(result.expires_at) > options.at)
    && (options.reuse || Number(result.run) === options.run)

  const keyOf = (known: Pick<Step, "key">, sample: number, text: string): string =>
    ContentHash.make(`${known.key}\n${sample}\n${text}`)

  /** Of equal rows that do not share, those after the first are numbered. */
  const keyFor = (known: Pick<Step, "key">, sample: number, text: string, position: string): string => {
    const key = keyOf(known, sample, text)
    const before = occurrences?.of(key, position) ?? 0
    return before === 0 ? key : ContentHash.make(`${key}\n${before}`)
  }

  const toFound = (key: string, result: RowRepo.Result | undefined): Found => {
    const value = result !== undefined && isGood(result) ? StoredValue.decode(result.value) : Option.none()
    return Option.isSome(value) ? { _tag: "Hit", value: value.value } : { _tag: "Missing", key }
  }

  const occurrences = sharesEqual(node, options) ? undefined : Occurrences.make()
  let isToldOfEqual = false

  const lookUp = (key: string, known: Step): Effect.Effect<Found, SqlError.SqlError> =>
    Effect.map(results.get(key, known.isNew), (result) => toFound(key, result))

  /** Whether a row keeps what an earlier version of the step gave: it did not fail in the run that is retried. */
  const keepsEarlier = (position: string): boolean => earlier.length > 0 && options.retry?.(position) === false

  const lookUpEarlier = Effect.fnUntraced(function* (known: Step, sample: number, text: string, position: string) {
    for (const key of earlier) {
      const found = toFound("", yield* results.get(keyFor({ key }, sample, text, position), false))
      if (found._tag === "Hit") return found
    }
    return yield* lookUp(keyFor(known, sample, text, position), known)
  })

  const lookUpFor = (known: Step, sample: number, text: string, position: string) =>
    keepsEarlier(position)
      ? lookUpEarlier(known, sample, text, position)
      : lookUp(keyFor(known, sample, text, position), known)

  const orMissing = (found: Effect.Effect<Found, SqlError.SqlError, unknown>) =>
    Effect.catch(found, (error) => Effect.as(unreadable(error), nothing))

  const find: NodeJournal["find"] = (input, sample, run, position) => {
    const text = StoredValue.canonical(input)
    if (text === undefined) return Effect.succeed(nothing)
    if (step === undefined) {
      return orMissing(Effect.flatMap(identified(run), (known) => lookUpFor(known, sample, text, position)))
    }
    if (keepsEarlier(position)) return orMissing(lookUpEarlier(step, sample, text, position))
    const key = keyFor(step, sample, text, position)
    const found = toFound(key, results.peek(key))
    return found._tag === "Hit" ? found : orMissing(lookUp(key, step))
  }

  let warned = false
  const unreadable = (error: SqlError.SqlError) =>
    Effect.suspend(() => {
      if (warned) return Effect.void
      warned = true
      return Effect.logWarning(
        `${store.name} cannot be read: ${Store.messageOf(error)}; rows of ${node.name} are run anew`
      )
    })

  const append = (key: string, text: string, now: number): void =>
    results.append({
      key,
      step: step!.id,
      run: options.run,
      expires_at: Number.isFinite(timeToLive) ? now + timeToLive : null,
      value: text
    })

  const keep: NodeJournal["keep"] = ({ key }, input, run) => {
    if (key === undefined || !options.keep) return Effect.suspend(() => run(input))
    if (!isToldOfEqual && occurrences?.hasEqual() === true) {
      isToldOfEqual = true
      return Effect.andThen(
        Effect.logInfo(
          `step ${node.name}: rows with equal inputs get an answer each. Cache.layer(), or a temperature of 0, lets them share one`
        ),
        Effect.suspend(() => keep({ _tag: "Missing", key }, input, run))
      )
    }
    const flight = flights.get(key)
    if (flight !== undefined) {
      // Who waits gets a value of its own.
      const shared = Effect.map(Deferred.await(flight), ({ text, value }) =>
        text === undefined ? value : Option.getOrUndefined(StoredValue.decode(text))
      )
      return Effect.catchCause(shared, (cause) =>
        // The row that led was cut, or its time was over: this one leads now.
        cause.reasons.every((reason) => reason._tag === "Interrupt" || isTimeout(reason))
          ? Effect.suspend(() => keep({ _tag: "Missing", key }, input, run))
          : Effect.failCause(cause)
      )
    }
    const made: Deferred.Deferred<Computed, unknown> = Deferred.makeUnsafe()
    flights.set(key, made)
    const computed =
      probeWanted && options.client !== undefined && step !== undefined
        ? Fingerprint.record(
            Effect.suspend(() => run(input)),
            options.client,
            (request) => {
              const text = StoredValue.encode(input)
              if (!probeWanted || text === undefined) return
              probeWanted = false
              store.rows.addProbe(step!.id, { input: text, request })
            }
          )
        : Effect.suspend(() => run(input))
    return Effect.withFiber((fiber) =>
      Effect.onExitPrimitive(computed, (exit) => {
        flights.delete(key)
        if (Exit.isFailure(exit)) {
          Deferred.doneUnsafe(made, Exit.failCause(exit.cause))
          return undefined
        }
        const text = StoredValue.encode(exit.value)
        const outcome = fiber.getRef(CallOutcome.CallOutcome)
        if (outcome !== undefined && CallOutcome.hasFailed(outcome)) {
          Deferred.doneUnsafe(made, Exit.succeed({ text, value: exit.value }))
          if (isToldOfFailures) return undefined
          isToldOfFailures = true
          return Effect.logWarning(
            `step ${node.name} gave a value for ${fiber.getRef(Caller.Caller).position} though a call of it had failed: it is not kept, and the row runs anew next time. Others like it are not named`
          )
        }
        if (text !== undefined) append(key, text, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
        Deferred.doneUnsafe(made, Exit.succeed({ text, value: exit.value }))
        if (text !== undefined || unkept) return undefined
        unkept = true
        return Effect.logWarning(
          `what step ${node.name} gives cannot be kept (an instance of a class, or a function, is in it): its rows are run anew each time, with answers from the cache. Give plain data to keep them`
        )
      })
    )
  }

  const why: NodeJournal["why"] = ({ key }) =>
    key === undefined
      ? Effect.succeed("its inputs cannot be kept, so they are not known again")
      : !options.reuse
        ? Effect.succeed("nothing of other runs is used (--no-cache)")
        : step?.isNew !== true
          ? Effect.succeed(
              "no earlier run had these inputs: the row is new or was edited, or what it is made of has changed, or it failed"
            )
          : Effect.catch(
              Effect.map(store.rows.before(options.flow, node.name, step.key), (versions) => {
                const before = StepKey.nearest(parts, versions)
                if (before === undefined) return `step ${node.name} has not run before`
                return before.key === base
                  ? `step ${node.name} asks something else now`
                  : `step ${node.name} ${StepKey.difference(parts, before.parts)}`
              }),
              (error) => Effect.succeed(`${store.name} cannot be read: ${Store.messageOf(error)}`)
            )

  return { find, keep, why }
}
