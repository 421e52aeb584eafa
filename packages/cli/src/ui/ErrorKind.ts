/** What failures have in common: messages that differ only in numbers, names and quoted texts are of one kind. */

/** A message, with what varies as `…`. */
export const shapeOf = (message: string): string =>
  message
    .slice(0, 500)
    // An answer that is quoted holds quotes of its own.
    .replace(/["'`][{[].*$/s, "…")
    .replace(/"[^"]*(?:"|$)/g, "…")
    .replace(/'[^']*'|`[^`]*`/g, "…")
    // Names of requests and files: letters and digits mixed.
    .replace(/\b(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{12,}\b/gi, "…")
    .replace(/\b[0-9a-f]{8,}\b/gi, "…")
    .replace(/\d+(?:[.,]\d+)*/g, "…")
    .replace(/(?:…[\s,.:;-]*){2,}/g, "… ")
    .trim()

/** The kind of a failure: its error, and the shape of its message. */
export const of = (error: string, message: string): string => `${error}: ${shapeOf(message)}`
