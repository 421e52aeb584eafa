/**
 * How many texts of a scope go into a prompt: a fixed number, or one found by trial.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as ContentHash from "../encoding/ContentHash.ts"
import type * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Binomial from "../stats/Binomial.ts"
import type * as PackRepo from "./PackRepo.ts"

/** The sizes to try, largest first. */
export const SIZES = [20, 10, 5] as const

/** The texts sent alone before sizes are tried. */
export const SAMPLE = 40

/** The default of the lowest share of answers that must agree with single ones. */
const AGREEMENT = 0.95

export type PackSizeState =
  | { readonly _tag: "Known"; readonly size: number }
  /** The next text is sent alone, as part of the sample. */
  | { readonly _tag: "Sample" }
  | { readonly _tag: "Trial" }

interface Sampled {
  readonly text: string
  readonly key: string
}

export interface PackSize {
  readonly key: string
  readonly state: () => PackSizeState
  /** Sends a text alone, and keeps its answer for the trial. */
  readonly sampled: (
    text: string,
    ask: Effect.Effect<{ readonly response: ModelResponse.CompletionResponse; readonly key: string }, AiError.AiError>
  ) => Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError>
  /** Tries sizes on the sample. Other rows wait. */
  readonly trial: (
    ask: (texts: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string | undefined>, AiError.AiError>
  ) => Effect.Effect<void, AiError.AiError>
  /** Records the result of a prompt, whole or split. Returns a warning about the size, if any. */
  readonly record: (packed: PackRepo.Packed, isWhole: boolean) => string | undefined
}

/** The scope of texts that may be packed together: requests of one step that are equal except for their text. */
export const keyOf = (step: string, template: ModelRequest.Completion, apart = ""): string =>
  ContentHash.make(RequestKey.canonical([step, RequestKey.content(template), ...(apart === "" ? [] : [apart])]))

const isEnough = (
  { agreed, compared }: Pick<PackRepo.Packed, "agreed" | "compared">,
  { minAgreement = AGREEMENT }: Varying.Pack
): boolean => agreed >= minAgreement * compared

type Tried = ReadonlyMap<number, Pick<PackRepo.Packed, "agreed" | "compared">>

/** The results that suffice to judge a size. */
const triedIn = (known: ReadonlyArray<PackRepo.Packed>): Sizes["tried"] =>
  new Map<number, Pick<PackRepo.Packed, "agreed" | "compared">>(
    known.filter(({ compared }) => compared >= SAMPLE / 2).map((packed) => [packed.size, packed])
  )

/** The largest acceptable size, 1 when all have failed; `undefined` when more trials are needed. */
const largest = (tried: Tried, pack: Varying.Pack): number | undefined => {
  for (const size of SIZES) {
    const known = tried.get(size)
    if (known === undefined) return undefined
    if (isEnough(known, pack)) return size
  }
  return 1
}

/** The size according to earlier runs; `undefined` when it must be tried. */
export const settled = (known: ReadonlyArray<PackRepo.Packed>, pack: Varying.Pack): number | undefined =>
  pack.size === "auto" ? largest(triedIn(known), pack) : pack.size

interface Options {
  readonly key: string
  readonly step: string
  readonly pack: Varying.Pack
  readonly known: ReadonlyArray<PackRepo.Packed>
  readonly record: (packed: PackRepo.Packed) => void
}

/** What is known of the sizes of a scope. */
interface Sizes {
  readonly tried: Map<number, Pick<PackRepo.Packed, "agreed" | "compared">>
  /** `undefined` until it is found. */
  size: number | undefined
}

export const make = (options: Options): PackSize => {
  const { key, known, pack } = options
  const sizes: Sizes = { tried: triedIn(known), size: settled(known, pack) }
  const sample = makeSample()
  const turn = Semaphore.makeUnsafe(1)
  return {
    key,
    state: () =>
      sizes.size !== undefined
        ? { _tag: "Known", size: sizes.size }
        : sample.isFull()
          ? { _tag: "Trial" }
          : { _tag: "Sample" },
    sampled: sample.add,
    trial: (ask) =>
      Effect.suspend(() =>
        // Another text replaces one that failed.
        sample.isAsked() ? sample.idle : turn.withPermit(tryAll(options, sizes, sample.texts, ask))
      ),
    record: recorder(options, sizes)
  }
}

/** The texts sent alone before sizes are tried. */
const makeSample = () => {
  const texts: Array<Sampled> = []
  let asked = 0
  let idle = Deferred.makeUnsafe<void>()
  const add: PackSize["sampled"] = (text, ask) =>
    Effect.suspend(() => {
      asked++
      return Effect.onExitPrimitive(
        Effect.map(ask, ({ key, response }) => {
          texts.push({ text, key })
          return response
        }),
        () => {
          asked--
          if (asked === 0) {
            Deferred.doneUnsafe(idle, Effect.void)
            idle = Deferred.makeUnsafe()
          }
          return undefined
        }
      )
    })
  return {
    texts,
    add,
    isFull: () => texts.length + asked >= SAMPLE,
    isAsked: () => asked > 0,
    idle: Effect.suspend(() => Deferred.await(idle))
  }
}

/** Tries sizes on the sample, largest first, until one is acceptable. */
const tryAll = (
  { pack, record }: Options,
  sizes: Sizes,
  sample: ReadonlyArray<Sampled>,
  ask: Parameters<PackSize["trial"]>[0]
): Effect.Effect<void, AiError.AiError> =>
  Effect.gen(function* () {
    for (const candidate of SIZES) {
      if (sizes.size !== undefined || sample.length < SAMPLE) return
      if (sizes.tried.has(candidate)) continue
      const groups = Array.from({ length: SAMPLE / candidate }, (_, at) =>
        sample.slice(at * candidate, (at + 1) * candidate)
      )
      const results = yield* Effect.forEach(groups, (group) => tryGroup(group, ask), { concurrency: "unbounded" })
      results.forEach(record)
      const agreed = results.reduce((sum, one) => sum + one.agreed, 0)
      sizes.tried.set(candidate, { compared: SAMPLE, agreed })
      sizes.size = largest(sizes.tried, pack)
    }
  })

const tryGroup = (group: ReadonlyArray<Sampled>, ask: Parameters<PackSize["trial"]>[0]) =>
  Effect.map(ask(group.map(({ text }) => text)), (answers): PackRepo.Packed => ({
    size: group.length,
    answered: answers.filter((answer) => answer !== undefined).length,
    compared: group.length,
    agreed: group.filter(({ key }, at) => key === answers[at]).length
  }))

/** Records the results of prompts, and uses a smaller size when answers agree too rarely or are missing. */
const recorder = ({ pack, record, step }: Options, sizes: Sizes): PackSize["record"] => {
  const minAgreement = pack.minAgreement ?? AGREEMENT
  let audits = { agreed: 0, compared: 0 }
  let failures = 0
  let said = false
  return (packed, isWhole) => {
    record(packed)
    if (!isWhole) return undefined
    failures = packed.answered === 0 ? failures + 1 : 0
    audits = { agreed: audits.agreed + packed.agreed, compared: audits.compared + packed.compared }
    const disagreed = audits.compared - audits.agreed
    const isWorse = Binomial.interval(disagreed, audits.compared)[0] > 1 - minAgreement
    const was = sizes.size
    if (said || was === undefined || was === 1 || (!isWorse && failures < 3)) return undefined
    const found = isWorse
      ? `only ${audits.agreed} of ${audits.compared} answers from prompts of ${was} agree with single ones`
      : `${failures} consecutive prompts had no usable answer`
    if (pack.size !== "auto") {
      said = true
      return `step ${step}: ${found}: use a smaller \`pack.size\`, or "auto"`
    }
    sizes.tried.set(was, { compared: SAMPLE, agreed: 0 })
    sizes.size = largest(sizes.tried, pack)
    audits = { agreed: 0, compared: 0 }
    failures = 0
    const then =
      sizes.size === undefined
        ? `smaller prompts are tried`
        : sizes.size === 1
          ? "texts are sent alone from now on"
          : `prompts have ${sizes.size} texts from now on`
    return `step ${step}: ${found}: ${then}`
  }
}
