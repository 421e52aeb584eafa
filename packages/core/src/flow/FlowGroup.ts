/**
 * Many rows become one, or one per group.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as OptionNames from "../client/OptionNames.ts"
import * as CallOptions from "./CallOptions.ts"
import type * as GroupKey from "./GroupKey.ts"
import * as Node from "./Node.ts"

/** What becomes of groups that lack rows, because they have failed. */
export interface GroupOptions {
  /**
   * - `fail` (default): the group fails, and the failure names the rows
   * - `skip`: the group has no value
   * - `keep`: its value is that of the other rows. Outputs have the number of missing rows as `$missing`.
   *
   * Rows that a filter drops, and those of `onError: "skip"`, are not missing.
   */
  readonly missing?: Node.OnMissing
}

type Kind = Omit<Extract<Node.Kind, { readonly _tag: "Reduce" }>, "_tag" | "inputs">

/** Makes a node with one row for each group of the rows of its inputs. */
const make = <A, E, R>(
  word: Kind["word"],
  name: string,
  inputs: Node.Inputs,
  kind: Omit<Kind, "word">
): Node.Node<A, E, R> => {
  Node.commonDomain(`${word} ${name}`, inputs)
  return Node.make(name, { _tag: "Reduce", word, inputs, ...kind }, undefined)
}

/**
 * Folds many rows into one, or into one per group, in row order. Only the state is held in memory.
 *
 * `by` returns the group of a row: a text, a number, a boolean, or a record of them. Groups are emitted in the order of
 * their first rows. `finish`, which may call a model, turns the state of a group into its value. `missing` is the number
 * of its rows that have failed (see `GroupOptions`).
 */
export const reduce = <
  In extends Node.Inputs,
  S,
  B = S,
  E = never,
  R = never,
  const K extends GroupKey.GroupKey = string
>(
  name: string,
  inputs: In,
  options: {
    readonly by?: (values: Node.Values<In>) => K
    readonly initial: () => S
    readonly step: (state: S, values: Node.Values<In>) => S
    readonly finish?: (state: S, key: K, missing: number) => B | Effect.Effect<B, E, R>
  } & GroupOptions
    & Node.NodePolicy
): Node.Node<B, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { by, finish, initial, missing = "fail", step, ...policy } = options
  CallOptions.checkPolicy(`reduce ${name}`, policy)
  return make("reduce", name, inputs, {
    by,
    initial,
    step,
    finish: finish ?? Effect.succeed,
    meaning: finish,
    missing,
    policy
  })
}

/**
 * The first row of each key: its record of inputs, in the order of the source.
 *
 * A row that has failed is in none, and a key of which all rows have failed has none.
 */
export const distinct = <In extends Node.Inputs, const K extends GroupKey.GroupKey>(
  name: string,
  inputs: In,
  options: { readonly by: (values: Node.Values<In>) => K }
): Node.Node<Node.Values<In>, Node.InputsError<In>, Node.InputsServices<In>> => {
  OptionNames.check(`distinct ${name}`, options, ["by"])
  return make("distinct", name, inputs, {
    by: options.by,
    initial: () => undefined,
    step: (first: Node.Values<In> | undefined, values: Node.Values<In>) => first ?? values,
    finish: Effect.succeed,
    meaning: undefined,
    missing: "ignore",
    policy: {}
  })
}

/** Computes one value per group from all its rows, or from the first `take`. Groups are those of `reduce`. */
export const group = <In extends Node.Inputs, B, E = never, R = never, const K extends GroupKey.GroupKey = string>(
  name: string,
  inputs: In,
  options: {
    readonly by: (values: Node.Values<In>) => K
    /** The number of rows of a group passed to `run`. Default: all. */
    readonly take?: number
  } & GroupOptions
    & Node.NodePolicy,
  run: (group: {
    readonly key: K
    readonly rows: ReadonlyArray<Node.Values<In>>
    /** The number of rows in the group, including those beyond `take`. */
    readonly count: number
    /** The number of its rows that have failed. It is above 0 with `missing: "keep"` only. */
    readonly missing: number
  }) => B | Effect.Effect<B, E, R>
): Node.Node<B, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { by, missing = "fail", take = Number.POSITIVE_INFINITY, ...policy } = options
  CallOptions.checkPolicy(`group ${name}`, policy)
  OptionNames.checkNumbers(`group ${name}`, { take }, { take: OptionNames.COUNT })
  interface State {
    readonly rows: Array<Node.Values<In>>
    count: number
  }
  return make("group", name, inputs, {
    by,
    initial: (): State => ({ rows: [], count: 0 }),
    step: (state: State, values: Node.Values<In>) => {
      state.count++
      if (state.rows.length < take) state.rows.push(values)
      return state
    },
    finish: (state: State, key: K, missing) => run({ key, ...state, missing }),
    meaning: run,
    missing,
    policy
  })
}
