/** The columns that a text takes in a terminal: a Chinese character takes two, and a combining accent none. */
import type stringWidth from "string-width"
import { createRequire } from "node:module"

const load = createRequire(import.meta.url)

let measure: typeof stringWidth | undefined

/** What measures other texts takes a while to load, and most texts need it not. */
export const of = (text: string): number => {
  if (/^[ -~]*$/.test(text)) return text.length
  measure ??= (load("string-width") as { readonly default: typeof stringWidth }).default
  return measure(text)
}
