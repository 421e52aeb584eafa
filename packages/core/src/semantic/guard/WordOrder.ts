/**
 * Reads who does what to whom, and where to, from word order and prepositions.
 *
 * @internal
 */

const setOf = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/))

/** Function words with opposite meanings. */
const DIRECTIONS: ReadonlyMap<string, ReadonlySet<string>> = (() => {
  const pairs =
    "in out|on off|up down|before after|above below|over under|inside outside|into out|to from|with without|more less|more fewer|most least|first last|next previous|next last|much little|many few"
  const contraries = new Map<string, Set<string>>()
  for (const pair of pairs.split("|")) {
    const [a, b] = pair.split(" ") as [string, string]
    contraries.set(a, (contraries.get(a) ?? new Set()).add(b))
    contraries.set(b, (contraries.get(b) ?? new Set()).add(a))
  }
  return contraries
})()

/** The word after one of these belongs to it, wherever both are in the sentence. */
const PREPOSITIONS = setOf(
  `if while before after because since unless until although though to in on at for by with without from during as of about under over into
  onto through per via than`
)

/** Prepositions with the same meaning. */
const SAME = new Map([
  ["into", "to"],
  ["onto", "on"],
  ["upon", "on"],
  ["till", "until"]
])

/** After these, "to" introduces a verb. */
const INFINITIVE = setOf(
  "unable failed fails fail how want wants wanted like need needs have has had going able try trying possible way supposed allowed wish hoping hope plan know ways steps where when what"
)

/** Behind these a preposition has what belongs to it. */
const PRONOUNS = setOf(
  "who whom which what whose it them me you him her us this that these those there here i we they he she"
)

/** Words that may stand anywhere. */
const FREE = setOf("morning afternoon evening night overnight now soon later early late again")

/** Words whose `'s` is a verb. */
export const CONTRACTIONS = setOf("it what who where when why how that there here he she let this")

/** The content of a text by what it belongs to. */
export const bondsOf = (all: ReadonlyArray<string>, bases: ReadonlyMap<string, string>): ReadonlyArray<string> => {
  const bound: Array<string> = []
  let preposition = ""
  all.forEach((written, at) => {
    const plain = written.replace(/'.*$/, "")
    const word = SAME.get(plain) ?? plain
    if (PREPOSITIONS.has(word)) {
      const isInfinitive = word === "to" && INFINITIVE.has(all[at - 1] ?? "")
      preposition = isInfinitive ? "" : word
    } else if (PRONOUNS.has(word)) preposition = ""
    const base = bases.get(word)
    if (base === undefined) return
    if (written.endsWith("'s") && !CONTRACTIONS.has(word)) bound.push(`of ${base}`)
    else if (preposition !== "" && !FREE.has(base)) bound.push(`${preposition} ${base}`)
    preposition = ""
  })
  return bound
}

/** Whether a list equals another with one piece moved. */
const isOneMove = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean => {
  let from = 0
  while (from < a.length && a[from] === b[from]) from++
  let to = a.length
  while (to > from && a[to - 1] === b[to - 1]) to--
  const [x, y] = [a.slice(from, to), b.slice(from, to)]
  return x.some((_, at) => [...x.slice(at), ...x.slice(0, at)].every((word, index) => word === y[index]))
}

/** A text as far as its order goes. */
export interface Ordered {
  /** The base forms of the words that carry the meaning, in their order. */
  readonly content: ReadonlyArray<string>
  /** The words behind prepositions, each with its own. */
  readonly bonds: ReadonlyArray<string>
  readonly isPassive: boolean
}

/** The words of a text that have an opposite among the little ones. */
export const directionsIn = (words: ReadonlyArray<string>): ReadonlySet<string> =>
  new Set(words.filter((word) => DIRECTIONS.has(word)))

/** Whether one text has a direction, and the other its contrary. */
export const turnsRound = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  [...a].some(
    (word) => !b.has(word) && [...DIRECTIONS.get(word)!].some((contrary) => b.has(contrary) && !a.has(contrary))
  )

/** Whether two texts have the same words, and who does what to whom has changed. */
export const isReordered = (a: Ordered, b: Ordered): boolean => {
  if (a.content.toSorted().join(" ") !== b.content.toSorted().join(" ") || a.content.length < 2) return false
  if (a.isPassive !== b.isPassive) {
    // The one who does it stands first in one text, and last in the other.
    return a.content[0] === b.content[0]
  }
  const [x, y] = [a, b].map(({ content }) => content.filter((word) => !FREE.has(word)))
  return !(
    (x!.join(" ") === y!.join(" ") || isOneMove(x!, y!))
    && (a.bonds.every((bond) => b.bonds.includes(bond)) || b.bonds.every((bond) => a.bonds.includes(bond)))
  )
}
