/**
 * Where one batch ends and the next begins: by the number of requests, bytes, texts to embed, and tokens that an
 * account may have enqueued.
 *
 * **Details** Every limit has a margin of 2 %, except the number of requests, which everyone counts alike.
 *
 * @internal
 */
import * as Utf8 from "../encoding/Utf8.ts"
import type * as BatchProvider from "./BatchProvider.ts"

/** What a batch holds so far. */
export interface Fill {
  readonly requests: number
  readonly bytes: number
  readonly inputs: number
  readonly tokens: number
}

export const empty = (frame: BatchProvider.Frame): Fill => ({
  requests: 0,
  bytes: byteLength(frame.head) + byteLength(frame.tail),
  inputs: 0,
  tokens: 0
})

export const add = (fill: Fill, line: Omit<Fill, "requests">): Fill => ({
  requests: fill.requests + 1,
  bytes: fill.bytes + line.bytes,
  inputs: fill.inputs + line.inputs,
  tokens: fill.tokens + line.tokens
})

/** The limits of a batch, including those of the account. */
export interface SplitLimits extends BatchProvider.BatchLimits {
  /** Tokens that may be enqueued at the provider. */
  readonly tokens?: number | undefined
}

const MARGIN = 0.98

/** Tests whether the content of a batch is within its limits. */
export const fits = (fill: Fill, limits: SplitLimits): boolean =>
  fill.requests <= limits.requests
  && fill.bytes <= limits.bytes * MARGIN
  && (limits.inputs === undefined || fill.inputs <= limits.inputs)
  && (limits.tokens === undefined || fill.tokens <= limits.tokens * MARGIN)

/** Bytes of a text in UTF-8. */
export const byteLength: (text: string) => number = Utf8.byteLength
