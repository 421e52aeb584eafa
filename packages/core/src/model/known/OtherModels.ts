/**
 * What is known of the models of Google, xAI and DeepSeek. Sources: `KnownModels`.
 *
 * @internal
 */
import type * as KnownModel from "./KnownModel.ts"

const geminiLogprobs: ReadonlyArray<KnownModel.Refusal> = [
  { settings: ["presencePenalty", "frequencyPenalty"], when: "always", except: 0 },
  { settings: ["topLogprobs"], when: "always" }
]

export const otherModels: ReadonlyArray<KnownModel.KnownModel> = [
  // Google
  { models: ["gemini-1.5", "gemini-1.5-flash", "gemini-1.5-pro"], isPlain: true, maxOutput: 8_192, audio: 32 },
  { models: ["gemini-2.0-flash", "gemini-2.0-flash-lite"], isPlain: true, maxOutput: 8_192, audio: 32 },
  {
    models: ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite"],
    refuses: geminiLogprobs,
    promptCache: { minimum: 2_048, step: 1 },
    tiers: ["flex"],
    maxOutput: 65_536,
    image: { rule: "crops", side: 384, size: 768, each: 258 },
    page: 258,
    audio: 32
  },
  {
    models: ["gemini-3-flash", "gemini-3.1-pro", "gemini-3.5-flash", "gemini-3.1-flash-lite"],
    refuses: geminiLogprobs,
    promptCache: { minimum: 4_096, step: 1 },
    tiers: ["flex"],
    image: { rule: "flat", tokens: 1_120 },
    page: 560,
    audio: 32
  },
  {
    models: ["gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash"],
    refuses: [...geminiLogprobs, { settings: ["temperature", "topP"], when: "always", except: 1 }],
    promptCache: { minimum: 4_096, step: 1 },
    tiers: ["flex"],
    image: { rule: "flat", tokens: 1_120 },
    page: 560,
    audio: 32
  },

  // Others
  {
    models: ["grok-4"],
    efforts: { values: [] },
    refuses: [{ settings: ["presencePenalty", "frequencyPenalty", "stop"], when: "always" }]
  },
  {
    models: ["deepseek-reasoner"],
    refuses: [{ settings: ["temperature", "topP", "presencePenalty", "frequencyPenalty"], when: "always" }],
    promptCache: { minimum: 64, step: 64 }
  },
  { models: ["deepseek-chat"], promptCache: { minimum: 64, step: 64 } }
]
