/**
 * What is published about models, as data: what they refuse, and how they count. Checked on 2026-11-30.
 *
 * **Details** An entry is for the models whose names begin with one of its `models`, up to the end or a separator; the
 * longest beginning counts. A model without an entry has no known rule. Figures of public measurements that are above
 * those of a page are used in their place, so that bounds hold.
 *
 * Sources, accessed 2026-11-30:
 * - settings, tools: developers.openai.com/api/docs/guides/deployment-checklist and /guides/latest-model, the pages of the models,
 *   `openai` 7.59 (resources/*.d.ts); platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting, /effort, and the
 *   migration guides of Opus 5.5, Sonnet 5.5 and Haiku 5.5; ai.google.dev/gemini-api/docs (what is new in Gemini 3.6);
 *   api-docs.deepseek.com/guides/thinking_mode; docs.x.ai/docs/models
 * - prompt caches: developers.openai.com/api/docs/guides/prompt-caching,
 *   platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-limitations, ai.google.dev/gemini-api/docs/caching
 * - images and documents: developers.openai.com/api/docs/guides/images-vision (and community.openai.com/t/1377015 for
 *   multipliers), platform.claude.com/docs/en/build-with-claude/vision and /pdf-support,
 *   ai.google.dev/gemini-api/docs/media-resolution and /tokens, developers.openai.com/api/docs/guides/realtime-costs
 * - limits: the pages of the models, and platform.claude.com/docs/en/about-claude/models/overview
 * - flex: developers.openai.com/api/docs/guides/flex-processing, ai.google.dev/gemini-api/docs/flex-inference
 *
 * @internal
 */
import { anthropicModels } from "./AnthropicModels.ts"
import type * as KnownModel from "./KnownModel.ts"
import { openAiModels } from "./OpenAiModels.ts"
import { otherModels } from "./OtherModels.ts"

export const knownModels: ReadonlyArray<KnownModel.KnownModel> = [...openAiModels, ...anthropicModels, ...otherModels]
