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

export const anthropicModels: ReadonlyArray<KnownModel.KnownModel> = [
  {
    models: ["claude-3", "claude-3-haiku", "claude-3-5-haiku"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: marked(2_048),
    maxOutput: 8_192,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-3-5-sonnet", "claude-3-opus"],
    isPlain: true,
    efforts: { values: [] },
    promptCache: marked(1_024),
    maxOutput: 8_192,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-3-7-sonnet", "claude-sonnet-4", "claude-sonnet-4-0", "claude-4-sonnet"],
    efforts: { values: [] },
    promptCache: marked(1_024),
    maxOutput: 64_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-opus-4", "claude-opus-4-0", "claude-opus-4-1", "claude-4-opus"],
    efforts: { values: [] },
    refuses: [{ settings: ["topP"], when: "with temperature" }],
    promptCache: marked(1_024),
    maxOutput: 32_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-sonnet-4-5"],
    efforts: { values: [] },
    refuses: [{ settings: ["topP"], when: "with temperature" }],
    promptCache: marked(1_024),
    maxOutput: 64_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-haiku-4-5"],
    efforts: { values: [] },
    refuses: [{ settings: ["topP"], when: "with temperature" }],
    promptCache: marked(4_096),
    maxOutput: 64_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-opus-4-5"],
    efforts: { values: ["low", "medium", "high"] },
    promptCache: marked(4_096),
    maxOutput: 64_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-opus-4-6"],
    efforts: { values: ["low", "medium", "high", "max"] },
    promptCache: marked(4_096),
    maxOutput: 128_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-sonnet-4-6"],
    efforts: { values: ["low", "medium", "high", "max"] },
    // The page says 1,024, and measurements of users 2,048.
    promptCache: marked(2_048),
    maxOutput: 128_000,
    image: claudeImage,
    page: claudePage
  },
  {
    models: ["claude-opus-4-7"],
    efforts: { values: ["low", "medium", "high", "xhigh", "max"] },
    refuses: claudeSampling,
    promptCache: marked(2_048),
    maxOutput: 128_000,
    image: claudeLargeImage,
    page: claudeLargePage
  },
  {
    models: ["claude-opus-4-8"],
    efforts: { values: ["low", "medium", "high", "xhigh", "max"] },
    refuses: claudeSampling,
    // The page says 1,024, and LiteLLM's table 2,048.
    promptCache: marked(2_048),
    maxOutput: 128_000,
    image: claudeLargeImage,
    page: claudeLargePage
  },
  {
    models: ["claude-sonnet-5"],
    efforts: { values: ["low", "medium", "high", "xhigh", "max"] },
    refuses: claudeSampling,
    promptCache: marked(1_024),
    maxOutput: 128_000,
    image: claudeLargeImage,
    page: claudeLargePage
  },
  {
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
    efforts: { values: ["low", "medium", "high", "xhigh", "max"] },
    refuses: claudeSampling,
    promptCache: marked(512),
    maxOutput: 128_000,
    image: claudeLargeImage,
    page: claudeLargePage
  }
]
