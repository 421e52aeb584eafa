/**
 * The most output tokens that a model generates, by its provider's page: the bound on the cost of a call without an
 * output limit.
 *
 * **Details** From the model pages of platform.openai.com/docs/models, docs.anthropic.com/en/docs/about-claude/models
 * and ai.google.dev/gemini-api/docs/models, accessed 2026-11-28. For models not listed here the context window is the
 * bound.
 *
 * @internal
 */
import * as ModelTable from "../price/ModelTable.ts"

const limits: ModelTable.ModelTable<number> = [
  ["gpt-3.5-turbo", 4_096],
  ["gpt-4", 8_192],
  ["gpt-4-turbo", 4_096],
  ["gpt-4o", 16_384],
  ["gpt-4.1", 32_768],
  ["gpt-4.5", 16_384],
  ["gpt-5", 128_000],
  ["o1", 100_000],
  ["o3", 100_000],
  ["o4", 100_000],
  ["claude-3", 8_192],
  ["claude-3-7", 64_000],
  ["claude-haiku-4", 64_000],
  ["claude-sonnet-4", 64_000],
  ["claude-opus-4", 64_000],
  ["gemini-1.5", 8_192],
  ["gemini-2.0", 8_192],
  ["gemini-2.5", 65_536]
]

/** The limit of a model; `undefined` when none is known. */
export const most = (model: string): number | undefined => ModelTable.find(limits, model, "-.")
