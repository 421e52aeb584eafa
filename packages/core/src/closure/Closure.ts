/**
 * What an author's function is: its code, and the values that it captures, those of the functions that it captures too. So a step
 * that a factory, a loop or a class has made is known by what it closes over, and not by its source alone.
 *
 * **Details** Code is compared by its syntax: comments and formatting do not count. What is imported from a package is known by
 * its name; what the author's own modules declare, by its value. Some values cannot be compared (a client, a layer, a private
 * field): they are named.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { hash } from "node:crypto"
import { types } from "node:util"
import * as StoredValue from "../data/StoredValue.ts"
import * as ContentHash from "../store/ContentHash.ts"
import * as FunctionCode from "./FunctionCode.ts"
import * as Modules from "./Modules.ts"
import * as Scopes from "./Scopes.ts"

/** What a function is, as data. */
export interface Meaning {
  /** Its code, as a hash. */
  readonly code: string
  /** By the way to them (`helper.limit`): captured values as text, or as a hash where they are long. */
  readonly captured: ReadonlyMap<string, string>
  /** What it captures and cannot be compared, by the way to it. */
  readonly unknown: ReadonlyMap<string, string>
  /** Where it stands: `flow.ts:7`. */
  readonly at: string | undefined
  /** Whether it, or something that it captures, is the author's: it stands in one of the author's modules. */
  readonly isOwn: boolean
}

export interface Closures {
  readonly of: (f: Function) => Meaning
  /** Ends the look into functions: what was not looked at is not known any more. */
  readonly close: () => void
}

/** What functions are, for those who build a stack in a run. */
export const Current = Context.Reference<Pick<Closures, "of"> | undefined>("@pipe/core/Closure/Current", {
  defaultValue: () => undefined
})

/** A value that cannot be compared. */
class Incomparable extends Error {}

/** Types of Effect that hold state, or what only running shows. */
const STATES = new Set(
  "Cache Deferred Redacted Fiber FiberHandle FiberMap FiberSet Layer LayerMap LayerRef ManagedRuntime MutableHashMap MutableHashSet MutableRef PartitionedSemaphore Pool PubSub Queue RcMap RcRef Ref Resource ScopedCache ScopedRef Semaphore SubscriptionRef SynchronizedRef TxDeferred TxHashMap TxQueue TxRef"
    .split(" ")
    .map((name) => `~effect/${name}`)
)

/** Parts of one value that are looked at. */
const MOST_PARTS = 50_000

/** Longest text of a value that is kept as it is, to be shown. */
const MOST_SHOWN = 80

/** A value that may be shown: numbers, and short words of letters. Anything else may be a key. */
const PLAIN = /^(?:-?\d[\d.e+-]*|true|false|null|"(?:[A-Za-z]{1,12}[ .,!?-]*){0,8}")$/

/** Begins what stands for a captured function: its code, while what it captures stands beside it. */
const CODE = "code "

export const codeText = (code: string): string => `${CODE}${code}`

/** Whether the text of something captured stands for the code of a function. */
export const isCode = (text: string): boolean => text.startsWith(CODE)

/** Names of what is not shown, whatever it is. */
const PRIVATE = /pass|pw\b|secret|token|key|auth|cred|salt/i

const shown = (way: string, text: string): string =>
  text.length <= MOST_SHOWN && PLAIN.test(text) && !PRIVATE.test(way) ? text : `(${ContentHash.make(text)})`

/** Looks at the functions of what was made where these errors were. */
export const openFor = (sites: ReadonlyArray<Error | undefined>): Effect.Effect<Closures> =>
  Effect.suspend(() => open([...new Set(sites.flatMap((site) => (site === undefined ? [] : Modules.filesOf(site))))]))

/** Looks at functions that were made in some files. */
export const open = (files: ReadonlyArray<string>): Effect.Effect<Closures> =>
  Effect.promise(async () => {
    const [acorn, inspector] = await Promise.all([import("acorn"), import("node:inspector")])
    return new Describer(new FunctionCode.Reader(acorn, Modules.make(acorn, files), () => Scopes.open(inspector)))
  })

class Describer implements Closures {
  private readonly code: FunctionCode.Reader
  private readonly meanings = new Map<Function, Meaning>()
  private readonly described = new Map<object, string>()
  private parts = 0
  private data = 0
  /** What is being described, by its depth, and the lowest depth that a ring leads back to. */
  private readonly open = new Map<object, number>()
  private ring = Number.POSITIVE_INFINITY

  constructor(code: FunctionCode.Reader) {
    this.code = code
  }

  close(): void {
    this.code.close()
  }

  of(f: Function): Meaning {
    const known = this.meanings.get(f)
    if (known !== undefined) return known
    const meaning = this.read(f)
    // Inside of a ring it says less than it would by itself.
    if (this.ring === Number.POSITIVE_INFINITY) this.meanings.set(f, meaning)
    return meaning
  }

  private read(f: Function): Meaning {
    const captured = new Map<string, string>()
    const unknown = new Map<string, string>()
    const seen = new Set<Function>()
    let at: string | undefined
    let isFound = false
    const flatten = (f: Function, path: string): void => {
      if (seen.has(f)) return
      seen.add(f)
      const own = this.code.of(f)
      if (own.home !== undefined) {
        isFound = true
        at ??= `${own.home.module.path.replace(/^.*\//, "")}:${own.home.line}`
      }
      if (own.unknown !== undefined) unknown.set(path === "" ? "it" : path, own.unknown)
      if (path !== "") captured.set(path, codeText(own.code))
      for (const [name, value] of own.variables) {
        const way = path === "" ? name : `${path}.${name}`
        if (typeof value === "function" && !FunctionCode.isData(value)) {
          flatten(value, way)
          continue
        }
        try {
          this.parts = 0
          captured.set(way, shown(way, this.describe(value)))
        } catch (error) {
          if (!(error instanceof Incomparable)) throw error
          unknown.set(way, error.message)
        }
      }
    }
    flatten(f, "")
    if (!isFound) unknown.set("it", "code that no file holds as it runs: a loader or a bundler has changed it")
    return { code: this.code.of(f).code, captured, unknown, at, isOwn: isFound }
  }

  /** The same text for equal values. */
  private describe(value: unknown): string {
    if (++this.parts > MOST_PARTS) throw new Incomparable("a value with too many parts")
    switch (typeof value) {
      case "object":
        return value === null ? "null" : this.describeObject(value)
      case "function":
        return this.describeFunction(value)
      case "symbol":
        return `symbol ${value.description}`
      default:
        return StoredValue.encode(value) ?? String(value)
    }
  }

  private describeFunction(f: Function): string {
    if (FunctionCode.isData(f)) return this.once(f, () => this.describeClass(f))
    return this.describeCode(f)
  }

  /** The code of a function or a class, with what it captures. */
  private describeCode(f: Function): string {
    const { captured, code, unknown } = this.of(f)
    for (const [name, what] of unknown) {
      // What a package has made is as its package is.
      if (name !== "it" || this.code.of(f).unknown !== undefined) throw new Incomparable(what)
    }
    return `function ${code} ${StoredValue.canonical(captured)}`
  }

  /** A schema, or the key of a service: what it holds, and where it is a class of the author's, its code. */
  private describeClass(f: Function): string {
    const code = this.code.isOwn(f) ? ` ${this.describeCode(f)}` : ""
    return Schema.isSchema(f)
      ? `${this.describeSchema(f)}${code}`
      : `service ${(f as unknown as { readonly key: string }).key}${code}`
  }

  private describeObject(value: object): string {
    return this.once(value, () => this.describeNew(value))
  }

  /** Describes a value once, also where it holds itself. */
  private once(value: object, describe: () => string): string {
    const known = this.described.get(value)
    if (known !== undefined) return known
    const ring = this.open.get(value)
    if (ring !== undefined) {
      this.ring = Math.min(this.ring, ring)
      return "↺"
    }
    const depth = this.open.size
    this.open.set(value, depth)
    try {
      const text = describe()
      // What leads back to something around it says less than it would by itself.
      if (this.ring >= depth) {
        this.described.set(value, text)
        this.ring = Number.POSITIVE_INFINITY
      }
      return text
    } finally {
      this.open.delete(value)
    }
  }

  private describeNew(value: object): string {
    if (Array.isArray(value) || FunctionCode.isRecord(value)) {
      // Plain data in one go, however much it is.
      const plain = StoredValue.canonical(value)
      if (plain !== undefined) return plain.length > MOST_SHOWN ? `data ${ContentHash.make(plain)}` : plain
    }
    if (Array.isArray(value)) return `[${value.map((item) => this.describe(item)).join(",")}]`
    if (value instanceof Map) {
      return `map ${this.describe(Array.from(value))}`
    }
    if (value instanceof Set) return `set ${this.describe(Array.from(value))}`
    if (value instanceof RegExp) return `regexp ${value}`
    if (value instanceof Date || value instanceof URL) return StoredValue.encode(value)!
    if (ArrayBuffer.isView(value))
      return `${value.constructor.name} ${hash("sha256", new Uint8Array(value.buffer, value.byteOffset, value.byteLength), "hex")}`
    if (value instanceof Error) return `error ${value.name} ${value.message}`
    if (types.isModuleNamespaceObject(value)) return this.describeModule(value)
    if (Context.isKey(value) && !markersOf(value).some((marker) => marker.startsWith("~effect/ai"))) {
      const { defaultValue, key } = value as { readonly key?: unknown; readonly defaultValue?: unknown }
      return `service ${String(key)} ${typeof defaultValue === "function" ? this.describeFunction(defaultValue) : ""}`
    }
    if (Schema.isSchema(value)) return this.describeSchema(value)
    if (FunctionCode.isRecord(value)) return this.describeFields(value)
    if (types.isProxy(value) || types.isPromise(value)) throw new Incomparable("a value that only running it shows")
    const markers = markersOf(value)
    if (markers.some((marker) => STATES.has(marker)))
      throw new Incomparable(`a ${markers[0]!.slice("~effect/".length)}`)
    if (markers.length > 0) {
      const made: unknown = value.constructor
      const own = typeof made === "function" && this.code.isOwn(made) ? this.describeFunction(made) : ""
      return `${markers.join(" ")} ${own} ${this.inData(() => this.describeFields(value))}`
    }
    return this.describeInstance(value)
  }

  /** A module of the author's is what it exports; one of a package is known by its name. */
  private describeModule(value: object): string {
    const parts = Object.values(value) as ReadonlyArray<unknown>
    const functions = parts.filter((part) => typeof part === "function")
    const isOwn = functions.length === 0 ? parts.length <= 100 : functions.some((f) => this.code.isOwn(f as Function))
    return isOwn ? `module ${this.describeFields(value)}` : "module"
  }

  private describeSchema({ ast }: Schema.Top): string {
    return `schema ${this.inData(() => this.describe(ast))}`
  }

  /** Inside of Effect's data all instances are data. */
  private inData(f: () => string): string {
    this.data++
    try {
      return f()
    } finally {
      this.data--
    }
  }

  private describeFields(value: object): string {
    const names = Reflect.ownKeys(value).filter((name) => Object.prototype.propertyIsEnumerable.call(value, name))
    const texts = names.map((name) => {
      const { get, value: field } = Object.getOwnPropertyDescriptor(value, name)!
      const key = typeof name === "symbol" ? `@${name.description}` : name
      return `${JSON.stringify(key)}:${get === undefined ? this.describe(field) : `get ${this.describeFunction(get)}`}`
    })
    return `{${texts.sort().join(",")}}`
  }

  /** An instance of a class of the author's is what its class and its fields are. */
  private describeInstance(value: object): string {
    const made: unknown = value.constructor
    const name = typeof made === "function" ? made.name : "a class"
    if (this.data > 0 && typeof made === "function") return `${name} ${this.describeFields(value)}`
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
    return `new ${this.describeFunction(made)} ${this.describeFields(value)}`
  }
}

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
