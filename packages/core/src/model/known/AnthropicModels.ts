/**
 * What is known of Anthropic's models. Sources: `KnownModels`.
 *
 * @internal
 */
import type * as KnownModel from "./KnownModel.ts"

/** Claude 4.7 and later take no sampling but the default. */
const claudeSampling: ReadonlyArray<KnownModel.Refusal> = [
  { settings: ["temperature"], when: "always", except: 1 },
  { settings: ["topP"], when: "always" }
]

const marked = (minimum: number): KnownModel.PromptCache => ({ minimum, step: 1, isMarked: true })

/** Claude before 4.7, and since. */
const claudeImage: KnownModel.ImageRule = { rule: "cells", size: 28, side: 1_568, most: 1_568 }
const claudeLargeImage: KnownModel.ImageRule = { rule: "cells", size: 28, side: 2_576, most: 4_784 }

/** Text of 1,500 to 3,000 tokens, and an image of the page. */
const claudePage = 3_000 + 1_568
const claudeLargePage = 3_000 + 4_784

type Facts = Omit<KnownModel.KnownModel, "models">

const NO_EFFORT = { values: [] }

/** Up to 4.6. */
const standard: Facts = { efforts: NO_EFFORT, maxOutput: 64_000, image: claudeImage, page: claudePage }

const claude3: Facts = { ...standard, isPlain: true, maxOutput: 8_192 }

/** Since 4.7. */
const newer: Facts = {
  efforts: { values: ["low", "medium", "high", "xhigh", "max"] },
  refuses: claudeSampling,
  maxOutput: 128_000,
  image: claudeLargeImage,
  page: claudeLargePage
}

/** One of temperature and topP. */
const either: ReadonlyArray<KnownModel.Refusal> = [{ settings: ["topP"], when: "with temperature" }]

const TO_MAX = { values: ["low", "medium", "high", "max"] }

export const anthropicModels: ReadonlyArray<KnownModel.KnownModel> = [
  { ...claude3, models: ["claude-3", "claude-3-haiku", "claude-3-5-haiku"], promptCache: marked(2_048) },
  { ...claude3, models: ["claude-3-5-sonnet", "claude-3-opus"], promptCache: marked(1_024) },
  {
    ...standard,
    models: ["claude-3-7-sonnet", "claude-sonnet-4", "claude-sonnet-4-0", "claude-4-sonnet"],
    promptCache: marked(1_024)
  },
  {
    ...standard,
    models: ["claude-opus-4", "claude-opus-4-0", "claude-opus-4-1", "claude-4-opus"],
    refuses: either,
    promptCache: marked(1_024),
    maxOutput: 32_000
  },
  { ...standard, models: ["claude-sonnet-4-5"], refuses: either, promptCache: marked(1_024) },
  { ...standard, models: ["claude-haiku-4-5"], refuses: either, promptCache: marked(4_096) },
  {
    ...standard,
    models: ["claude-opus-4-5"],
    efforts: { values: ["low", "medium", "high"] },
    promptCache: marked(4_096)
  },
  { ...standard, models: ["claude-opus-4-6"], efforts: TO_MAX, promptCache: marked(4_096), maxOutput: 128_000 },
  // The page says 1,024, and measurements of users 2,048.
  { ...standard, models: ["claude-sonnet-4-6"], efforts: TO_MAX, promptCache: marked(2_048), maxOutput: 128_000 },
  // For Opus 4.8 the page says 1,024, and LiteLLM's table 2,048.
  { ...newer, models: ["claude-opus-4-7", "claude-opus-4-8"], promptCache: marked(2_048) },
  { ...newer, models: ["claude-sonnet-5"], promptCache: marked(1_024) },
  {
    ...newer,
    models: [
      "claude-opus-5",
      "claude-opus-5-5",
      "claude-sonnet-5-5",
      "claude-haiku-5-5",
      "claude-fable-5",
      "claude-fable-5-1",
      "claude-mythos-5",
      "claude-mythos-5-1"
    ],
    promptCache: marked(512)
  }
]
