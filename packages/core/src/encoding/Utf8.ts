/**
 * The length of texts in UTF-8.
 *
 * @internal
 */

const encoder = new TextEncoder()

/** The bytes of a text. An unpaired surrogate counts as the replacement character. */
export const byteLength = (text: string): number =>
  typeof Buffer === "undefined" ? encoder.encode(text).length : Buffer.byteLength(text)
