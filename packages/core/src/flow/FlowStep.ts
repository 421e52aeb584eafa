/**
 * A value for each row, by a model or by a plain function.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as OptionNames from "../client/OptionNames.ts"
import * as AuthorValue from "./AuthorValue.ts"
import * as CallOptions from "./CallOptions.ts"
import * as Node from "./Node.ts"

/** Options of a step. */
export interface StepOptions<In extends Node.Inputs, A = string> extends CallOptions.CallOptions<Node.Values<In>, A> {
  /** Runs the step only for rows for which this returns true. For the others its value is `undefined`. */
  readonly when?: (values: Node.Values<In>) => boolean
  /** Requests this many answers per row; the value is their list. Each sample is cached separately. */
  readonly samples?: number
}

/** Defines a good answer of a step. `A` is what `answer` returns: the text itself without it. See `Quality`. */
export interface StepQuality<In extends Node.Inputs, A = string> extends CallOptions.CallQuality<Node.Values<In>, A> {}

type StepValue<B, O> =
  | (O extends { readonly samples: number } ? ReadonlyArray<B> : B)
  | (O extends { readonly when: (...args: never) => boolean } ? undefined : never)

/**
 * Computes a value for each row from the values of other nodes, with an effect or a plain function. Results are kept in the store and reused by later runs.
 */
export const step = <
  In extends Node.Inputs,
  B,
  E = never,
  R = never,
  const O extends Pick<StepOptions<In>, "when" | "samples"> = {},
  A = string
>(
  name: string,
  inputs: In,
  run: (values: Node.Values<In>) => B | Effect.Effect<B, E, R>,
  options?: O & StepOptions<In, A>
): Node.Node<StepValue<B, O>, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { samples, when }: Pick<StepOptions<In>, "when" | "samples"> = options ?? {}
  const { calls, policy } = CallOptions.read(`step ${name}`, options ?? {}, ["when", "samples"])
  OptionNames.checkNumbers(`step ${name}`, { samples }, { samples: OptionNames.COUNT })
  return Node.make(
    name,
    { _tag: "Step", inputs, run, when, samples, subject: undefined, gathers: false, ...calls, computed: false, policy },
    Node.commonDomain(`step ${name}`, inputs)
  )
}

/** Computes a value for each row with a plain function. The value is not kept: every run computes it again. */
export const map = <In extends Node.Inputs, B>(
  name: string,
  inputs: In,
  f: (values: Node.Values<In>) => B
): Node.Node<B, Node.InputsError<In>, Node.InputsServices<In>> =>
  Node.make(
    name,
    {
      _tag: "Step",
      inputs,
      run: (values: Node.Values<In>) =>
        Effect.sync(() => {
          const made = f(values)
          AuthorValue.refuseEffect("the function of the step", made)
          return made
        }),
      when: undefined,
      samples: undefined,
      subject: undefined,
      gathers: false,
      ...Node.noCalls,
      computed: true,
      policy: {}
    },
    Node.commonDomain(`step ${name}`, inputs)
  )
