/**
 * Reads JavaScript syntax: its canonical form without comments and formatting, and the names it reads from outside.
 *
 * @internal
 */
import type { AnyNode } from "acorn"

export const isNode = (value: unknown): value is AnyNode =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

/** Fields of a node about its position and spelling. */
const WRITING = new Set(["start", "end", "raw", "loc", "range", "shorthand"])

/** The name of a field, with or without quotes. */
const nameOfKey = (node: object): string | undefined => {
  if (!("key" in node) || !isNode(node.key) || ("computed" in node && node.computed === true)) return undefined
  return node.key.type === "Identifier"
    ? node.key.name
    : node.key.type === "Literal"
      ? String(node.key.value)
      : undefined
}

/** A text that is equal for the same code, however it is formatted. */
export const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value === "bigint") return `${value}n`
  if (value instanceof RegExp) return String(value)
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined"
  const key = nameOfKey(value)
  const fields = Object.entries(value).filter(([name, field]) => !WRITING.has(name) && field !== undefined)
  return `{${fields.map(([name, field]) => `${name}:${name === "key" && key !== undefined ? JSON.stringify(key) : canonical(field)}`).join(",")}}`
}

/** A name read from outside: the members that are read, or all of it. */
export interface Reference {
  readonly members: Set<string>
  isWhole: boolean
  /** Whether it is also assigned: its value is then not part of the code's identity. */
  isWritten: boolean
}

export interface Outside {
  readonly names: ReadonlyMap<string, Reference>
  /** The names in the `extends` clause of a class. */
  readonly parents: ReadonlySet<string>
  /** Whether it reads the `this` of its surroundings. */
  readonly readsThis: boolean
  /** Whether it loads modules when it runs. */
  readonly loads: boolean
}

/** The names that a pattern binds. */
const bound = (pattern: AnyNode | null | undefined, into: Set<string>): Set<string> => {
  switch (pattern?.type) {
    case "Identifier":
      into.add(pattern.name)
      break
    case "ObjectPattern":
      for (const property of pattern.properties) {
        bound(property.type === "RestElement" ? property.argument : property.value, into)
      }
      break
    case "ArrayPattern":
      for (const element of pattern.elements) bound(element, into)
      break
    case "RestElement":
      bound(pattern.argument, into)
      break
    case "AssignmentPattern":
      bound(pattern.left, into)
      break
  }
  return into
}

const isFunction = (node: AnyNode): boolean =>
  node.type === "FunctionDeclaration" || node.type === "FunctionExpression" || node.type === "ArrowFunctionExpression"

const childrenOf = (node: AnyNode): ReadonlyArray<AnyNode> =>
  Object.values(node).flatMap((value: unknown) =>
    Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : []
  )

/** Names declared with `var` anywhere in a function. */
const hoisted = (node: AnyNode, into: Set<string>): void => {
  if (node.type === "VariableDeclaration" && node.kind === "var") {
    for (const { id } of node.declarations) bound(id, into)
  }
  for (const child of childrenOf(node)) if (!isFunction(child)) hoisted(child, into)
}

/** Names that statements declare for their block. */
const lexical = (statements: ReadonlyArray<AnyNode>): Set<string> => {
  const names = new Set<string>()
  for (const statement of statements) {
    const declaration =
      statement.type === "ExportNamedDeclaration" && statement.declaration ? statement.declaration : statement
    if (declaration.type === "VariableDeclaration") for (const { id } of declaration.declarations) bound(id, names)
    else if (declaration.type === "FunctionDeclaration" || declaration.type === "ClassDeclaration") {
      bound(declaration.id, names)
    }
  }
  return names
}

type Scopes = ReadonlyArray<ReadonlySet<string>>

/** Finds what a piece of syntax reads from outside. */
class Reader {
  readonly names = new Map<string, Reference>()
  readsThis = false
  loads = false

  private reference(name: string, scopes: Scopes, member?: string): void {
    if (scopes.some((scope) => scope.has(name))) return
    let known = this.names.get(name)
    if (known === undefined) this.names.set(name, (known = { members: new Set(), isWhole: false, isWritten: false }))
    if (member === undefined) known.isWhole = true
    else known.members.add(member)
  }

  private all(nodes: ReadonlyArray<AnyNode | null | undefined>, scopes: Scopes, hasThis: boolean): void {
    for (const node of nodes) if (node) this.visit(node, scopes, hasThis)
  }

  /** The expressions in a pattern: defaults and computed keys. */
  private pattern(node: AnyNode | null | undefined, scopes: Scopes, hasThis: boolean): void {
    switch (node?.type) {
      case "ObjectPattern":
        for (const property of node.properties) {
          if (property.type === "RestElement") this.pattern(property.argument, scopes, hasThis)
          else {
            if (property.computed) this.visit(property.key, scopes, hasThis)
            this.pattern(property.value, scopes, hasThis)
          }
        }
        return
      case "ArrayPattern":
        for (const element of node.elements) this.pattern(element, scopes, hasThis)
        return
      case "RestElement":
        return this.pattern(node.argument, scopes, hasThis)
      case "AssignmentPattern":
        this.pattern(node.left, scopes, hasThis)
        return this.visit(node.right, scopes, hasThis)
      case "MemberExpression":
        return this.visit(node, scopes, hasThis)
    }
  }

  /** What an assignment changes. */
  private written(target: AnyNode, scopes: Scopes, hasThis: boolean): void {
    for (const name of target.type === "MemberExpression" ? [] : bound(target, new Set())) {
      this.reference(name, scopes)
      const known = this.names.get(name)
      if (known !== undefined && !scopes.some((scope) => scope.has(name))) known.isWritten = true
    }
    this.pattern(target, scopes, hasThis)
  }

  /** With `hasThis`, `this` belongs to an inner function. */
  visit(node: AnyNode, scopes: Scopes, hasThis: boolean): void {
    switch (node.type) {
      case "Identifier":
        return this.reference(node.name, scopes)
      case "AssignmentExpression":
        this.written(node.left, scopes, hasThis)
        return this.visit(node.right, scopes, hasThis)
      case "UpdateExpression":
        return this.written(node.argument, scopes, hasThis)
      case "ThisExpression":
      case "Super":
        if (!hasThis) this.readsThis = true
        return
      case "MemberExpression":
        if (node.object.type === "Identifier" && !node.computed && node.property.type === "Identifier") {
          return this.reference(node.object.name, scopes, node.property.name)
        }
        this.visit(node.object as AnyNode, scopes, hasThis)
        if (node.computed) this.visit(node.property as AnyNode, scopes, hasThis)
        return
      case "Property":
      case "MethodDefinition":
      case "PropertyDefinition":
        if (node.computed) this.visit(node.key as AnyNode, scopes, hasThis)
        if (node.value) this.visit(node.value as AnyNode, scopes, hasThis || node.type === "PropertyDefinition")
        return
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression": {
        const own = new Set<string>(node.type === "ArrowFunctionExpression" ? [] : ["arguments"])
        bound(node.id, own)
        for (const param of node.params) bound(param, own)
        const owns = hasThis || node.type !== "ArrowFunctionExpression"
        // Declarations of the body are not visible in defaults.
        for (const param of node.params) this.pattern(param, [...scopes, own], owns)
        const inside = new Set(own)
        hoisted(node.body, inside)
        return this.visit(node.body, [...scopes, inside], owns)
      }
      case "ClassDeclaration":
      case "ClassExpression": {
        const inner = [...scopes, bound(node.id, new Set())]
        this.all([node.superClass], inner, hasThis)
        return this.visit(node.body, inner, true)
      }
      case "Program":
      case "BlockStatement":
      case "StaticBlock":
        return this.all(node.body, [...scopes, lexical(node.body)], hasThis)
      case "SwitchStatement": {
        this.visit(node.discriminant, scopes, hasThis)
        const statements = node.cases.flatMap(({ consequent }) => consequent)
        return this.all(node.cases, [...scopes, lexical(statements)], hasThis)
      }
      case "ForStatement":
      case "ForInStatement":
      case "ForOfStatement": {
        const head = node.type === "ForStatement" ? node.init : node.left
        return this.all(childrenOf(node), [...scopes, lexical(head ? [head as AnyNode] : [])], hasThis)
      }
      case "CatchClause": {
        const inner = [...scopes, bound(node.param, new Set())]
        this.pattern(node.param, inner, hasThis)
        return this.visit(node.body, inner, hasThis)
      }
      case "VariableDeclarator":
        this.pattern(node.id, scopes, hasThis)
        return this.all([node.init], scopes, hasThis)
      case "LabeledStatement":
        return this.visit(node.body, scopes, hasThis)
      case "ImportExpression":
        this.loads = true
        return
      case "BreakStatement":
      case "ContinueStatement":
      case "MetaProperty":
        return
      default:
        return this.all(childrenOf(node), scopes, hasThis)
    }
  }
}

/** What an expression reads from outside. */
export const outsideOf = (node: AnyNode): Outside => {
  const reader = new Reader()
  reader.visit(node, [], false)
  const isClass = node.type === "ClassExpression" || node.type === "ClassDeclaration"
  const parent = isClass && node.superClass ? outsideOf(node.superClass as AnyNode) : undefined
  return {
    names: reader.names,
    parents: new Set(parent?.names.keys()),
    readsThis: reader.readsThis,
    loads: reader.loads
  }
}

/** Nodes with variables of their own. */
const ENCLOSING = new Set([
  "ClassBody",
  "BlockStatement",
  "StaticBlock",
  "ForStatement",
  "ForInStatement",
  "ForOfStatement",
  "SwitchStatement",
  "CatchClause"
])

/** The scopes in a module, as pairs of start and end. */
export const scopesIn = (
  node: AnyNode,
  into: Array<readonly [number, number]> = []
): ReadonlyArray<readonly [number, number]> => {
  if (isFunction(node) || ENCLOSING.has(node.type)) into.push([node.start, node.end])
  for (const child of childrenOf(node)) scopesIn(child, into)
  return into
}

/** The code of the initial values of a module's variables, by name. */
export const initialsIn = (program: AnyNode): ReadonlyMap<string, string> =>
  new Map(
    program.type !== "Program"
      ? []
      : program.body.flatMap((statement) => {
          const declaration =
            statement.type === "ExportNamedDeclaration" && statement.declaration ? statement.declaration : statement
          return declaration.type === "VariableDeclaration"
            ? declaration.declarations.flatMap(({ id, init }): ReadonlyArray<readonly [string, string]> =>
                id.type === "Identifier" && init ? [[id.name, canonical(init)]] : []
              )
            : []
        })
  )

/** The modules that a module loads when it runs (`import("./other.ts")`). */
export const loadedIn = (node: AnyNode, into: Set<string> = new Set()): ReadonlySet<string> => {
  if (node.type === "ImportExpression" && node.source.type === "Literal") into.add(String(node.source.value))
  for (const child of childrenOf(node)) loadedIn(child, into)
  return into
}
