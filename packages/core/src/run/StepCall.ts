/**
 * The function of a step as it is called for a row: with what its calls are told beside their request.
 *
 * @internal
 */
import * as Node from "../flow/Node.ts"
import * as Effect from "effect/Effect"
import * as AnswerCheck from "../answer/AnswerCheck.ts"
import * as Varying from "../flow/Varying.ts"
import * as Quality from "../routing/Quality.ts"

/** What a step runs, told what varies in its calls, and what makes their answers good. */
export const of = (kind: Extract<Node.Kind, { readonly _tag: "Step" }>): typeof kind.run => {
  const { check: own, quality, varying } = kind
  const run: typeof kind.run = (values, sample) => Node.effectOf("the function of the step", kind.run(values, sample))
  const told: typeof run =
    varying === undefined
      ? run
      : (values, sample) =>
          // A column that is not there is no text to compare.
          Varying.provide({ text: varying.text(values) ?? "", reuse: varying.reuse, pack: varying.pack })(
            run(values, sample)
          )
  const checked: typeof run =
    own === undefined
      ? told
      : (values, sample) =>
          Effect.provideService(told(values, sample), AnswerCheck.AnswerCheck, (answer) => own(answer, values))
  if (quality === undefined) return checked
  const { answer, check, features, label, score } = quality
  return (values, sample) =>
    // Read where they are wanted: a label is not known of every row, and only tuning asks for it.
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
    })(checked(values, sample))
}
