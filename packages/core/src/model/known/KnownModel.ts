/**
 * What can be known of some models, as data.
 *
 * @internal
 */
import type * as ModelRequest from "../ModelRequest.ts"

/** The name of a setting. */
export type Setting = keyof ModelRequest.Settings

/** Settings that a model refuses. */
export interface Refusal {
  readonly settings: ReadonlyArray<Setting>
  /** `thinking`: unless its reasoning effort is `none`. */
  readonly when: "always" | "thinking" | "with temperature"
  /** The value that it takes all the same. */
  readonly except?: number
}

/** How a provider caches the beginnings of prompts. */
export interface PromptCache {
  /** Tokens of the shortest beginning that is cached. */
  readonly minimum: number
  /** Beyond the minimum, beginnings are cached in steps of this many tokens. */
  readonly step: number
  /** Requests must mark the end of the beginning. */
  readonly isMarked?: true
  /** Every prompt of that length is written without a mark, and what is written costs more. */
  readonly isWritten?: true
}

/** How the tokens of an image follow from its width and height, in pixels. */
export type ImageRule =
  /** Scaled into 2,048 squared with a shorter side of 768 at most; a base, and tiles of 512 squared. */
  | { readonly rule: "tiles"; readonly base: number; readonly tile: number }
  /** Scaled to a longest side and a number of patches, where they are given; patches, times a factor. */
  | {
      readonly rule: "patches"
      readonly size: number
      readonly times: number
      readonly most?: number
      readonly side?: number
    }
  /** Scaled to the largest size within a longest side and a number of cells, which are the tokens. */
  | { readonly rule: "cells"; readonly size: number; readonly side: number; readonly most: number }
  /** An estimate: one crop for a small image, otherwise crops of a size. */
  | { readonly rule: "crops"; readonly side: number; readonly size: number; readonly each: number }
  /** An estimate: about the same for every image. */
  | { readonly rule: "flat"; readonly tokens: number }

/** What is known of some models. What is absent is not known. */
export interface KnownModel {
  /** The beginnings of their names. */
  readonly models: ReadonlyArray<string>
  /** They write nothing but their answer. */
  readonly isPlain?: true
  /** The values of their reasoning effort: none for models that have no such setting. */
  readonly efforts?: {
    readonly values: ReadonlyArray<string>
    readonly default?: string
    /** Those that only the responses API takes. */
    readonly responses?: ReadonlyArray<string>
  }
  readonly refuses?: ReadonlyArray<Refusal>
  /** They answer in OpenAI's responses API only. */
  readonly api?: "responses"
  /** Function tools work in the responses API only: always, or unless the reasoning effort is `none`. */
  readonly tools?: "responses" | "responses while thinking"
  /** They answer decisions, with probabilities. */
  readonly decisions?: true
  readonly promptCache?: PromptCache
  /** Service tiers that their maker has for them, beside the ordinary one and batches. */
  readonly tiers?: ReadonlyArray<string>
  /** The most output tokens of an answer. */
  readonly maxOutput?: number
  readonly image?: ImageRule
  /** An estimate: tokens of a page of a PDF document. */
  readonly page?: number
  /** Tokens of a second of audio. */
  readonly audio?: number
}
