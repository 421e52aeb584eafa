/**
 * The length of texts in UTF-8.
 *
 * @internal
 */

const encoder = new TextEncoder()

/** Bytes of a text; half of a surrogate pair counts as the replacement character. */
export const byteLength = (text: string): number =>
  typeof Buffer === "undefined" ? encoder.encode(text).length : Buffer.byteLength(text)
