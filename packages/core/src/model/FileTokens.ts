/**
 * The most input tokens that a file can have, by the provider's published rule at its highest: what a budget reserves
 * for it.
 *
 * **Details** Images: OpenAI's tiles (a base and eight tiles of 512 pixels, the most that an image scaled into 2048 by
 * 768 has) or patches (1,536, times the model's factor), and Anthropic's width times height over 750 at the largest
 * size that it does not scale down (platform.openai.com/docs/guides/images-vision and
 * docs.anthropic.com/en/docs/build-with-claude/vision, accessed 2026-11-28). No rule bounds documents or audio: for
 * those, and for models not listed here, the context window is the bound.
 *
 * @internal
 */
import * as ModelTable from "../price/ModelTable.ts"

const images: ModelTable.ModelTable<number> = [
  ["gpt-4o-mini", 2_833 + 8 * 5_667],
  ["gpt-4o", 85 + 8 * 170],
  ["gpt-4.5", 85 + 8 * 170],
  ["gpt-4.1-mini", Math.ceil(1_536 * 1.62)],
  ["gpt-4.1-nano", Math.ceil(1_536 * 2.46)],
  ["gpt-4.1", 85 + 8 * 170],
  ["gpt-5-mini", Math.ceil(1_536 * 1.62)],
  ["gpt-5-nano", Math.ceil(1_536 * 2.46)],
  ["o4-mini", Math.ceil(1_536 * 1.72)],
  ["o1", 75 + 8 * 150],
  ["o3", 75 + 8 * 150],
  ["claude-3", 1_600]
]

/**
 * The bound for a media type; `undefined` when no rule is known. A newer generation (`gpt-5.4-mini`) has its own rules.
 */
export const most = (model: string, mediaType: string): number | undefined =>
  mediaType.startsWith("image/") ? ModelTable.find(images, model, "-") : undefined
