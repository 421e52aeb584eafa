/**
 * Finds judges that cannot work on the models of a cascade, before a run.
 *
 * @internal
 */
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelFacts from "../model/ModelFacts.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"

/** Why a judge cannot work for the calls of a step with these settings, and the way out; `undefined` when all can. */
export const problem = (
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  step: string,
  settings: ModelRequest.Settings
): string | undefined => {
  const cascade = LayerAnnotations.find(layers, LayerAnnotations.Cascades)
  for (const { name, needs } of cascade?.judges ?? []) {
    const { decisionsOf, settings: needed = [] } = needs ?? {}
    if (decisionsOf !== undefined && ModelClient.decides(layers, decisionsOf) === false)
      return `step ${step}: the judge ${name} needs the probability of a decision, and ${decisionsOf} gives none here: use a model that does, such as gpt-6-luna of OpenAI, or another judge`
    for (const model of cascade!.models.slice(0, -1)) {
      const refused = needed.find((one) => ModelFacts.refused(model, { ...settings, [one]: 0 }).includes(one))
      if (refused !== undefined) {
        const isThinking = !ModelFacts.refused(model, { ...settings, [refused]: 0, reasoningEffort: "none" }).includes(
          refused
        )
        return `step ${step}: the judge ${name} cannot work on ${model}, which does not take ${refused}${isThinking ? " while it thinks" : ""}: use Judge.decision or Judge.agreement${isThinking ? ', or set reasoningEffort: "none"' : ""}`
      }
    }
  }
  return undefined
}
