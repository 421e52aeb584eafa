/**
 * What the code is that a function names: the declarations of a flow's own modules that it refers to, and those that they
 * refer to. An edited helper, schema or constant makes what was kept of a step another's.
 *
 * A name that a function declares itself is its own. What cannot be told is counted as referred to: then a step runs once
 * more than it has to.
 */
import { type AnyNode, parse } from "acorn"
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { stripTypeScriptTypes } from "node:module"
import { dirname, resolve } from "node:path"

interface Module {
  /** As Node runs it: types are blanks. */
  readonly text: string
  /** By name: the text of the declaration, and what it refers to. */
  readonly declarations: ReadonlyMap<string, { readonly text: string; readonly names: ReadonlySet<string> }>
  /** By local name: the module and the name there; `*` is all of it. */
  readonly imports: ReadonlyMap<string, { readonly path: string; readonly name: string }>
  readonly paths: ReadonlyArray<string>
}

/** The names that a piece of syntax refers to and does not declare itself. */
const namesOf = (root: AnyNode): ReadonlySet<string> => {
  const used = new Set<string>()
  const declared = new Set<string>()
  const bind = (pattern: AnyNode | null | undefined): void => {
    switch (pattern?.type) {
      case "Identifier":
        return void declared.add(pattern.name)
      case "ObjectPattern":
        for (const property of pattern.properties) {
          if (property.type === "RestElement") bind(property.argument)
          else {
            if (property.computed) visit(property.key)
            bind(property.value)
          }
        }
        return
      case "ArrayPattern":
        return pattern.elements.forEach(bind)
      case "RestElement":
        return bind(pattern.argument)
      case "AssignmentPattern":
        bind(pattern.left)
        return visit(pattern.right)
    }
  }
  const visit = (node: AnyNode | null | undefined): void => {
    if (node === null || node === undefined) return
    switch (node.type) {
      case "Identifier":
        return void used.add(node.name)
      case "MemberExpression":
        visit(node.object as AnyNode)
        if (node.computed) visit(node.property as AnyNode)
        return
      case "Property":
      case "MethodDefinition":
      case "PropertyDefinition":
        if (node.computed) visit(node.key as AnyNode)
        return visit(node.value as AnyNode)
      case "VariableDeclarator":
        bind(node.id)
        return visit(node.init)
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        bind(node.id)
        node.params.forEach(bind)
        return visit(node.body)
      case "ClassDeclaration":
      case "ClassExpression":
        bind(node.id)
        visit(node.superClass)
        return visit(node.body)
      case "CatchClause":
        bind(node.param)
        return visit(node.body)
      case "LabeledStatement":
        return visit(node.body)
      default:
        for (const value of Object.values(node)) {
          if (Array.isArray(value)) value.forEach((item: unknown) => isNode(item) && visit(item))
          else if (isNode(value)) visit(value)
        }
    }
  }
  visit(root)
  for (const name of declared) used.delete(name)
  return used
}

const isNode = (value: unknown): value is AnyNode =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

const boundBy = (statement: AnyNode): ReadonlyArray<string> => {
  switch (statement.type) {
    case "VariableDeclaration": {
      const names = new Set<string>()
      const collect = (node: unknown): void => {
        if (!isNode(node)) return
        if (node.type === "Identifier") names.add(node.name)
        else if (node.type === "Property") collect(node.value)
        else if (node.type === "AssignmentPattern") collect(node.left)
        else if (node.type === "RestElement") collect(node.argument)
        else if (node.type === "ObjectPattern") node.properties.forEach(collect)
        else if (node.type === "ArrayPattern") node.elements.forEach(collect)
      }
      for (const { id } of statement.declarations) collect(id)
      return [...names]
    }
    case "FunctionDeclaration":
    case "ClassDeclaration":
      return statement.id === null ? [] : [statement.id.name]
    default:
      return []
  }
}

/** Node warns that its stripping of types is young; a user of the command cannot do anything about it. */
const strip = (text: string): string => {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(text)
  } finally {
    process.emitWarning = emitWarning
  }
}

const read = (path: string): Module => {
  const source = readFileSync(path, "utf8")
  const text = /\.[mc]?ts$/.test(path) ? strip(source) : source
  const declarations = new Map<string, { readonly text: string; readonly names: ReadonlySet<string> }>()
  const imports = new Map<string, { readonly path: string; readonly name: string }>()
  const paths = new Set<string>()
  const local = (specifier: string): string | undefined => {
    const target = specifier.startsWith(".") ? resolve(dirname(path), specifier) : undefined
    if (target === undefined || !existsSync(target) || !/\.[mc]?[jt]s$/.test(target)) return undefined
    paths.add(target)
    return target
  }
  for (const statement of parse(text, { ecmaVersion: "latest", sourceType: "module", allowHashBang: true }).body) {
    if (statement.type === "ImportDeclaration") {
      const target = local(String(statement.source.value))
      if (target === undefined) continue
      for (const one of statement.specifiers) {
        const name = one.type === "ImportSpecifier" && one.imported.type === "Identifier" ? one.imported.name : "*"
        imports.set(one.local.name, { path: target, name })
      }
      continue
    }
    if (
      (statement.type === "ExportNamedDeclaration" || statement.type === "ExportAllDeclaration")
      && statement.source
    ) {
      const target = local(String(statement.source.value))
      if (target === undefined) continue
      if (statement.type === "ExportAllDeclaration") imports.set("*", { path: target, name: "*" })
      else {
        for (const { exported, local: from } of statement.specifiers) {
          if (exported.type === "Identifier" && from.type === "Identifier")
            imports.set(exported.name, { path: target, name: from.name })
        }
      }
      continue
    }
    const declaration = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement
    if (!declaration) continue
    for (const name of boundBy(declaration)) {
      declarations.set(name, { text: text.slice(declaration.start, declaration.end), names: namesOf(declaration) })
    }
  }
  return { text, declarations, imports, paths: [...paths] }
}

/** For the functions of a step (their sources): a hash of the code that they refer to. */
export const fingerprint = (file: string): ((functions: ReadonlyArray<string>) => string) => {
  let modules: Map<string, Module> | undefined

  const load = (): ReadonlyMap<string, Module> => {
    if (modules !== undefined) return modules
    const found = new Map<string, Module>()
    const visit = (path: string): void => {
      if (found.has(path)) return
      const module = read(path)
      found.set(path, module)
      module.paths.forEach(visit)
    }
    visit(file)
    return (modules = found)
  }

  return (functions) => {
    const all = load()
    const texts = new Map<string, string>()
    const visit = (path: string, name: string): void => {
      const key = `${path}\n${name}`
      const module = all.get(path)
      if (module === undefined || texts.has(key)) return
      const declaration = module.declarations.get(name)
      const imported = module.imports.get(name) ?? (declaration === undefined ? module.imports.get("*") : undefined)
      if (name === "*") {
        texts.set(key, module.text)
        for (const { name, path } of module.imports.values()) visit(path, name)
      } else if (declaration !== undefined) {
        texts.set(key, declaration.text)
        for (const other of declaration.names) visit(path, other)
      } else if (imported !== undefined) {
        texts.set(key, "")
        visit(imported.path, imported.name === "*" && imported === module.imports.get("*") ? name : imported.name)
      }
    }
    for (const source of functions) {
      const expression = parseFunction(source)
      if (expression === undefined) continue
      const names = namesOf(expression)
      const homes = [...all].filter(([, module]) => module.text.includes(source))
      for (const [path] of homes.length === 0 ? all : homes) for (const name of names) visit(path, name)
    }
    // By text, not by path: a flow that was moved is the same flow.
    const sorted = [...texts].map(([key, text]) => `${key.split("\n")[1]}\n${text}`).sort()
    return createHash("sha256").update(sorted.join("\0")).digest("hex").slice(0, 32)
  }
}

/** A function's source as an expression; methods need their word. */
const parseFunction = (source: string): AnyNode | undefined => {
  for (const text of [`(${source})`, `({${source}})`]) {
    try {
      return parse(text, { ecmaVersion: "latest" })
    } catch {
      continue
    }
  }
  return undefined
}
