/**
 * Checks what must agree between two texts before an answer to one may be reused for the other, however similar an
 * embedder finds them: numbers with units, dates, names, quotations, code, negations, opposites, questions, times and
 * word order.
 *
 * **Details** Embedders hardly see these: "5 miles" and "6 miles" are closer together than most paraphrases. Opposites
 * come from WordNet, in addition to rules for negation, numbers, quantities, tenses and questions. Where two texts
 * differ in only a word or two, those must mean the same: "flights to rome" and "flights to paris" are told apart
 * without a list of cities. The guard reads English. In other languages it compares only numbers, quotations and code,
 * and reports the rest as a difference ("language"): answers are then reused only where those of the same step have
 * proved that it works. It is not a parser. When in doubt it refuses, which costs a call and never a wrong answer.
 *
 * **Example** (a different number)
 *
 * ```ts
 * import * as EquivalenceGuard from "@pipe/core/internal/EquivalenceGuard"
 *
 * EquivalenceGuard.difference("How far are 5 miles?", "How far are 6 miles?") // => "numbers"
 * EquivalenceGuard.difference("Where is my card?", "Where's my card") // => undefined
 * EquivalenceGuard.difference("direct flights to rome", "direct flights to paris") // => "words"
 * ```
 *
 * @internal
 */
import * as Grammar from "./Grammar.ts"
import * as Quantities from "./Quantities.ts"
import * as WordOrder from "./WordOrder.ts"
import * as Words from "./Words.ts"

/** The compared properties of a text. */
export interface Signature {
  /** Numbers and dates with their units, sorted: `["250 usd", "jan"]`. */
  readonly numbers: string
  /** Words with a capital in mid-sentence, and words all in capitals. */
  readonly names: ReadonlySet<string>
  /** The initials of the names: `who` for "World Health Organization". */
  readonly initials: string
  readonly quotations: string
  /** Code in backticks, addresses, paths, identifiers. */
  readonly code: string
  /** The number of negations; whether it is odd decides. */
  readonly negations: number
  /** What the text asks for, and how, when and how far it holds. */
  readonly classes: Grammar.Classes
  /** The base forms of the content words in order, and the words as written. */
  readonly content: ReadonlyArray<string>
  readonly written: ReadonlyArray<string>
  /** Function words with an opposite: in, before, up. */
  readonly directions: ReadonlySet<string>
  /** The words after prepositions, each with its preposition. */
  readonly bonds: ReadonlyArray<string>
  readonly isPassive: boolean
  readonly isQuestion: boolean
  /** Whether a verb is in the past tense, as far as its form shows. */
  readonly hasPast: boolean
  /** All words, for the overlap of two texts. */
  readonly words: ReadonlySet<string>
  /** Longer than `MAX_LENGTH` characters: never compared. */
  readonly isTooLong: boolean
  readonly isEnglish: boolean
  /** The words in order, and sorted, without words of politeness. */
  readonly text: string
  readonly sorted: string
}

const QUOTATION = /"([^"]+)"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]|‘([^’]+)’|(?<![\p{L}\p{N}])'([^']+)'(?![\p{L}\p{N}])/gu
const CODE =
  /`[^`]+`|https?:\/\/\S+|[\w.+-]+@[\w-]+\.[\w.]+|(?<![\w])[~.]?\/[\w./-]+|\b[\w-]+\.(?:js|ts|py|json|csv|txt|md|html|css|sql|sh|yml|yaml|exe|pdf)\b|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*\b|\b[a-z]+-[a-z0-9]\b|\b[a-zA-Z]+-?\d+(?:-\w+)*\b|\b\w+\(\)|[<>=!]=|[{}[\]<>|\\^~=+*]+/g
const WORD = /\p{L}+(?:'\p{L}+)*|\p{N}+/gu

/** The most characters of a compared text. A longer text is a document, which no embedder reads whole. */
const MAX_LENGTH = 4_000

const tooLong: Signature = {
  numbers: "",
  names: new Set(),
  initials: "",
  quotations: "",
  code: "",
  negations: 0,
  classes: Grammar.none,
  content: [],
  written: [],
  directions: new Set(),
  bonds: [],
  isPassive: false,
  isQuestion: false,
  hasPast: false,
  words: new Set(),
  isTooLong: true,
  isEnglish: false,
  text: "",
  sorted: ""
}

const setOf = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/))

/** Words of politeness, and fillers. */
const POLITE = setOf(
  `please kindly hi hello hey dear thanks thank thx pls plz just really actually basically simply so well ok okay oh um currently
  team there sir madam guys question quick hola por favor bitte hallo bonjour merci gracias`
)

/** Function words: two texts may differ in these and mean the same. */
const LITTLE = setOf(
  `a an the this that these those i me my mine you your we us our it its he him his she her they them their one s t ll re ve d m be do have get
  of at by for with about to from in on off and or but if as than so because would could should can will may might must shall let want need like
  know help tell wonder wondering possible way able try go going make take use there here who whom whose which what when where why how very
  too also still yet already some any all each every both either much many more most few less least only
  not no never none without too then now again while during until till after before since over under up down out into onto through per via
  im ive id youre whats thats theres lets`
)

interface Found {
  readonly word: string
  readonly at: number
}

/** Names, recognised by capitals, in lower case. A text in which most words or all letters are capitals has none. */
const namesIn = (text: string, found: ReadonlyArray<Found>): Array<string> => {
  const letters = text.replace(/[^\p{L}]/gu, "")
  const isLoud = letters.length > 0 && letters === letters.toUpperCase() && letters !== letters.toLowerCase()
  const capitals = found.filter(({ word }) => /^\p{Lu}/u.test(word)).length
  if (isLoud || (found.length > 3 && capitals > found.length * 0.7)) return []
  const names: Array<string> = []
  found.forEach(({ at, word }, index) => {
    if (!/^\p{Lu}/u.test(word)) return
    const lower = word.toLowerCase()
    if (lower === "i" || lower.startsWith("i'")) return
    const next = found[index + 1]?.word
    const isAcronym = word.length > 1 && word === word.toUpperCase()
    const before = text.slice(0, at).trimEnd()
    const startsSentence = before === "" || /[.!?:;"“(\n¿¡-]$/.test(before)
    const bare = word.replace(/'s$/i, "")
    // The first word of a sentence is a name only with other evidence.
    const isName =
      !startsSentence
      || (/'s$/i.test(word) && !WordOrder.CONTRACTIONS.has(bare.toLowerCase()))
      || (next !== undefined && /^\p{Lu}\p{Ll}/u.test(next) && !Words.isGrammar(lower))
    const isLoudWord = isAcronym && Words.isKnown(lower) && word.length > 3
    if ((isAcronym && !isLoudWord) || (isName && !isAcronym)) names.push(bare.toLowerCase())
  })
  return names
}

/** The share of English words from which a text counts as English. */
const ENGLISH = 0.6

/** Reads the compared properties of a text. */
export const signature = (text: string): Signature => {
  if (text.length > MAX_LENGTH) return tooLong
  const normal = text
    .normalize("NFKC")
    .replace(/[’ʼ]/g, "'")
    .replace(/\b(non|un|re|pre|anti|dis)-(?=\p{L})/giu, "$1")
  const quotations = Array.from(normal.matchAll(QUOTATION), (match) =>
    match
      .slice(1)
      .find((part) => part !== undefined)!
      .trim()
  )
  const code = normal.match(CODE) ?? []
  const { found: numbers, rest } = Quantities.of(normal)
  const found = Array.from(rest.matchAll(WORD), (match) => ({ word: match[0], at: match.index }))
  const lower = normal.toLowerCase()
  const all = found.map(({ word }) => word.toLowerCase())
  const english = all.filter((word) => Words.isKnown(word.replace(/'.*$/, ""))).length
  // One or two unknown words do not make another language.
  const isEnglish =
    !/[^\p{Script=Latin}\p{Script=Common}\p{Script=Inherited}]/u.test(normal)
    && all.length - english <= Math.max(1, all.length * (1 - ENGLISH))
  const kept = all.filter((word) => !POLITE.has(word))
  const names = namesIn(rest, found)
  const carrying = kept
    .flatMap((word) => (word.includes("'") ? [word.replace(/'.*$/, "")] : [word]))
    .filter((word) => !LITTLE.has(word) && !Grammar.NEGATIONS.has(word) && !LITTLE.has(Words.base(word)))
  const bases = new Map(carrying.map((word) => [word, Words.base(word)]))
  const negations = Grammar.negationsIn(lower)
  return {
    numbers: numbers.join(" "),
    names: new Set(names),
    initials: names.map((name) => name[0]).join(""),
    quotations: quotations.join("\n"),
    code: code.join("\n"),
    negations,
    classes: Grammar.classesOf(lower, negations),
    content: carrying.map((word) => bases.get(word)!),
    written: carrying,
    directions: WordOrder.directionsIn(kept),
    bonds: WordOrder.bondsOf(kept, bases),
    isPassive: /\b(?:is|are|was|were|be|been|being|get|gets|got)\b.*\bby\b/.test(lower),
    isQuestion: normal.includes("?"),
    hasPast: carrying.some((word) => word.endsWith("ed") && bases.get(word) !== word),
    words: new Set(all),
    isTooLong: false,
    isEnglish,
    text: kept.join(" "),
    sorted: kept.toSorted().join(" ")
  }
}

/** The words of each text without a counterpart in the other, and those with one. */
interface Alignment {
  readonly onlyA: ReadonlyArray<string>
  readonly onlyB: ReadonlyArray<string>
  readonly common: number
}

const align = (a: Signature, b: Signature): Alignment => {
  const left = b.content.map((base, at) => ({ base, written: b.written[at]! }))
  const without = (
    words: typeof left,
    isSame: (word: (typeof left)[number], other: (typeof left)[number]) => boolean
  ) =>
    words.filter((word) => {
      const at = left.findIndex((other) => isSame(word, other))
      if (at >= 0) left.splice(at, 1)
      return at < 0
    })
  const all = a.content.map((base, at) => ({ base, written: a.written[at]! }))
  const others = without(
    without(all, (word, other) => word.base === other.base),
    (word, other) => Words.areAlike(word.base, other.base) || Words.isTypo(word.written, other.written)
  )
  const [onlyA, onlyB] = [others.map(({ base }) => base), left.map(({ base }) => base)]
  return {
    onlyA: withoutInitials(onlyA, onlyB),
    onlyB: withoutInitials(onlyB, onlyA),
    common: all.length - others.length
  }
}

/** Treats `uk` and "united kingdom" as the same. */
const withoutInitials = (words: ReadonlyArray<string>, others: ReadonlyArray<string>): ReadonlyArray<string> => {
  const letters = (list: ReadonlyArray<string>) => list.map((word) => word[0]).join("")
  return words.length === 1 && words[0]!.length > 1 && words[0] === letters(others)
    ? []
    : others.length === 1 && others[0]!.length > 1 && others[0] === letters(words)
      ? []
      : words
}

const isOpposite = ({ onlyA, onlyB }: Alignment): boolean =>
  onlyA.some((word) => onlyB.some((other) => Words.areOpposite(word, other)))

/**
 * The number of words in which two texts may differ and still be compared word by word. Beyond it they are phrased
 * differently.
 */
const FEW = 2

/** Tests whether two texts are the same except for a word or two with different meanings. */
const isOneOff = ({ common, onlyA, onlyB }: Alignment, overlap: number): boolean =>
  onlyA.length > 0
  && onlyB.length > 0
  && ((onlyA.length <= FEW
    && onlyB.length <= FEW
    && (common >= 2 * Math.max(onlyA.length, onlyB.length) || overlap >= CLOSE))
    // Two words that are not English are two names.
    || (onlyA.some(isForeign) && onlyB.some(isForeign)))

/** Tests whether one word replaces another and nothing else differs. */
const isSwapped = (a: Signature, b: Signature, { onlyA, onlyB }: Alignment): boolean => {
  if (onlyA.length !== 1 || onlyB.length !== 1) return false
  const [x, y] = [a.text.split(" "), b.text.split(" ")]
  return x.length === y.length && x.filter((word, at) => word !== y[at]).length === 1
}

const isForeign = (word: string): boolean => !Words.isKnown(word)

/** Tests whether a name of one text occurs in the other, itself or by its initials. */
const hasNames = (a: Signature, b: Signature): boolean =>
  [...a.names].every(
    (name) =>
      b.names.has(name)
      || b.words.has(name)
      || b.words.has(`${name}'s`)
      || b.content.some((word) => Words.areAlike(name, word))
      || (name.length > 1 && b.initials.includes(name))
      || a.initials.includes([...b.names].find((other) => !a.words.has(other) && a.initials === other) ?? "\n")
  )

/** The share of words that occur in both texts. */
export const overlap = (a: Signature, b: Signature): number => {
  let common = 0
  for (const word of a.words) if (b.words.has(word)) common++
  const all = a.words.size + b.words.size - common
  return all === 0 ? 1 : common / all
}

/** Tests whether a quotation of one text is missing in the other, quoted or not. */
const quotesDiffer = (a: Signature, b: Signature): boolean =>
  a.quotations !== ""
  && a.quotations !== b.quotations
  && (b.quotations !== ""
    || a.quotations
      .toLowerCase()
      .match(WORD)
      ?.every((word) => b.words.has(word)) !== true)

/** The word overlap from which two texts count as the same except for a word or two. */
const CLOSE = 0.6

/** What prevents the answer to one text from being reused for the other; `undefined` when nothing does. */
export const differs = (a: Signature, b: Signature): string | undefined => {
  if (a.isTooLong || b.isTooLong) return "length"
  if (a.numbers !== b.numbers) return "numbers"
  if (quotesDiffer(a, b) || quotesDiffer(b, a)) return "quotations"
  if (a.code !== b.code) return "code"
  if (!a.isEnglish || !b.isEnglish) return a.text === b.text ? undefined : "language"
  if (!hasNames(a, b) || !hasNames(b, a)) return "names"
  const aligned = align(a, b)
  // "Not large" means small: two reversals cancel out.
  const turns = (a.negations + b.negations) % 2 === 1
  if (turns !== isOpposite(aligned)) return turns ? "negations" : "opposites"
  const isClose = overlap(a, b) >= CLOSE
  const isSame = aligned.onlyA.length + aligned.onlyB.length === 0
  if ((isClose || isSame) && WordOrder.turnsRound(a.directions, b.directions)) return "opposites"
  if (isSame && a.text !== b.text && WordOrder.isReordered(a, b)) return "word order"
  const said = Grammar.difference(a, b, isClose, isSame)
  if (said !== undefined) return said
  return !turns && (isOneOff(aligned, overlap(a, b)) || isSwapped(a, b, aligned)) ? "words" : undefined
}

/**
 * The features of an earlier text for `ErrorBound`, besides its similarity. Texts in a language that the guard does not
 * read have a separate bound (`isEnglish`).
 */
export const compare = (a: Signature, b: Signature) => {
  const difference = differs(a, b)
  return {
    overlap: overlap(a, b),
    isUsable: difference === undefined || (difference === "language" && a.isEnglish === b.isEnglish)
  }
}

/** The difference between two texts. */
export const difference = (a: string, b: string): string | undefined => differs(signature(a), signature(b))
