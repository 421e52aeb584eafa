/**
 * The simulator's batches, and the fate of their requests.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import type { Engine } from "./Engine.ts"
import type { BatchOptions } from "./Options.ts"
import * as Script from "./Script.ts"
import type { WireJson } from "./Wire.ts"

export interface SimulatedRequest {
  readonly customId: string
  readonly endpoint: string
  readonly body: WireJson
}

/** The result of a request; `undefined` for none at all. */
export type Fate = "answered" | "refused" | "failed" | "expired" | "cancelled" | undefined

export interface SimulatedBatch {
  readonly id: string
  readonly wire: "openai" | "anthropic"
  readonly endpoint: string
  readonly input: string
  readonly bytes: number
  readonly entries: ReadonlyArray<SimulatedRequest>
  readonly tokens: number
  readonly metadata: { readonly [name: string]: string }
  readonly createdAt: number
  /** When everything will be done. */
  endsAt: number
  cancelledAt: number | undefined
  rejection: { readonly code: string; readonly message: string; readonly line: number | null } | undefined
  fates: ReadonlyArray<Fate> | undefined
}

export interface SimulatedFile {
  readonly id: string
  readonly filename: string
  readonly purpose: string
  readonly createdAt: number
  readonly content: Buffer
}

/** All files and batches. */
export interface SimulatedBatchState {
  readonly options: BatchOptions
  readonly engine: Engine
  readonly files: Map<string, SimulatedFile>
  readonly batches: Map<string, SimulatedBatch>
  readonly nextId: (prefix: string) => string
  /** Takes one of a limited number of faults. */
  readonly take: (fault: "invalid" | "lostCreations" | "failedUploads" | "cutDownloads") => boolean
}

export const make = (options: BatchOptions, engine: Engine): SimulatedBatchState => {
  const left = {
    invalid: options.invalid ?? 0,
    lostCreations: options.lostCreations ?? 0,
    failedUploads: options.failedUploads ?? 0,
    cutDownloads: options.cutDownloads ?? 0
  }
  let number = 0
  return {
    options,
    engine,
    files: new Map(),
    batches: new Map(),
    nextId: (prefix) =>
      `${prefix}_${Math.floor(Script.chance(engine.seed, prefix, String(++number)) * 2 ** 40).toString(36)}${number}`,
    take: (fault) => left[fault] > 0 && left[fault]-- > 0
  }
}

export const isOver = (batch: SimulatedBatch, now = Date.now()): boolean =>
  batch.rejection !== undefined || batch.cancelledAt !== undefined || now >= batch.endsAt

/** Which requests were processed, and their results; determined on first use after the end. */
export const fatesOf = ({ engine, options }: SimulatedBatchState, batch: SimulatedBatch): ReadonlyArray<Fate> => {
  if (batch.fates !== undefined) return batch.fates
  const share =
    batch.cancelledAt === undefined
      ? 1
      : Math.min(1, Math.max(0, (batch.cancelledAt - batch.createdAt) / Math.max(1, batch.endsAt - batch.createdAt)))
  batch.fates = batch.entries.map((entry, index): Fate => {
    if (index >= Math.floor(batch.entries.length * share)) return "cancelled"
    return fateOf(
      options,
      (kind) => Script.chance(engine.seed, kind, batch.id, JSON.stringify(entry.body)),
      (kind) => Script.chance(engine.seed, kind, JSON.stringify(entry.body))
    )
  })
  return batch.fates
}

/** The fate of a request. `own` depends only on the request, `chance` also on its batch. */
const fateOf = (options: BatchOptions, chance: (kind: string) => number, own: (kind: string) => number): Fate => {
  if (own("refused") < (options.errors ?? 0)) return "refused"
  if (chance("failed") < (options.serverErrors ?? 0)) return "failed"
  if (chance("expired") < (options.expired ?? 0)) return "expired"
  return chance("missing") < (options.missing ?? 0) ? undefined : "answered"
}

export const countsOf = (state: SimulatedBatchState, batch: SimulatedBatch) => {
  const total = batch.entries.length
  if (batch.rejection !== undefined) return { total: 0, answered: 0, failed: 0, expired: 0, cancelled: 0, running: 0 }
  if (!isOver(batch)) {
    const answered = Math.floor((total * (Date.now() - batch.createdAt)) / Math.max(1, batch.endsAt - batch.createdAt))
    return { total, answered, failed: 0, expired: 0, cancelled: 0, running: total - answered }
  }
  const fates = fatesOf(state, batch)
  const count = (...kinds: ReadonlyArray<Fate>) => fates.filter((fate) => kinds.includes(fate)).length
  return {
    total,
    answered: count("answered"),
    failed: count("refused", "failed"),
    expired: count("expired"),
    cancelled: count("cancelled"),
    running: 0
  }
}

/** Milliseconds from creation to the end. */
const latencyOf = ({ latency = "1 second" }: BatchOptions, number: number): number =>
  Duration.toMillis(Duration.fromInputUnsafe(typeof latency === "function" ? latency(number) : latency))

/** Creates a batch, or one that is rejected. */
export const create = (
  { batches, engine, nextId, options, take }: SimulatedBatchState,
  made: Pick<SimulatedBatch, "wire" | "endpoint" | "input" | "bytes" | "entries" | "metadata">
): SimulatedBatch => {
  const now = Date.now()
  const tokens =
    options.enqueuedTokens === undefined
      ? 0
      : made.entries.reduce(
          (sum, { body }) => sum + engine.count(JSON.stringify(body["messages"] ?? body["input"] ?? "")),
          0
        )
  const waiting = [...batches.values()].filter((batch) => !isOver(batch)).reduce((sum, batch) => sum + batch.tokens, 0)
  const rejection =
    options.enqueuedTokens !== undefined && waiting + tokens > options.enqueuedTokens
      ? {
          code: "token_limit_exceeded",
          message: `Enqueued token limit reached for ${made.entries[0]?.body["model"]} in organization simulated. Limit: ${options.enqueuedTokens} enqueued tokens. Please try again once some in_progress batches have been completed.`,
          line: null
        }
      : made.entries.length > 1 && take("invalid")
        ? { code: "invalid_value", message: "the simulator found fault with this request", line: 2 }
        : undefined
  const batch: SimulatedBatch = {
    ...made,
    id: nextId(made.wire === "openai" ? "batch" : "msgbatch"),
    tokens,
    createdAt: now,
    endsAt: now + latencyOf(options, batches.size + 1),
    cancelledAt: undefined,
    rejection,
    fates: undefined
  }
  batches.set(batch.id, batch)
  return batch
}
