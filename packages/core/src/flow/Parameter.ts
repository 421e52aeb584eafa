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
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { FlowError } from "./Node.ts"

/** A parameter, which is also the effect that returns its value in a run. */
export interface Parameter<A> extends Effect.Effect<A> {
  readonly parameter: {
    readonly name: string
    readonly schema: Schema.Codec<A, unknown>
    readonly default: Option.Option<A>
    readonly description: string | undefined
  }
}

/** A parameter of any type. */
export type Any = Parameter<unknown>

/** The parameter values of the current run, by name. The runner sets it. */
export const Values = Context.Reference<ReadonlyMap<string, unknown>>("@pipe/core/Parameter/Values", {
  defaultValue: () => new Map()
})

/**
 * The parameters that the flow lists, and those of which a warning has said that it does not.
 *
 * @internal
 */
export const Listed = Context.Reference<
  { readonly names: ReadonlySet<string>; readonly warned: Set<string> } | undefined
>("@pipe/core/Parameter/Listed", { defaultValue: () => undefined })

/** A value that nothing can change: the command has no flag for a parameter that the flow does not list. */
const unlisted = (name: string): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const listed = fiber.getRef(Listed)
    if (listed === undefined || listed.names.has(name) || listed.warned.has(name)) return Effect.void
    listed.warned.add(name)
    return Effect.logWarning(
      `parameter ${name} has its default, because the flow does not list it: parameters: [${name}] makes it --${name}`
    )
  })

/** Makes a parameter. Without a default it is required. List it in `Flow.make({ parameters: [...] })`. */
export const make = <A>(
  name: string,
  schema: Schema.Codec<A, unknown>,
  options?: { readonly default?: NoInfer<A>; readonly description?: string }
): Parameter<A> => {
  const parameter: Parameter<A>["parameter"] = {
    name,
    schema,
    default: options !== undefined && "default" in options ? Option.some(options.default as A) : Option.none(),
    description: options?.description
  }
  const value: Effect.Effect<A> = Effect.withFiber((fiber) => {
    const values = fiber.getRef(Values)
    if (values.has(name)) return Effect.succeed(values.get(name) as A)
    return Option.match(parameter.default, {
      onSome: (value) => Effect.as(unlisted(name), value),
      onNone: () =>
        Effect.die(
          new FlowError({
            message: `parameter ${name} has no value: list it in the flow's parameters and pass --${name}`
          })
        )
    })
  })
  return Object.assign(value, { parameter })
}

/** Tests whether a value is a parameter. */
export const isParameter = (u: unknown): u is Any => typeof u === "object" && u !== null && "parameter" in u

/** Returns a plain value as it is, or the value of a parameter. */
export const valueOf = <A>(value: A | Parameter<A>): Effect.Effect<A> =>
  isParameter(value) ? value : Effect.succeed(value as A)
