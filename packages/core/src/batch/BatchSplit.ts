/**
 * Where one batch ends and the next begins: by the number of requests, by bytes, by texts to embed, and by the tokens that
 * an account may have waiting.
 *
 * **Details** Every limit is kept with a margin of 2 %, but for the number of requests, which nobody can count otherwise.
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

/** Limits of one batch, with those of the account. */
export interface SplitLimits extends BatchProvider.BatchLimits {
  /** Tokens that may wait at the provider. */
  readonly tokens?: number | undefined
}

const MARGIN = 0.98

/** Whether what a batch would hold is within its limits. */
export const fits = (fill: Fill, limits: SplitLimits): boolean =>
  fill.requests <= limits.requests
  && fill.bytes <= limits.bytes * MARGIN
  && (limits.inputs === undefined || fill.inputs <= limits.inputs)
  && (limits.tokens === undefined || fill.tokens <= limits.tokens * MARGIN)

/** Bytes of a text in UTF-8. */
export const byteLength: (text: string) => number = Utf8.byteLength
