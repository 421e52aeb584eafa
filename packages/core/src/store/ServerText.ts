/**
 * Text as a server accepts it: without NUL and without half of a surrogate pair.
 *
 * @internal
 */
export const make = (text: string): string =>
  (text.includes("\u0000") ? text.replaceAll("\u0000", "\ufffd") : text).toWellFormed()
