/**
 * English words: their base forms, which of them mean the same, and which are opposites.
 *
 * @internal
 */
import * as Lru from "../../store/Lru.ts"
import * as WordNet from "./WordNet.ts"

/** Opposites that WordNet lacks or lists for other words, from the vocabulary of customer questions. */
const MORE_OPPOSITES = `international domestic|upgrade downgrade|upload download|subscribe unsubscribe|install uninstall|encrypt decrypt
encode decode|block unblock|freeze unfreeze|mount unmount|follow unfollow|mute unmute|pin unpin|landlord tenant|sender recipient
debit credit|deposit withdraw|hire fire|push pull|start stop|begin end|input output|import export|refund charge|approve deny|grant deny
grant revoke|confirm deny|allow prohibit|allow forbid|allow ban|permit forbid|accept decline|insert remove|add remove|create delete
attach detach|expand collapse|show hide|activate deactivate|enable disable|tighten loosen|mandatory optional|required optional
minimum maximum|gross net|wholesale retail|fixed variable|manual automatic|owner renter|lender borrower|plaintiff defendant|guest host
rise fall|rise drop|increase decrease|gain lose|profit loss|win lose|pass fail|depart arrive|leave arrive|join leave|enter exit|buy sell
lend borrow|send receive|give take|teach learn|heat cool|freeze thaw|fill empty|lock unlock|open close|up down|in out|on off|before after
above below|over under|inside outside|indoor outdoor|online offline|early late|first last|next last|next previous|left right|north south
east west|left stayed|friendly rude|quiet loud|safe dangerous|cheap expensive|top bottom|front back|always never|everybody nobody`

const list = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text.split(/[|\n]/).map((group) => group.trim().split(" "))

interface Words {
  readonly known: ReadonlySet<string>
  readonly synonyms: ReadonlyMap<string, ReadonlySet<string>>
  readonly opposites: ReadonlyMap<string, ReadonlySet<string>>
}

const related = (groups: ReadonlyArray<ReadonlyArray<string>>): ReadonlyMap<string, ReadonlySet<string>> => {
  const out = new Map<string, Set<string>>()
  for (const group of groups) {
    for (const word of group) {
      const others = out.get(word) ?? new Set()
      for (const other of group) if (other !== word) others.add(other)
      out.set(word, others)
    }
  }
  return out
}

let words: Words | undefined

/** Read when the first text is. */
const all = (): Words => {
  if (words === undefined) {
    const synonyms = list(WordNet.SYNONYMS)
    const opposites = [...list(WordNet.OPPOSITES), ...list(MORE_OPPOSITES)]
    words = {
      known: new Set([...synonyms.flat(), ...opposites.flat(), ...WordNet.OTHERS.split(" "), ...grammar]),
      synonyms: related(synonyms),
      opposites: related(opposites)
    }
  }
  return words
}

/** Words that carry a sentence and no thing: WordNet has none of them. */
const grammar = new Set(
  `a an the this that these those i me my mine you your yours he him his she her hers it its we us our ours they them their theirs who whom
  whose which what when where why how and or but if because so than as of at by for with about against between into through during to from
  in out on off over under again then once here there all any both each few more most other some such no nor not only own same too very
  can will just should now could would may might must shall do does did be is are was were been being am have has had having s t ll re ve d m
  don doesn isn wasn aren weren hasn haven hadn won wouldn couldn shouldn cannot cant dont wont isnt wasnt arent werent doesnt didnt hasnt
  havent hadnt couldnt shouldnt wouldnt ok okay please hi hello hey thanks thank yes also still yet ever already until till while since
  upon per via without within across along around behind beside besides beyond near toward towards among amongst unless whether although
  though however therefore thus hence else instead rather quite almost enough anyone anything someone something everyone everything nobody
  nothing none neither either everybody somebody myself yourself itself themselves ourselves himself herself im ive id youre its thats whats
  theres lets gonna wanna e mail email online website app wifi internet atm pin sms faq url pdf usb gps tv pc laptop smartphone login logout
  blog chat download upload signup checkout cashback`.split(/\s+/)
)

/** Forms that no rule gives. */
const IRREGULAR = new Map(
  `am be|is be|are be|was be|were be|been be|being be|has have|had have|does do|did do|done do|went go|gone go|sent send|paid pay|lost lose
won win|bought buy|sold sell|took take|taken take|got get|gotten get|made make|gave give|given give|came come|became become|saw see|seen see
said say|told tell|found find|left leave|kept keep|held hold|put put|set set|cut cut|let let|lent lend|spent spend|built build|bent bend
meant mean|met meet|led lead|read read|ran run|began begin|begun begin|broke break|broken break|chose choose|chosen choose|drove drive
driven drive|ate eat|eaten eat|fell fall|fallen fall|felt feel|forgot forget|forgotten forget|froze freeze|frozen freeze|grew grow|grown grow
knew know|known know|rose rise|risen rise|spoke speak|spoken speak|stole steal|stolen steal|swore swear|thought think|brought bring
caught catch|taught teach|fought fight|wrote write|written write|wore wear|worn wear|drew draw|drawn draw|flew fly|flown fly|threw throw
thrown throw|hid hide|hidden hide|bit bite|bitten bite|beat beat|beaten beat|swam swim|sang sing|drank drink|rang ring|sat sit|stood stand
understood understand|slept sleep|dealt deal|heard hear|hit hit|hurt hurt|cost cost|shut shut|split split|spread spread|lay lie|lain lie
men man|women woman|children child|people person|feet foot|teeth tooth|mice mouse|better good|best good|worse bad|worst bad|further far
farther far|less little|least little|kids kid|lives life|wives wife|knives knife|leaves leaf|halves half|died die|dying die|lying lie
tied tie|using use|used use|cheque check|cheques check|colour color|grey gray|tyre tire|tyres tire|programme program|centre center
metre meter|litre liter|theatre theater|licence license|favourite favorite|traveller traveler|jewellery jewelry|aeroplane airplane
neighbour neighbor|labour labor|behaviour behavior|honour honor|flavour flavor|harbour harbor|mould mold|plough plow|catalogue catalog
dialogue dialog|enrol enroll|fulfil fulfill|instalment installment|skilful skillful|defence defense|offence offense`
    .split(/[|\n]/)
    .map((pair) => pair.split(" ") as [string, string])
)

const forms = (word: string): ReadonlyArray<string> => {
  const out: Array<string> = []
  const drop = (ending: string, ...endings: ReadonlyArray<string>): void => {
    if (!word.endsWith(ending) || word.length < ending.length + 2) return
    const stem = word.slice(0, -ending.length)
    for (const other of endings) out.push(stem + other)
    if (/([bdfgklmnprtz])\1$/.test(stem)) out.push(stem.slice(0, -1))
  }
  drop("ies", "y", "ie")
  drop("ied", "y", "ie")
  drop("ier", "y")
  drop("iest", "y")
  drop("es", "e", "")
  drop("s", "")
  drop("ed", "e", "")
  drop("ing", "e", "")
  drop("er", "e", "")
  drop("est", "e", "")
  return out
}

/** British and other spellings as WordNet has them. */
const spelled = (word: string): ReadonlyArray<string> =>
  [
    word.replace(/isation(s?)$/, "ization$1"),
    word.replace(/is(e|es|ed|ing)$/, "iz$1"),
    word.replace(/ys(e|es|ed|ing)$/, "yz$1"),
    word.replace(/our(s|ed|ing|ite|able)?$/, "or$1"),
    word.replace(/ll(ed|ing|er)$/, "l$1"),
    word.replace(/ae|oe/, "e")
  ].filter((other) => other !== word)

const bases = Lru.make<string, string>(50_000)

/** The base form of a word in small letters: `losing` is `lose`, `cancelled` is `cancel`. A word that is not known stays. */
export const base = (word: string): string => {
  let found = bases.get(word)
  if (found === undefined) bases.set(word, (found = findBase(word)))
  return found
}

const findBase = (word: string): string => {
  const irregular = IRREGULAR.get(word)
  if (irregular !== undefined) return irregular
  const { known } = all()
  const isPlain = known.has(word)
  // WordNet also lists "closed" and "lost", next to the verbs they come from.
  if (isPlain && !/(?:ed|ing|s)$/.test(word)) return word
  for (const candidate of [word, ...spelled(word)]) {
    const form = forms(candidate).find((form) => known.has(form) && form.length > 2)
    if (form !== undefined) return form
    if (candidate !== word && known.has(candidate)) return candidate
  }
  return isPlain ? word : word.length > 3 && word.endsWith("s") && !word.endsWith("ss") ? word.slice(0, -1) : word
}

/** Whether a word is English, as far as WordNet and grammar go. */
export const isKnown = (word: string): boolean => {
  const { known } = all()
  return known.has(word) || known.has(base(word))
}

export const isGrammar = (word: string): boolean => grammar.has(word)

/** Prefixes that deny the word behind them. */
const DENYING = ["un", "in", "im", "ir", "il", "non", "dis", "de", "mis", "anti"]

/** Whether two base forms are opposites, by WordNet or by a prefix that denies. */
export const areOpposite = (a: string, b: string): boolean => {
  const contraries = all().opposites.get(a)
  // "deposits" and "withdrawals": a noun beside its verb.
  if (contraries !== undefined && [...contraries].some((word) => word === b || isKin(word, b))) return true
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  return (
    (short.length > 3 && DENYING.some((prefix) => long === prefix + short))
    || (short.endsWith("ful")
      ? long === short.replace(/ful$/, "less")
      : long.endsWith("less") && short === long.slice(0, -4))
  )
}

/** Whether two base forms mean the same in some usual sense, are written in two ways, or are one word and its kin. */
export const areAlike = (a: string, b: string): boolean =>
  a === b || (!areOpposite(a, b) && (all().synonyms.get(a)?.has(b) === true || isKin(a, b) || isShort(a, b)))

/** Endings that make one word of another. */
const ENDINGS =
  /^(?:e|s|es|ed|d|ing|er|or|ers|ion|tion|ation|ment|al|ly|ity|ness|ance|ence|able|ible|ive|ant|ent|y|age|ure|ist|ism|ize|ise|ful|ry|ery|th|t|n|en|r|ar|ary|cy|ship|hood|ic|ical|ous)?$/

const isKin = (a: string, b: string): boolean => {
  let at = 0
  while (at < a.length && a[at] === b[at]) at++
  return at >= 4 && ENDINGS.test(a.slice(at)) && ENDINGS.test(b.slice(at))
}

/** Whether a word is another with one letter wrong, missing, doubled or out of place; one of them is no word. */
export const isTypo = (a: string, b: string): boolean => {
  if (Math.min(a.length, b.length) < 4 || Math.abs(a.length - b.length) > 1) return false
  if (isKnown(a) && isKnown(b)) return false
  let from = 0
  while (from < a.length && a[from] === b[from]) from++
  let back = 0
  while (back < a.length - from && back < b.length - from && a[a.length - 1 - back] === b[b.length - 1 - back]) back++
  const [left, right] = [a.slice(from, a.length - back), b.slice(from, b.length - back)]
  return (
    (left.length <= 1 && right.length <= 1)
    || (left.length === 2 && right.length === 2 && left === right[1]! + right[0]!)
  )
}

/** What people shorten. */
const SHORT = new Map(
  `acct account|info information|info detail|app application|appt appointment|approx approximately|asap soon|avg average|bldg building
dept department|diff difference|doc document|est estimate|ext extension|govt government|hr hour|hrs hour|lab laboratory|max maximum|min minimum
mgmt management|mgr manager|mo month|msg message|no number|num number|nr number|photo photograph|pic picture|pls please|plz please|qty quantity
ref reference|rep representative|req request|temp temperature|tel telephone|phone telephone|mobile phone|cell phone|tix ticket|txn transaction
u you|ur your|wk week|yr year|vs versus|config configuration|auth authentication|admin administrator|demo demonstration|exam examination
fridge refrigerator|gym gymnasium|memo memorandum|flu influenza|vet veterinarian|tv television|pc computer|ad advertisement|bike bicycle
kid child|mom mother|dad father|amt amount|pkg package|addr address|subs subscription|sub subscription|repo repository|env environment
apt apartment|flat apartment|lift elevator|holiday vacation|lorry truck|petrol gas|queue line|autumn fall|trousers pants|rubbish trash
look find|id identification|postcode zip|handbag purse|biscuit cookie|pavement sidewalk|cab taxi`
    .split(/[|\n]/)
    .map((pair) => pair.split(" ") as [string, string])
)

const isShort = (a: string, b: string): boolean => SHORT.get(a) === b || SHORT.get(b) === a
