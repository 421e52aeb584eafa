/**
 * What must agree between two texts before an answer to one may stand for an answer to the other, however alike an
 * embedder finds them: numbers with their units, dates, names, quotations, code, negations, opposites and the order of words.
 *
 * **Details** Embedders hardly see these: "5 miles" and "6 miles" lie closer together than most paraphrases do. The gate reads
 * English and whatever it shares with other languages (digits, capitals, quotation marks); it is no parser, and refuses when
 * it is in doubt, which costs one question and never a wrong answer.
 *
 * **Example** (a number that differs)
 *
 * ```ts
 * import { Gate } from "@pipe/core"
 *
 * Gate.difference("How far are 5 miles?", "How far are 6 miles?") // => "numbers"
 * Gate.difference("Where is my card?", "Where's my card") // => undefined
 * ```
 *
 * @since 0.1.0
 */

/** What is compared of a text. */
export interface Signature {
  /** Numbers and dates in their order, each with its unit: `["250usd", "january"]`. */
  readonly numbers: string
  /** Words with a capital that no sentence asks for, and words all in capitals, in their order. */
  readonly names: string
  readonly quotations: string
  /** Code in backticks, addresses, paths, identifiers. */
  readonly code: string
  readonly isNegative: boolean
  readonly words: ReadonlySet<string>
  /** More than `MAX_LENGTH` characters: not compared, and never alike. */
  readonly isTooLong: boolean
  /** The words in their order, and sorted. */
  readonly text: string
  readonly sorted: string
}

const NUMBER_WORDS: { readonly [word: string]: string } = {
  zero: "0",
  one: "1",
  two: "2",
  three: "3",
  four: "4",
  five: "5",
  six: "6",
  seven: "7",
  eight: "8",
  nine: "9",
  ten: "10",
  eleven: "11",
  twelve: "12",
  thirteen: "13",
  fourteen: "14",
  fifteen: "15",
  sixteen: "16",
  seventeen: "17",
  eighteen: "18",
  nineteen: "19",
  twenty: "20",
  thirty: "30",
  forty: "40",
  fifty: "50",
  sixty: "60",
  seventy: "70",
  eighty: "80",
  ninety: "90",
  hundred: "100",
  thousand: "1000",
  million: "1000000",
  billion: "1000000000",
  dozen: "12",
  half: "1/2",
  twice: "2x",
  double: "2x",
  triple: "3x",
  first: "1st",
  third: "3rd",
  fourth: "4th",
  fifth: "5th"
}

/** "one" is mostly no number ("the other one"); it counts where a number could not be anything else. */
const PRONOUN = "one"

const DATES = new Set(
  `january february march april june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec
  monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday tonight`.split(/\s+/)
)

const UNITS = new Set(
  `% percent usd eur gbp jpy chf cny inr aud cad dollar euro pound yen mile km kilometer kilometre meter metre m cm mm inch foot feet ft yard
  kg g mg gram kilogram lb lbs oz ounce ton tonne l ml liter litre gallon second sec s minute min hour hr h day week month year decade century
  kb mb gb tb byte bit c f celsius fahrenheit degree kwh kw w watt volt v hz khz mhz ghz px am pm`.split(/\s+/)
)

const NEGATIONS = new Set(
  "not no never none nobody nothing nowhere neither nor cannot without unable lack lacks lacking except hardly".split(
    " "
  )
)

/** Pairs of words that turn a sentence round. */
const OPPOSITES: ReadonlyArray<readonly [string, string]> =
  `good bad|great terrible|best worst|better worse|increase decrease|raise lower
rise fall|open close|open closed|enable disable|enabled disabled|allow block|allow forbid|allow deny|start stop|start end|begin end|buy sell|up down|before after
more less|most least|more fewer|max min|maximum minimum|hot cold|warm cold|win lose|won lost|accept reject|accept decline|on off|activate deactivate|add remove
add delete|create delete|send receive|sent received|sending receiving|deposit withdraw|first last|true false|yes no|male female|man woman|men women|left right
north south|east west|high low|higher lower|highest lowest|fast slow|faster slower|cheap expensive|cheaper dearer|safe dangerous|safe unsafe|legal illegal
possible impossible|freeze unfreeze|lock unlock|block unblock|import export|upload download|encode decode|encrypt decrypt|install uninstall|subscribe unsubscribe
love hate|like dislike|happy sad|positive negative|pros cons|advantage disadvantage|advantages disadvantages|strength weakness|strengths weaknesses
pass fail|passed failed|succeed fail|success failure|always never|all none|everyone nobody|inside outside|above below|over under|early late|earlier later|old new
oldest newest|old young|big small|large small|bigger smaller|largest smallest|long short|longer shorter|longest shortest|light dark|light heavy|rich poor|strong weak
push pull|arrive leave|arrival departure|borrow lend|debit credit|income expense|profit loss|gain lose|include exclude|including excluding|public private
internal external|input output|ascending descending|vertical horizontal|mother father|husband wife|boy girl|son daughter|brother sister|king queen|hire fire|join leave
connect disconnect|agree disagree|approve reject|approved rejected|attach detach|expand collapse|show hide|sunrise sunset|morning evening|summer winter|day night
import export|north south|wet dry|hard soft|hard easy|easy difficult|full empty|alive dead|asleep awake|guilty innocent|supply demand|cause effect|question answer
buyer seller|teacher student|employer employee|increase reduce|gain loss|to from`
    .split(/[|\n]/)
    .map((pair) => pair.trim().split(" ") as unknown as readonly [string, string])

const opposites = new Map<string, Set<string>>()
for (const [a, b] of OPPOSITES) {
  for (const [from, to] of [
    [a, b],
    [b, a]
  ] as const)
    opposites.set(from, (opposites.get(from) ?? new Set()).add(to))
}

/** Prefixes that deny the word behind them. */
const DENYING = ["un", "in", "im", "ir", "il", "non", "dis", "de", "mis"]

const QUOTATION = /"([^"]+)"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]|‘([^’]+)’|(?<![\p{L}\p{N}])'([^']+)'(?![\p{L}\p{N}])/gu
const CODE =
  /`[^`]+`|https?:\/\/\S+|[\w.+-]+@[\w-]+\.[\w.]+|(?<![\w])[~.]?\/[\w./-]+|\b[\w-]+\.(?:js|ts|py|json|csv|txt|md|html|css|sql|sh|yml|yaml|exe|pdf)\b|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*\b|\b\w+\(\)|[<>=!]=|[{}[\]<>|\\^~=+*]+/g
const WORD = /[$€£¥]?\d+(?:[.,:/-]\d+)*(?:st|nd|rd|th)?|[%$€£¥]|\p{L}+(?:['’]\p{L}+)*|\p{N}+/gu

/** Units that are written in several ways. */
const ALIASES: { readonly [unit: string]: string } = {
  $: "usd",
  "€": "eur",
  "£": "gbp",
  "¥": "jpy",
  "%": "percent",
  dollar: "usd",
  euro: "eur",
  pound: "gbp",
  yen: "jpy",
  kilometer: "km",
  kilometre: "km",
  meter: "m",
  metre: "m",
  feet: "ft",
  foot: "ft",
  gram: "g",
  kilogram: "kg",
  lbs: "lb",
  ounce: "oz",
  liter: "l",
  litre: "l",
  second: "s",
  sec: "s",
  minute: "min",
  hour: "h",
  hr: "h"
}

const singular = (word: string): string =>
  word.length > 3 && word.endsWith("s") && !word.endsWith("ss") ? word.slice(0, -1) : word

const unitOf = (word: string | undefined): string => {
  if (word === undefined) return ""
  const lower = word.toLowerCase()
  const unit = [lower, singular(lower)].find((form) => UNITS.has(form) || form in ALIASES)
  return unit === undefined ? "" : (ALIASES[singular(unit)] ?? singular(unit))
}

/** A number without what only its writing differs in: `1,000.50` is `1000.5`. */
const plain = (digits: string): string =>
  /^\d{1,3}(?:,\d{3})+(?:\.\d+)?$/.test(digits)
    ? plain(digits.replaceAll(",", ""))
    : /^\d+\.\d*0+$/.test(digits)
      ? digits.replace(/\.?0+$/, "")
      : digits

/** Characters of a text that is compared: what is longer is a document, of which no embedder sees the whole. */
const MAX_LENGTH = 8_000

const tooLong: Signature = {
  numbers: "",
  names: "",
  quotations: "",
  code: "",
  isNegative: false,
  words: new Set(),
  isTooLong: true,
  text: "",
  sorted: ""
}

/** Reads what is compared of a text. */
export const signature = (text: string): Signature => {
  if (text.length > MAX_LENGTH) return tooLong
  const normal = text.normalize("NFKC").replace(/[’ʼ]/g, "'")
  const quotations = Array.from(normal.matchAll(QUOTATION), (found) =>
    found
      .slice(1)
      .find((part) => part !== undefined)!
      .trim()
  )
  const code = normal.match(CODE) ?? []
  const numbers: Array<string> = []
  const names: Array<string> = []
  const words: Array<string> = []
  let isNegative = false
  const found = Array.from(normal.matchAll(WORD), (match) => ({ word: match[0], at: match.index }))
  found.forEach(({ at, word }, i) => {
    const lower = word.toLowerCase()
    const next = found[i + 1]?.word
    const digits = /^([$€£¥]?)(\d.*?)((?:st|nd|rd|th)?)$/.exec(word)
    const spelled = NUMBER_WORDS[lower]
    if (digits !== null) {
      const unit = ALIASES[digits[1]!] ?? unitOf(next)
      numbers.push(`${plain(digits[2]!)}${digits[3]}${unit}`)
    } else if (spelled !== undefined && (lower !== PRONOUN || unitOf(next) !== "")) {
      numbers.push(spelled + unitOf(next))
    } else if (DATES.has(lower)) {
      numbers.push(lower.length > 3 && lower.endsWith("day") ? lower : lower.slice(0, 3))
    }
    if (NEGATIONS.has(lower) || lower.endsWith("n't")) isNegative = true
    words.push(lower)
    const isCapital = /^\p{Lu}/u.test(word)
    if (!isCapital || DATES.has(lower)) return
    const isAcronym = word.length > 1 && word === word.toUpperCase()
    const before = normal.slice(0, at).trimEnd()
    const startsSentence = before === "" || /[.!?:;"“(\n-]$/.test(before)
    const bare = word.replace(/'s$/i, "")
    // A word that begins a sentence is a name only where something else says so.
    const isName =
      !startsSentence
      || (/'s$/i.test(word) && !CONTRACTIONS.has(bare.toLowerCase()))
      || (next !== undefined && /^\p{Lu}\p{Ll}/u.test(next))
    if (isAcronym || (isName && lower !== "i" && !lower.startsWith("i'"))) names.push(bare.toLowerCase())
  })
  return {
    numbers: numbers.join(" "),
    names: names.join(" "),
    quotations: quotations.join("\n"),
    code: code.join("\n"),
    isNegative,
    words: new Set(words),
    isTooLong: false,
    text: words.join(" "),
    sorted: words.toSorted().join(" ")
  }
}

/** Words whose `'s` is a verb. */
const CONTRACTIONS = new Set("it what who where when why how that there here he she let this".split(" "))

const isOpposite = (a: Signature, b: Signature): boolean => {
  for (const word of a.words) {
    if (b.words.has(word)) continue
    const against = opposites.get(word)
    if (against !== undefined) {
      for (const other of against) if (b.words.has(other) && !a.words.has(other)) return true
    }
    for (const prefix of DENYING) {
      if (word.length > 3 && b.words.has(prefix + word) && !a.words.has(prefix + word)) return true
    }
  }
  return false
}

/** Share of the words of two texts that are in both. */
export const overlap = (a: Signature, b: Signature): number => {
  let common = 0
  for (const word of a.words) if (b.words.has(word)) common++
  const all = a.words.size + b.words.size - common
  return all === 0 ? 1 : common / all
}

/** What keeps the answer to one text from standing for the other, `undefined` if nothing does. */
export const differs = (a: Signature, b: Signature): string | undefined =>
  a.isTooLong || b.isTooLong
    ? "length"
    : a.numbers !== b.numbers
      ? "numbers"
      : a.names !== b.names
        ? "names"
        : a.quotations !== b.quotations
          ? "quotations"
          : a.code !== b.code
            ? "code"
            : a.isNegative !== b.isNegative
              ? "negations"
              : isOpposite(a, b) || isOpposite(b, a)
                ? "opposites"
                : a.text !== b.text && a.sorted === b.sorted
                  ? "word order"
                  : undefined

/** What `ErrorBound` wants to know of an earlier text beside its similarity. */
export const compare = (a: Signature, b: Signature) => ({
  overlap: overlap(a, b),
  isUsable: differs(a, b) === undefined
})

/** What differs between two texts. */
export const difference = (a: string, b: string): string | undefined => differs(signature(a), signature(b))
