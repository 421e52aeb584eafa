/**
 * What an author's function returned, where a value or an effect is expected.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Node from "./Node.ts"

const isPromise = (made: unknown): boolean =>
  typeof made === "object" && made !== null && typeof (made as { readonly then?: unknown }).then === "function"

const promised = (what: string): Node.FlowError =>
  new Node.FlowError({
    message: `${what} returns a promise, not a value or an effect: return Effect.tryPromise(() => …), or use Effect.gen`
  })

/** A condition is neither true nor false. */
export const noCondition = (made: unknown): Node.FlowError =>
  new Node.FlowError({
    message: `the condition is ${made === null || made === undefined ? String(made) : `of type ${typeof made}`}: return true or false`
  })

/** Throws for a promise: nothing would wait for it. */
export const refusePromise = (what: string, made: unknown): void => {
  if (isPromise(made)) throw promised(what)
}

/** Throws for a value that is a promise, or has one as an item or a field: nothing would wait for it. */
export const refusePromises = (what: string, value: unknown): void => {
  if (typeof value !== "object" || value === null) return
  refusePromise(what, value)
  if (Array.isArray(value)) {
    if (value.some(isPromise))
      throw new Node.FlowError({
        message: `${what} returns a list of promises: return Effect.all([…]) to have their values`
      })
    return
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return
  const field = Object.entries(value).find(([, item]) => isPromise(item))
  if (field !== undefined)
    throw new Node.FlowError({
      message: `${what} returns a promise in the field ${JSON.stringify(field[0])}: return Effect.all({ … }) to have its value`
    })
}

/** Throws for what a plain function cannot return: nothing would run an effect, or wait for a promise. */
export const refuseEffect = (what: string, made: unknown): void => {
  if (Effect.isEffect(made))
    throw new Node.FlowError({ message: `${what} returns an effect, which would not run: use Flow.step` })
  refusePromises(what, made)
}

/** The items of a list that a function made: an array, or anything that can be iterated, except a text. */
export const toItems = (what: string, made: unknown): ReadonlyArray<unknown> => {
  const isList = typeof made === "object" && made !== null && Symbol.iterator in made
  if (!isList)
    throw new Node.FlowError({
      message: `${what} returns ${made === null || made === undefined ? String(made) : isPromise(made) ? "a promise" : `a value of type ${typeof made}`}, not a list: return an array, or an effect of one`
    })
  const items = Array.from(made as Iterable<unknown>)
  if (items.some((item) => isPromise(item) || Effect.isEffect(item)))
    throw new Node.FlowError({
      message: `${what} returns a list of promises or effects: return Effect.all([…]) to have their values`
    })
  return items
}

/** The effect that a function returned; a plain value succeeds. A promise, a generator and nothing are mistakes. */
export const toEffect = (what: string, made: unknown): Effect.Effect<unknown, unknown, unknown> => {
  if (Effect.isEffect(made)) return Effect.map(made as Effect.Effect<unknown, unknown, unknown>, awaited(what))
  if (isPromise(made)) return Effect.die(promised(what))
  if (made === undefined)
    return Effect.die(new Node.FlowError({ message: `${what} returns nothing: return a value or an effect` }))
  return typeof made === "object" && made !== null && "next" in made && Symbol.iterator in made
    ? Effect.die(
        new Node.FlowError({
          message: `${what} returns a generator, not an effect: wrap it, Effect.gen(function* () { … })`
        })
      )
    : Effect.sync(() => awaited(what)(made))
}

const awaited =
  (what: string) =>
  (value: unknown): unknown => {
    refusePromises(what, value)
    return value
  }
