/**
 * Everything that leaves for the page passes here. Keys are masked. A browser shows text as text, so nothing is cut out
 * of it: what controls a terminal or the direction of text is shown as `\ufffd`.
 */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Secret from "@pipe/core/internal/Secret"
import * as Controls from "./Controls.ts"

/** Colours of a terminal, which are not worth a character. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const COLORS = /\u001b\[[\d;]*m/g

export const safe = (text: string): string => Controls.visible(Secret.mask(text).replace(COLORS, ""))

/** A key that is a number leaves the numbers alone. */
const cleaned = (_: string, value: unknown): unknown =>
  typeof value === "string" ? safe(value) : typeof value === "bigint" ? String(value) : value

export const json = (value: unknown): string => JSON.stringify(value, cleaned)

/** The same for text that a person edits or exports: it stays as it is. */
export const exact = (value: unknown): string => SafeText.json(Secret.json(value))
