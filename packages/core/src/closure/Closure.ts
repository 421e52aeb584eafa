/**
 * Identifies an author's function: its code, and the values that it captures, including those of captured functions. A
 * step made by a factory, a loop or a class is therefore identified by what it closes over, not by its source alone.
 *
 * **Details** Code is compared by syntax: comments and formatting do not count. What is imported from a package is
 * identified by its name; what the author's own modules declare, by its value. Values that cannot be compared (a
 * client, a layer, a private field) are listed.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { hash } from "node:crypto"
import { types } from "node:util"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as FunctionCode from "./FunctionCode.ts"
import * as Modules from "./Modules.ts"
import * as Scopes from "./Scopes.ts"

/** The identity of a function, as data. */
export interface Meaning {
  /** The hash of its code. */
  readonly code: string
  /** Captured values by access path (`helper.limit`), as text, or as a hash when they are long. */
  readonly captured: ReadonlyMap<string, string>
  /** Captured values that cannot be compared, by access path. */
  readonly unknown: ReadonlyMap<string, string>
  /** Its position: `flow.ts:7`. */
  readonly at: string | undefined
  /** Whether it, or something it captures, is declared in one of the author's modules. */
  readonly isOwn: boolean
}

export interface Closures {
  readonly of: (f: Function) => Meaning
  /** A text that is equal for equal values; `undefined` when the value cannot be compared. */
  readonly textOf: (value: unknown) => string | undefined
  /** Closes the inspector: functions that were not read by then stay unknown. */
  readonly close: () => void
}

/** Identifies functions while a stack is built in a run. */
export const Current = Context.Reference<Pick<Closures, "of"> | undefined>("@pipe/core/Closure/Current", {
  defaultValue: () => undefined
})

/** A value that cannot be compared. */
class Incomparable extends Error {}

/** Types of Effect with state, or with a value that only execution shows. */
const STATES = new Set(
  "Cache Deferred Redacted Fiber FiberHandle FiberMap FiberSet LayerMap LayerRef ManagedRuntime MutableHashMap MutableHashSet MutableRef PartitionedSemaphore Pool PubSub Queue RcMap RcRef Ref Resource ScopedCache ScopedRef Semaphore SubscriptionRef SynchronizedRef TxDeferred TxHashMap TxQueue TxRef"
    .split(" ")
    .map((name) => `~effect/${name}`)
)

/**
 * The most parts of a value that are examined. A function of a package, whose variables are read, counts as several
 * because it takes longer.
 */
const MOST_PARTS = 50_000
const PARTS_OF_FUNCTION = 400

const TOO_MANY = "a value with too many parts"

/** The most levels of nested values, and of functions that capture functions. */
const MOST_LEVELS = 200

/** The longest text of a value that is kept for display. */
const MOST_SHOWN = 80

/** A value that may be shown: a number, or words. Anything else may be a key. */
const PLAIN = /^(?:-?\d[\d.e+-]*|true|false|null|undefined|"[A-Za-z .,!?-]*")$/

/** More consecutive letters do not form a word. */
const LONG_WORD = /[A-Za-z]{13}/

/** The prefix for a captured function: its code. What it captures is listed separately. */
const CODE = "code "

export const codeText = (code: string): string => `${CODE}${code}`

/** Whether the text of a captured value is the code of a function. */
export const isCode = (text: string): boolean => text.startsWith(CODE)

/** Names of values that are never shown. */
const PRIVATE = /pass|pw\b|secret|token|key|auth|cred|salt|bearer|\bpin\b|jwt|sign|seed|otp|code|cookie|session/i

/** The prefix for a value that is not shown. */
const HIDDEN = "("

/** Whether the text of a captured value is the value itself. */
export const isShown = (text: string): boolean => !text.startsWith(HIDDEN) && !isCode(text)

const shown = (way: string, text: string): string =>
  text.length <= MOST_SHOWN && PLAIN.test(text) && !LONG_WORD.test(text) && !PRIVATE.test(way)
    ? text
    : `${HIDDEN}${ContentHash.make(text)})`

/** Reads the functions of what was made where these errors were created. */
export const openFor = (sites: ReadonlyArray<Error | undefined>): Effect.Effect<Closures> =>
  Effect.suspend(() => open([...new Set(sites.flatMap((site) => (site === undefined ? [] : Modules.filesOf(site))))]))

/** Reads functions made in some files. */
export const open = (files: ReadonlyArray<string>): Effect.Effect<Closures> =>
  Effect.promise(async () => {
    const [acorn, inspector] = await Promise.all([import("acorn"), import("node:inspector")])
    return new Describer(new FunctionCode.CodeReader(acorn, Modules.make(acorn, files), () => Scopes.open(inspector)))
  })

class Describer implements Closures {
  private readonly code: FunctionCode.CodeReader
  private readonly meanings = new Map<Function, Meaning>()
  private readonly described = new Map<object, string>()
  /** Results of `textOf`: a value is examined once, before the inspector is closed. */
  private readonly asked = new Map<unknown, string | undefined>()
  private parts = 0
  private data = 0
  private reading = 0
  /** What is known within one outermost examination: each thing once, however many paths lead to it. */
  private look = { meanings: new Map<Function, Meaning>(), described: new Map<object, string>() }
  /** What is being described, by depth, and the lowest depth that a cycle leads back to. */
  private readonly open = new Map<object, number>()
  private ring = Number.POSITIVE_INFINITY

  constructor(code: FunctionCode.CodeReader) {
    this.code = code
  }

  close(): void {
    this.code.close()
  }

  of(f: Function): Meaning {
    const known = this.meanings.get(f) ?? this.inLook(this.look.meanings.get(f))
    if (known !== undefined) return known
    const isOutermost = this.reading === 0
    if (isOutermost) {
      this.parts = 0
      this.look = { meanings: new Map(), described: new Map() }
      this.ring = Number.POSITIVE_INFINITY
    }
    this.reading++
    try {
      const meaning = this.read(f)
      // Within a cycle a value is described incompletely, so the result is kept for this examination only.
      const isWhole = isOutermost || this.ring === Number.POSITIVE_INFINITY
      const meanings = isWhole ? this.meanings : this.look.meanings
      meanings.set(f, meaning)
      return meaning
    } finally {
      this.reading--
    }
  }

  textOf(value: unknown): string | undefined {
    if (!this.asked.has(value)) this.asked.set(value, this.describeWhole(value))
    return this.asked.get(value)
  }

  private describeWhole(value: unknown): string | undefined {
    this.look = { meanings: new Map(), described: new Map() }
    this.ring = Number.POSITIVE_INFINITY
    this.parts = 0
    this.reading++
    try {
      return this.describe(value)
    } catch {
      this.open.clear()
      return undefined
    } finally {
      this.reading--
    }
  }

  /** What contains a part of a cycle is part of it too. */
  private inLook<A>(known: A | undefined): A | undefined {
    if (known !== undefined) this.ring = 0
    return known
  }

  private read(f: Function): Meaning {
    const captured = new Map<string, string>()
    const unknown = new Map<string, string>()
    const ways = new Map<Function, string>()
    let at: string | undefined
    let isFound = false
    const flatten = (f: Function, path: string, depth: number): void => {
      const own = this.code.of(f)
      const first = ways.get(f)
      if (first !== undefined) {
        captured.set(path, codeText(`${own.code}, as ${first}`))
        return
      }
      ways.set(f, path)
      if (own.home === undefined) this.parts += PARTS_OF_FUNCTION
      if (++this.parts > MOST_PARTS) throw new Incomparable(TOO_MANY)
      if (own.home !== undefined) {
        isFound = true
        at ??= `${own.home.module.path.replace(/^.*\//, "")}:${own.home.line}`
      }
      if (own.unknown !== undefined) unknown.set(path === "" ? "it" : path, own.unknown)
      if (depth > MOST_LEVELS) unknown.set(path, "functions that capture each other too deeply")
      if (path !== "") captured.set(path, codeText(own.code))
      for (const [name, value] of depth > MOST_LEVELS ? [] : own.variables) {
        const way = path === "" ? name : `${path}.${name}`
        if (this.reading === 1 && depth === 0) this.parts = 0
        try {
          if (typeof value === "function" && !FunctionCode.isData(value)) flatten(value, way, depth + 1)
          else captured.set(way, shown(way, this.describe(value)))
        } catch (error) {
          // A value that throws when it is read (a proxy, a getter) cannot be compared.
          unknown.set(way, error instanceof Incomparable ? error.message : "a value that cannot be read")
          this.open.clear()
        }
      }
    }
    flatten(f, "", 0)
    if (!isFound) unknown.set("it", "code that differs from its file: a loader or a bundler has changed it")
    return { code: this.code.of(f).code, captured, unknown, at, isOwn: isFound }
  }

  /** A text that is equal for equal values. */
  private describe(value: unknown): string {
    if (++this.parts > MOST_PARTS) throw new Incomparable(TOO_MANY)
    switch (typeof value) {
      case "object":
        return value === null ? "null" : this.describeObject(value)
      case "function":
        return this.describeFunction(value)
      case "undefined":
        return "undefined"
      case "symbol":
        return `symbol ${value.description}`
      default:
        return StoredValue.encode(value) ?? String(value)
    }
  }

  private describeFunction(f: Function): string {
    if (FunctionCode.isToolkit(f))
      return this.once(f, () => `toolkit ${this.describe((f as { readonly tools?: unknown }).tools)}`)
    if (FunctionCode.isData(f)) return this.once(f, () => this.describeClass(f))
    return this.describeCode(f)
  }

  /** The code of a function or class, with what it captures. */
  private describeCode(f: Function): string {
    const { captured, code, unknown } = this.of(f)
    for (const [name, what] of unknown) {
      // What a package has made is identified by the package.
      if (name !== "it" || this.code.of(f).unknown !== undefined) throw new Incomparable(what)
    }
    return `function ${code} ${StoredValue.canonical(captured)}`
  }

  /** A schema, or the key of a service: its content and, for an author's class, its code. */
  private describeClass(f: Function): string {
    const code = this.code.isOwn(f) ? ` ${this.describeCode(f)}` : ""
    return Schema.isSchema(f)
      ? `${this.describeSchema(f)}${code}`
      : `service ${(f as unknown as { readonly key: string }).key}${code}`
  }

  private describeObject(value: object): string {
    return this.once(value, () => this.describeNew(value))
  }

  /** Describes a value once, even when it contains itself. */
  private once(value: object, describe: () => string): string {
    const known = this.described.get(value) ?? this.inLook(this.look.described.get(value))
    if (known !== undefined) return known
    const ring = this.open.get(value)
    if (ring !== undefined) {
      this.ring = Math.min(this.ring, ring)
      return `↺${this.open.size - ring}`
    }
    const depth = this.open.size
    if (depth > MOST_LEVELS) throw new Incomparable("values nested too deep")
    this.open.set(value, depth)
    try {
      const text = describe()
      // A reference back to an enclosing value is described incompletely.
      if (this.ring >= depth) {
        this.described.set(value, text)
        this.ring = Number.POSITIVE_INFINITY
      } else {
        this.look.described.set(value, text)
      }
      return text
    } finally {
      this.open.delete(value)
    }
  }

  private describeNew(value: object): string {
    if (types.isProxy(value) || types.isPromise(value)) throw new Incomparable("a value known only at run time")
    if (Array.isArray(value) || FunctionCode.isRecord(value)) {
      // Plain data in one step, however large.
      const plain = isPlainData(value) ? StoredValue.encode(value) : undefined
      if (plain !== undefined) return plain.length > MOST_SHOWN ? `data ${ContentHash.make(plain)}` : plain
    }
    if (types.isModuleNamespaceObject(value)) return this.describeModule(value)
    if (Context.isKey(value) && !markersOf(value).some((marker) => marker.startsWith("~effect/ai"))) {
      const { defaultValue, key } = value as { readonly key?: unknown; readonly defaultValue?: unknown }
      return `service ${String(key)} ${typeof defaultValue === "function" ? this.describeFunction(defaultValue) : ""}`
    }
    if (Schema.isSchema(value)) return this.describeSchema(value)
    if (FunctionCode.isRecord(value)) return this.describeFields(value)
    const markers = markersOf(value)
    if (markers.some((marker) => STATES.has(marker)))
      throw new Incomparable(`a ${markers[0]!.slice("~effect/".length)}`)
    if (markers.length > 0) {
      return `${markers.join(" ")} ${this.ownClassOf(value)} ${this.inData(() => `${this.describePrototype(value)} ${this.describeFields(value)}`)}`
    }
    const content = this.contentOf(value)
    return content === undefined ? this.describeInstance(value) : this.describeBuiltin(value, content)
  }

  /** The content of an instance of a built-in class, in addition to its fields. */
  private contentOf(value: object): readonly [base: Function, text: string] | undefined {
    if (Array.isArray(value)) return [Array, `[${value.map((item) => this.describe(item)).join(",")}]`]
    if (value instanceof Map) return [Map, `map ${this.describe(Array.from(value))}`]
    if (value instanceof Set) return [Set, `set ${this.describe(Array.from(value))}`]
    if (value instanceof RegExp) return [RegExp, `regexp ${RegExp.prototype.toString.call(value)}`]
    if (value instanceof Date) return [Date, StoredValue.encode(new Date(value.getTime()))!]
    if (value instanceof URL) return [URL, StoredValue.encode(new URL(value.href))!]
    if (value instanceof Error) return [Error, `error ${value.name} ${value.message}`]
    if (!ArrayBuffer.isView(value)) return undefined
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    return [value.constructor, `${value.constructor.name} ${hash("sha256", bytes, "hex")}`]
  }

  /** Includes properties added by an author, and the class if it is the author's. */
  private describeBuiltin(value: object, [base, content]: readonly [base: Function, text: string]): string {
    const isOwn = value.constructor !== base && !isErrorOf(value)
    const fields = ArrayBuffer.isView(value) ? "" : this.describeFields(value, isStandardOf(value))
    return isOwn
      ? `${content} ${this.describeClassOf(value)} ${fields}`
      : fields === "{}" || fields === ""
        ? content
        : `${content} ${fields}`
  }

  /** The class of an instance within Effect's data, if it is the author's. */
  private ownClassOf(value: object): string {
    const made: unknown = value.constructor
    return typeof made === "function" && this.code.isOwn(made) ? this.describeFunction(made) : ""
  }

  /** What an Effect class says about its instances: which operation an effect is. */
  private describePrototype(value: object): string {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (typeof prototype !== "object" || prototype === null) return ""
    return Reflect.ownKeys(prototype)
      .flatMap((name) => {
        const { value: field } = Object.getOwnPropertyDescriptor(prototype, name)!
        return typeof field === "string" ? [`${String(name)}=${field}`] : []
      })
      .join(",")
  }

  /** An author's module is identified by its exports; a package's by its name. */
  private describeModule(value: object): string {
    const parts = Object.values(value) as ReadonlyArray<unknown>
    const functions = parts.filter((part) => typeof part === "function")
    const isOwn = functions.length === 0 ? parts.length <= 100 : functions.some((f) => this.code.isOwn(f as Function))
    return isOwn ? `module ${this.describeFields(value)}` : "module"
  }

  private describeSchema({ ast }: Schema.Top): string {
    return `schema ${this.inData(() => this.describe(ast))}`
  }

  /** Within Effect's data all instances are data. */
  private inData(f: () => string): string {
    this.data++
    try {
      return f()
    } finally {
      this.data--
    }
  }

  /** Fields in order, which an author's code may depend on. */
  private describeFields(value: object, isLeftOut: (name: string | symbol) => boolean = () => false): string {
    const texts = Reflect.ownKeys(value).flatMap((name) => {
      if (isLeftOut(name)) return []
      const { enumerable, get, value: field } = Object.getOwnPropertyDescriptor(value, name)!
      // A hidden property is the author's when it is not part of that kind of value.
      if (enumerable !== true && (typeof name === "symbol" || name.startsWith("~") || name === "stack")) return []
      const key = typeof name === "symbol" ? `@${name.description}` : name
      return [
        `${JSON.stringify(key)}:${get === undefined ? this.describe(field) : `get ${this.describeFunction(get)}`}`
      ]
    })
    return `{${texts.join(",")}}`
  }

  /** An instance of an author's class is identified by its class and its fields. */
  private describeInstance(value: object): string {
    const made: unknown = value.constructor
    const name = typeof made === "function" ? made.name : "a class"
    const isOwn = typeof made === "function" && this.code.isOwn(made)
    if (this.data > 0 && typeof made === "function" && !isOwn) return `${name} ${this.describeFields(value)}`
    if (!isOwn) throw new Incomparable(`an instance of ${name}`)
    return `${this.describeClassOf(value)} ${this.describeFields(value)}`
  }

  private describeClassOf(value: object): string {
    const made: unknown = value.constructor
    const name = typeof made === "function" ? made.name : "a class"
    if (typeof made !== "function" || !this.code.isOwn(made)) throw new Incomparable(`an instance of ${name}`)
    for (
      let at: unknown = made;
      typeof at === "function" && at !== Function.prototype;
      at = Object.getPrototypeOf(at)
    ) {
      if (/(?:^|[\s;{])(?:static\s+)?#\w/.test(FunctionCode.sourceOf(at))) {
        throw new Incomparable(`an instance of ${name}, which has private fields`)
      }
    }
    return `new ${this.describeFunction(made)}`
  }
}

/** Tests whether reading data runs no code of the author: no getters, no proxies. */
const isPlainData = (value: unknown, left = MOST_LEVELS): boolean => {
  if (typeof value === "function") return false
  if (typeof value !== "object" || value === null) return true
  if (left === 0 || types.isProxy(value)) return false
  if (Array.isArray(value)) {
    if (Object.getPrototypeOf(value) !== Array.prototype) return false
    return Object.keys(value).length === value.length && value.every((item) => isPlainData(item, left - 1))
  }
  if (!FunctionCode.isRecord(value)) return isKeptAsData(value)
  for (const name of Reflect.ownKeys(value)) {
    const { enumerable, value: field } = Object.getOwnPropertyDescriptor(value, name)!
    if (enumerable !== true || typeof name === "symbol" || field === undefined || !isPlainData(field, left - 1))
      return false
  }
  return true
}

/** Dates and other built-in values. */
const isKeptAsData = (value: object): boolean =>
  (value instanceof Date && value.constructor === Date && Object.keys(value).length === 0)
  || (value instanceof URL && value.constructor === URL)

/** A built-in error, such as `TypeError`. */
const isErrorOf = (value: object): boolean =>
  value instanceof Error
  && (globalThis as { readonly [name: string]: unknown })[value.constructor.name] === value.constructor

/** Names that every value of that kind has. */
const isStandardOf = (value: object): ((name: string | symbol) => boolean) =>
  Array.isArray(value)
    ? (name) => typeof name === "string" && (name === "length" || /^\d+$/.test(name))
    : value instanceof RegExp
      ? (name) => name === "lastIndex"
      : value instanceof Error
        ? (name) => name === "stack" || name === "message" || name === "name"
        : () => false

/** The marks of Effect's types on a value. */
const markersOf = (value: object): ReadonlyArray<string> => {
  const markers = new Set<string>()
  for (let at: object | null = value; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) {
      const marker = /^~effect\/[A-Za-z]+/.exec(name)?.[0]
      if (marker !== undefined) markers.add(marker)
    }
  }
  return [...markers].sort()
}
