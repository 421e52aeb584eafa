/** The strategies whose savings are recorded, with their display names and their columns in the ledger. */
import * as LedgerColumns from "@pipe/core/internal/LedgerColumns"

const names = [
  ["cache", "exact cache"],
  ["semanticCache", "semantic cache"],
  ["pack", "packed prompts"],
  ["router", "model routing"],
  ["promptCache", "provider's prompt cache"],
  ["serviceTier", "batch, flex, decisions"],
  ["asides", "calls of layers' own"]
] as const

export const all = names.map(([key, name]) => ({ key, name, column: LedgerColumns.savedColumn(key) }))
