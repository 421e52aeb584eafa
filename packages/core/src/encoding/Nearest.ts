/**
 * Suggests the name that was probably meant.
 *
 * @internal
 */

/** The edit distance of two words (Levenshtein, 1966). */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

/** The most characters of a word that are compared. */
const MOST = 80

/** The most similar name, if one is similar enough. */
export const of = (word: string, names: Iterable<string>): string | undefined => {
  const given = word.slice(0, MOST).toLowerCase()
  let best: { readonly name: string; readonly distance: number } | undefined
  for (const name of names) {
    const away = distance(given, name.slice(0, MOST).toLowerCase())
    if (away <= Math.max(1, Math.floor(name.length / 3)) && (best === undefined || away < best.distance)) {
      best = { name, distance: away }
    }
  }
  return best?.name
}

/** The end of a message: `: did you mean outputs?`, or nothing. */
export const hint = (word: string, names: Iterable<string>): string => {
  const name = of(word, names)
  return name === undefined ? "" : `: did you mean ${name}?`
}
