/**
 * A typed parameter of a flow. The command line lists it, checks it and fills it in (`pipe run flow.ts --language de`).
 *
 * **Example** (a language with a default)
 *
 * ```ts
 * import { Parameter } from "@pipe/core"
 * import { Effect, Schema } from "effect"
 *
 * const language = Parameter.make("language", Schema.Literals(["en", "de"]), {
 *   default: "en",
 *   description: "language of the answers"
 * })
 *
 * // in a step: the parameter is an Effect of its value
 * export const prompt = Effect.map(language, (l) => `Answer in ${l}`)
 * ```
 *
 * **Example** (as an input, and in the name of a file)
 *
 * ```ts
 * import { Flow, Parameter, Sink, Source } from "@pipe/core"
 * import { Schema } from "effect"
 *
 * const language = Parameter.make("language", Schema.Literals(["en", "de"]), { default: "en" })
 * const row = Source.lines("row", { path: "words.txt" })
 * const titled = Flow.map("titled", { row, language }, ({ language, row }) => `${language}: ${row}`)
 *
 * export default Flow.make("titles", {
 *   outputs: [Sink.lines(Parameter.path`titles.${language}.txt`, titled)]
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as CallContext from "../client/CallContext.ts"
import { FlowError } from "./FlowError.ts"

/** A parameter, which is also the effect that returns its value in a run. */
export interface Parameter<out A> extends Effect.Effect<A> {
  readonly parameter: {
    readonly name: string
    readonly schema: Schema.Codec<A, unknown>
    readonly default: Option.Option<A>
    readonly description: string | undefined
  }
}

/** A parameter of any type. */
export type Any = Parameter<unknown>

/** A path that has values of parameters in it, which is also the effect that returns it in a run. See `path`. */
export interface Path extends Effect.Effect<string> {
  readonly path: {
    /** The text before, between and after the parameters. */
    readonly texts: ReadonlyArray<string>
    readonly parameters: ReadonlyArray<Any>
  }
}

/** The parameter values of the current run, by name. The runner sets it. */
export const Values = Context.Reference<ReadonlyMap<string, unknown>>("@pipe/core/Parameter/Values", {
  defaultValue: () => new Map()
})

/**
 * What the flow knows of its parameters.
 *
 * @internal
 */
export interface Known {
  /** Those that it lists, or that its nodes, sources and outputs read. */
  readonly names: ReadonlySet<string>
  /** Those whose values are part of the key of every step. */
  readonly keyed: ReadonlySet<string>
  /** Those of which a warning has said that the flow does not know them. */
  readonly warned: Set<string>
}

/**
 * The parameters of the current run's flow.
 *
 * @internal
 */
export const Known = Context.Reference<Known | undefined>("@pipe/core/Parameter/Known", {
  defaultValue: () => undefined
})

/** A value that nothing can change: the command has no flag for a parameter that the flow does not list. */
const unlisted = (name: string, known: Known | undefined): Effect.Effect<void> => {
  if (known === undefined || known.names.has(name) || known.warned.has(name)) return Effect.void
  known.warned.add(name)
  return Effect.logWarning(
    `parameter ${name} has its default, because the flow does not list it: parameters: [${name}] makes it --${name}`
  )
}

/** Why a step, a service or a layer cannot read a parameter: results would not depend on the value. */
const unkeyed = (name: string, { keyed, names }: Known, { step }: CallContext.CallContext): FlowError | undefined => {
  if (keyed.has(name) || !names.has(name)) return undefined
  const way = `give it to a step as an input, such as { row, ${name} }`
  return new FlowError({
    message:
      step === ""
        ? `a service or a layer reads parameter ${name}, which no result depends on: list it, parameters: [${name}]; a parameter that is part of a path cannot be read there, so ${way}`
        : `step ${step} reads parameter ${name}, which its results do not depend on: ${way}`
  })
}

const lookUp = (parameter: Any, values: ReadonlyMap<string, unknown>): Option.Option<unknown> => {
  const { default: otherwise, name } = parameter.parameter
  return values.has(name) ? Option.some(values.get(name)) : otherwise
}

const missing = (name: string): FlowError =>
  new FlowError({ message: `parameter ${name} has no value: list it in the flow's parameters and pass --${name}` })

/** The value of a parameter of the current run. */
const current = (fiber: Fiber.Fiber<unknown, unknown>, parameter: Any): Effect.Effect<unknown> => {
  const { name } = parameter.parameter
  const values = fiber.getRef(Values)
  const known = fiber.getRef(Known)
  const refusal = known === undefined ? undefined : unkeyed(name, known, fiber.getRef(CallContext.CallContext))
  if (refusal !== undefined) return Effect.die(refusal)
  return Option.match(lookUp(parameter, values), {
    onSome: (value) => (values.has(name) ? Effect.succeed(value) : Effect.as(unlisted(name, known), value)),
    onNone: () => Effect.die(missing(name))
  })
}

/**
 * Makes a parameter. Without a default it is required. The flow knows those that its nodes have as inputs and that are in
 * paths; list others in `Flow.make({ parameters: [...] })`.
 */
export const make = <A>(
  name: string,
  schema: Schema.Codec<A, unknown>,
  options?: { readonly default?: NoInfer<A>; readonly description?: string }
): Parameter<A> => {
  if (!NAME.test(name) || name in Object.prototype)
    throw new FlowError({
      message: `a parameter cannot be named ${JSON.stringify(name)}, because its name is a flag: use letters, digits, - and _, beginning with a letter`
    })
  if (options !== undefined && "default" in options && !Schema.is(schema)(options.default))
    throw new FlowError({ message: `parameter ${name}: its default does not fit its schema` })
  const parameter: Parameter<A>["parameter"] = {
    name,
    schema,
    default: options !== undefined && "default" in options ? Option.some(options.default as A) : Option.none(),
    description: options?.description
  }
  const made: Parameter<A> = Object.assign(
    Effect.withFiber<A>((fiber) => current(fiber, made) as Effect.Effect<A>),
    { parameter }
  )
  return made
}

/** A name that is a flag: `language`, `top-k`. */
const NAME = /^[A-Za-z][A-Za-z0-9_-]*$/

/** A parameter whose value can be a part of a path. */
export type PathPart = Parameter<string | number | bigint | boolean>

/**
 * A path with values of parameters in it, for sources and outputs.
 *
 * **Example** (an output for each language)
 *
 * ```ts
 * import { Parameter } from "@pipe/core"
 * import { Schema } from "effect"
 *
 * const language = Parameter.make("language", Schema.Literals(["en", "de"]), { default: "en" })
 *
 * export const subtitles = Parameter.path`out/film.${language}.srt`
 * ```
 */
export const path = (texts: TemplateStringsArray, ...parameters: ReadonlyArray<PathPart>): Path => {
  const other = parameters.find((part) => !isParameter(part))
  if (other !== undefined)
    throw new FlowError({
      message: `Parameter.path: ${String(other)} is not a parameter: put a constant into the text`
    })
  const nested = parameters.find(({ parameter }) => NESTED.has(SchemaAST.toType(parameter.schema.ast)._tag))
  if (nested !== undefined)
    throw new FlowError({
      message: `Parameter.path: ${nested.parameter.name} is a list, a record or a date, which cannot be a part of a path: use a parameter of texts or numbers`
    })
  return Object.assign(
    Effect.map(Effect.all(parameters), (values) => join(texts, values)),
    { path: { texts: [...texts], parameters } }
  )
}

/** Types whose values are no part of a path. */
const NESTED: ReadonlySet<string> = new Set(["Arrays", "Objects", "Declaration"])

const join = (texts: ReadonlyArray<string>, values: ReadonlyArray<unknown>): string =>
  texts.map((text, index) => (index < values.length ? `${text}${String(values[index])}` : text)).join("")

/** Tests whether a value is a parameter. */
export const isParameter = (u: unknown): u is Any => typeof u === "object" && u !== null && "parameter" in u

/** Tests whether a value is a path with parameters in it. */
export const isPath = (u: unknown): u is Path =>
  typeof u === "object" && u !== null && Effect.isEffect(u) && "path" in u

/** Returns a plain value as it is, or the value of a parameter or of a path with parameters in it. */
export const valueOf = <A>(value: A): Effect.Effect<Resolved<A>> =>
  isParameter(value) || isPath(value)
    ? // Where rows are says nothing about what they are.
      Effect.provideService(value as Effect.Effect<unknown> as Effect.Effect<Resolved<A>>, Known, undefined)
    : Effect.succeed(value as Resolved<A>)

/** The value in a run of what may be a parameter, or a path with parameters in it. */
export type Resolved<A> = A extends Parameter<infer B> ? B : A extends Path ? string : A

/**
 * The parameters that a value depends on.
 *
 * @internal
 */
export const within = (value: unknown): ReadonlyArray<Any> =>
  isParameter(value) ? [value] : isPath(value) ? value.path.parameters : []

/**
 * The value of a parameter, or a path, with the values of a run; a plain value as it is. `undefined` when a value is
 * missing.
 *
 * @internal
 */
export const resolve = <A>(value: A, values: ReadonlyMap<string, unknown>): Resolved<A> | undefined =>
  resolved(value, values) as Resolved<A> | undefined

const resolved = (value: unknown, values: ReadonlyMap<string, unknown>): unknown => {
  if (isParameter(value)) return Option.getOrUndefined(lookUp(value, values))
  if (!isPath(value)) return value
  const parts = value.path.parameters.map((parameter) => lookUp(parameter, values))
  return parts.every(Option.isSome)
    ? join(
        value.path.texts,
        parts.map(({ value }) => value)
      )
    : undefined
}

/**
 * A path as text that shows its parameters: `out/film.{language}.srt`.
 *
 * @internal
 */
export const show = (value: Any | Path): string =>
  isParameter(value)
    ? `--${value.parameter.name}`
    : join(
        value.path.texts,
        value.path.parameters.map(({ parameter }) => `{${parameter.name}}`)
      )
