/** The parameters of a flow as flags. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"

/** Parameter values as given, as text. */
export interface Given {
  readonly parameters: { readonly [name: string]: Option.Option<string | boolean> }
}

type Described = Parameter.Any["parameter"]

/** The form of a parameter in JSON, as runs keep it. */
const codecOf = ({ schema }: Described): Schema.Codec<unknown, Schema.Json> => Schema.toCodecJson(schema)

/** What the command line gives: a value before it is decoded. */
const formOf = (parameter: Described): SchemaAST.AST => {
  const own = Schema.toEncoded(parameter.schema).ast
  // Sets, maps and dates have a form in JSON alone.
  return own._tag === "Declaration" ? Schema.toEncoded(codecOf(parameter)).ast : own
}

/** The values that a schema allows, when it lists them. */
const choicesOf = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  if (ast._tag === "Literal") return [String(ast.literal)]
  if (ast._tag === "Enum") return ast.enums.map(([, value]) => String(value))
  if (ast._tag !== "Union") return []
  const choices = ast.types.map(choicesOf)
  return choices.every((some) => some.length > 0) ? choices.flat() : []
}

/** The values of a list, when it has any number of them. */
const itemOf = (ast: SchemaAST.AST): SchemaAST.AST | undefined => (ast._tag === "Arrays" ? ast.rest[0] : undefined)

/** Tests whether values are records or lists, which are given as JSON. */
const isNested = (ast: SchemaAST.AST): boolean =>
  ast._tag === "Objects" || ast._tag === "Arrays" || (ast._tag === "Union" && ast.types.some(isNested))

/** The form of a value, for the help, which lists choices by itself. */
const described = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  const item = itemOf(ast)
  if (item !== undefined && !isNested(item)) {
    const choices = choicesOf(item)
    return [choices.length === 0 ? "a comma-separated list" : `a comma-separated list of ${choices.join(", ")}`]
  }
  return isNested(ast) ? ["as JSON"] : []
}

/** A value in the form that runs keep. */
const encoded = (parameter: Described, value: unknown): Option.Option<Schema.Json> =>
  Schema.encodeUnknownOption(codecOf(parameter))(value)

/** A value as it is given on the command line. */
const shown = (parameter: Described, value: unknown): string => {
  const given = Option.getOrElse(encoded(parameter, value), () => value)
  const item = itemOf(formOf(parameter))
  if (Array.isArray(given) && given.length > 0 && item !== undefined && !isNested(item)) return given.join(",")
  return typeof given === "object" && given !== null ? JSON.stringify(given) : String(given)
}

/** The flag of a parameter. */
const toFlag = ({ parameter }: Parameter.Any): Flag.Flag<Option.Option<string | boolean>> => {
  const { name } = parameter
  const form = formOf(parameter)
  const choices = choicesOf(form)
  const fallback = Option.match(parameter.default, {
    onNone: () => "required by the flow",
    onSome: (value) => `default ${shown(parameter, value)}`
  })
  const description = `${parameter.description ?? "a parameter of the flow"} (${[...described(form), fallback].join("; ")})`
  const flag: Flag.Flag<string | boolean> =
    form._tag === "Boolean" ? Flag.Boolean(name) : choices.length > 0 ? Flag.Literals(name, choices) : Flag.String(name)
  return Flag.optional(Flag.withDescription(flag, description))
}

/** A flag for each parameter. */
export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Object.fromEntries(parameters.map((parameter) => [parameter.parameter.name, toFlag(parameter)]))

/** The names of the flags that a parameter makes. */
const flagsOf = ({ parameter }: Parameter.Any): ReadonlyArray<string> =>
  formOf(parameter)._tag === "Boolean" ? [parameter.name, `no-${parameter.name}`] : [parameter.name]

/** Why the parameters of a flow cannot be flags beside others. */
export const problemOf = (parameters: ReadonlyArray<Parameter.Any>, taken: ReadonlySet<string>): string | undefined => {
  const owners = new Map<string, string>()
  for (const parameter of parameters) {
    const { name } = parameter.parameter
    for (const flag of flagsOf(parameter)) {
      const is = flag === name ? "has the name of" : `is also --${flag}, which is`
      if (taken.has(flag)) return `its parameter ${name} ${is} a flag of pipe: rename it`
      const owner = owners.get(flag)
      if (owner !== undefined) return `its parameters ${owner} and ${name} are both --${flag}: rename one`
      owners.set(flag, name)
    }
  }
  return undefined
}

/** What a value given as text stands for, before it is decoded: the text, its parts, or its JSON. */
const read = (parameter: Described, given: string): Effect.Effect<unknown, Problem> => {
  const form = formOf(parameter)
  const item = itemOf(form)
  const isPlain = item !== undefined && !isNested(item) && !/^\s*\[/.test(given)
  if (!isNested(form)) return Effect.succeed(given)
  if (isPlain) return Effect.succeed(given.split(",").map((part) => part.trim()))
  return Effect.try({
    try: (): unknown => JSON.parse(given),
    catch: () => {
      const example = Option.match(parameter.default, {
        onNone: () => "",
        onSome: (value) => `, such as '${JSON.stringify(Option.getOrNull(encoded(parameter, value)))}'`
      })
      return { message: `is not JSON: give it as one${example}` }
    }
  })
}

interface Problem {
  readonly message: string
}

/** Decodes a value as given, and encodes it as JSON. */
export const encode = (parameter: Described, given: string | boolean): Effect.Effect<Schema.Json, Problem> => {
  if (typeof given === "boolean") return Effect.succeed(given)
  return read(parameter, given).pipe(
    Effect.flatMap((value): Effect.Effect<unknown, Problem> =>
      typeof value === "string" || (Array.isArray(value) && value.every((part) => typeof part === "string"))
        ? Schema.decodeUnknownEffect(Schema.toCodecStringTree(parameter.schema as Schema.Codec<unknown, unknown>))(
            value
          )
        : Schema.decodeUnknownEffect(codecOf(parameter))(value)
    ),
    Effect.flatMap((value) => Schema.encodeEffect(codecOf(parameter))(value))
  )
}
