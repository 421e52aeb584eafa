/**
 * Calls the function of a step for a row, and provides what its calls need besides their request.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as RowValues from "../client/RowValues.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as CallContext from "../client/CallContext.ts"
import * as AuthorValue from "../flow/AuthorValue.ts"
import type * as Node from "../flow/Node.ts"
import * as Varying from "../flow/Varying.ts"
import * as Quality from "../routing/Quality.ts"

/** The call of a step for the values of a row, and one of its samples. */
export type Call = (values: RowValues.Erased, sample: number) => Effect.Effect<unknown, unknown, unknown>

/** The effect of a step, with what varies in its calls and what makes their answers good. */
export const of = (
  what: string,
  calls: Node.NodeCalls,
  f: (values: RowValues.Erased, sample: number) => unknown
): Call => {
  const { check: own, quality, varying } = calls
  const run: Call = (values, sample) => AuthorValue.toEffect(`the function of the ${what}`, f(values, sample))
  const marked: typeof run =
    varying === undefined
      ? run
      : (values, sample) => {
          const text = varying.text(values)
          AuthorValue.refusePromise(`\`varies\` of the ${what}`, text)
          // Missing columns are skipped.
          return Varying.provide({ text: text ?? "", reuse: varying.reuse, pack: varying.pack })(run(values, sample))
        }
  const checked: typeof run =
    own === undefined
      ? marked
      : (values, sample) => CallContext.provideState({ check: (answer) => own(answer, values) })(marked(values, sample))
  const settled = withSettings(what, calls, checked)
  if (quality === undefined) return settled
  const { answer, check, features, label, score } = quality
  return (values, sample) =>
    // Read only when needed: not every row has a label, and only tuning uses it.
    Quality.provide({
      answer,
      score,
      get features() {
        return features?.(values)
      },
      check: check === undefined ? undefined : (text) => check(text, values),
      get label() {
        return label?.(values)
      }
    })(settled(values, sample))
}

/** Gives the calls of a row the model and the settings that depend on it. */
const withSettings = (what: string, { model, settings }: Node.NodeCalls, call: Call): Call =>
  model === undefined && settings === undefined
    ? call
    : (values, sample) => {
        const own = model?.(values)
        AuthorValue.refusePromise(`the model of the ${what}`, own)
        const given = settings?.(values)
        AuthorValue.refusePromise(`the settings of the ${what}`, given)
        return ModelSettings.provide({ ...given, ...(own === undefined ? undefined : { model: own }) })(
          call(values, sample)
        )
      }
