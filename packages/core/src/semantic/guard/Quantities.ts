/**
 * Reads the numbers of a text with units and signs, in one notation: `1,000.50 USD`, `$1000.5`; `24 months`, `two
 * years`; `5 pm`, `17:00`; digits of any script.
 *
 * @internal
 */

const WORDS: { readonly [word: string]: number } = Object.fromEntries(
  `zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen`
    .split(" ")
    .map((word, at) => [word, at])
    .concat("twenty thirty forty fifty sixty seventy eighty ninety".split(" ").map((word, at) => [word, (at + 2) * 10]))
    .concat([["dozen", 12]])
)

const SCALES: { readonly [word: string]: number } = {
  hundred: 100,
  thousand: 1_000,
  million: 1e6,
  billion: 1e9,
  k: 1_000
}

const ORDINALS: { readonly [word: string]: number } = Object.fromEntries(
  `zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth`
    .split(" ")
    .map((word, at) => [word, at])
)

/** The dimension of each unit, and its factor. */
const UNITS: ReadonlyMap<string, readonly [of: string, factor: number]> = new Map(
  (
    [
      ["time", 1, "s sec second"],
      ["time", 60, "min minute"],
      ["time", 3_600, "h hr hour"],
      ["time", 86_400, "day"],
      ["time", 604_800, "week wk"],
      ["months", 1, "month mo"],
      ["months", 12, "year yr"],
      ["months", 120, "decade"],
      ["months", 1_200, "century"],
      ["metric", 1, "mm millimeter millimetre"],
      ["metric", 10, "cm centimeter centimetre"],
      ["metric", 1_000, "m meter metre"],
      ["metric", 1_000_000, "km kilometer kilometre"],
      ["inches", 1, "inch in"],
      ["inches", 12, "ft foot feet"],
      ["inches", 36, "yard yd"],
      ["miles", 1, "mile mi"],
      ["mass", 1, "mg milligram"],
      ["mass", 1_000, "g gram gramme"],
      ["mass", 1_000_000, "kg kilogram kilo"],
      ["mass", 1e9, "tonne"],
      ["pounds", 16, "lb lbs"],
      ["pounds", 1, "oz ounce"],
      ["pound", 1, "pound"],
      ["volume", 1, "ml milliliter millilitre"],
      ["volume", 1_000, "l liter litre"],
      ["data", 1, "kb kilobyte"],
      ["data", 1_000, "mb megabyte"],
      ["data", 1_000_000, "gb gigabyte"],
      ["data", 1e9, "tb terabyte"],
      ["percent", 1, "% percent"],
      ["usd", 1, "$ usd dollar buck"],
      ["eur", 1, "€ eur euro"],
      ["gbp", 1, "£ gbp quid"],
      ["jpy", 1, "¥ jpy yen"],
      ["degrees", 1, "° degree celsius"]
    ] as const
  ).flatMap(([of, factor, names]) => names.split(" ").map((name) => [name, [of, factor] as const] as const))
)

const CALENDAR = new Map(
  `january jan|february feb|march mar|april apr|may may|june jun|july jul|august aug|september sep|october oct|november nov|december dec|monday mon
tuesday tue|wednesday wed|thursday thu|friday fri|saturday sat|sunday sun|today today|tomorrow tomorrow|yesterday yesterday|tonight tonight
noon 12:00|midnight 00:00|daily 1/day|weekly 1/week|monthly 1/month|yearly 1/year|annually 1/year|annual 1/year|hourly 1/hour|quarterly 1/quarter
fortnight 2week|once 1x|twice 2x|thrice 3x|double 2x|triple 3x|half 0.5|quarter 0.25`
    .split(/[|\n]/)
    .flatMap((pair) => {
      const [word, key] = pair.split(" ") as [string, string]
      return key.length === 3 && word !== key && key !== "may"
        ? [[word, key] as const, [key, key] as const]
        : [[word, key] as const]
    })
)
CALENDAR.set("sept", "sep")

const MONTHS = new Set("jan feb mar apr may jun jul aug sep oct nov dec".split(" "))

const unitOf = (word: string | undefined): readonly [of: string, factor: number] | undefined => {
  if (word === undefined) return undefined
  const lower = word.toLowerCase().replace(/\.$/, "")
  return UNITS.get(lower) ?? (lower.length > 3 && lower.endsWith("s") ? UNITS.get(lower.slice(0, -1)) : undefined)
}

/** Converts digits of any script to ASCII. */
const digits = (text: string): string =>
  text.replace(/\p{Nd}/gu, (digit) => {
    const code = digit.codePointAt(0)!
    if (code < 128) return digit
    // The ten digits of a script are consecutive.
    let zero = code
    while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1)) && code - zero < 9) zero--
    return String(code - zero)
  })

const CHINESE: { readonly [digit: string]: number } = {
  〇: 0,
  零: 0,
  一: 1,
  二: 2,
  两: 2,
  三: 3,
  四: 4,
  五: 5,
  六: 6,
  七: 7,
  八: 8,
  九: 9
}
const CHINESE_SCALES: { readonly [digit: string]: number } = { 十: 10, 百: 100, 千: 1_000, 万: 10_000 }

/** Converts Chinese and Japanese numerals to digits: 三百 is 300. */
const chinese = (text: string): string =>
  text.replace(/[〇零一二两三四五六七八九十百千万]+/g, (run) => {
    if (run.length === 1 && CHINESE[run] === undefined) return run
    let total = 0
    let digit: number | undefined
    for (const character of run) {
      const scale = CHINESE_SCALES[character]
      if (scale === undefined) digit = CHINESE[character]
      else {
        total += (digit ?? 1) * scale
        digit = undefined
      }
    }
    return String(total + (digit ?? 0))
  })

const TOKEN =
  /(?<sign>(?<![\w.)])[-−+](?=\.?\d))?(?<money>[$€£¥])?\s?(?<number>\d+(?:[.,:/]\d+)*(?:\.\d+)?)(?<ending>st|nd|rd|th|k|x|%|°)?(?![\p{L}\d])|(?<glued>\d+(?:\.\d+)?)(?<unit>\p{L}{1,4})(?![\p{L}\d])|(?<word>\p{L}+(?:'\p{L}+)?)|(?<mark>%)/gu

/** "per day" is daily; "in a month" is one month. */
const PER = /\b(?:per|each|every|(?<=\b(?:times|once|twice) )a)\s+(hour|day|week|month|year)\b/gi
const PERIODS: { readonly [unit: string]: string } = {
  hour: "hourly",
  day: "daily",
  week: "weekly",
  month: "monthly",
  year: "yearly"
}
const ONE =
  /\b(in|after|for|within|about|by|takes?|lasts?|than)\s+an?\s+(second|minute|hour|day|week|month|year|decade)\b/gi

/** A plain number, without differences in notation only. */
const valueOf = (text: string): number | undefined => {
  if (/^\d{1,3}(?:,\d{3})+(?:\.\d+)?$/.test(text)) return Number(text.replaceAll(",", ""))
  if (/^\d+,\d{1,2}$/.test(text)) return Number(text.replace(",", "."))
  const fraction = /^(\d+)\/(\d+)$/.exec(text)
  if (fraction !== null && Number(fraction[2]) <= 10) return Number(fraction[1]) / Number(fraction[2])
  return /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined
}

const measured = (value: number, unit: readonly [of: string, factor: number] | undefined): string =>
  unit === undefined ? String(value) : `${Number((value * unit[1]).toPrecision(12))} ${unit[0]}`

export interface Quantities {
  /** Sorted: the order of words is checked elsewhere. */
  readonly found: ReadonlyArray<string>
  /** The text without them. */
  readonly rest: string
}

type Tokens = ReadonlyArray<RegExpMatchArray>

/** A quantity, and its last token. */
interface Read {
  readonly key: string
  readonly to: number
}

const wordAt = (tokens: Tokens, at: number): string => tokens[at]?.groups!["word"]?.toLowerCase() ?? ""

const halfOfDay = (text: string | undefined): "a" | "p" | undefined =>
  /^[ap]\.?m$/i.test(text ?? "") ? (text![0]!.toLowerCase() as "a" | "p") : undefined

const clockKey = (hour: number, minute: string, half: "a" | "p" | undefined): string =>
  `${(hour % (half === undefined ? 24 : 12)) + (half === "p" ? 12 : 0)}:${minute}`

/** `5 pm`, `17:00`. */
const readClock = (tokens: Tokens, at: number): Read | undefined => {
  const { money, number } = tokens[at]!.groups!
  const clock = /^(\d{1,2})(?::(\d{2}))?$/.exec(number ?? "")
  const half = halfOfDay(tokens[at + 1]?.[0])
  return clock === null || (half === undefined && clock[2] === undefined) || money !== undefined
    ? undefined
    : { key: clockKey(Number(clock[1]), clock[2] ?? "00", half), to: half === undefined ? at : at + 1 }
}

/** `$1,000.50`, `-5 degrees`, `3rd`, `2 million euros`. */
const readNumber = (tokens: Tokens, at: number): Read => {
  const { ending, money, number, sign } = tokens[at]!.groups!
  const value = valueOf(number!)
  const scale = SCALES[wordAt(tokens, at + 1)]
  let to = scale === undefined ? at : at + 1
  const own = money ?? (ending === "%" || ending === "°" ? ending : undefined)
  const unit = unitOf(own) ?? unitOf(tokens[to + 1]?.[0])
  if (own === undefined && unit !== undefined) to++
  const minus = sign !== undefined && sign !== "+" ? "-" : ""
  // "2.10" may be a version: it equals 2.1 only with a unit.
  if (value === undefined || (unit === undefined && /\.\d*0$/.test(number!))) {
    return { key: `${minus}${number}${ending ?? ""}`, to }
  }
  const all = value * (scale ?? (ending === "k" ? 1_000 : 1))
  const kind = /^(?:st|nd|rd|th)$/.test(ending ?? "") ? "." : ending === "x" ? "x" : ""
  return { key: measured(minus === "" ? all : -all, unit) + kind, to }
}

/** `20ms`, `5pm`. */
const readGlued = (tokens: Tokens, at: number): Read => {
  const { glued, unit } = tokens[at]!.groups!
  const half = halfOfDay(unit)
  const measure = unitOf(unit)
  const key =
    half !== undefined
      ? clockKey(Number(glued), "00", half)
      : measure === undefined
        ? `${glued}${unit!.toLowerCase()}`
        : measured(Number(glued), measure)
  return { key, to: at }
}

/** `January`, `half an hour`, `daily`. */
const readCalendar = (tokens: Tokens, at: number): Read | undefined => {
  const word = wordAt(tokens, at)
  const key = CALENDAR.get(word)
  if (key === undefined || (word === "may" && tokens[at]![0] !== "May")) return undefined
  if (word !== "half" && word !== "quarter") return { key, to: at }
  const part = halfOf(tokens, at)
  return part === undefined ? undefined : { key: measured(Number(key), part.unit), to: part.at }
}

/** `second`, `twenty five dollars`. */
const readWords = (tokens: Tokens, at: number): Read | undefined => {
  const word = wordAt(tokens, at)
  const ordinal = ORDINALS[word]
  if (ordinal !== undefined && !(word === "second" && unitOf(tokens[at - 1]?.[0]) !== undefined)) {
    return { key: `${ordinal}.`, to: at }
  }
  let value = WORDS[word]
  if (value === undefined) return undefined
  let to = at
  if (value >= 20 && value < 100 && (WORDS[wordAt(tokens, to + 1)] ?? 10) < 10) value += WORDS[wordAt(tokens, ++to)]!
  while (SCALES[wordAt(tokens, to + 1)] !== undefined) value *= SCALES[wordAt(tokens, ++to)]!
  const unit = unitOf(tokens[to + 1]?.[0])
  // "one" is usually not a number: "the other one".
  return value === 1 && unit === undefined
    ? undefined
    : { key: measured(value, unit), to: unit === undefined ? to : to + 1 }
}

const readAt = (tokens: Tokens, at: number): Read | undefined => {
  const { glued, number, word } = tokens[at]!.groups!
  if (number !== undefined) return readClock(tokens, at) ?? readNumber(tokens, at)
  if (glued !== undefined) return readGlued(tokens, at)
  return word === undefined ? undefined : (readCalendar(tokens, at) ?? readWords(tokens, at))
}

/** The unit of "half an hour". */
const halfOf = (tokens: Tokens, at: number) => {
  for (let next = at + 1; next <= at + 3; next++) {
    const unit = unitOf(tokens[next]?.[0])
    if (unit !== undefined) return { unit, at: next }
    if (!/^(?:a|an|of)$/i.test(tokens[next]?.[0] ?? "")) return undefined
  }
  return undefined
}

/** The numbers of a text, and the text without them. */
export const of = (text: string): Quantities => {
  const plain = chinese(digits(text))
    .replace(PER, (_, unit: string) => ` ${PERIODS[unit.toLowerCase()]!} `)
    .replace(ONE, "$1 1 $2")
  const tokens = [...plain.matchAll(TOKEN)]
  const found: Array<string> = []
  let rest = ""
  let from = 0
  for (let at = 0; at < tokens.length; at++) {
    const read = readAt(tokens, at)
    if (read === undefined) continue
    const [first, last] = [tokens[at]!, tokens[read.to]!]
    found.push(read.key)
    // "on Monday" is one date.
    rest += `${plain.slice(from, first.index).replace(/\b(?:on|in|at|by|for|of)\s+$/i, "")} `
    from = last.index! + last[0].length
    at = read.to
  }
  // "3 May" is "May 3rd".
  const dated = found.some((key) => MONTHS.has(key)) ? found.map((key) => key.replace(/\.$/, "")) : found
  return { found: dated.sort(), rest: rest + plain.slice(from) }
}
