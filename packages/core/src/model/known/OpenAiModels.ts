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

export const openAiModels: ReadonlyArray<KnownModel.KnownModel> = [
  { models: ["gpt-3.5-turbo"], isPlain: true, efforts: { values: [] }, maxOutput: 4_096 },
  { models: ["gpt-4"], isPlain: true, efforts: { values: [] }, maxOutput: 8_192 },
  { models: ["gpt-4-turbo"], isPlain: true, efforts: { values: [] }, maxOutput: 4_096 },
  {
    models: ["gpt-4o"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: cacheBefore56,
    maxOutput: 16_384,
    image: tiles(85, 170)
  },
  {
    models: ["gpt-4o-mini"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: cacheBefore56,
    maxOutput: 16_384,
    image: tiles(2_833, 5_667)
  },
  { models: ["gpt-4.5"], isPlain: true, promptCache: cacheBefore56, maxOutput: 16_384, image: tiles(85, 170) },
  {
    models: ["gpt-4.1"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: cacheBefore56,
    maxOutput: 32_768,
    image: tiles(85, 170)
  },
  {
    models: ["gpt-4.1-mini"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: cacheBefore56,
    maxOutput: 32_768,
    image: patches(1_536, 1.62, 2_048)
  },
  {
    models: ["gpt-4.1-nano"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: cacheBefore56,
    maxOutput: 32_768,
    image: patches(1_536, 2.46, 2_048)
  },
  { models: ["gpt-audio", "gpt-4o-audio"], isPlain: true, maxOutput: 16_384, audio: 10 },
  {
    models: ["o1"],
    efforts: { values: ["low", "medium", "high"], default: "medium" },
    refuses: oSeries,
    promptCache: cacheBefore56,
    maxOutput: 100_000,
    image: tiles(75, 150)
  },
  {
    models: ["o3"],
    efforts: { values: ["low", "medium", "high"], default: "medium" },
    refuses: [...oSeries, { settings: ["stop"], when: "always" }],
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 100_000,
    image: tiles(75, 150)
  },
  {
    models: ["o3-mini"],
    efforts: { values: ["low", "medium", "high"], default: "medium" },
    refuses: oSeries,
    promptCache: cacheBefore56,
    tiers: [],
    maxOutput: 100_000
  },
  {
    models: ["o4-mini"],
    efforts: { values: ["low", "medium", "high"], default: "medium" },
    refuses: [...oSeries, { settings: ["stop"], when: "always" }],
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 100_000,
    image: patches(1_536, 1.72, 2_048)
  },
  {
    models: ["gpt-5"],
    efforts: { values: ["minimal", "low", "medium", "high"], default: "medium" },
    refuses: openaiAlwaysThinking,
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: tiles(70, 140)
  },
  { models: ["gpt-5-chat"], promptCache: cacheBefore56, tiers: [], maxOutput: 128_000, image: tiles(70, 140) },
  {
    models: ["gpt-5-mini"],
    efforts: { values: ["minimal", "low", "medium", "high"], default: "medium" },
    refuses: openaiAlwaysThinking,
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(1_536, 1.62, 2_048)
  },
  {
    models: ["gpt-5-nano"],
    efforts: { values: ["minimal", "low", "medium", "high"], default: "medium" },
    refuses: openaiAlwaysThinking,
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(1_536, 2.46, 2_048)
  },
  {
    models: ["gpt-5-pro", "gpt-5-codex", "gpt-5.1-codex", "gpt-5.2-codex", "gpt-5.3-codex", "gpt-5.2-pro"],
    refuses: openaiAlwaysThinking,
    tools: "responses",
    promptCache: cacheBefore56,
    tiers: [],
    maxOutput: 128_000
  },
  {
    models: ["gpt-5.1"],
    efforts: { values: ["none", "low", "medium", "high"], default: "none" },
    refuses: openaiThinking,
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000
  },
  {
    models: ["gpt-5.2"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh"], default: "none" },
    refuses: openaiThinking,
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(1_536, 1.2, 2_048)
  },
  {
    models: ["gpt-5.4"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh"], default: "none" },
    refuses: openaiThinking,
    tools: "responses while thinking",
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(2_500, 1.2, 2_048)
  },
  {
    models: ["gpt-5.4-mini"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh"], default: "none" },
    refuses: openaiThinking,
    tools: "responses while thinking",
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(1_536, 1.62, 2_048)
  },
  {
    models: ["gpt-5.4-nano"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh"], default: "none" },
    refuses: openaiThinking,
    tools: "responses while thinking",
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(1_536, 2.46, 2_048)
  },
  {
    models: ["gpt-5.5"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh"], default: "medium" },
    refuses: openaiThinking,
    tools: "responses while thinking",
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000,
    image: patches(10_000, 1.2, 6_000)
  },
  {
    models: ["gpt-5.4-pro", "gpt-5.5-pro"],
    efforts: { values: ["medium", "high", "xhigh"] },
    refuses: openaiAlwaysThinking,
    tools: "responses",
    promptCache: cacheBefore56,
    tiers: ["flex"],
    maxOutput: 128_000
  },
  {
    models: ["gpt-5.6", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh", "max"], default: "medium", responses: ["max"] },
    refuses: openaiThinking,
    tools: "responses while thinking",
    promptCache: cacheSince56,
    tiers: ["flex"],
    maxOutput: 128_000,
    // No size is too large, so a picture at an address has no bound.
    image: patches(undefined, 1.2)
  },
  {
    models: ["gpt-6-sol"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh", "max"], default: "medium", responses: ["max"] },
    refuses: openaiThinking,
    tools: "responses while thinking",
    promptCache: cacheSince56,
    tiers: ["flex"],
    maxOutput: 128_000
  },
  {
    models: ["gpt-6-luna"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh", "max"], default: "medium", responses: ["max"] },
    refuses: openaiThinking,
    tools: "responses while thinking",
    decisions: true,
    promptCache: cacheSince56,
    tiers: ["flex"],
    maxOutput: 128_000
  },
  {
    models: ["gpt-6.1-terra"],
    efforts: { values: ["none", "low", "medium", "high", "xhigh", "max"], default: "medium", responses: ["max"] },
    refuses: openaiThinking,
    tools: "responses",
    promptCache: cacheSince56,
    tiers: ["flex"],
    maxOutput: 128_000
  },
  {
    models: ["gpt-6-astra", "gpt-6.1-sol"],
    efforts: { values: ["low", "medium", "high", "xhigh", "max"], default: "medium", responses: ["max"] },
    refuses: openaiAlwaysThinking,
    tools: "responses",
    promptCache: cacheSince56,
    tiers: ["flex"],
    maxOutput: 128_000
  },
  {
    models: ["gpt-6.2-sol", "gpt-6.2-astra"],
    efforts: { values: ["low", "medium", "high", "xhigh", "max"], responses: ["max"] },
    refuses: openaiAlwaysThinking,
    tools: "responses",
    promptCache: cacheSince56,
    tiers: [],
    maxOutput: 128_000
  }
]
