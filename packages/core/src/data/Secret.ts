/**
 * Keeps keys out of everything that leaves the process: errors, logs, events, caches and reports.
 *
 * Secrets are known by value: a provider registers the key that it was given, and `mask` replaces each of them, as it is
 * and URL-encoded, wherever it stands in a text. Whatever follows `Bearer` and looks like a key is masked too.
 *
 * @since 0.1.0
 */

const known = new Set<string>()

const MASK = "[secret]"

/** Makes a value known, so that `mask` finds it. Values of fewer than 8 characters would hide ordinary text: not kept. */
export const register = (value: string): void => {
  if (value.length < 8) return
  known.add(value)
  known.add(encodeURIComponent(value))
}

/** The text with every known secret, and whatever follows `Bearer`, replaced by `[secret]`. */
export const mask = (text: string): string => {
  let out = text
  for (const value of known) if (out.includes(value)) out = out.replaceAll(value, MASK)
  return out.replace(/\b(Bearer\s+)[\w.~+/=-]{8,}/gi, `$1${MASK}`).replace(/\bsk-[\w-]{16,}/g, MASK)
}
