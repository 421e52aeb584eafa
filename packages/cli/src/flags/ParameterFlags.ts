/** The parameters of a flow as flags. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import type * as SchemaAST from "effect/SchemaAST"

/** Parameter values as given, as text. */
export interface Given {
  readonly parameters: { readonly [name: string]: Option.Option<string | boolean> }
}

/** The values that a schema allows, when it lists them. */
const choicesOf = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  if (ast._tag === "Literal") return [String(ast.literal)]
  return ast._tag === "Union" && ast.types.every(({ _tag }) => _tag === "Literal") ? ast.types.flatMap(choicesOf) : []
}

/** Whether a parameter is a list of values. */
export const isList = (ast: SchemaAST.AST): boolean => ast._tag === "Arrays"

/** The flag of a parameter. */
const toFlag = ({ parameter }: Parameter.Any): Flag.Flag<Option.Option<string | boolean>> => {
  const fallback = Option.match(parameter.default, {
    onNone: () => "required by the flow",
    onSome: (value) => `default ${Array.isArray(value) ? value.join(",") : String(value)}`
  })
  const choices = choicesOf(parameter.schema.ast)
  const form = [
    ...(choices.length === 0 ? [] : [`one of ${choices.join(", ")}`]),
    ...(isList(parameter.schema.ast) ? ["a comma-separated list"] : []),
    fallback
  ]
  const description = `${parameter.description ?? "a parameter of the flow"} (${form.join("; ")})`
  return parameter.schema.ast._tag === "Boolean"
    ? Flag.optional(Flag.withDescription(Flag.Boolean(parameter.name), description))
    : Flag.optional(Flag.withDescription(Flag.String(parameter.name), description))
}

/** A flag for each parameter. */
export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Object.fromEntries(parameters.map((parameter) => [parameter.parameter.name, toFlag(parameter)]))
