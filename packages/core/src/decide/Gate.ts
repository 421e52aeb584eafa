/**
 * What must agree between two texts before an answer to one may stand for an answer to the other, however alike an
 * embedder finds them: numbers with their units, dates, names, quotations, code, negations, opposites, questions, times and the
 * order of words.
 *
 * **Details** Embedders hardly see these: "5 miles" and "6 miles" lie closer together than most paraphrases do. Opposites come from
 * WordNet, beside rules for negation, numbers, quantities, tenses and questions. Where two texts differ in a word or two alone, those
 * have to mean the same: "flights to rome" and "flights to paris" are told apart without a list of towns. The gate reads English. Of
 * another language it compares numbers, quotations and code alone, and calls the rest a difference ("language"): there answers are reused
 * only where those of the same step have shown by themselves that it can be done. It is no parser, and refuses when it is in doubt,
 * which costs one question and never a wrong answer.
 *
 * **Example** (a number that differs)
 *
 * ```ts
 * import { Gate } from "@pipe/core"
 *
 * Gate.difference("How far are 5 miles?", "How far are 6 miles?") // => "numbers"
 * Gate.difference("Where is my card?", "Where's my card") // => undefined
 * Gate.difference("direct flights to rome", "direct flights to paris") // => "words"
 * ```
 *
 * @since 0.1.0
 */
import * as Quantities from "./Quantities.ts"
import * as Words from "./Words.ts"

/** What is compared of a text. */
export interface Signature {
  /** Numbers and dates, each with its unit, sorted: `["250 usd", "jan"]`. */
  readonly numbers: string
  /** Words with a capital that no sentence asks for, and words all in capitals. */
  readonly names: ReadonlySet<string>
  /** The names as letters: `who` of "World Health Organization". */
  readonly initials: string
  readonly quotations: string
  /** Code in backticks, addresses, paths, identifiers. */
  readonly code: string
  /** How often the text says no: whether it does so an odd number of times decides. */
  readonly negations: number
  /** What the text asks for, and how, when and how far it holds. */
  readonly classes: Classes
  /** The base forms of the words that carry the meaning, in their order, and as they are written. */
  readonly content: ReadonlyArray<string>
  readonly written: ReadonlyArray<string>
  /** Little words that have an opposite: in, before, up. */
  readonly directions: ReadonlySet<string>
  /** The words behind prepositions, each with its own. */
  readonly bonds: ReadonlyArray<string>
  readonly isPassive: boolean
  readonly isQuestion: boolean
  /** Whether a verb stands in the past, as far as its form shows. */
  readonly hasPast: boolean
  /** All words, for the share that two texts have in common. */
  readonly words: ReadonlySet<string>
  /** More than `MAX_LENGTH` characters: not compared, and never alike. */
  readonly isTooLong: boolean
  readonly isEnglish: boolean
  /** The words in their order, and sorted; those that only make a text polite are left out. */
  readonly text: string
  readonly sorted: string
}

/** Which of a few meanings a text has by its little words; "" is none. */
interface Classes {
  readonly question: string
  readonly modality: string
  readonly amount: string
  readonly time: string
  readonly frequency: string
}

const QUOTATION = /"([^"]+)"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]|‘([^’]+)’|(?<![\p{L}\p{N}])'([^']+)'(?![\p{L}\p{N}])/gu
const CODE =
  /`[^`]+`|https?:\/\/\S+|[\w.+-]+@[\w-]+\.[\w.]+|(?<![\w])[~.]?\/[\w./-]+|\b[\w-]+\.(?:js|ts|py|json|csv|txt|md|html|css|sql|sh|yml|yaml|exe|pdf)\b|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*\b|\b[a-z]+-[a-z0-9]\b|\b[a-zA-Z]+-?\d+(?:-\w+)*\b|\b\w+\(\)|[<>=!]=|[{}[\]<>|\\^~=+*]+/g
const WORD = /\p{L}+(?:'\p{L}+)*|\p{N}+/gu

/** Characters of a text that is compared: what is longer is a document, of which no embedder sees the whole. */
const MAX_LENGTH = 8_000

const noClasses: Classes = { question: "", modality: "", amount: "", time: "", frequency: "" }

const tooLong: Signature = {
  numbers: "",
  names: new Set(),
  initials: "",
  quotations: "",
  code: "",
  negations: 0,
  classes: noClasses,
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

/** Words by which a text says no; beside them what ends in n't, or stands for it without the apostrophe. */
const NEGATIONS = setOf(
  `not no never none nobody nothing nowhere neither nor cannot without unable lack lacks lacking lacked hardly barely scarcely seldom rarely
  deny denies denied denying refuse refuses refused refusing fail fails failed failing avoid avoids avoided avoiding cant dont wont isnt wasnt arent werent doesnt didnt hasnt
  havent hadnt couldnt shouldnt wouldnt aint unless except`
)

/** Several words that say no. */
const NEGATIVE_PHRASES =
  /\b(?:anything but|far from|instead of|rather than|no longer|on no account|by no means|(?:neglect|omit|decline|forg[eo]t|cease)\w* to|stop(?:s|ped|ping)? \w+ing)\b/g

/** "no." is a number, and these say yes. */
const NOT_NEGATIVE = /\b(?:no\.|not only|why not|or not|no problem|no worries)/g

/** Words that are polite, or fill a text. */
const POLITE = setOf(
  `please kindly hi hello hey dear thanks thank thx pls plz just really actually basically simply so well ok okay oh um currently
  team there sir madam guys question quick hola por favor bitte hallo bonjour merci gracias`
)

/** Little words: of these a text may have others and mean the same. */
const LITTLE = setOf(
  `a an the this that these those i me my mine you your we us our it its he him his she her they them their one s t ll re ve d m be do have get
  of at by for with about to from in on off and or but if as than so because would could should can will may might must shall let want need like
  know help tell wonder wondering possible way able try go going make take use there here who whom whose which what when where why how very
  too also still yet already some any all each every both either much many more most few less least only
  not no never none without too then now again while during until till after before since over under up down out into onto through per via
  im ive id youre whats thats theres lets`
)

const QUESTIONS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bhow (?:many|much)\b/, "amount"],
  [/\bhow (?:often|frequently)\b/, "frequency"],
  [/\bhow (?:long|soon|quickly|fast|late|early)\b|\bwhat time\b|\bwhen\b|\bwhat (?:day|date)\b/, "time"],
  [
    /\bhow (?!do|does|did|can|could|to|is|are|was|were|will|would|should|come|i|we|you|about|the|my|an?\b)\w+\b/,
    "measure"
  ],
  [/\bwhere\b|\bwhat (?:place|location)\b|\bin which (?:place|city|country)\b/, "place"],
  [/\bwhy\b|\bhow come\b|\bwhat(?:'s| is) the reason\b/, "reason"],
  [/\bwho(?:m|se)?\b/, "person"],
  [/\bhow\b/, "manner"],
  [/\bwh(?:at|ich)\b/, "thing"]
]

/** Of the last word that says when, since "when I ..." is no question. */
const questionOf = (text: string): string => {
  if (/\bsince when\b/.test(text)) return "time"
  const asked = text.replace(
    /(?<=\w.*)\b(?:when|where|who|which|what|how) (?:i|you|we|he|she|it|they|the|my|a)\b/g,
    " "
  )
  for (const [pattern, question] of QUESTIONS) if (pattern.test(asked)) return question
  return ""
}

const MODALITIES: ReadonlyArray<readonly [RegExp, string]> = [
  [
    /\b(?:must|(?:have|has|had|need|needs) to(?! know| find out| ask| say)|shall|required to|obliged to|mandatory|compulsory)\b/,
    "must"
  ],
  [/\b(?:might|may be|perhaps|maybe|possibly)\b/, "might"],
  [/\b(?:should|ought to|supposed to|recommended)\b/, "should"],
  [/\b(?:can|could|may|able to|allowed to|permitted to|possible to|cannot|can't|cant|optional)\b/, "can"]
]

const AMOUNTS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:at least|no less than|no fewer than|or more|minimum of)\b/, "least"],
  [/\b(?:at most|up to|no more than|or less|or fewer|maximum of)\b/, "most"],
  [/\b(?:more than|over|above|exceed(?:s|ing)?|greater than|older than|longer than)\b(?= \d)|\bmore than\b/, "more"],
  [/\b(?:less than|fewer than|under|below|younger than|shorter than)\b(?= \d)|\b(?:less|fewer) than\b/, "less"],
  [/\b(?:exactly|precisely) (?=\d|one|two|three|four|five|six|seven|eight|nine|ten)/, "exactly"],
  [/\b(?:almost|nearly|about|around|approximately|approx\.?|roughly)(?= \d)/, "about"],
  [/\b(?:only|solely|exclusively|nobody but|no one but)\b/, "only"],
  [/\b(?:all|every|everyone|everybody|everything|each|any|anyone|anybody|whole|entire)\b/, "all"],
  [/\bboth\b/, "both"],
  [/\b(?:either|one of)\b/, "either"],
  [/\b(?:most|majority)\b/, "majority"],
  [/\b(?:some|several|a (?:few|little)|certain|partly|partially)\b/, "some"],
  [/\b(?:few|hardly any)\b|\bthere (?:is|was) little\b/, "few"],
  [/\balso\b/, "also"]
]

const TIMES: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:will|'ll|won't|wont|going to|about to|gonna|shall)\b/, "future"],
  [/\bused to\b/, "once"],
  [
    /\b(?:has|have|'ve|hasn't|haven't) (?:(?:\w+ ){0,3}been|(?:\w+ )?(?:\w+ed|\w+en|gone|done|sent|paid|lost|left|made|got|run|come|begun|kept|sold|bought|won))\b/,
    "perfect"
  ],
  [/\b(?:is|are|am|'s|'re) (?:\w+ )?\w+ing\b/, "now"],
  [/\b(?:was|were|did|had|wasn't|weren't|didn't|hadn't|wasnt|werent|didnt)\b/, "past"],
  [/\b(?:is|are|does|do|am|isn't|aren't|doesn't|don't|isnt|arent|doesnt|dont|'s|'re|'m)\b/, "present"]
]

const FREQUENCIES: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:always|every time|constantly|continuously)\b/, "always"],
  [/\b(?:usually|often|frequently|mostly|generally)\b/, "often"],
  [/\b(?:sometimes|occasionally|now and then|at times)\b/, "sometimes"],
  [/\b(?:seldom|rarely|hardly ever|barely ever)\b/, "seldom"],
  [/\bnever\b/, "never"]
]

const classOf = (text: string, classes: ReadonlyArray<readonly [RegExp, string]>): string => {
  for (const [pattern, name] of classes) if (pattern.test(text)) return name
  return ""
}

/** Little words of which one says the contrary of the other. */
const DIRECTIONS: ReadonlyMap<string, string> = new Map(
  "in out|on off|up down|before after|above below|over under|inside outside|into out|to from|with without|more less|more fewer|most least|first last|next previous|next last"
    .split("|")
    .flatMap((pair) => {
      const [a, b] = pair.split(" ") as [string, string]
      return [[a, b] as const, [b, a] as const]
    })
)

/** The word behind one of these belongs to it, wherever they stand in the sentence. */
const PREPOSITIONS = setOf(
  `if while before after because since unless until although though to in on at for by with without from during as of about under over into
  onto through per via than`
)

/** Behind these, "to" begins a verb. */
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
const CONTRACTIONS = setOf("it what who where when why how that there here he she let this")

/** The content of a text by what it belongs to. */
const bondsOf = (all: ReadonlyArray<string>, bases: ReadonlyMap<string, string>): ReadonlyArray<string> => {
  const bound: Array<string> = []
  let preposition = ""
  all.forEach((written, at) => {
    const word = written.replace(/'.*$/, "")
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

/** Whether a list is another of which one piece stands at another place. */
const isOneMove = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean => {
  let from = 0
  while (from < a.length && a[from] === b[from]) from++
  let to = a.length
  while (to > from && a[to - 1] === b[to - 1]) to--
  const [x, y] = [a.slice(from, to), b.slice(from, to)]
  return x.some((_, at) => [...x.slice(at), ...x.slice(0, at)].every((word, index) => word === y[index]))
}

/** Who may not do a thing without another must do that one. */
const modalityOf = (text: string, negations: number): string => {
  const modality = classOf(text, MODALITIES)
  return modality === "can" && negations > 1 ? "must" : modality
}

interface Found {
  readonly word: string
  readonly at: number
}

/** Names by their capitals, in small letters. A text in which most words have one, or every letter is one, has none of them. */
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
    // A word that begins a sentence is a name only where something else says so.
    const isName =
      !startsSentence
      || (/'s$/i.test(word) && !CONTRACTIONS.has(bare.toLowerCase()))
      || (next !== undefined && /^\p{Lu}\p{Ll}/u.test(next) && !Words.isGrammar(lower))
    const isLoudWord = isAcronym && Words.isKnown(lower) && word.length > 3
    if ((isAcronym && !isLoudWord) || (isName && !isAcronym)) names.push(bare.toLowerCase())
  })
  return names
}

/** Share of a text's words that are English from which on it counts as English. */
const ENGLISH = 0.6

/** Reads what is compared of a text. */
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
  const isEnglish =
    !/[^\p{Script=Latin}\p{Script=Common}\p{Script=Inherited}]/u.test(normal) && english >= all.length * ENGLISH
  const kept = all.filter((word) => !POLITE.has(word))
  const names = namesIn(rest, found)
  const carrying = kept
    .flatMap((word) => (word.includes("'") ? [word.replace(/'.*$/, "")] : [word]))
    .filter((word) => !LITTLE.has(word) && !NEGATIONS.has(word) && !LITTLE.has(Words.base(word)))
  const bases = new Map(carrying.map((word) => [word, Words.base(word)]))
  const cleaned = lower.replaceAll(NOT_NEGATIVE, " ")
  const negations =
    (cleaned.replaceAll(NEGATIVE_PHRASES, " ").match(/\p{L}+(?:'\p{L}+)*/gu) ?? []).filter(
      (word) => NEGATIONS.has(word) || word.endsWith("n't")
    ).length + (cleaned.match(NEGATIVE_PHRASES)?.length ?? 0)
  return {
    numbers: numbers.join(" "),
    names: new Set(names),
    initials: names.map((name) => name[0]).join(""),
    quotations: quotations.join("\n"),
    code: code.join("\n"),
    negations,
    classes: {
      question: questionOf(lower),
      modality: modalityOf(lower, negations),
      amount: classOf(lower, AMOUNTS),
      time: classOf(lower, TIMES),
      frequency: classOf(lower, FREQUENCIES)
    },
    content: carrying.map((word) => bases.get(word)!),
    written: carrying,
    directions: new Set(kept.filter((word) => DIRECTIONS.has(word))),
    bonds: bondsOf(kept, bases),
    isPassive: /\b(?:is|are|was|were|be|been|being|get|gets|got)\b.*\bby\b/.test(lower),
    isQuestion: normal.includes("?"),
    hasPast: carrying.some((word) => /ed$/.test(word) && bases.get(word) !== word),
    words: new Set(all),
    isTooLong: false,
    isEnglish,
    text: kept.join(" "),
    sorted: kept.toSorted().join(" ")
  }
}

/** Words of each text that have none of their kind in the other, and those that have. */
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

/** Without `uk` beside "united kingdom", and the other way round. */
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

/** Words in which two texts may differ beside what they share, and be about the same: beyond that they are put in other words. */
const FEW = 2

/** Whether two texts are the same but for a word or two, which do not mean the same. */
const isOneOff = ({ common, onlyA, onlyB }: Alignment, overlap: number): boolean =>
  onlyA.length > 0
  && onlyB.length > 0
  && ((onlyA.length <= FEW
    && onlyB.length <= FEW
    && (common >= 2 * Math.max(onlyA.length, onlyB.length) || overlap >= CLOSE))
    // Two words that are not English are two names.
    || (onlyA.some(isForeign) && onlyB.some(isForeign)))

const isForeign = (word: string): boolean => !Words.isKnown(word)

/** Whether a name of one text is in the other: itself, or letters of it. */
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

/** Whether one text has a direction, and the other its contrary. */
const turnsRound = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  [...a].some((word) => {
    const contrary = DIRECTIONS.get(word)!
    return !b.has(word) && b.has(contrary) && !a.has(contrary)
  })

/** Whether two texts have the same words, and who does what to whom has changed. */
const isReordered = (a: Signature, b: Signature, { onlyA, onlyB }: Alignment): boolean => {
  if (onlyA.length + onlyB.length > 0 || a.text === b.text) return false
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

/** Classes of which both texts must have the same. */
const conflict = (a: string, b: string, isClose: boolean): boolean => a !== b && (isClose || (a !== "" && b !== ""))

/** Share of the words of two texts that are in both. */
export const overlap = (a: Signature, b: Signature): number => {
  let common = 0
  for (const word of a.words) if (b.words.has(word)) common++
  const all = a.words.size + b.words.size - common
  return all === 0 ? 1 : common / all
}

/** Whether a quotation of one text is not in the other, quoted or not. */
const quotesDiffer = (a: Signature, b: Signature): boolean =>
  a.quotations !== ""
  && a.quotations !== b.quotations
  && (b.quotations !== ""
    || a.quotations
      .toLowerCase()
      .match(WORD)
      ?.every((word) => b.words.has(word)) !== true)

/** Share of words in common from which on two texts are one, but for a word or two. */
const CLOSE = 0.6

/** What keeps the answer to one text from standing for the other, `undefined` if nothing does. */
export const differs = (a: Signature, b: Signature): string | undefined => {
  if (a.isTooLong || b.isTooLong) return "length"
  if (a.numbers !== b.numbers) return "numbers"
  if (quotesDiffer(a, b) || quotesDiffer(b, a)) return "quotations"
  if (a.code !== b.code) return "code"
  if (!a.isEnglish || !b.isEnglish) return a.text === b.text ? undefined : "language"
  if (!hasNames(a, b) || !hasNames(b, a)) return "names"
  const aligned = align(a, b)
  // What is not large is small: two turns are none.
  const turns = (a.negations + b.negations) % 2 === 1
  if (turns !== isOpposite(aligned)) return turns ? "negations" : "opposites"
  const isClose = overlap(a, b) >= CLOSE
  if (isClose && turnsRound(a.directions, b.directions)) return "opposites"
  if (isReordered(a, b, aligned)) return "word order"
  const isSame = aligned.onlyA.length + aligned.onlyB.length === 0
  if (questionsDiffer(a.classes.question, b.classes.question, isClose, isSame)) return "questions"
  if (conflict(a.classes.amount, b.classes.amount, isClose)) return "quantities"
  if (conflict(a.classes.frequency, b.classes.frequency, isClose)) return "quantities"
  if (modalityDiffers(a.classes.modality, b.classes.modality, isClose)) return "modality"
  if (isSurerThan(a, b) || isSurerThan(b, a)) return "modality"
  if (timesDiffer(a, b, isClose, isSame)) return "tenses"
  return !turns && isOneOff(aligned, overlap(a, b)) ? "words" : undefined
}

/** "What do I do" and "how do I" ask for the same, and so do "how much is" and "what is the price of". */
const questionsDiffer = (a: string, b: string, isClose: boolean, isSame: boolean): boolean => {
  const plain = (question: string) => question === "" || question === "manner" || question === "thing"
  if (a === b || (plain(a) && plain(b))) return false
  if (isClose) return true
  if (isSame) return a !== "" && b !== "" && !(a === "amount" && b === "thing") && !(a === "thing" && b === "amount")
  return !plain(a) && !plain(b)
}

const modalityDiffers = (a: string, b: string, isClose: boolean): boolean =>
  a !== b
  && ((a !== "" && b !== "" && (isClose || (a === "must") !== (b === "must")))
    || (isClose && (a === "might" || b === "might")))

/** Whether one text says that a thing will be, and the other that it may: of a question both are polite. */
const isSurerThan = (a: Signature, b: Signature): boolean =>
  a.classes.time === "future"
  && a.classes.modality === ""
  && b.classes.modality === "can"
  && b.classes.time !== "future"
  && a.classes.question + b.classes.question === ""
  && !a.isQuestion
  && !b.isQuestion
  && overlap(a, b) >= CLOSE

const timesDiffer = (a: Signature, b: Signature, isClose: boolean, isSame: boolean): boolean => {
  const [x, y] = [a.classes.time, b.classes.time]
  if (x === y) return false
  if (isClose && ((x !== "" && y !== "") || x === "once" || y === "once")) return true
  const isPast = ({ classes, hasPast }: Signature) => PAST.has(classes.time) || (classes.time === "" && hasPast)
  const isNot = (time: string) => time === "future" || time === "now"
  return isSame && ((isNot(x) && isPast(b)) || (isNot(y) && isPast(a)))
}

const PAST = setOf("past perfect once")

/**
 * What `ErrorBound` wants to know of an earlier text beside its similarity. Texts of a language that the gate does not read have a bound
 * of their own (`isEnglish`).
 */
export const compare = (a: Signature, b: Signature) => {
  const difference = differs(a, b)
  return {
    overlap: overlap(a, b),
    isUsable: difference === undefined || (difference === "language" && a.isEnglish === b.isEnglish)
  }
}

/** What differs between two texts. */
export const difference = (a: string, b: string): string | undefined => differs(signature(a), signature(b))
