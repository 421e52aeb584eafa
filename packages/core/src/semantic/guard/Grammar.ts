/**
 * Reads the function words of a text: whether it is negated, what it asks for, how far it holds, and when.
 *
 * @internal
 */

const setOf = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/))

/** Negating words, besides those that end in n't, with or without the apostrophe. */
export const NEGATIONS = setOf(
  `not no never none nobody nothing nowhere neither nor cannot without unable lack lacks lacking lacked hardly barely scarcely seldom rarely
  deny denies denied denying refuse refuses refused refusing fail fails failed failing avoid avoids avoided avoiding cant dont wont isnt wasnt arent werent doesnt didnt hasnt
  havent hadnt couldnt shouldnt wouldnt aint unless except`
)

/** Phrases that negate. */
const NEGATIVE_PHRASES =
  /\b(?:anything but|far from|(?:warn|advis)\w* against|instead of|rather than|no longer|yet to|on no account|by no means|(?:neglect|omit|decline|forg[eo]t|cease)\w* to|stop(?:s|ped|ping)? \w+ing)\b/g

/** "no." is a number, and these affirm. */
const NOT_NEGATIVE = /\b(?:no\.|not only|why not|or not|no problem|no worries)/g

/** The number of negations in a text in lower case. */
export const negationsIn = (text: string): number => {
  const cleaned = text.replaceAll(NOT_NEGATIVE, " ")
  const words = cleaned.replaceAll(NEGATIVE_PHRASES, " ").match(/\p{L}+(?:'\p{L}+)*/gu) ?? []
  return (
    words.filter((word) => NEGATIONS.has(word) || word.endsWith("n't")).length
    + (cleaned.match(NEGATIVE_PHRASES)?.length ?? 0)
  )
}

/** The classes of a text by its function words; `""` means no class. */
export interface Classes {
  /** Before or after a time; above or below a number. */
  readonly side: string
  readonly question: string
  readonly modality: string
  readonly amount: string
  readonly time: string
  readonly frequency: string
}

export const none: Classes = { side: "", question: "", modality: "", amount: "", time: "", frequency: "" }

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

/** Uses the last question word, because "when I ..." is not a question. */
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
  [/(?<!how )\bmany\b/, "many"],
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

const SIDES: ReadonlyArray<readonly [RegExp, string]> = [
  [
    /\b(?:within|before|until|till|by)\b(?= (?:the |my |your |a |an )?(?:\d|one\b|two\b|three\b|\w+day\b|noon))/,
    "until"
  ],
  [/\b(?:after|since|from)\b(?= (?:the |my |your |a |an )?(?:\d|one\b|two\b|three\b|\w+day\b|noon))/, "from"]
]

const FREQUENCIES: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:always|every time|constantly|continuously|keeps? \w+ing)\b/, "always"],
  [/\b(?:usually|often|frequently|mostly|generally)\b/, "often"],
  [/\b(?:sometimes|occasionally|now and then|at times)\b/, "sometimes"],
  [/\b(?:seldom|rarely|hardly ever|barely ever)\b/, "seldom"],
  [/\bnever\b/, "never"]
]

const classOf = (text: string, classes: ReadonlyArray<readonly [RegExp, string]>): string => {
  for (const [pattern, name] of classes) if (pattern.test(text)) return name
  return ""
}

/** "May not ... without ..." means "must". */
const modalityOf = (text: string, negations: number): string => {
  const modality = classOf(text, MODALITIES)
  return modality === "can" && negations > 1 ? "must" : modality
}

/** The classes of a text in lower case. */
export const classesOf = (text: string, negations: number): Classes => ({
  side: classOf(text, SIDES),
  question: questionOf(text),
  modality: modalityOf(text, negations),
  amount: classOf(text, AMOUNTS),
  time: classOf(text, TIMES),
  frequency: classOf(text, FREQUENCIES)
})

/** The part of a text that its function words decide. */
export interface Statement {
  readonly classes: Classes
  readonly isQuestion: boolean
  /** Whether a verb is in the past tense, as far as its form shows. */
  readonly hasPast: boolean
}

/**
 * The difference of two texts by their function words. `isClose`: they share most words; `isSame`: they share all
 * content words.
 */
export const difference = (a: Statement, b: Statement, isClose: boolean, isSame: boolean): string | undefined => {
  const [x, y] = [a.classes, b.classes]
  if (questionsDiffer(x.question, y.question, isClose, isSame)) return "questions"
  if (conflict(x.side, y.side, false) || (x.amount === "only") !== (y.amount === "only")) return "quantities"
  if (conflict(x.amount, y.amount, isClose) || conflict(x.frequency, y.frequency, isClose)) return "quantities"
  if (modalityDiffers(x.modality, y.modality, isClose)) return "modality"
  if (isClose && (isSurerThan(a, b) || isSurerThan(b, a))) return "modality"
  return timesDiffer(a, b, isClose, isSame) ? "tenses" : undefined
}

/** Classes that must be equal in both texts. */
const conflict = (a: string, b: string, isClose: boolean): boolean => a !== b && (isClose || (a !== "" && b !== ""))

/** "What do I do" and "how do I" ask the same, and so do "how much is" and "what is the price of". */
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

/** Tests whether one text states a fact and the other a possibility. In a question both are polite forms. */
const isSurerThan = (a: Statement, b: Statement): boolean =>
  a.classes.time === "future"
  && a.classes.modality === ""
  && b.classes.modality === "can"
  && b.classes.time !== "future"
  && a.classes.question + b.classes.question === ""
  && !a.isQuestion
  && !b.isQuestion

const timesDiffer = (a: Statement, b: Statement, isClose: boolean, isSame: boolean): boolean => {
  const [x, y] = [a.classes.time, b.classes.time]
  if (x === y) return false
  if (isClose && ((x !== "" && y !== "") || x === "once" || y === "once")) return true
  const isPast = ({ classes, hasPast }: Statement) => PAST.has(classes.time) || (classes.time === "" && hasPast)
  const isNot = (time: string) => time === "future" || time === "now"
  return isSame && ((isNot(x) && isPast(b)) || (isNot(y) && isPast(a)))
}

const PAST = setOf("past perfect once")
