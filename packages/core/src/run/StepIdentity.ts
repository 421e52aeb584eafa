/**
 * Finds the stored step of a node: by its key, and by its requests for the inputs of an earlier row.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as Node from "../flow/Node.ts"
import * as StepKey from "../flow/StepKey.ts"
import type * as Store from "../store/Store.ts"
import * as Fingerprint from "./Fingerprint.ts"

/** Computes the node's value for some inputs. */
export type StepRun = (input: RowValues.Erased) => Effect.Effect<unknown, unknown, unknown>

/** The identity of a node in the store. */
export interface NodeIdentity {
  readonly id: number
  readonly key: string
  readonly isNew: boolean
}

export interface Options {
  readonly store: Store.Service
  readonly flow: string
  readonly run: number
  readonly client: ModelClient.Service | undefined
  /** Whether computed values are kept: a plan only looks. */
  readonly keep: boolean
  /** In a retry, whether the row at a position failed. */
  readonly retry: ((position: string) => boolean) | undefined
}

export interface StepIdentity {
  /** The key from the node's own parts. */
  readonly base: string
  /** `undefined` until it has been determined. */
  readonly known: () => NodeIdentity | undefined
  /** Determines it, once. */
  readonly find: (run: StepRun) => Effect.Effect<NodeIdentity, SqlError.SqlError, unknown>
  /** The keys of the step in the run that is retried. */
  readonly earlier: () => ReadonlyArray<string>
  /** Runs a row, and stores its first requests as the step's fingerprint when it has none. */
  readonly fingerprinted: (
    input: unknown,
    work: Effect.Effect<unknown, unknown, unknown>
  ) => Effect.Effect<unknown, unknown, unknown>
}

export const make = (node: Node.Any, parts: StepKey.StepKeyParts, options: Options): StepIdentity => {
  const { client, flow, run, store } = options
  const base = StepKey.make(node.name, parts)
  const inStep = ModelSettings.provide(
    Node.settingsOf((node.kind as { readonly policy: Node.NodePolicy }).policy) ?? {}
  )
  let step: NodeIdentity | undefined
  let earlier: ReadonlyArray<string> = []
  let fingerprintWanted = false

  const register = (key: string): Effect.Effect<NodeIdentity, SqlError.SqlError> =>
    options.keep
      ? Effect.map(store.rows.step(flow, run, { key, name: node.name, parts }), (known) => ({ ...known, key }))
      : Effect.map(store.rows.find(key), (id) => ({ id: id ?? 0, key, isNew: id === undefined }))

  /** The same source may send other requests: it is then another step, identified by them. */
  const compared = Effect.fnUntraced(function* (found: NodeIdentity, compute: StepRun) {
    const [probe] = found.isNew ? [] : yield* store.rows.probes(found.id)
    if (probe === undefined) fingerprintWanted = true
    if (probe === undefined || client === undefined) return found
    const asks = yield* Fingerprint.compare(node.name, probe, (input) => inStep(Effect.suspend(() => compute(input))))
    if (asks === undefined) return found
    const other = yield* register(ContentHash.make(`${base}\n${asks}`))
    if (!other.isNew) return other
    fingerprintWanted = true
    yield* Effect.logWarning(
      `step ${node.name} sends other requests than in earlier runs, although its own source is the same (a helper or a file has changed): its rows run again`
    )
    return other
  })

  const identify = Effect.fnUntraced(function* (compute: StepRun) {
    const before = options.retry !== undefined ? yield* store.rows.since(flow, node.name, run) : []
    const found = yield* compared(yield* register(base), compute)
    earlier = before.flatMap(({ key }) => (key === found.key ? [] : [key]))
    const [last] = before
    if (found.isNew && last !== undefined) {
      yield* Effect.logWarning(
        `step ${node.name} ${StepKey.difference(parts, last.parts)} since the run: rows that did not fail keep their results`
      )
    }
    step = found
    return found
  })

  let identifying: Deferred.Deferred<NodeIdentity, SqlError.SqlError> | undefined
  return {
    base,
    known: () => step,
    earlier: () => earlier,
    find: (compute) => {
      if (step !== undefined) return Effect.succeed(step)
      if (identifying !== undefined) return Deferred.await(identifying)
      const made: Deferred.Deferred<NodeIdentity, SqlError.SqlError> = Deferred.makeUnsafe()
      identifying = made
      return Effect.onExitPrimitive(identify(compute), (exit) => {
        Deferred.doneUnsafe(made, exit)
        return undefined
      })
    },
    fingerprinted: (input, work) =>
      !fingerprintWanted || client === undefined || step === undefined
        ? work
        : Fingerprint.record(work, (calls) => {
            const text = fingerprintWanted ? StoredValue.encode(input) : undefined
            if (text === undefined) return
            fingerprintWanted = false
            store.rows.addProbe(step!.id, { input: text, request: Fingerprint.stored(calls) })
          })
  }
}
