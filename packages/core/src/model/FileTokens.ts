/**
 * The input tokens of a file in a prompt, by the published rule of the model's maker (`KnownModels`).
 *
 * **Details** An image in the prompt is measured by its header; one at an address counts as the largest that the rule
 * has. `most` is a bound, for what a budget holds, and is `undefined` where a rule has none. `estimate` is what is
 * expected, for plans and rate limits.
 *
 * **Example** (tiles: 85 tokens, and 170 for each of four)
 *
 * ```ts
 * import * as FileTokens from "@pipe/core/internal/FileTokens"
 *
 * FileTokens.ofImage("gpt-4o", { width: 1_024, height: 1_024 }) // => { expected: 765, most: 765 }
 * FileTokens.ofImage("claude-opus-5-5", { width: 1_920, height: 1_080 }) // => { expected: 2691, most: 2691 }
 * ```
 *
 * @internal
 */
import type * as Prompt from "effect/ai/Prompt"
import * as FileData from "./FileData.ts"
import * as FileMeasures from "../file/FileMeasures.ts"
import type * as ImageSize from "../file/ImageSize.ts"
import type * as KnownModel from "./known/KnownModel.ts"
import * as ModelFacts from "./ModelFacts.ts"

/** The tokens of a file. What is absent is not known. */
export interface FileTokens {
  readonly expected?: number
  /** A bound. */
  readonly most?: number
  /** Whether they are tokens of audio, which have a price of their own. */
  readonly isAudio?: true
}

const UNKNOWN: FileTokens = {}

/** Differences of this size come from binary fractions. */
const NOISE = 1e-9

const cells = (length: number, size: number): number => Math.max(1, Math.ceil(length / size - NOISE))

/** The scale at which a length is at most `most`. */
const within = (length: number, most: number | undefined): number =>
  most === undefined ? 1 : Math.min(1, most / length)

type Rule<Name extends KnownModel.ImageRule["rule"]> = Extract<KnownModel.ImageRule, { readonly rule: Name }>

const tiles = ({ height, width }: ImageSize.Size, { base, tile }: Rule<"tiles">): number => {
  const fit = within(Math.max(width, height), 2_048)
  const scale = fit * within(Math.min(width, height) * fit, 768)
  return base + tile * cells(width * scale, 512) * cells(height * scale, 512)
}

/** OpenAI's way: the scale leaves whole patches along the side that loses more. */
const patches = ({ height, width }: ImageSize.Size, { most, side, size, times }: Rule<"patches">): number => {
  const fit = within(Math.max(width, height), side)
  const count = (scale: number) => cells(width * scale, size) * cells(height * scale, size)
  let scale = fit
  if (most !== undefined && count(fit) > most) {
    const even = Math.sqrt((size * size * most) / (width * height))
    const whole = (length: number) => Math.max(1, Math.floor((length * even) / size)) / ((length * even) / size)
    scale = Math.min(fit, even * Math.min(whole(width), whole(height)))
  }
  return Math.ceil(Math.min(count(scale), most ?? Number.POSITIVE_INFINITY) * times - NOISE)
}

/** Anthropic's way: the largest size that fits. */
const cellsOf = ({ height, width }: ImageSize.Size, { most, side, size }: Rule<"cells">): number => {
  let scale = within(Math.max(width, height), side)
  const count = () => cells(width * scale, size) * cells(height * scale, size)
  if (count() <= most) return count()
  let best = 0
  for (let across = 1; across <= most; across++)
    best = Math.max(best, Math.min((across * size) / width, (Math.floor(most / across) * size) / height, scale))
  scale = best
  return Math.min(most, count())
}

/** The tokens of an image; of the largest, without a size. */
export const ofImage = (model: string, size: ImageSize.Size | undefined): FileTokens => {
  const rule = ModelFacts.of(model)?.image
  switch (rule?.rule) {
    case undefined:
      return UNKNOWN
    case "tiles": {
      const tokens = size === undefined ? rule.base + 8 * rule.tile : tiles(size, rule)
      return { expected: tokens, most: tokens }
    }
    case "patches": {
      if (size === undefined && rule.most === undefined) return UNKNOWN
      const tokens = size === undefined ? Math.ceil(rule.most! * rule.times) : patches(size, rule)
      return { expected: tokens, most: tokens }
    }
    case "cells": {
      const tokens = size === undefined ? rule.most : cellsOf(size, rule)
      return { expected: tokens, most: tokens }
    }
    case "crops":
      if (size === undefined) return UNKNOWN
      return {
        expected:
          Math.max(size.width, size.height) <= rule.side
            ? rule.each
            : rule.each * cells(size.width, rule.size) * cells(size.height, rule.size)
      }
    case "flat":
      return { expected: rule.tokens }
  }
}

const measure = (model: string, part: Prompt.FilePartEncoded): FileTokens => {
  const { mediaType } = part
  const bytes = FileData.bytesOf(part)
  if (mediaType.startsWith("image/")) return ofImage(model, bytes && FileMeasures.imageSize(bytes))
  const { audio, page } = ModelFacts.of(model) ?? {}
  if (mediaType === "application/pdf") {
    const pages = page === undefined || bytes === undefined ? undefined : FileMeasures.pdfPages(bytes)
    return pages === undefined ? UNKNOWN : { expected: pages * page! }
  }
  if (mediaType.startsWith("audio/")) {
    const seconds = audio === undefined || bytes === undefined ? undefined : FileMeasures.soundSeconds(bytes, mediaType)
    if (seconds === undefined) return { isAudio: true }
    const tokens = Math.ceil(seconds * audio!)
    return { expected: tokens, most: tokens, isAudio: true }
  }
  return UNKNOWN
}

/** Parts that were measured, by model: several layers count a request. */
const measured = new WeakMap<Prompt.FilePartEncoded, Map<string, FileTokens>>()

/** The tokens of a file. */
export const of = (model: string, part: Prompt.FilePartEncoded): FileTokens => {
  let known = measured.get(part)
  if (known === undefined) measured.set(part, (known = new Map()))
  let tokens = known.get(model)
  if (tokens === undefined) known.set(model, (tokens = measure(model, part)))
  return tokens
}
