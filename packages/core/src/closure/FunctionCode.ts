/**
 * Reads a single function: its code, without comments and formatting, and the variables it reads from outside.
 *
 * @internal
 */
import type * as Acorn from "acorn"
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import { types } from "node:util"
import * as ContentHash from "../encoding/ContentHash.ts"
import type * as Modules from "./Modules.ts"
import type * as Scopes from "./Scopes.ts"
import * as Syntax from "./Syntax.ts"

type Variable = readonly [name: string, value: unknown]

/** What a name in a function refers to. */
type Named =
  | { readonly _tag: "Constant"; readonly text: string }
  | { readonly _tag: "Variables"; readonly variables: ReadonlyArray<Variable> }
  | { readonly _tag: "Unknown"; readonly what: string }

/** A function without the values of its variables. */
export interface Own {
  readonly code: string
  readonly variables: ReadonlyArray<Variable>
  readonly unknown: string | undefined
  readonly home: Modules.Home | undefined
}

/** A function's text, which is the same for all functions made from it. */
interface Text extends Syntax.Outside {
  readonly canonical: string
  readonly isArrow: boolean
  readonly home: Modules.Home | undefined
}

export class CodeReader {
  private readonly acorn: typeof Acorn
  private readonly modules: Modules.Modules
  private readonly openScopes: () => Scopes.Scopes
  private scopes: Scopes.Scopes | undefined
  private readonly texts = new Map<string, Text | undefined>()
  private readonly owns = new Map<Function, Own>()
  private readonly around = new WeakMap<Function, ReadonlyArray<Scopes.Scope>>()
  private readonly tops = new Map<Modules.Module, Scopes.Scope["variables"]>()

  constructor(acorn: typeof Acorn, modules: Modules.Modules, openScopes: () => Scopes.Scopes) {
    this.acorn = acorn
    this.modules = modules
    this.openScopes = openScopes
  }

  close(): void {
    this.scopes?.close()
    this.scopes = undefined
  }

  of(f: Function): Own {
    let own = this.owns.get(f)
    if (own === undefined) this.owns.set(f, (own = this.look(f)))
    return own
  }

  private look(f: Function): Own {
    const source = sourceOf(f)
    const opaque = (what: string): Own => ({
      code: ContentHash.make(source),
      variables: [],
      unknown: what,
      home: undefined
    })
    if (types.isProxy(f)) return opaque("a proxy")
    if (NATIVE.test(source)) {
      if (f.name.startsWith("bound ")) return opaque("a bound function")
      return isBuiltin(f)
        ? { ...opaque(""), unknown: undefined, code: `native ${f.name}` }
        : opaque("a built-in function with captured values")
    }
    if (isPlatform(f)) return { ...opaque(""), unknown: undefined, code: `global ${f.name}` }
    const text = this.textOf(source)
    if (text === undefined) return opaque("code that cannot be read")
    const { home, isArrow, loads, readsThis } = text
    const constants: Array<string> = []
    const variables: Array<Variable> = []
    for (const [name, reference] of text.names) {
      const known = this.nameOf(f, text, name, reference)
      switch (known._tag) {
        case "Unknown":
          return { ...opaque(known.what), home }
        case "Constant":
          constants.push(known.text)
          break
        case "Variables":
          variables.push(...known.variables)
      }
    }
    if (home !== undefined && !isData(f)) variables.push(...propertiesOf(f))
    const unknown =
      readsThis && isArrow
        ? "`this` of its surroundings"
        : loads
          ? "a module that it loads when it runs"
          : STATIC_PRIVATE.test(source)
            ? "a class with private static fields"
            : undefined
    return {
      code: ContentHash.make([text.canonical, ...constants.sort()].join("\n")),
      variables,
      unknown: home === undefined ? undefined : unknown,
      home
    }
  }

  /** What an outside name refers to. */
  private nameOf(f: Function, { home, parents }: Text, name: string, reference: Syntax.Reference): Named {
    const imported = home?.imports.get(name)
    if (imported?._tag === "Package") {
      return { _tag: "Constant", text: `${name}=${imported.specifier}#${imported.name}` }
    }
    // Values assigned while functions run are not part of their identity.
    if (reference.isWritten) {
      return { _tag: "Constant", text: `${name} is written, from ${home?.module.initials.get(name) ?? ""}` }
    }
    const scope = this.scopesOf(f, home).find(({ variables }) => Object.hasOwn(variables, name))
    if (scope === undefined) {
      // V8 keeps no variable that only `extends` refers to.
      if (parents.has(name)) return { _tag: "Variables", variables: [["super", Object.getPrototypeOf(f)]] }
      const isUnknown = home !== undefined && !(name in globalThis)
      return isUnknown
        ? { _tag: "Unknown", what: `${name}, which cannot be read` }
        : { _tag: "Variables", variables: [] }
    }
    const value = scope.variables[name]
    const isImported = imported !== undefined && typeof value === "function" && !isData(value)
    // What a package has made for an author's module (a toolkit) is described as a value.
    if (isImported && !this.modules.isFound(imported) && this.of(value).home === undefined) {
      return { _tag: "Unknown", what: `${name}, whose module was not found` }
    }
    // An author's module is identified by its exports.
    if (imported?.name === "*" && reference.isWhole && types.isModuleNamespaceObject(value)) {
      return { _tag: "Variables", variables: [[name, { ...(value as object) }]] }
    }
    return {
      _tag: "Variables",
      variables:
        reference.isWhole || !this.isByMember(value, reference)
          ? [[name, value]]
          : Array.from(reference.members, (member) => [
              `${name}.${member}`,
              Object.getOwnPropertyDescriptor(value, member)?.value
            ])
    }
  }

  /** Tests whether only the members that are read of a value count: data, and functions that do not read `this`. */
  private isByMember(value: unknown, { members }: Syntax.Reference): value is object {
    if (types.isProxy(value) || (!isRecord(value) && !types.isModuleNamespaceObject(value))) return false
    for (const member of members) {
      const { get, value: part } = Object.getOwnPropertyDescriptor(value, member) ?? {}
      if (get !== undefined || (typeof part === "function" && READS_THIS.test(sourceOf(part)))) return false
    }
    return true
  }

  /** Tests whether a function is declared in one of the author's modules, by its text and without reading it. */
  isOwn(f: Function): boolean {
    return this.modules.homeOf(sourceOf(f)) !== undefined
  }

  /** What the text of a function says. Many functions share one text. */
  private textOf(source: string): Text | undefined {
    if (this.texts.has(source)) return this.texts.get(source)
    const node = this.parse(source)
    const text =
      node === undefined
        ? undefined
        : {
            ...Syntax.outsideOf(node),
            canonical: ContentHash.make(Syntax.canonical(node)),
            isArrow: node.type === "ArrowFunctionExpression",
            home: this.modules.homeOf(source)
          }
    this.texts.set(source, text)
    return text
  }

  private scopesOf(f: Function, home: Modules.Home | undefined): ReadonlyArray<Scopes.Scope> {
    let scopes = this.around.get(f)
    if (scopes === undefined) this.around.set(f, (scopes = this.readScopes(f, home)))
    return scopes
  }

  private readScopes(f: Function, home: Modules.Home | undefined): ReadonlyArray<Scopes.Scope> {
    const known = home?.isTop === true ? this.tops.get(home.module) : undefined
    if (known !== undefined) return [{ kind: "module", variables: known }]
    this.scopes ??= this.openScopes()
    const all = this.scopes.of(f) ?? []
    // Modules of packages are identified by the names of their functions.
    if (home === undefined) return all.filter(({ kind }) => kind === "inner")
    const top = all.find(({ kind }) => kind === "module")
    if (top !== undefined && home.isTop) this.tops.set(home.module, top.variables)
    return all
  }

  /** Parses a function's source as an expression. Methods need their keyword. */
  private parse(source: string): Acorn.AnyNode | undefined {
    for (const text of [`(${source})`, `({${source}})`]) {
      try {
        const [statement] = this.acorn.parse(text, { ecmaVersion: "latest", sourceType: "module" }).body
        if (statement?.type !== "ExpressionStatement") continue
        const { expression } = statement
        if (expression.type !== "ObjectExpression") return expression
        const [property] = expression.properties
        if (property?.type === "Property") return property.value
      } catch {
        continue
      }
    }
    return undefined
  }
}

/** Properties that every function has. */
const STANDARD = new Set(["length", "name", "prototype", "arguments", "caller"])

/** Values that an author has added to a function or its prototype. What its own text defines is part of its code. */
const propertiesOf = (f: Function): ReadonlyArray<Variable> => {
  const source = sourceOf(f)
  const prototype: unknown = Object.getOwnPropertyDescriptor(f, "prototype")?.value
  return [
    ...propertiesIn(f, f.name, source, STANDARD),
    ...(typeof prototype !== "object" || prototype === null
      ? []
      : propertiesIn(prototype, `${f.name}.prototype`, source, new Set(["constructor"])))
  ]
}

const propertiesIn = (
  holder: object,
  way: string,
  source: string,
  standard: ReadonlySet<string>
): ReadonlyArray<Variable> =>
  Object.getOwnPropertyNames(holder).flatMap((name) => {
    const { value } = Object.getOwnPropertyDescriptor(holder, name)!
    const isKnown = value === undefined || (typeof value === "function" && source.includes(sourceOf(value)))
    return standard.has(name) || isKnown ? [] : [[`${way}.${name}`, value]]
  })

const NATIVE = /\{\s*\[native code\]\s*\}$/

const STATIC_PRIVATE = /[\s;{]static\s+(?:async\s+|get\s+|set\s+|\*\s*)*#\w/

/** Classes of the platform, some of which are written in JavaScript. */
const PLATFORM = new Set(
  `URL URLSearchParams Headers Request Response FormData Blob File AbortController AbortSignal Event EventTarget TextEncoder TextDecoder
  ReadableStream WritableStream TransformStream CompressionStream DecompressionStream MessageChannel BroadcastChannel WebSocket DOMException`.split(
    /\s+/
  )
)

const isPlatform = (f: Function): boolean =>
  PLATFORM.has(f.name) && (globalThis as { readonly [name: string]: unknown })[f.name] === f

let builtins: Set<unknown> | undefined

/** Tests whether a function is built in, so it captures nothing. */
const isBuiltin = (f: Function): boolean => {
  if (builtins === undefined) {
    builtins = new Set()
    collect(globalThis, builtins, 4)
  }
  return builtins.has(f)
}

/** Collects all functions under an object, without running a getter. */
const collect = (holder: object, into: Set<unknown>, levels: number): void => {
  if (levels === 0 || into.has(holder)) return
  into.add(holder)
  for (const name of Reflect.ownKeys(holder)) {
    const { get, set, value } = Object.getOwnPropertyDescriptor(holder, name)!
    for (const part of [get, set, value] as ReadonlyArray<unknown>) {
      if (typeof part === "function" && !NATIVE.test(sourceOf(part))) continue
      if (typeof part === "function" || (typeof part === "object" && part !== null)) collect(part, into, levels - 1)
    }
  }
}

const READS_THIS = /\b(?:this|super)\b/

export const sourceOf = (f: Function): string => Function.prototype.toString.call(f)

/** Functions that represent data: schemas, and keys of services. */
export const isData = (f: Function): boolean => Schema.isSchema(f) || Context.isKey(f) || isToolkit(f)

/** Tests whether a class is a toolkit, which says what it is by its tools. */
export const isToolkit = (f: Function): boolean => "~effect/ai/Toolkit" in f

export const isRecord = (value: unknown): value is Record<string, unknown> => {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
