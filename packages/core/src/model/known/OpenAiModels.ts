/**
 * What is known of OpenAI's models. Sources: `KnownModels`.
 *
 * @internal
 */
import type * as KnownModel from "./KnownModel.ts"

/** Models that think: sampling is refused while they do, and penalties always. */
const openaiThinking: ReadonlyArray<KnownModel.Refusal> = [
  { settings: ["temperature", "topP"], when: "thinking", except: 1 },
  { settings: ["topLogprobs"], when: "thinking" },
  { settings: ["presencePenalty", "frequencyPenalty"], when: "always", except: 0 }
]

/** Those that have no effort of none. */
const openaiAlwaysThinking: ReadonlyArray<KnownModel.Refusal> = [
  { settings: ["temperature", "topP"], when: "always", except: 1 },
  { settings: ["topLogprobs"], when: "always" },
  { settings: ["presencePenalty", "frequencyPenalty"], when: "always", except: 0 }
]

const oSeries: ReadonlyArray<KnownModel.Refusal> = [
  ...openaiAlwaysThinking,
  { settings: ["parallelToolCalls"], when: "always" }
]

const oSeriesWithoutStop: ReadonlyArray<KnownModel.Refusal> = [...oSeries, { settings: ["stop"], when: "always" }]

const cacheSince56: KnownModel.PromptCache = { minimum: 1_024, step: 1, isWritten: true }

const cacheBefore56: KnownModel.PromptCache = { minimum: 1_024, step: 128 }

const tiles = (base: number, tile: number): KnownModel.ImageRule => ({ rule: "tiles", base, tile })

const patches = (most: number | undefined, times: number, side?: number): KnownModel.ImageRule => ({
  rule: "patches",
  size: 32,
  times,
  ...(most === undefined ? undefined : { most }),
  ...(side === undefined ? undefined : { side })
})

type Facts = Omit<KnownModel.KnownModel, "models">

const NO_EFFORT = { values: [] }

/** Models that write nothing but their answer. */
const plain: Facts = { isPlain: true, efforts: NO_EFFORT, promptCache: cacheBefore56, tiers: [] }

/** Models of the o series, which always think. */
const o: Facts = {
  efforts: { values: ["low", "medium", "high"], default: "medium" },
  refuses: oSeries,
  promptCache: cacheBefore56,
  tiers: [],
  maxOutput: 100_000
}

const gpt5: Facts = {
  efforts: { values: ["minimal", "low", "medium", "high"], default: "medium" },
  refuses: openaiAlwaysThinking,
  promptCache: cacheBefore56,
  tiers: ["flex"],
  maxOutput: 128_000
}

const WITH_NONE = ["none", "low", "medium", "high", "xhigh"]

const gpt52: Facts = { ...gpt5, efforts: { values: WITH_NONE, default: "none" }, refuses: openaiThinking }

const gpt54: Facts = { ...gpt52, tools: "responses while thinking" }

const gpt56: Facts = {
  ...gpt54,
  efforts: { values: [...WITH_NONE, "max"], default: "medium", responses: ["max"] },
  promptCache: cacheSince56
}

/** Models since GPT-6 that always think. */
const gpt6: Facts = {
  ...gpt56,
  efforts: { values: ["low", "medium", "high", "xhigh", "max"], default: "medium", responses: ["max"] },
  refuses: openaiAlwaysThinking,
  tools: "responses"
}

export const openAiModels: ReadonlyArray<KnownModel.KnownModel> = [
  { models: ["gpt-3.5-turbo", "gpt-4-turbo"], isPlain: true, efforts: NO_EFFORT, maxOutput: 4_096 },
  { models: ["gpt-4"], isPlain: true, efforts: NO_EFFORT, maxOutput: 8_192 },
  { ...plain, models: ["gpt-4o", "gpt-4.5"], maxOutput: 16_384, image: tiles(85, 170) },
  { ...plain, models: ["gpt-4o-mini"], maxOutput: 16_384, image: tiles(2_833, 5_667) },
  { ...plain, models: ["gpt-4.1"], maxOutput: 32_768, image: tiles(85, 170) },
  { ...plain, models: ["gpt-4.1-mini"], maxOutput: 32_768, image: patches(1_536, 1.62, 2_048) },
  { ...plain, models: ["gpt-4.1-nano"], maxOutput: 32_768, image: patches(1_536, 2.46, 2_048) },
  { models: ["gpt-audio", "gpt-4o-audio"], isPlain: true, maxOutput: 16_384, audio: 10 },
  { ...o, models: ["o1"], image: tiles(75, 150) },
  { ...o, models: ["o1-pro"], api: "responses", image: tiles(75, 150) },
  { ...o, models: ["o3-mini"] },
  { ...o, models: ["o3"], refuses: oSeriesWithoutStop, tiers: ["flex"], image: tiles(75, 150) },
  { ...o, models: ["o4-mini"], refuses: oSeriesWithoutStop, tiers: ["flex"], image: patches(1_536, 1.72, 2_048) },
  {
    ...o,
    models: ["o3-pro", "o3-deep-research", "o4-mini-deep-research"],
    refuses: oSeriesWithoutStop,
    api: "responses",
    image: tiles(75, 150)
  },
  { ...gpt5, models: ["gpt-5"], image: tiles(70, 140) },
  { ...gpt5, models: ["gpt-5-mini"], image: patches(1_536, 1.62, 2_048) },
  { ...gpt5, models: ["gpt-5-nano"], image: patches(1_536, 2.46, 2_048) },
  { models: ["gpt-5-chat"], promptCache: cacheBefore56, tiers: [], maxOutput: 128_000, image: tiles(70, 140) },
  {
    models: ["gpt-5-pro", "gpt-5-codex", "gpt-5.1-codex", "gpt-5.2-codex", "gpt-5.3-codex", "gpt-5.2-pro"],
    refuses: openaiAlwaysThinking,
    api: "responses",
    promptCache: cacheBefore56,
    tiers: [],
    maxOutput: 128_000
  },
  { ...gpt52, models: ["gpt-5.1"], efforts: { values: ["none", "low", "medium", "high"], default: "none" } },
  { ...gpt52, models: ["gpt-5.2"], image: patches(1_536, 1.2, 2_048) },
  { ...gpt54, models: ["gpt-5.4"], image: patches(2_500, 1.2, 2_048) },
  { ...gpt54, models: ["gpt-5.4-mini"], image: patches(1_536, 1.62, 2_048) },
  { ...gpt54, models: ["gpt-5.4-nano"], image: patches(1_536, 2.46, 2_048) },
  {
    ...gpt54,
    models: ["gpt-5.5"],
    efforts: { values: WITH_NONE, default: "medium" },
    image: patches(10_000, 1.2, 6_000)
  },
  {
    ...gpt5,
    models: ["gpt-5.4-pro", "gpt-5.5-pro"],
    efforts: { values: ["medium", "high", "xhigh"] },
    api: "responses"
  },
  // No size is too large for them, so a picture at an address has no bound.
  {
    ...gpt56,
    models: ["gpt-5.6", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna"],
    image: patches(undefined, 1.2)
  },
  { ...gpt56, models: ["gpt-6-sol"] },
  { ...gpt56, models: ["gpt-6-luna"], decisions: true },
  { ...gpt56, models: ["gpt-6.1-terra"], tools: "responses" },
  { ...gpt6, models: ["gpt-6-astra", "gpt-6.1-sol"] },
  // Their default effort is not published.
  {
    ...gpt6,
    models: ["gpt-6.2-sol", "gpt-6.2-astra"],
    efforts: { values: ["low", "medium", "high", "xhigh", "max"], responses: ["max"] },
    tiers: []
  }
]
